"""Fashion-MNIST: its facts, and its rows against the bytes of its files."""

import numpy as np

from stages.lib.data.fashion_mnist import FashionMnist


def test_facts_and_rows_are_those_of_the_files(fashion_files: dict[str, bytes]) -> None:
    facts = FashionMnist().facts({}.__getitem__)
    assert (facts.num_rows, facts.outputs, facts.num_own_test, facts.image) == (60_000, 10, 10_000, (28, 28))
    rows = FashionMnist().load(fashion_files.__getitem__, "encoded")
    assert facts.num_classes == len(np.unique(rows.labels))
    assert (len(rows.labels), len(rows.features)) == (70_000, 784)
    assert (rows.num_own_test, rows.fit, rows.scale, rows.image) == (10_000, None, 1 / 255, (28, 28))
    for part, name in ((slice(60_000), "train"), (slice(60_000, None), "t10k")):
        assert rows.columns[part].tobytes() == fashion_files[f"{name}-images-idx3-ubyte"][16:]
        assert rows.labels[part].tobytes() == fashion_files[f"{name}-labels-idx1-ubyte"][8:]
