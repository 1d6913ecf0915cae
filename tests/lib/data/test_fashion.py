"""Fashion-MNIST: small IDX files written by hand, and their faults."""

import gzip
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.lib.data.fashion_mnist import FashionMnist, parse_idx, read_fashion


def write_idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


IMAGES = np.arange(3 * 28 * 28).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([9, 0, 3], np.uint8)


@settings(derandomize=True, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_idx_survives_the_round_trip(array: np.ndarray) -> None:
    parsed = parse_idx(write_idx(array), name="any")
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_an_array_or_a_clear_refusal(data: bytes) -> None:
    try:
        assert write_idx(parse_idx(data, name="any")) == data
    except ValueError as error:
        assert re.match("any: .*(expected|too short)", str(error))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x: starts with '', expected '00 00' and two codes, as in an IDX file"),
        (gzip.compress(b"", mtime=0), "x: starts with '1f 8b 08 00', expected '00 00'"),
        (b"\0\0\x0d\1", r"x: element type 0x0d, expected 0x08 \(unsigned byte\)"),
        (b"\0\0\x08\3\0\0\0\1", "x: 8 bytes, too short for the sizes of 3 dimensions"),
        (write_idx(LABELS)[:-1], r"x: 2 elements, expected 3 for the shape \[3\]"),
        (write_idx(IMAGES) + b"\0", r"x: 2353 elements, expected 2352 for the shape \[3, 28, 28\]"),
    ],
)
def test_faulty_idx_says_what_was_found_and_expected(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_idx(data, name="x")


def test_fashion_is_flattened_and_keeps_its_order() -> None:
    x, y = read_fashion(write_idx(IMAGES), write_idx(LABELS), 3)
    assert (x.shape, x.dtype, y.dtype) == ((3, 784), np.uint8, np.uint8)
    for row, line, column in itertools.product(range(3), (0, 27), (0, 5)):
        assert x[row, 28 * line + column] == IMAGES[row, line, column]
    assert y.tolist() == [9, 0, 3]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:2], LABELS, r"images: shape \(2, 28, 28\), expected \(3, 28, 28\)"),
        (IMAGES[:, :27], LABELS, r"images: shape \(3, 27, 28\), expected \(3, 28, 28\)"),
        (IMAGES, LABELS[:2], r"labels: shape \(2,\), expected \(3,\)"),
        (LABELS, IMAGES, r"images: shape \(3,\), expected \(3, 28, 28\)"),
        (IMAGES, LABELS + 1, "labels: 10 in row 0, expected 0 to 9"),
    ],
)
def test_faulty_fashion_says_what_was_found_and_expected(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_fashion(write_idx(images), write_idx(labels), 3)


def test_facts_and_rows_are_those_of_the_files(fashion_files: dict[str, bytes]) -> None:
    facts = FashionMnist().facts({}.__getitem__)
    assert (facts.num_rows, facts.outputs, facts.num_own_test, facts.image) == (60_000, 10, 10_000, (28, 28))
    rows = FashionMnist().load(fashion_files.__getitem__, "encoded")
    assert facts.num_classes == len(np.unique(rows.labels))
    assert (len(rows.labels), len(rows.features)) == (70_000, 784)
    assert (rows.num_own_test, rows.shared, rows.scale, rows.image) == (10_000, True, 1 / 255, (28, 28))
    pixels = np.frombuffer(fashion_files["t10k-images-idx3-ubyte"][16:], np.uint8).reshape(10_000, 784)
    np.testing.assert_array_equal(rows.fit(np.arange(3))(np.arange(60_000, 70_000)), pixels)
