"""Thoracic Surgery: the committed table, its damaged forms, and its encoding."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stages.lib.data.dataset import Rows
from stages.lib.data.thoracic_encoder import FEATURES, TUTORIAL_FEATURES, ThoracicEncoder, find_limits
from stages.lib.data.thoracic_surgery import ThoracicSurgery
from stages.lib.data.thoracic_table import DIAGNOSES, LABEL, read_thoracic
from tests.conftest import ROOT

CSV = (ROOT / "data/source/thoracic_surgery.csv").read_text()
LINES = [line.split(",") for line in CSV.splitlines()]
COLUMN = {name: position for position, name in enumerate(LINES[0])}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return read_thoracic(CSV)


def change(*changes: tuple[int, str, str]) -> str:
    """The committed table with some cells changed: line of the file (from 1), column, text."""
    lines = [line.copy() for line in LINES]
    for line, column, text in changes:
        lines[line - 1][COLUMN[column]] = text
    return "\n".join(map(",".join, lines))


def complaints(text: str) -> list[str]:
    with pytest.raises(ValueError, match=r"thoracic_surgery\.csv with its") as error:
        read_thoracic(text)
    return str(error.value).split("\n  ")[1:]


# Read --------------------------------------------------------------------------------------------


def test_committed_table_is_read_exactly(table: pd.DataFrame) -> None:
    assert table.astype(str).to_numpy().tolist() == [
        [str(float(cell)) if name in ("PRE4", "PRE5") else cell for name, cell in zip(LINES[0], line, strict=True)]
        for line in LINES[1:]
    ]
    assert table.dtypes.map(str).value_counts().to_dict() == {"int64": 16, "float64": 2}
    pd.testing.assert_frame_equal(read_thoracic(CSV.encode()), table)


def test_table_has_the_facts_of_its_readme(table: pd.DataFrame) -> None:
    assert table.shape == (470, 18)
    assert table[LABEL].sum() == 70
    assert (table["PRE5"] > 50).sum() == 14
    assert table["PRE5"].nlargest(15).iloc[-1] == 8.56
    assert table[["PRE19", "PRE25", "PRE32"]].sum().tolist() == [2, 8, 2]
    assert table["id"].is_unique


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        (("id", "x"), "id: expected a whole number; found 'x' in line 3"),
        (("AGE", "60.5"), "AGE: expected a whole number; found '60.5' in line 3"),
        (("AGE", ""), "AGE: expected a whole number; found '' in line 3"),
        (("AGE", "99"), "AGE: expected a number from 21 to 87; found 99 in line 3"),
        (("id", "471"), "id: expected a number from 1 to 470; found 471 in line 3"),
        (("id", "2"), "id: expected no value twice; found 2 in line 3, 2 in line 55"),
        (("PRE4", "much"), "PRE4: expected a number; found 'much' in line 3"),
        (("PRE4", "nan"), "PRE4: expected a number; found nan in line 3"),
        (("PRE4", "1.43"), "PRE4: expected a number from 1.44 to 6.3; found 1.43 in line 3"),
        (("PRE5", "inf"), "PRE5: expected a number from 0.96 to 86.3; found inf in line 3"),
        (("DGN", "7"), "DGN: expected one of 1, 2, 3, 4, 5, 6, 8; found 7 in line 3"),
        (("PRE6", "3"), "PRE6: expected one of 0, 1, 2; found 3 in line 3"),
        (("PRE14", "10"), "PRE14: expected one of 11, 12, 13, 14; found 10 in line 3"),
        (("PRE32", "2"), "PRE32: expected one of 0, 1; found 2 in line 3"),
        (("Risk1Yr", "1"), "table: expected 70 rows with Risk1Yr 1"),
    ],
)
def test_wrong_cell_is_named(cell: tuple[str, str], complaint: str) -> None:
    assert complaints(change((3, *cell))) == [complaint]


def test_all_faults_are_told_at_once_and_the_rows_of_each_in_short() -> None:
    text = change((2, "AGE", "old"), (3, "AGE", "0"), *((line, "PRE7", "5") for line in range(4, 9)))
    assert complaints(text.rsplit("\n", 1)[0]) == [
        "AGE: expected a whole number; found 'old' in line 2",
        "PRE7: expected one of 0, 1; found 5 in line 4, 5 in line 5, 5 in line 6, 2 more",
        "AGE: expected a number from 21 to 87; found '0' in line 3",
        "table: expected 470 rows",
    ]


def test_wrong_columns_are_named() -> None:
    assert complaints(CSV.replace("Risk1Yr", "Risk", 1)) == [
        "Risk: expected no column of this name",
        "Risk1Yr: expected a column of this name",
    ]
    in_order = f"expected the columns in the order {', '.join(LINES[0])}"
    swapped = "\n".join(",".join([line[1], line[0], *line[2:]]) for line in LINES)
    assert complaints(swapped) == [f"DGN: {in_order}", f"id: {in_order}"]


@pytest.mark.parametrize("text", ["", "id,DGN\n1,2\n1,2,3\n"])
def test_text_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"thoracic_surgery\.csv (is empty, expected|cannot be used:)"):
        read_thoracic(text)


# Encode ------------------------------------------------------------------------------------------


def subsets(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Training rows, 80 % each: a hundred at random, and the most one-sided ones by PRE5."""
    rng = np.random.default_rng(0)
    num_rows = round(0.8 * len(table))
    ordered = table.sort_values("PRE5")
    random = [table.iloc[rng.choice(len(table), num_rows, replace=False)] for _ in range(100)]
    return [*random, ordered[:num_rows], ordered[-num_rows:]]


