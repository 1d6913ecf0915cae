"""What `plan` writes and the other stages read: params.yaml with every default filled in, as frozen values.

This module holds no rule of its own, so that an edit to the rules (lib/params.py) retrains nothing: what a run depends
on is the content of its plan file.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import TypeAdapter

Plan = TypeVar("Plan")
SelectBy = Literal["log_loss", "auc", "accuracy"]


@dataclass(frozen=True)
class Protocol:
    """How a data set is split into replicates. `kind` says which of the two splits of lib/splits.py makes them."""

    kind: Literal["repeated_stratified_k_fold", "fixed_test"]
    replicates: int  # k * r folds, or seeds
    folds: int  # k; 1 where the test rows are fixed
    training: int | None  # fixed_test only: training rows per replicate; None takes all that validation leaves
    validation: float  # share of the development rows that is held back to choose strengths and epochs


@dataclass(frozen=True)
class SplitPlan:
    """What `preprocess` needs to know of a study."""

    study: str
    dataset: str
    features: Literal["encoded", "raw"]  # raw: the tutorial's own columns, id included, unscaled
    protocol: Protocol
    seed: int


@dataclass(frozen=True)
class RegularizerPlan:
    """One regulariser of a run.

    strengths: one per path point; the first is the knob. layers: the layers it acts on, counted from 1 (the last
    number is the output layer); empty for what acts on the batch or on the whole network.
    """

    name: str
    strengths: tuple[float, ...]
    layers: tuple[int, ...]


@dataclass(frozen=True)
class NetworkPlan:
    hidden: tuple[int, ...]
    activation: str
    outputs: int  # 1 is a sigmoid, more a softmax


@dataclass(frozen=True)
class OptimizerPlan:
    name: Literal["sgd", "rmsprop", "adam"]
    learning_rate: float
    momentum: float  # sgd and rmsprop


@dataclass(frozen=True)
class EarlyStopping:
    """Fields as in keras.callbacks.EarlyStopping; the patience is the strength of the regulariser early_stopping."""

    monitor: str
    min_delta: float
    start_from_epoch: int
    restore_best: bool


@dataclass(frozen=True)
class Checkpoint:
    """Fields as in keras.callbacks.ModelCheckpoint. A run with a checkpoint hands on the checkpoint's weights."""

    monitor: str
    save_best_only: bool


@dataclass(frozen=True)
class ReduceLrOnPlateau:
    """Fields as in keras.callbacks.ReduceLROnPlateau."""

    monitor: str
    factor: float
    patience: int
    min_delta: float
    cooldown: int
    min_lr: float


@dataclass(frozen=True)
class CallbacksPlan:
    """None: the run goes without."""

    early_stopping: EarlyStopping | None
    checkpoint: Checkpoint | None
    reduce_lr_on_plateau: ReduceLrOnPlateau | None
    terminate_on_nan: bool


@dataclass(frozen=True)
class RunPlan:
    """One variant of one study: all that `train` reads besides the development rows."""

    study: str
    variant: str
    seed: int
    replicates: tuple[int, ...]
    primary: str  # the score that history.csv follows on the validation rows
    network: NetworkPlan
    regularizers: tuple[RegularizerPlan, ...]
    callbacks: CallbacksPlan
    loss: str
    optimizer: OptimizerPlan
    batch_size: int
    epochs: int

    @property
    def num_strengths(self) -> int:
        return max((len(entry.strengths) for entry in self.regularizers), default=1)

    def lane_strengths(self, entry: RegularizerPlan) -> list[float]:
        """The strength of a regulariser in every lane; one without a path has the same in all."""
        strengths = entry.strengths if len(entry.strengths) > 1 else entry.strengths * self.num_strengths
        return [strength for strength in strengths for _ in self.replicates]


@dataclass(frozen=True)
class ReferenceModel:
    """One model of lib/references.py; strengths: what it tries, (0,) where it has none. The first of equals wins."""

    name: str
    strengths: tuple[float, ...]


@dataclass(frozen=True)
class ReferencePlan:
    """What `reference` needs to know of a study."""

    study: str
    seed: int
    outputs: int  # 1 is the probability of class 1, more one probability per class
    select_by: SelectBy
    models: tuple[ReferenceModel, ...]


@dataclass(frozen=True)
class Equivalence:
    """The greatest difference of each primary score that does not matter."""

    auc: float
    accuracy: float


@dataclass(frozen=True)
class StatisticsPlan:
    confidence: float
    equivalence: Equivalence


@dataclass(frozen=True)
class StudyPlan:
    """What `compare` needs to know of a study."""

    study: str
    dataset: str
    baseline: str
    primary: str
    select_by: SelectBy  # the validation score that chooses strengths
    protocol: Protocol
    seed: int
    variants: tuple[str, ...]
    references: tuple[str, ...]

    def describe_protocol(self) -> str:
        """In one line: arms with the same line, on the same data, were judged on the same rows."""
        protocol = self.protocol
        training = f"{protocol.training:,}" if protocol.training else "all other"
        test = "fixed test rows" if protocol.kind == "fixed_test" else f"{protocol.folds} folds"
        return (
            f"{self.dataset}, {test}, {protocol.replicates} replicates, {training} training rows, "
            f"validation {protocol.validation:g}, seed {self.seed}"
        )


def to_json(plan: object) -> str:
    return TypeAdapter(type(plan)).dump_json(plan, indent=2).decode() + "\n"


def from_json(kind: type[Plan], text: str) -> Plan:
    """The inverse of `to_json` for the classes of this module."""
    return TypeAdapter(kind).validate_json(text)
