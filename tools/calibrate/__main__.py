"""Measure on synthetic twins how often the verdicts are right, and write metrics/calibration.json.

Twins of the Thoracic table are trained by the real lanes and judged by the real statistics, at three strengths of
signal, under several risks, and where arms are equal by construction. Predictions are kept in .dvc/tmp/calibration, so
that a run which was stopped goes on from there, and a change of the statistics trains nothing. Two of the kept tables
are trained again each time, to see whether a change of the lanes has made what is kept out of date.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from stages.lib.settings.params import parse_params

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.core.files import write_json
from stages.lib.judge.plans import StatisticsPlan
from tools.calibrate.counting import count_setting
from tools.calibrate.judging import judge_twin
from tools.calibrate.training import EXCHANGEABLE, SETTINGS, kept_path, load, train_missing

OUTPUT = Path("metrics/calibration.json")
DECISIVE = ("none", "table", "twice")  # with all tables; the other settings with a quarter of them


def count(names: Sequence[str], num_tables: int, *, seed: int, jobs: int) -> dict[str, object]:
    """What metrics/calibration.json holds: setting -> counts."""
    params = parse_params(Path("params.yaml").read_text(encoding="utf-8"))
    settings = StatisticsPlan(params.statistics.confidence, dict(params.statistics.equivalence))
    counts = {name: num_tables if name in DECISIVE else -(-num_tables // 4) for name in names}
    train_missing(counts, seed=seed, jobs=jobs)
    result: dict[str, object] = {"seed": seed, "confidence": settings.confidence}
    for name, number in counts.items():
        tables = [judge_twin(load(kept_path(name, seed, table)), settings) for table in range(number)]
        result[name] = count_setting(name, tables, alpha=1 - settings.confidence, margins=settings.equivalence)
    return result


def round_numbers(value: object) -> object:
    """The same with four digits."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.4g}"))


def main() -> None:
    parser = make_parser("tools.calibrate", __doc__)
    parser.add_argument("--tables", type=int, default=200, help="twins of each decisive setting (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the twins; another seed is another calibration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores, %(default)s)")
    names = [*SETTINGS, EXCHANGEABLE]
    parser.add_argument("--settings", nargs="+", choices=names, default=names, metavar="SETTING", help=", ".join(names))
    parser.add_argument("--output", type=Path, help=f"file to write (default, for all that is measured: {OUTPUT})")
    options = parser.parse_args()
    is_part = options.tables < parser.get_default("tables") or options.settings != names
    if is_part and options.output is None:
        raise UserError(
            f"a part of a calibration would replace {OUTPUT}, expected a file of its own: add --output FILE"
        )
    output = options.output or OUTPUT
    if options.tables < 2 or options.jobs < 1:
        raise UserError("--tables and --jobs are counts, expected at least 2 tables and 1 job: change them")
    result = count(options.settings, options.tables, seed=options.seed, jobs=options.jobs)
    write_json(output, round_numbers(result))
    print(f"Written: {output}")


if __name__ == "__main__":
    run_main(main)
