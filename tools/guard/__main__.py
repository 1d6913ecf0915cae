"""Say whether what DVC will read in dvc.lock is what DVC may have written, before DVC reads it.

DVC makes a path of each hash that dvc.lock names, and replaces or removes what it finds there. Plain `dvc` cannot be
kept from that: ask `python -m tools.guard` about a dvc.lock that somebody else has changed. `make` and `make check` do.

exit status:
  0    nothing in dvc.lock or in files *.dvc leads out of the project
  1    something does, or the file is damaged; each fault has its line
"""

import sys

from stages.lib.core.cli import make_parser
from tools.guard import GuardError, check_records


def main() -> None:
    make_parser("tools.guard", __doc__).parse_args()
    try:
        check_records()
    except GuardError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
    print("Nothing in dvc.lock leads out of the project.")


if __name__ == "__main__":
    main()