def test_encoder_agrees_with_scikit_learn(table: pd.DataFrame) -> None:
    training, encoder = table[::2], ThoracicEncoder.fit(table[::2])
    one_hot = OneHotEncoder(categories=[DIAGNOSES], sparse_output=False).fit_transform(training[["DGN"]].to_numpy())
    others = training[list(FEATURES[7:])].copy()
    low, high = np.percentile(others["PRE5"], [25, 75])
    others["PRE5"] = np.minimum(others["PRE5"], high + 3 * (high - low))
    expected = StandardScaler().fit_transform(np.column_stack([one_hot, others]))
    x = encoder.transform(training)
    assert (x.dtype, x.flags.c_contiguous, encoder.names) == (np.float32, True, FEATURES)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


def test_encoder_clips_the_values_in_another_unit_and_hardly_any_other(table: pd.DataFrame) -> None:
    for training in subsets(table):
        lowest, highest = find_limits(training)
        is_clipped = {name: ~table[name].between(lowest[name], highest[name]) for name in ("PRE4", "PRE5", "AGE")}
        assert is_clipped["PRE5"][table["PRE5"] > 50].all()
        assert is_clipped["PRE5"].sum() <= 17
        assert is_clipped["PRE4"].sum() + is_clipped["AGE"].sum() <= 3


def test_encoder_has_the_same_features_whatever_the_training_rows(table: pd.DataFrame) -> None:
    assert {ThoracicEncoder.fit(training).names for training in subsets(table)[-9:]} == {FEATURES}


def test_code_that_no_training_row_has_is_zero(table: pd.DataFrame) -> None:
    training = table[~table["DGN"].isin([1, 8]) & (table["PRE19"] == 0)]
    encoder = ThoracicEncoder.fit(training)
    unseen = [encoder.names.index(name) for name in ("DGN_1", "DGN_8", "PRE19")]
    assert not encoder.transform(table)[:, unseen].any()
    stranger = encoder.transform(table[:1].assign(DGN=7))[0, :7]
    no_diagnosis = -encoder.scaler.mean_[:7] / encoder.scaler.scale_[:7]
    np.testing.assert_allclose(stranger, no_diagnosis, rtol=1e-6)


def test_encoder_looks_at_training_rows_alone(table: pd.DataFrame) -> None:
    encoder = ThoracicEncoder.fit(table[:300])
    x = encoder.transform(table)
    np.testing.assert_array_equal(encoder.transform(table[300:]), x[300:])
    np.testing.assert_allclose(x[:300].mean(axis=0), 0, atol=1e-5)


def test_raw_features_are_those_of_the_tutorial(table: pd.DataFrame) -> None:
    encoder = ThoracicEncoder.fit(table[:100], raw=True)
    assert encoder.names == tuple(LINES[0][:-1])
    np.testing.assert_array_equal(encoder.transform(table), np.array(LINES[1:], dtype=np.float32)[:, :-1])


# The data set ------------------------------------------------------------------------------------------------------


def load(encoding: str) -> Rows:
    return ThoracicSurgery().load({"thoracic_surgery.csv": CSV.encode()}.__getitem__, encoding)


def test_facts_are_those_of_the_table(table: pd.DataFrame) -> None:
    facts = ThoracicSurgery().facts({}.__getitem__)
    assert facts.class_counts == tuple(np.bincount(table[LABEL]).tolist())
    assert (facts.num_rows, facts.outputs, facts.num_own_test, facts.image) == (470, 1, 0, ())


@pytest.mark.parametrize(("encoding", "features"), [("encoded", FEATURES), ("raw", TUTORIAL_FEATURES)])
def test_rows_are_encoded_by_an_encoder_of_training_rows(
    table: pd.DataFrame, encoding: str, features: tuple[str, ...]
) -> None:
    rows, training = load(encoding), np.arange(0, 470, 2)
    assert (rows.features, rows.shared, rows.num_own_test, rows.scale, rows.image) == (features, False, 0, 1.0, ())
    np.testing.assert_array_equal(rows.labels, table[LABEL])
    encoder = ThoracicEncoder.fit(table.iloc[training], raw=encoding == "raw")
    np.testing.assert_array_equal(rows.fit(training)(np.arange(470)), encoder.transform(table))
