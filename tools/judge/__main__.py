"""Say which regulariser helps on a table of your own: look at it, choose a study that suits it, run that, answer.

  python -m tools.judge DATA=my.csv TARGET=died    (the same as `make judge DATA=my.csv TARGET=died`)

  DATA=my.csv       a CSV file with a header line
  TARGET=died       the column of classes to predict
  GROUP=patient_id  rows with one value of this column stay together in every split; GROUP=none: there is no such column
  POSITIVE=yes      of two classes the one whose probability is predicted (default: the second in sorted order)
  DROP=a,b          columns to leave out
  MINUTES=5         time that it may take on two cores: of larger tables fewer rows are trained on
  NAME=my           name of the study (default: that of the file)

  STUDY=my          run a judged table again, after an edit of params.yaml
  UNDO=my           take it out again

exit status:
  0    judged
  1    a stage failed
  2    the file or the command line needs mending; nothing was written
"""

import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib.core.cli import UserError, make_parser
from stages.lib.data.dataset import DataError
from stages.lib.data.table import to_number
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.yaml_text import load_document
from stages.plan import check, read_text
from tools.guard import name_up_to, print_error
from tools.judge.design import FOLDS, Wishes, choose_design, look_at
from tools.judge.entries import NAME, take_out, write_entries
from tools.judge.sheet import is_in_project, read_sheet

KEYS = ("DATA", "TARGET", "GROUP", "POSITIVE", "DROP", "MINUTES", "NAME", "STUDY", "UNDO")
MOST_NAMED = 6  # columns or classes in a line


def read_keys() -> dict[str, str]:
    parser = make_parser("tools.judge", __doc__)
    parser.add_argument("given", nargs="*", metavar="KEY=value", help="see below")
    given = dict(entry.partition("=")[::2] for entry in parser.parse_args().given)
    if unknown := [key for key in given if key not in KEYS]:
        parser.error(f"{unknown[0]} is no key, expected some of {', '.join(KEYS)}")
    if not ({"STUDY", "UNDO"} & given.keys() or {"DATA", "TARGET"} <= given.keys()):
        parser.error("expected DATA=my.csv TARGET=column, or STUDY=name, or UNDO=name")
    return given


def read_wishes(given: dict[str, str]) -> Wishes:
    drop = tuple(dict.fromkeys(name.strip() for name in given.get("DROP", "").split(",") if name.strip()))
    minutes = to_number(given.get("MINUTES", "5")) or 0.0
    if not 0 < minutes < 10_000:
        raise DataError(f"MINUTES is '{given['MINUTES']}', expected a number of minutes above 0: mend it")
    return Wishes(given["TARGET"], given.get("GROUP", ""), given.get("POSITIVE", ""), drop, minutes)


def judge_file(given: dict[str, str]) -> str:
    """Look at a table, say what is decided, and write its entries; return the study's name."""
    path, wishes = Path(given["DATA"]), read_wishes(given)
    sheet = read_sheet(path)
    columns = look_at(sheet, wishes)
    design = choose_design(len(sheet.lines), columns.num_inputs, len(columns.classes), wishes.minutes)
    shown = path.resolve().relative_to(Path.cwd()) if is_in_project(path) else path.name
    command = shlex.join(
        ["make", "judge", *(f"{key}={value}" for key, value in (given | {"DATA": str(shown)}).items())]
    )
    name = given.get("NAME") or name_study(path)
    if not NAME.fullmatch(name):
        raise DataError(f"NAME is '{name}', expected small letters, digits and _, a letter first: mend it")
    num_lines = write_entries(name, columns, design, wishes, csv=sheet.to_csv(), command=" ".join(command.split()))
    classes = [f"{label} {number:,}" for label, number in sorted(columns.classes.items())]
    decided = {"folds": FOLDS, "minutes": max(1, round(design.seconds / 60))}
    seen = {"title": path.name, "sheet": sheet, "columns": columns, "classes": classes, "wishes": wishes}
    print(tell(seen | decided | {"design": design, "name": name, "num_lines": num_lines}), end="\n\n", flush=True)
    return name


def name_study(path: Path) -> str:
    name = re.sub(r"\W+", "_", path.stem.lower(), flags=re.ASCII).strip("_")
    return name[:40] if name[:1].isalpha() else f"table_{name}"[:40]


def tell(shown: dict[str, Any]) -> str:
    """What is seen and what is decided."""
    environment = Environment(loader=PackageLoader("tools.judge", "."), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["named"] = partial(name_up_to, most=MOST_NAMED)
    return environment.get_template("seen.jinja").render(shown)


def run(study: str) -> int:
    """Bring this study up to date, and print its answer and what other tables lead one to expect."""
    if study not in load_document(read_text(PARAMS))[0]["studies"]:
        raise DataError(f"{PARAMS} has no study {study}, expected one of its studies: mend STUDY")
    status = subprocess.call([sys.executable, "-m", "tools.repro", "--with-parent", f"draw@{study}"])
    answer = Path("metrics/studies", study, "answer.txt")
    if status == 0 and answer.is_file():
        from tools.judge.others import tell_others  # here, as SciPy takes a second

        print("", answer.read_text(encoding="utf-8").rstrip(), *tell_others(study), sep="\n")
        print(f"\nFigures and tables: make show STUDY={study}", flush=True)
        from tools.judge.deliver import deliver  # here, as it imports TensorFlow

        print(*deliver(study), sep="\n")
    return status


def main() -> int:
    given = read_keys()
    try:
        check(read_text(PARAMS), read=None)
        if "UNDO" in given:
            print("Taken out:", *take_out(given["UNDO"]), sep="\n  ")
            return subprocess.call([sys.executable, "-m", "tools.repro", "plan"], stdout=subprocess.DEVNULL)
        return run(given["STUDY"] if "STUDY" in given else judge_file(given))
    except (UserError, OSError) as error:
        print_error(error)
        return 2
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C. What is done is kept: make judge STUDY=... goes on.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
