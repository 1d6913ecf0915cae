"""Check, split and encode the data sets of one study.

Reads   data/plan/<study>/_split.json, data/raw/
Writes  data/development/<study>/  training and validation rows of every replicate
        data/held_out/<study>/     held-out rows, which only evaluate and reference read
        data/checks/<study>.json   what a careful reader has to know of the tables
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import DamagedArtifactError, read_bytes
from stages.lib.data.checks import Checks, check_rows, save_checks
from stages.lib.data.dataset import Encoder, Rows, hash_data
from stages.lib.data.kinds import SplitPlan, load_split_plans
from stages.lib.data.protocols import Split
from stages.lib.data.samples import Development, HeldOut, check_no_leak, save_samples

RAW = Path("data/raw")


def run(plan: SplitPlan, load_raw: Callable[[str], bytes]) -> tuple[Development, HeldOut]:
    """Split and encode; `load_raw` gives the content of a raw file of the data set by its name."""
    rows = plan.declaration.load(load_raw, plan.features)
    return encode_rows(rows, plan.protocol.split(rows.labels, num_own_test=rows.num_own_test, seed=plan.seed))


def encode_rows(rows: Rows, split: Split) -> tuple[Development, HeldOut]:
    """Encode the rows of each replicate by its training rows."""
    encoders = [rows.fit(rows.columns[training]) for training in split.training] if rows.fit else []
    inputs, seen, places = store(rows, np.concatenate([split.training, split.validation], axis=1), encoders)
    num_training = split.training.shape[1]
    development = Development(
        inputs=inputs,
        labels=rows.labels[seen],
        identifiers=seen,
        training=places[:, :num_training],
        validation=places[:, num_training:],
        features=rows.features,
        scale=rows.scale,
        image=rows.image,
    )
    inputs, held, places = store(rows, split.test, encoders)
    held_out = HeldOut(inputs=inputs, labels=rows.labels[held], identifiers=held, test=places)
    check_no_leak(development, held_out)
    return development, held_out


def store(rows: Rows, parts: np.ndarray, encoders: Sequence[Encoder]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, the row number of each, and the positions in them of the rows `parts` [replicate, n] of the data set.

    A row is stored once for each replicate, encoded by the replicate's training rows; without encoders, once for all.
    """
    if not encoders:
        kept = np.unique(parts)
        return rows.columns[kept], kept, np.searchsorted(kept, parts).astype(np.int32)
    encoded = [encoder.transform(rows.columns[part]) for encoder, part in zip(encoders, parts, strict=True)]
    return np.concatenate(encoded), parts.ravel(), np.arange(parts.size, dtype=np.int32).reshape(parts.shape)


def load_raw(plan: SplitPlan, name: str) -> bytes:
    """A raw file, which has to be the pinned one wherever it comes from: the disk and DVC's cache may be damaged."""
    path = RAW / plan.dataset / name
    content = read_bytes(path, written_by=f"fetch@{plan.dataset}")
    if (digest := hash_data(content)) != plan.raw[name]:
        raise DamagedArtifactError(
            f"{path} has the SHA-256 {digest}, expected {plan.raw[name]}: fetch it again by `dvc repro --force "
            f"--single-item fetch@{plan.dataset}`, then run `make`"
        )
    return content


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    found: Checks = {}
    for task, plan in load_split_plans(study).items():
        load = partial(load_raw, plan)
        development, held_out = run(plan, load)
        save_samples(task, development, held_out)
        found[task] = [] if development.image else check_rows(plan.declaration.load(load, plan.features))
    save_checks(study, found)


if __name__ == "__main__":
    run_main(main)
