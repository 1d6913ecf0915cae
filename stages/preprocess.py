"""Validate, split and encode the data set of one study.

Reads   data/plan/<study>/_split.json, data/raw/<dataset>/
Writes  data/processed/<study>/development.npz   training and validation rows of every replicate
        data/processed/<study>/held_out.npz      the rows it is judged on, which only evaluate and reference read
"""

from collections.abc import Callable

import numpy as np

from stages.lib import artifacts, datasets, splits
from stages.lib.commands import parse_arguments, run_main
from stages.lib.plans import SplitPlan
from stages.lib.samples import Development, HeldOut, check_no_leak

PIXEL_SCALE = 1 / 255
FASHION_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
NUM_FASHION_TRAINING, NUM_FASHION_TEST = 60_000, 10_000

Samples = tuple[Development, HeldOut]


def run(plan: SplitPlan, load_raw: Callable[[str], bytes]) -> Samples:
    """Split and encode; `load_raw` gives the content of a file of the data set by its name."""
    prepare = {"thoracic_surgery": prepare_thoracic, "fashion_mnist": prepare_fashion}[plan.dataset]
    development, held_out = prepare(plan, load_raw)
    check_no_leak(development, held_out)
    return development, held_out


def prepare_thoracic(plan: SplitPlan, load_raw: Callable[[str], bytes]) -> Samples:
    """Each replicate encodes its rows by its own training rows, so a patient stands once per replicate in the pool."""
    table = datasets.read_thoracic(load_raw("thoracic_surgery.csv"))
    labels = table[datasets.LABEL].to_numpy(np.uint8)
    split = splits.split_repeated_k_fold(
        labels,
        folds=plan.protocol.folds,
        repeats=plan.protocol.replicates // plan.protocol.folds,
        validation=plan.protocol.validation,
        seed=plan.seed,
    )
    encoders = [datasets.ThoracicEncoder.fit(table.iloc[rows], raw=plan.features == "raw") for rows in split.training]
    seen = np.concatenate([split.training, split.validation], axis=1)
    positions = np.arange(seen.size, dtype=np.int32).reshape(seen.shape)
    num_training = split.training.shape[1]
    development = Development(
        inputs=np.concatenate(
            [encoder.transform(table.iloc[rows]) for encoder, rows in zip(encoders, seen, strict=True)]
        ),
        labels=labels[seen].ravel(),
        identifiers=seen.ravel(),
        training=positions[:, :num_training],
        validation=positions[:, num_training:],
        features=encoders[0].names,
        scale=1.0,
    )
    held_out = HeldOut(
        inputs=np.concatenate(
            [encoder.transform(table.iloc[rows]) for encoder, rows in zip(encoders, split.test, strict=True)]
        ),
        labels=labels[split.test].ravel(),
        identifiers=split.test.ravel(),
        test=np.arange(split.test.size, dtype=np.int32).reshape(split.test.shape),
    )
    return development, held_out


def prepare_fashion(plan: SplitPlan, load_raw: Callable[[str], bytes]) -> Samples:
    """Images stay bytes, which the network scales; the test images are numbered on from the 60,000."""
    training_images, training_labels, test_images, test_labels = map(load_raw, FASHION_FILES)
    images, labels = datasets.read_fashion(training_images, training_labels, NUM_FASHION_TRAINING)
    held_images, held_labels = datasets.read_fashion(test_images, test_labels, NUM_FASHION_TEST)
    split = splits.split_fixed_test(
        np.concatenate([labels, held_labels]),
        num_test=NUM_FASHION_TEST,
        replicates=plan.protocol.replicates,
        training=plan.protocol.training,
        validation=plan.protocol.validation,
        seed=plan.seed,
    )
    used = np.union1d(split.training, split.validation).astype(np.int32)
    development = Development(
        inputs=images[used],
        labels=labels[used],
        identifiers=used,
        training=np.searchsorted(used, split.training).astype(np.int32),
        validation=np.searchsorted(used, split.validation).astype(np.int32),
        features=tuple(f"pixel_{number}" for number in range(images.shape[1])),
        scale=PIXEL_SCALE,
    )
    held_out = HeldOut(
        inputs=held_images,
        labels=held_labels,
        identifiers=np.arange(NUM_FASHION_TRAINING, NUM_FASHION_TRAINING + NUM_FASHION_TEST, dtype=np.int32),
        test=split.test - NUM_FASHION_TRAINING,
    )
    return development, held_out


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    plan = artifacts.load_split_plan(study)
    development, held_out = run(plan, lambda name: artifacts.load_raw(plan.dataset, name))
    artifacts.save_samples(study, development, held_out)


if __name__ == "__main__":
    run_main(main)
