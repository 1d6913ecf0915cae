"""Check and split the data sets of one study, and fit what encodes their rows.

Reads   data/plan/<study>/_split.json, data/raw/<its entry of `datasets`>/
Writes  data/development/<study>/  training and validation rows of every replicate
        data/held_out/<study>/     held-out rows, which only evaluate and reference read
        data/checks/<study>.json   what a careful reader has to know of the tables
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import DamagedArtifactError, read_bytes
from stages.lib.core.records import load_plan
from stages.lib.data import samples
from stages.lib.data.checks import Check, Checks, check_rows, save_checks
from stages.lib.data.dataset import Rows, hash_data
from stages.lib.data.kinds import SplitPlan
from stages.lib.data.protocols import Split, check_classes
from stages.lib.data.samples import StoredRows

RAW = Path("data/raw")


def run(plan: SplitPlan, load_raw: Callable[[str], bytes]) -> tuple[StoredRows, StoredRows, list[Check]]:
    """Development and held-out rows, and what is odd; `load_raw` gives the content of a raw file by its name."""
    rows = plan.declaration.load(load_raw, plan.features)
    split = plan.protocol.split(rows.labels, num_own_test=rows.num_own_test, seed=plan.seed, groups=rows.groups)
    if rows.groups is not None:
        check_classes(split, rows.labels)
    checks = [] if rows.image else check_rows(rows)
    return *store(rows, split), checks


def store(rows: Rows, split: Split) -> tuple[StoredRows, StoredRows]:
    """Development and held-out rows, and what encodes them: fitted on the training rows of each replicate."""
    encoders = [rows.fit(rows.columns[training]) for training in split.training] if rows.fit else []
    numbers = samples.stack_encoders(encoders, rows.columns.shape[1])
    development = take(rows, numbers, {"training": split.training, "validation": split.validation})
    held_out = take(rows, numbers, {"test": split.test})
    samples.check_no_leak(development, held_out)
    return development, held_out


def take(rows: Rows, encoders: dict[str, np.ndarray], parts: dict[str, np.ndarray]) -> StoredRows:
    """The rows of the data set that are in parts, name -> sorted row numbers [replicate, n]."""
    marks = {name: np.zeros((len(part), len(rows.labels)), bool) for name, part in parts.items()}
    for name, part in parts.items():
        np.put_along_axis(marks[name], part, values=True, axis=1)
    kept = np.flatnonzero(np.concatenate([*marks.values()]).any(axis=0)).astype(np.int32)
    return StoredRows(
        columns=rows.columns[kept],
        labels=rows.labels[kept],
        identifiers=kept,
        features=rows.features,
        scale=rows.scale,
        image=rows.image,
        groups=np.zeros(0, np.int32) if rows.groups is None else rows.groups[kept],
        parts={name: marked[:, kept] for name, marked in marks.items()},
        encoders=encoders,
    )


def load_raw(plan: SplitPlan, name: str) -> bytes:
    """A raw file, which has to be the pinned one wherever it comes from: the disk and DVC's cache may be damaged."""
    path, fetched_by = RAW / plan.dataset / name, f"fetch@{plan.dataset.partition('/')[0]}"
    content = read_bytes(path, written_by=fetched_by)
    if (digest := hash_data(content)) != plan.raw[name]:
        mend = f"fetch it again by `dvc repro --force --single-item {fetched_by}`, then run `make`"
        raise DamagedArtifactError(f"{path} has the SHA-256 {digest}, expected {plan.raw[name]}: {mend}")
    return content


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    found: Checks = {}
    for task, plan in load_plan(dict[str, SplitPlan], f"{study}/_split").items():
        development, held_out, found[task] = run(plan, partial(load_raw, plan))
        samples.save_rows(samples.find_development(task), development)
        samples.save_rows(samples.find_held_out(task), held_out)
    save_checks(study, found)


if __name__ == "__main__":
    run_main(main)
