"""Say whether dvc.lock is in step with the code and params.yaml: `dvc repro --allow-missing --dry`, with a status.

Needs no data. DVC itself ends with status 0 also where stages would run.

exit status:
  0    nothing would run
  1    something would: dvc.lock and metrics/ are of other code or parameters; or dvc.lock is not to be trusted
"""

import re
import subprocess
import sys

from stages.lib.core.cli import make_parser
from tools.guard import GuardError, check_records, name_up_to, print_error

COMMAND = [sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry"]
SHOWN = 5  # stages named


def main() -> int:
    make_parser("tools.in_step", __doc__).parse_args()
    try:
        check_records()
    except GuardError as error:
        print_error(error)
        return 1
    done = subprocess.run(COMMAND, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stages = re.findall(r"^Running stage '([^']*)'", done.stdout, flags=re.MULTILINE)
    if stages:
        found = f"{name_up_to(stages, SHOWN)} would run"
        print(
            f"error: dvc.lock is out of step: {found}, expected nothing to do: run make, commit its changes",
            file=sys.stderr,
        )
    elif done.returncode:
        print(done.stdout, file=sys.stderr)
    else:
        print("dvc.lock is in step with the code and params.yaml.")
    return int(bool(stages) or done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
