"""reference on the real table: the splits of the networks, choices by validation rows, nothing of held-out rows."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics
from threadpoolctl import threadpool_limits

from stages import preprocess, reference
from stages.lib.core.files import MissingArtifactError
from stages.lib.data.kinds import SplitPlan
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.data.samples import Development, HeldOut, encode_development, encode_held_out
from stages.lib.data.thoracic_surgery import ThoracicSurgery
from stages.lib.judge import references, scores
from stages.lib.judge.plans import ReferencePlan
from stages.lib.judge.predictions import REFERENCE_FOLDER, ReferencePredictions, read_output, save_references
from tests.conftest import ROOT

Samples = tuple[Development, HeldOut]

MODELS: dict[str, tuple[float, ...]] = {
    "logistic_regression": (0.001, 0.01, 0.1),
    "random_forest": (30, 3),
    "gradient_boosting": (0.01, 0.1),
    "mlp": (50, 10),
}
PLAN = ReferencePlan("thoracic", seed=3, outputs=1, select_by="log_loss", models=MODELS)


@pytest.fixture(scope="module")
def samples(thoracic_csv: bytes) -> Samples:
    """Two folds."""
    protocol = RepeatedStratifiedKFold(folds=2, repeats=1, validation=0.2)
    declaration = ThoracicSurgery(kind="thoracic_surgery")
    split = SplitPlan("thoracic", "thoracic_surgery", declaration, "encoded", protocol, 3, {})
    development, held_out, _ = preprocess.run(split, {"thoracic_surgery.csv": thoracic_csv}.__getitem__)
    return encode_development(development), encode_held_out(held_out)


@pytest.fixture(scope="module")
def answers(samples: Samples) -> dict[str, ReferencePredictions]:
    return reference.run(PLAN, *samples)


def assert_equal(first: ReferencePredictions, second: ReferencePredictions) -> None:
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def random_state(replicate: int) -> int:
    return int(np.random.SeedSequence([PLAN.seed, replicate]).generate_state(1)[0])


def choose(select_by: str, **models: tuple[float, ...]) -> ReferencePlan:
    return dataclasses.replace(PLAN, select_by=select_by, models=models or MODELS)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_answers_stand_row_by_row_as_those_of_the_networks(
    samples: Samples, answers: dict[str, ReferencePredictions], name: str
) -> None:
    """A model that is fitted by hand on a replicate's training rows, at the strength chosen, answers the same."""
    development, held_out = samples
    for replicate, training in enumerate(development.training):
        model = references.REFERENCES[name].build(answers[name].strength[replicate], random_state(replicate))
        with threadpool_limits(limits=1):
            model.fit(development.inputs[training], development.labels[training])
        assert name != "gradient_boosting" or model.n_iter_ == 100, "trees: no row is kept back to stop by"
        test = held_out.inputs[held_out.test[replicate]]
        for part, inputs in (("training", development.inputs[training]), ("test", test)):
            found = getattr(answers[name], part)[replicate, :, 0]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, model.predict_proba(inputs)[:, 1], rtol=1e-5, atol=1e-6)


def test_held_out_patients_shape_nothing(samples: Samples, answers: dict[str, ReferencePredictions]) -> None:
    """Spoil every other held-out patient: what is chosen, and the answers for all others, stay the same to the bit."""
    development, held_out = samples
    inputs, spoilt = held_out.inputs.copy(), held_out.test[:, ::2]
    inputs[spoilt] = 3
    other = dataclasses.replace(held_out, inputs=inputs, labels=1 - held_out.labels)
    for name, predicted in reference.run(PLAN, development, other).items():
        found, expected = (dataclasses.replace(each, test=each.test[:, 1::2]) for each in (predicted, answers[name]))
        assert_equal(found, expected)
        assert not np.array_equal(predicted.test, answers[name].test)


ORACLES: dict[str, tuple[Callable[..., float], Callable[..., np.intp]]] = {
    "log_loss": (metrics.log_loss, np.argmin),
    "auc": (metrics.roc_auc_score, np.argmax),
    "accuracy": (lambda label, probability: metrics.accuracy_score(label, probability > 0.5), np.argmax),
}


