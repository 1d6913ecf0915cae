"""Tables of the user's own: encoding as scikit-learn does it, every fault in words, all of them at once."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stages.lib.data.dataset import DataError, Rows
from stages.lib.data.kinds import Declaration
from stages.lib.data.table import Table
from tests.conftest import ROOT
from tests.project import load_yaml

FILE = "data/source/mine.csv"
CSV = """id,ward,grade,age,dose,outcome
1,north,2,61,0.5,yes
2,south,10,58,1.5,no
3,north,1,47,2.5,no
4,east,2,70,0.25,yes
"""
FIELDS = {"kind": "table", "file": FILE, "target": "outcome", "drop": ["id"], "categorical": ["ward", "grade"]}


def declare(**changes: object) -> Table:
    return TypeAdapter(Declaration).validate_python(FIELDS | changes)


def load(text: str | bytes, **changes: object) -> Rows:
    data = text.encode() if isinstance(text, str) else text
    return declare(**changes).load({"table.csv": data}.__getitem__, "encoded")


def encode_all(rows: Rows, training: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    assert rows.fit is not None
    return rows.fit(rows.columns if training is None else rows.columns[training]).transform(rows.columns)


def column_of(rows: Rows, name: str, training: list[int] | None = None) -> list[float]:
    return encode_all(rows, training)[:, rows.features.index(name)].tolist()


def refusal(text: str | bytes, **changes: object) -> list[str]:
    """The lines of a refusal; the first one, which names the file, is left out where there are more."""
    with pytest.raises(DataError) as error:
        load(text, **changes)
    first, *lines = str(error.value).split("\n  ")
    assert first.startswith(FILE)
    assert all(len(line) < 600 for line in lines)
    return lines or [first]


# Reading -----------------------------------------------------------------------------------------------------------


def test_columns_are_read_by_their_roles() -> None:
    rows = load(CSV)
    assert rows.features == ("age", "dose", "ward_east", "ward_north", "ward_south", "grade_1", "grade_2", "grade_10")
    assert rows.labels.tolist() == [1, 0, 0, 1]
    assert rows.labels.dtype == np.uint8
    assert (rows.num_own_test, rows.scale, rows.image) == (0, 1.0, ())
    assert column_of(rows, "grade_10") == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["x", "y"] * 10, "category"),
        (["1 low", "2", "3", "4 high"] * 5, "category"),
        (["x", "", "y", "NA"] * 5, "category"),
        (["1"] * 19 + ["2,5"], "typing error"),
        (["2024-01-05", "2024-01-06"] * 10, "date"),
        ([f"name {row}" for row in range(20)], "name of the row"),
        (["1", "2", "", "4"] * 5, "number"),
    ],
)
def test_a_column_of_text_that_repeats_is_a_category(cells: list[str], kind: str) -> None:
    text = "a,b,outcome\n" + "".join(f'"{cell}",{row},{row % 2}\n' for row, cell in enumerate(cells))
    if kind in ("category", "number"):
        is_split = load(text, drop=[], categorical=[], missing="impute").features != ("a", "b")
        assert is_split == (kind == "category")
    else:
        (told,) = refusal(text, drop=[], categorical=[], missing="impute")
        assert told.startswith("column 'a': expected numbers")


def test_facts_are_class_counts() -> None:
    text = CSV + "5,east,1,50,1,yes\n"
    facts = declare().facts({FILE: text.encode()}.__getitem__)
    assert (facts.class_counts, facts.title) == ((2, 3), "mine")
    three = declare(target="grade", categorical=["ward"], drop=["id", "outcome"])
    facts = three.facts({FILE: text.encode()}.__getitem__)
    assert (facts.class_counts, facts.outputs) == ((2, 2, 1), 3)


@pytest.mark.parametrize(
    ("values", "positive", "labels"),
    [
        ("b a a b", None, [1, 0, 0, 1]),
        ("b a a b", "a", [0, 1, 1, 0]),
        ("10 9 9 10", None, [1, 0, 0, 1]),
        ("10 9 9 10", 9, [0, 1, 1, 0]),
        ("1 0.0 0 1.0", None, [1, 0, 0, 1]),
        ("7654321 1 1 7654321", 7654321, [1, 0, 0, 1]),
        ("10 9 x 10", None, [0, 1, 2, 0]),
        ("-1 10 2 2", None, [0, 2, 1, 1]),
    ],
)
def test_classes_are_numbered_in_order(values: str, positive: str | int | None, labels: list[int]) -> None:
    text = "a,outcome\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values.split()))
    assert load(text, drop=[], categorical=[], positive=positive).labels.tolist() == labels


def test_a_column_of_groups_is_no_feature_and_its_values_name_rows_that_belong_together() -> None:
    """1 and 1.0 are one group where all are numbers."""
    text = CSV.replace("3,north", "1.0,north")
    rows, facts = load(text, drop=[], group="id"), declare(drop=[], group="id").facts({FILE: text.encode()}.get)
    assert rows.features == load(CSV).features
    assert rows.groups is not None and rows.groups.tolist() == [0, 1, 0, 2]
    assert (facts.num_groups, facts.class_groups, facts.units) == (3, (2, 2), ("group", 3, 2))
    assert load(CSV).groups is None and declare().facts({FILE: CSV.encode()}.get).units == ("row", 4, 2)


# Encoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize(("load_data", "classes"), [(load_breast_cancer, 2), (load_wine, 3)])
def test_encoding_agrees_with_scikit_learn(load_data: Callable, classes: int, categorical: bool) -> None:
    frame, names = load_data(as_frame=True).frame, ["ward", "grade"] if categorical else []
    for name in names:
        frame[name] = np.random.default_rng(0).choice(["10", "2", "x"] if name == "ward" else [1, 2, 10], len(frame))
    rows = load(frame.to_csv(index=False), target="target", drop=[], categorical=names)
    training = np.arange(0, len(frame), 2)
    numeric = [name for name in frame.columns if name not in ("target", *names)]
    oracle = ColumnTransformer([("numeric", StandardScaler(), numeric), ("categorical", OneHotEncoder(), names)])
    oracle.set_output(transform="default").fit(frame.iloc[training])
    encoded = encode_all(rows, training)
    assert encoded.dtype == np.float32
    assert encoded.flags.c_contiguous
    np.testing.assert_allclose(encoded, oracle.transform(frame), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows.labels, frame["target"])
    assert rows.labels.max() == classes - 1
    assert len(rows.features) == encoded.shape[1]


def test_column_that_is_constant_in_training_is_zero_in_every_row() -> None:
    text = CSV.replace(",58,", ",61,").replace(",47,", ",61,")
    assert column_of(load(text), "age", training=[0, 1, 2]) == [0, 0, 0, 0]
    assert column_of(load(CSV), "dose", training=[0]) == [0, 0, 0, 0]


def test_category_that_no_training_row_has_is_zero_in_every_row() -> None:
    rows = load(CSV)
    assert column_of(rows, "ward_east", training=[0, 1, 2]) == [0, 0, 0, 0]
    assert column_of(rows, "ward_north", training=[0, 1, 2]) == [1, 0, 1, 0]
    assert len({encode_all(rows, training).shape for training in ([0], [0, 1], [0, 1, 2, 3])}) == 1


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "nan"])
def test_missing_values_are_imputed_where_that_is_declared(cell: str) -> None:
    text = CSV.replace(",58,", f",{cell},").replace("east", cell)
    rows = load(text, missing="impute")
    numbers = np.array([[61.0], [np.nan], [47.0], [70.0]])
    oracle = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(numbers[:3])
    expected = oracle.transform(numbers)[:, 0]
    np.testing.assert_allclose(column_of(rows, "age", training=[0, 1, 2]), expected, rtol=1e-6)
    assert column_of(rows, "ward_") == [0, 0, 0, 1]
    assert "ward_" not in load(CSV, missing="impute").features


def test_column_without_a_value_in_training_is_zero() -> None:
    text = CSV.replace(",61,", ",,").replace(",58,", ",,")
    assert column_of(load(text, missing="impute"), "age", training=[0, 1]) == [0, 0, 0, 0]


def test_columns_whose_names_meet_stay_apart() -> None:
    """Category b_c of column a and category c of column a_b both make the name a_b_c."""
    rows = load("a,a_b,outcome\nb_c,c,1\nx,c,0\n", drop=[], categorical=["a", "a_b"])
    assert rows.features == ("a_b_c", "a_x", "a_b_c")
    assert encode_all(rows).tolist() == [[1, 0, 1], [0, 1, 1]]


def test_table_may_hold_categories_alone_or_numbers_alone() -> None:
    assert load(CSV, drop=["id", "age", "dose"]).features[0] == "ward_east"
    assert encode_all(load(CSV, drop=["id", "age", "dose"])).shape == (4, 6)
    assert encode_all(load(CSV, drop=["id", "ward", "grade"], categorical=[])).shape == (4, 2)


# Faults of the file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", load_yaml(Path(__file__).with_name("faults.yaml")), ids=lambda case: case["told"][:30])
def test_table_that_does_not_fit_its_declaration_is_refused(case: dict) -> None:
    text = CSV
    for old, new in case.get("edits", {}).items():
        text = text.replace(old, new)
    assert refusal(text, **case.get("declared", {})) == [case["told"]]


def test_more_classes_or_categories_than_a_table_may_have_are_refused() -> None:
    many = "id,ward,outcome\n" + "".join(f"{row},w{row},{row % 2}\n" for row in range(1001))
    (told,) = refusal(many, categorical=["ward"])
    assert told == (
        "column 'ward' (categorical): found 1,001 different values, expected at most 1,000 categories: "
        "declare it under drop, or leave it out of categorical"
    )
    (told,) = refusal("a,outcome\n" + "".join(f"1,{row}\n" for row in range(257)), drop=[], categorical=[])
    assert told == (
        "column 'outcome' (target): found 257 different values, expected at most 256 classes: "
        "choose a column that holds classes, not measurements"
    )


@pytest.mark.parametrize(
    "cell", ["", "NA", "thirty", "inf", "-Infinity", "1e999", "'58'", "58 years", '"5,8"', "0x3a", "1_000"]
)
def test_cell_that_is_no_number_is_told_with_its_line(cell: str) -> None:
    (fault,) = refusal(CSV.replace("58", cell))
    assert fault.startswith("column 'age': expected ")
    assert "in line 3: " in fault


def test_all_faults_are_told_at_once() -> None:
    text = CSV.replace("58", "old").replace("0.5", "").replace("4,east", "4").replace("yes", "no")
    assert [fault.split(":")[0] for fault in refusal(text, drop=["id", "zzz"])] == [
        "rows",
        "column 'zzz' (drop)",
        "column 'age'",
        "column 'dose'",
        "column 'outcome' (target)",
    ]


def test_file_that_is_missing_is_named() -> None:
    def read(path: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", path)

    told = r"data/source/mine\.csv cannot be read \(No such file or directory\), expected"
    with pytest.raises(DataError, match=told):
        declare().facts(read)


# All kinds ---------------------------------------------------------------------------------------------------------


def test_stages_and_facts_need_no_slow_import() -> None:
    slow = {"tensorflow", "keras", "dvc", "pandas", "sklearn", "scipy", "requests"}
    code = (
        "import sys, stages.fetch, stages.preprocess; from stages.lib.data.kinds import KINDS;"
        f"KINDS['table'](**{FIELDS!r}).facts(lambda path: {CSV.encode()!r});"
        f"print({slow} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
