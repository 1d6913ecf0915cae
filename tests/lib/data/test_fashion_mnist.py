"""Fashion-MNIST: small IDX files written by hand, and their faults."""

import gzip
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.lib.data.dataset import DataError
from stages.lib.data.fashion_mnist import FashionMnist, parse_idx, read_fashion


def write_idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


IMAGES = np.arange(3 * 28 * 28).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([9, 0, 3], np.uint8)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_idx_survives_the_round_trip(array: np.ndarray) -> None:
    parsed = parse_idx(write_idx(array), name="any", shape=array.shape)
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


@given(st.binary(max_size=40))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"any: .*expected"):
        parse_idx(data, name="any", shape=(3, 28, 28))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"",
            "x: starts with '', expected '00 00 08 01 00 00 00 03', as in an IDX file of unsigned bytes of the shape",
        ),
        (gzip.compress(b"", mtime=0), "x: starts with '1f 8b 08 00 00 00 00 00', expected '00 00"),
        (b"\0\0\x0d\1" + write_idx(LABELS)[4:], "x: starts with '00 00 0d 01"),  # floats
        (write_idx(LABELS)[:6], "x: starts with '00 00 08 01 00 00', expected"),
        (write_idx(LABELS[:2]), "x: starts with '00 00 08 01 00 00 00 02', expected"),
        (write_idx(LABELS)[:-1], r"x: 2 elements, expected 3 for the shape \(3,\): fetch the files again"),
        (write_idx(LABELS) + b"\0", r"x: 4 elements, expected 3 for the shape \(3,\)"),
    ],
)
def test_faulty_idx_says_what_was_found_and_expected(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_idx(data, name="x", shape=(3,))


def test_fashion_is_flattened_and_keeps_its_order() -> None:
    x, y = read_fashion(write_idx(IMAGES), write_idx(LABELS), 3)
    assert (x.shape, x.dtype, y.dtype) == ((3, 784), np.uint8, np.uint8)
    for row, line, column in itertools.product(range(3), (0, 27), (0, 5)):
        assert x[row, 28 * line + column] == IMAGES[row, line, column]
    assert y.tolist() == [9, 0, 3]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, :27], LABELS, r"images: starts with .* of the shape \(3, 28, 28\)"),
        (IMAGES, LABELS[:2], r"labels: starts with .* of the shape \(3,\)"),
        (IMAGES, LABELS + 1, "labels: 10 in row 0, expected 0 to 9"),
    ],
)
def test_faulty_fashion_says_what_was_found_and_expected(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_fashion(write_idx(images), write_idx(labels), 3)


def test_facts_and_rows_are_those_of_the_files(fashion_files: dict[str, bytes]) -> None:
    facts = FashionMnist().facts({}.__getitem__)
    assert (facts.num_rows, facts.outputs, facts.num_own_test, facts.image) == (60_000, 10, 10_000, (28, 28))
    rows = FashionMnist().load(fashion_files.__getitem__, "encoded")
    assert facts.num_classes == len(np.unique(rows.labels))
    assert (len(rows.labels), len(rows.features)) == (70_000, 784)
    assert (rows.num_own_test, rows.fit, rows.scale, rows.image) == (10_000, None, 1 / 255, (28, 28))
    pixels = np.frombuffer(fashion_files["t10k-images-idx3-ubyte"][16:], np.uint8).reshape(10_000, 784)
    np.testing.assert_array_equal(rows.columns[60_000:], pixels)
