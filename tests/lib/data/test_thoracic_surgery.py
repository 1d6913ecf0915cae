"""Thoracic Surgery: the committed table, and its encoding."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stages.lib.data.thoracic_surgery import (
    DIAGNOSES,
    FEATURES,
    LABEL,
    TUTORIAL_FEATURES,
    ThoracicSurgery,
    expand_columns,
    fit_thoracic_encoder,
    read_thoracic,
)
from tests.conftest import ROOT

CSV = (ROOT / "data/source/thoracic_surgery.csv").read_bytes()
LINES = [line.split(",") for line in CSV.decode().splitlines()]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return read_thoracic(CSV)


# Read --------------------------------------------------------------------------------------------


def test_committed_table_is_read_exactly(table: pd.DataFrame) -> None:
    assert table.astype(str).to_numpy().tolist() == [
        [str(float(cell)) if name in ("PRE4", "PRE5") else cell for name, cell in zip(LINES[0], line, strict=True)]
        for line in LINES[1:]
    ]
    assert table.dtypes.map(str).value_counts().to_dict() == {"int64": 16, "float64": 2}


# Encode ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def columns(table: pd.DataFrame) -> np.ndarray:
    return expand_columns(table)


def subsets(columns: np.ndarray) -> list[np.ndarray]:
    """Training rows, 80 % each: a hundred at random, and the most one-sided ones by PRE5."""
    rng, num_rows = np.random.default_rng(0), round(0.8 * len(columns))
    ordered = columns[columns[:, FEATURES.index("PRE5")].argsort()]
    random = [columns[rng.choice(len(columns), num_rows, replace=False)] for _ in range(100)]
    return [*random, ordered[:num_rows], ordered[-num_rows:]]


def test_encoder_agrees_with_scikit_learn(table: pd.DataFrame, columns: np.ndarray) -> None:
    training = table[::2]
    one_hot = OneHotEncoder(categories=[DIAGNOSES], sparse_output=False).fit_transform(training[["DGN"]].to_numpy())
    others = training[list(FEATURES[7:])].copy()
    low, high = np.percentile(others["PRE5"], [25, 75])
    others["PRE5"] = np.minimum(others["PRE5"], high + 3 * (high - low))
    expected = StandardScaler().fit_transform(np.column_stack([one_hot, others]))
    x = fit_thoracic_encoder(columns[::2]).transform(columns[::2])
    assert (x.dtype, x.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


def test_encoder_clips_the_values_in_another_unit_and_hardly_any_other(columns: np.ndarray) -> None:
    volume, others = FEATURES.index("PRE5"), [FEATURES.index("PRE4"), FEATURES.index("AGE")]
    for training in subsets(columns):
        encoder = fit_thoracic_encoder(training)
        is_clipped = columns != columns.clip(encoder.low, encoder.high)
        assert is_clipped[columns[:, volume] > 50, volume].all()
        assert is_clipped[:, volume].sum() <= 17
        assert is_clipped[:, others].sum() <= 3


def test_code_that_no_training_row_has_is_zero(table: pd.DataFrame, columns: np.ndarray) -> None:
    encoder = fit_thoracic_encoder(columns[~table["DGN"].isin([1, 8]) & (table["PRE19"] == 0)])
    unseen = [FEATURES.index(name) for name in ("DGN_1", "DGN_8", "PRE19")]
    assert not encoder.transform(columns)[:, unseen].any()
    stranger = expand_columns(table[:1].assign(DGN=7))
    assert not stranger[0, :7].any()


# The data set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "features"), [("encoded", FEATURES), ("raw", TUTORIAL_FEATURES)])
def test_facts_and_rows_are_those_of_the_table(table: pd.DataFrame, encoding: str, features: tuple[str, ...]) -> None:
    facts = ThoracicSurgery().facts({}.__getitem__)
    assert facts.class_counts == tuple(np.bincount(table[LABEL]).tolist())
    assert (facts.num_rows, facts.outputs, facts.num_own_test, facts.image) == (470, 1, 0, ())
    rows = ThoracicSurgery().load({"thoracic_surgery.csv": CSV}.__getitem__, encoding)
    assert (rows.features, rows.num_own_test, rows.scale, rows.image) == (features, 0, 1.0, ())
    assert rows.columns.shape == (470, len(features))
    np.testing.assert_array_equal(rows.labels, table[LABEL])