@pytest.mark.parametrize("select_by", ORACLES)
def test_the_strength_is_the_best_on_validation_rows(samples: Samples, select_by: str) -> None:
    development, held_out = samples
    score, argbest = ORACLES[select_by]
    strengths = (30, 3, 1, 0.1)
    found = reference.run(choose(select_by, mlp=strengths), development, held_out)["mlp"]
    for replicate, (training, validation) in enumerate(zip(development.training, development.validation, strict=True)):
        values, data = [], (development.inputs[training], development.labels[training])
        for strength in strengths:
            with threadpool_limits(limits=1):
                fitted = references.fit_reference("mlp", *data, strength=strength, random_state=random_state(replicate))
            probability = fitted.predict_proba(development.inputs[validation])[:, 1]
            values.append(score(development.labels[validation], probability))
        assert len(set(values)) > 1
        assert found.strength[replicate] == strengths[argbest(values)]


def test_the_first_of_equals_is_chosen(samples: Samples) -> None:
    """Leaves of more than half of the rows: no forest can split, so all answer alike."""
    for strengths in ((120.0, 150.0), (150.0, 120.0)):
        found = reference.run(choose("auc", random_forest=strengths), *samples)["random_forest"]
        np.testing.assert_array_equal(found.strength, strengths[0])


def test_images_are_scaled_and_get_a_probability_per_class() -> None:
    """Bytes whose bright pixel tells the class; the training rows are more than are kept answers for."""
    generator = np.random.Generator(np.random.PCG64(0))
    labels = (np.arange(2600) % 3).astype(np.uint8)
    inputs = generator.integers(0, 60, (2600, 6), np.uint8)
    inputs[np.arange(2600), labels] = 255
    rows = np.arange(2600, dtype=np.int32)[None]
    names = tuple(f"pixel_{number}" for number in range(6))
    development = Development(
        inputs[:2400], labels[:2400], rows[0, :2400], rows[:, :2200], rows[:, 2200:2400], names, 1 / 255
    )
    held_out = HeldOut(inputs[2400:], labels[2400:], rows[0, 2400:], rows[:, :200], 1 / 255)
    models = {"random_forest": (5,), "mlp": (1,)}
    plan = ReferencePlan("images", seed=3, outputs=3, select_by="accuracy", models=models)
    for predicted in reference.run(plan, development, held_out).values():
        assert predicted.training.shape == (1, 2000, 3)
        assert predicted.test.shape == (1, 200, 3)
        np.testing.assert_allclose(predicted.test.sum(axis=-1), 1, rtol=1e-5)
        assert scores.measure("accuracy", held_out.labels[held_out.test], predicted.test).item() == 1


def test_a_class_that_no_training_row_has_gets_no_probability() -> None:
    inputs = np.zeros((400, 2), np.float32)
    labels = np.repeat([0, 2], [100, 300])
    model = references.fit_reference("logistic_regression", inputs, labels, strength=1, random_state=0)
    found = references.predict_reference(model, inputs[:1], outputs=4)
    np.testing.assert_allclose(found, [[0.25, 0, 0.75, 0]], atol=1e-3)


def test_answers_survive_their_files(answers: dict[str, ReferencePredictions], inside: Path) -> None:
    save_references("thoracic", answers)
    for name in MODELS:
        fields = read_output(REFERENCE_FOLDER / f"thoracic/{name}.npz")
        assert_equal(ReferencePredictions(**fields), answers[name])
    with pytest.raises(MissingArtifactError, match="expected the output of `reference`"):
        read_output(REFERENCE_FOLDER / "thoracic/nobody.npz")


def test_a_study_without_models_has_an_empty_folder(samples: Samples, inside: Path) -> None:
    save_references("bare", reference.run(dataclasses.replace(PLAN, models={}), *samples))
    assert list(Path("data/reference").rglob("*")) == [Path("data/reference/bare")]


LOOK = """
from types import SimpleNamespace
import numpy as np
from threadpoolctl import threadpool_info
from stages import reference

def look(*_, **__):
    reference.fit_reference("gradient_boosting", np.eye(40), np.arange(40) % 2, strength=0.1, random_state=0)
    print(sorted({(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()}))
    return 0.0, np.zeros(1), np.zeros(1)

reference.predict = look
reference.run(SimpleNamespace(models={"any": ()}, task="any"), SimpleNamespace(training=[0]), None)
"""


def test_every_library_has_one_thread_whenever_it_was_loaded() -> None:
    """In a process of its own, as here all of them are there already; two threads of OpenMP took ten times as long."""
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "[('blas', 1), ('openmp', 1)]"
