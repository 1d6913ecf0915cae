"""Check, split and encode the data sets of one study.

Reads   data/plan/<study>/_split.json, data/raw/
Writes  data/development/<study>/  training and validation rows of every replicate
        data/held_out/<study>/     held-out rows, which only evaluate and reference read
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import DamagedArtifactError, read_bytes
from stages.lib.data.dataset import Rows
from stages.lib.data.protocols import Split
from stages.lib.data.samples import Development, HeldOut, check_no_leak, save_samples
from stages.lib.data.split_plan import SplitPlan, load_split_plans

RAW = Path("data/raw")

Samples = tuple[Development, HeldOut]


def run(plan: SplitPlan, load_raw: Callable[[str], bytes]) -> Samples:
    """Split and encode; `load_raw` gives the content of a raw file of the data set by its name."""
    rows = plan.declaration.load(load_raw, plan.features)
    split = plan.protocol.split(rows.labels, num_own_test=rows.num_own_test, seed=plan.seed)
    development, held_out = encode_once(rows, split) if rows.shared else encode_per_replicate(rows, split)
    check_no_leak(development, held_out)
    return development, held_out


def encode_per_replicate(rows: Rows, split: Split) -> Samples:
    """Encode each replicate by its own training rows; a row of the data set is stored once for each replicate."""
    encoders = [rows.fit(training) for training in split.training]
    seen = np.concatenate([split.training, split.validation], axis=1)
    positions = np.arange(seen.size, dtype=np.int32).reshape(seen.shape)
    num_training = split.training.shape[1]
    development = Development(
        inputs=np.concatenate([encode(part) for encode, part in zip(encoders, seen, strict=True)]),
        labels=rows.labels[seen].ravel(),
        identifiers=seen.ravel(),
        training=positions[:, :num_training],
        validation=positions[:, num_training:],
        features=rows.features,
        scale=rows.scale,
        image=rows.image,
    )
    held_out = HeldOut(
        inputs=np.concatenate([encode(part) for encode, part in zip(encoders, split.test, strict=True)]),
        labels=rows.labels[split.test].ravel(),
        identifiers=split.test.ravel(),
        test=np.arange(split.test.size, dtype=np.int32).reshape(split.test.shape),
    )
    return development, held_out


def encode_once(rows: Rows, split: Split) -> Samples:
    """Store each row once, for all replicates: the encoding does not depend on the training rows."""
    encode = rows.fit(split.training[0])
    seen, held = np.union1d(split.training, split.validation), np.unique(split.test)
    development = Development(
        inputs=encode(seen),
        labels=rows.labels[seen],
        identifiers=seen,
        training=np.searchsorted(seen, split.training).astype(np.int32),
        validation=np.searchsorted(seen, split.validation).astype(np.int32),
        features=rows.features,
        scale=rows.scale,
        image=rows.image,
    )
    held_out = HeldOut(
        inputs=encode(held),
        labels=rows.labels[held],
        identifiers=held,
        test=np.searchsorted(held, split.test).astype(np.int32),
    )
    return development, held_out


def load_raw(plan: SplitPlan, name: str) -> bytes:
    """A raw file, which has to be the pinned one wherever it comes from: the disk and DVC's cache may be damaged."""
    path = RAW / plan.dataset / name
    content = read_bytes(path, written_by=f"fetch@{plan.dataset}")
    found = hashlib.sha256(content).hexdigest()
    if found != plan.raw[name]:
        raise DamagedArtifactError(
            f"{path} has the SHA-256 {found}, expected {plan.raw[name]}: fetch it again by `dvc repro --force "
            f"--single-item fetch@{plan.dataset}`, then run `make`"
        )
    return content


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    for task, plan in load_split_plans(study).items():
        save_samples(task, *run(plan, partial(load_raw, plan)))


if __name__ == "__main__":
    run_main(main)
