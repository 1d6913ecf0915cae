"""Every file of the pipeline: where it is, and how it is written and read.

A file is written beside its place and then moved there, so that a stage that is stopped leaves nothing half-written.
Bytes repeat: no archive or document written here holds a time, a path or an order of completion.
"""

import dataclasses
import io
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from stages.lib import plans
from stages.lib.commands import UserError
from stages.lib.predictions import Labels, Predictions, ReferencePredictions
from stages.lib.runs import TrainedRun
from stages.lib.samples import Development, HeldOut

WEIGHT, MECHANISM = "weight_", "mechanism_"  # what members of lanes.npz begin with

Record = TypeVar("Record")

RAW, PROCESSED, PLAN = Path("data/raw"), Path("data/processed"), Path("data/plan")
PREDICTIONS, REFERENCE, MODELS = Path("data/predictions"), Path("data/reference"), Path("models")


class MissingArtifactError(UserError):
    """A stage's input is not there; the message names the stage that writes it."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def read_bytes(path: Path, *, written_by: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingArtifactError(
            f"{path} is missing, expected the output of `{written_by}`: run `dvc repro` (or `dvc pull`)"
        ) from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz; NumPy dates its members 1980, so equal arrays are equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, *, written_by: str) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(read_bytes(path, written_by=written_by)), allow_pickle=False) as arrays:
        return dict(arrays)


def write_record(path: Path, record: object) -> None:
    """A dataclass of arrays, strings and numbers, one .npz member a field."""
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    write_arrays(path, {field.name: np.asarray(getattr(record, field.name)) for field in fields})


def read_record(kind: type[Record], path: Path, *, written_by: str) -> Record:
    """The inverse: members of no dimension become plain numbers, arrays of text become tuples."""
    arrays = read_arrays(path, written_by=written_by)
    return kind(**{name: to_field(array) for name, array in arrays.items()})


def to_field(array: np.ndarray) -> object:
    if array.dtype.kind == "U" or array.ndim == 0:
        return tuple(array.tolist()) if array.ndim else array.item()
    return array


# raw -----------------------------------------------------------------------------------------------------------------


def load_raw(dataset: str, name: str) -> bytes:
    return read_bytes(RAW / dataset / name, written_by=f"fetch@{dataset}")


# plan ----------------------------------------------------------------------------------------------------------------


def load_params() -> str:
    return read_bytes(Path("params.yaml"), written_by="git checkout params.yaml").decode()


def save_plans(named: Mapping[str, object]) -> None:
    """Name in the plan folder, without its ending, -> plan. Names that start with _ are no variants."""
    for name, plan in named.items():
        write_bytes(PLAN / f"{name}.json", plans.to_json(plan).encode())


def load_split_plan(study: str) -> plans.SplitPlan:
    return plans.from_json(plans.SplitPlan, load_plan_text(study, "_split"))


def load_study_plan(study: str) -> plans.StudyPlan:
    return plans.from_json(plans.StudyPlan, load_plan_text(study, "_study"))


def load_reference_plan(study: str) -> plans.ReferencePlan:
    return plans.from_json(plans.ReferencePlan, load_plan_text(study, "_reference"))


def load_study_plans() -> list[plans.StudyPlan]:
    """Every study of the plan, in the order of their names."""
    names = sorted(folder.name for folder in PLAN.glob("*") if folder.is_dir())
    if not names:
        raise MissingArtifactError(f"{PLAN} holds no study, expected the output of `plan`: run `dvc repro`")
    return [load_study_plan(name) for name in names]


def load_statistics_plan() -> plans.StatisticsPlan:
    text = read_bytes(PLAN / "_statistics.json", written_by="plan").decode()
    return plans.from_json(plans.StatisticsPlan, text)


def load_run_plan(study: str, variant: str) -> plans.RunPlan:
    return plans.from_json(plans.RunPlan, load_plan_text(study, variant))


def load_plan_text(study: str, name: str) -> str:
    return read_bytes(PLAN / study / f"{name}.json", written_by="plan").decode()


# preprocess ----------------------------------------------------------------------------------------------------------


def save_samples(study: str, development: Development, held_out: HeldOut) -> None:
    write_record(PROCESSED / study / "development.npz", development)
    write_record(PROCESSED / study / "held_out.npz", held_out)


def load_development(study: str) -> Development:
    return read_record(Development, PROCESSED / study / "development.npz", written_by=f"preprocess@{study}")


def load_held_out(study: str) -> HeldOut:
    return read_record(HeldOut, PROCESSED / study / "held_out.npz", written_by=f"preprocess@{study}")


# train ---------------------------------------------------------------------------------------------------------------


def save_run(run: TrainedRun, model: bytes, study: str, variant: str) -> None:
    """model: a .keras file."""
    folder = MODELS / study / variant
    fields = dict(vars(run))
    weights, mechanisms, history = fields.pop("weights"), fields.pop("mechanisms"), fields.pop("history")
    arrays = fields | add_prefix(WEIGHT, weights) | add_prefix(MECHANISM, mechanisms)
    write_arrays(folder / "lanes.npz", arrays)
    write_bytes(folder / "history.csv", history.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode())
    write_bytes(folder / "model.keras", model)


def load_run(study: str, variant: str) -> TrainedRun:
    folder, stage = MODELS / study / variant, f"train_{study}@{variant}"
    fields = read_arrays(folder / "lanes.npz", written_by=stage)
    weights, mechanisms = pop_prefix(WEIGHT, fields), pop_prefix(MECHANISM, fields)
    history = pd.read_csv(io.BytesIO(read_bytes(folder / "history.csv", written_by=stage)))
    return TrainedRun(weights=weights, mechanisms=mechanisms, history=history, **fields)


def add_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def pop_prefix(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def prune_runs(study: str, variants: Sequence[str]) -> None:
    """Remove the runs of variants that a study no longer has: DVC leaves outputs of stages that are gone on disk."""
    for folder in sorted((MODELS / study).glob("*")):
        if folder.is_dir() and folder.name not in variants:
            shutil.rmtree(folder)


# evaluate ------------------------------------------------------------------------------------------------------------


def save_predictions(study: str, labels: Labels, predictions: Mapping[str, Predictions]) -> None:
    """The whole folder of a study; `_labels` cannot be a variant's name."""
    write_record(PREDICTIONS / study / "_labels.npz", labels)
    for variant, predicted in predictions.items():
        write_record(PREDICTIONS / study / f"{variant}.npz", predicted)


def load_labels(study: str) -> Labels:
    return read_record(Labels, PREDICTIONS / study / "_labels.npz", written_by=f"evaluate@{study}")


def load_predictions(study: str, variant: str) -> Predictions:
    return read_record(Predictions, PREDICTIONS / study / f"{variant}.npz", written_by=f"evaluate@{study}")


# reference -----------------------------------------------------------------------------------------------------------


def save_references(study: str, references: Mapping[str, ReferencePredictions]) -> None:
    """The whole folder of a study, empty where it has no reference model."""
    (REFERENCE / study).mkdir(parents=True, exist_ok=True)
    for name, predicted in references.items():
        write_record(REFERENCE / study / f"{name}.npz", predicted)


def load_reference(study: str, name: str) -> ReferencePredictions:
    return read_record(ReferencePredictions, REFERENCE / study / f"{name}.npz", written_by=f"reference@{study}")
