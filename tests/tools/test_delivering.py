"""The network that `make judge` hands over: opened by a process that knows nothing of this project."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.lib.core.records import save_plans
from stages.plan import read_source, read_text, run
from tests.conftest import ROOT
from tests.lib.report.test_answers import make_arm, make_result
from tools.judge import __main__ as judge
from tools.judge import deliver

HEADER = ["나이", "a/b", "a_b", "지역", "network", "결과"]


def write_table(path: Path, num_classes: int) -> None:
    """Numbers, some large, categories, missing cells of both, names that Keras refuses or uses itself."""
    generator, rows = np.random.default_rng(0), []
    for _ in range(120):
        age, region, kind = (
            generator.normal(50, 10),
            generator.choice(["서울", "부산"]),
            generator.choice(["1", "2", "x"]),
        )
        skill = (age - 50) / 10 + (region == "서울") + generator.normal() / 2
        cells = [f"{age:.2f}", str(2_000_000 + generator.integers(20)), f"{generator.normal():.3g}", region, kind]
        missing = generator.random(5) < [0.1, 0, 0, 0.1, 0]
        rows.append(["" if gone else cell for cell, gone in zip(cells, missing, strict=True)])
        rows[-1].append(["아니오", "예", "모름"][np.digitize(skill, [0.3, 1.3][: num_classes - 1])])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


def judge_table(folder: Path, num_classes: int) -> None:
    """All that `deliver` reads but the comparison."""
    shutil.copy(ROOT / "params.yaml", folder)
    write_table(folder / "my.csv", num_classes)
    judge.judge_file({"DATA": "my.csv", "TARGET": "결과", "GROUP": "none"})
    save_plans(run(read_text("params.yaml"), read_source))
    (folder / "data/raw/my").mkdir(parents=True)
    shutil.copy(folder / "data/source/my.csv", folder / "data/raw/my/table.csv")


@pytest.fixture
def folder(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "data/source", inside / "data/source")
    made = make_result(each=(-0.05, "better"))
    monkeypatch.setattr(deliver, "load_comparison", lambda study: {study: made})  # a made-up study
    monkeypatch.setattr(deliver.runtime, "configure", lambda: None)  # which has to come first in a process
    return inside


@pytest.mark.parametrize(("num_classes", "advised"), [(2, "dropout (tuned)"), (3, "ensemble of 3")])
def test_a_stranger_predicts_the_rows_of_the_csv_as_the_lanes_do(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    num_classes: int,
    advised: str,
) -> None:
    judge_table(folder, num_classes)
    arms = deliver.load_comparison("my")["my"].arms
    if advised == "ensemble of 3":
        arms["unregularized_ensemble_3"] = {"at_knob": make_arm("ensembles", -0.06, "better")}
    seen, check_equal = [], deliver.check_equal
    monkeypatch.setattr(deliver, "check_equal", lambda *given: seen.append(given[-1]) or check_equal(*given))
    assert deliver.deliver("my") == ["Network: models/my.keras, trained on all rows; how to use it: models/my.txt"]
    text, elsewhere = (folder / "models/my.txt").read_text(), tmp_path_factory.mktemp("elsewhere")
    assert text.startswith(f"models/my.keras: {advised}, trained on all 120 rows of data/source/my.csv, of which 24 ")
    assert re.search(r"log loss 0\.4[45]0 \(95 % interval 0\.4[45]0 to 0\.4[45]0\)", text)
    for name in ("models/my.keras", "data/source/my.csv"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, elsewhere / name)
    lines = text.partition("\nimport keras")[1:]
    code = f"{''.join(lines)}\nimport numpy, sys; numpy.save('a.npy', model.predict(inputs, verbose=0))"
    code += "\nassert not any(name.partition('.')[0] in ('stages', 'tools') for name in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len("".join(lines).strip().splitlines()) == 5
    answer, (network,) = np.load(elsewhere / "a.npy"), seen[0]
    np.testing.assert_allclose(answer[:, -network.probability.shape[1] :], network.probability, atol=1e-5)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
    with (folder / "data/source/my.csv").open(newline="") as file:
        truth = [row["결과"] for row in csv.DictReader(file)]
    classes = ["모름", "아니오", "예"][-num_classes:]
    assert np.mean([classes[best] == one for best, one in zip(answer.argmax(axis=1), truth, strict=True)]) > 0.7


def test_networks_that_diverge_are_told_and_not_written(folder: Path) -> None:
    judge_table(folder, 2)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        text.replace("training: {learning_rate: 0.006,", "training: {optimizer: sgd, learning_rate: 1.0e+9,")
    )
    save_plans(run(read_text("params.yaml"), read_source))
    assert "has diverged, so no file of it is written" in deliver.deliver("my")[0]
    assert not (folder / "models").exists()
