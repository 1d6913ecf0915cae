"""Train the networks of a study on synthetic twins, keep what they predict, and judge it as the stage `compare` does.

The study is that of params.yaml: its protocol, its networks, its way of choosing strengths. Twins are split, encoded,
trained and predicted by the same functions as in the stages, several at a time, in processes of their own.
"""

from __future__ import annotations

import filecmp
import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from rich.progress import track

from stages import plan
from stages.lib.core.cli import UserError
from stages.lib.core.files import add_prefix, pop_prefix, read_arrays, write_arrays
from stages.lib.data.dataset import Rows
from stages.lib.data.protocols import Split
from stages.lib.data.samples import Development, HeldOut, encode_development, encode_held_out
from stages.lib.judge import designs
from stages.lib.judge.arms import NO_SKILL, Arm, ArmKey, build_arms
from stages.lib.judge.judge import Judge, find_best, judge_networks, judge_skills
from stages.lib.judge.plans import BEST_SINGLE, ComparedSearch, ComparedVariant, StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels, Predictions, StudyPredictions
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.run import stop_in_time
from stages.lib.lanes.runtime import configure
from stages.lib.settings.mistakes import PARAMS
from stages.preprocess import store
from tools.calibrate.twins import Population, draw_twin

STUDY, L2, AT_ONE = "thoracic", "l2", ("dropout", "batch_norm")  # and the variants trained besides the baseline
OTHER_SEEDS = 1_000_003  # added to the seed of the baseline's equal
KEPT = Path(".dvc/tmp/calibration")
PER_GRAPH = 2  # twins trained together
AS_USED = "as_used"
METHODS = {  # and others; b is the ratio of influences, see `designs.CrossValidation`
    AS_USED: designs.METHOD,
    "surer_errors_apart": designs.Method(degrees_of_freedom=35, shared_errors=False),
    "b_from_0": designs.Method(min_ratio=0.0),
    "b_towards_0.5": designs.Method(null_ratio=0.5),
}

Samples = tuple[Development, HeldOut]
Group = tuple[str, tuple[int, ...]]  # a setting, and the numbers of twins that are trained together
Arms = dict[str, np.ndarray]  # variant/kind of arm -> probability of class 1 of the held-out rows, [replicate, row]


@dataclass(frozen=True)
class PlannedStudy:
    """The plans of the study that twins imitate; runs: its baseline and the variants above."""

    study: StudyPlan
    statistics: StatisticsPlan
    runs: Mapping[str, RunPlan]


def plan_study() -> PlannedStudy:
    """What the stage `plan` makes of params.yaml, whether or not it has run since the last edit."""
    plans: dict[str, Any] = plan.run(plan.read_text(PARAMS), plan.read_source)
    study = plans[f"{STUDY}/_study"][STUDY]
    runs = {name: plans[f"{STUDY}/{name}"][STUDY] for name in (study.baseline, L2, *AT_ONE)}
    return PlannedStudy(study, plans["_statistics"], runs)


@dataclass(frozen=True)
class Predicted:
    """The labels and the arms of one twin."""

    labels: Labels
    arms: Arms


def label_split(label: np.ndarray, split: Split, groups: np.ndarray | None = None) -> Labels:
    """The labels of a table [row] as it is split; groups: [row], such as the patient of each."""
    truth = {part: label[getattr(split, part)] for part in ("training", "validation", "test")}
    shares = truth["training"].mean(axis=1, keepdims=True).astype(np.float32)
    labels = Labels(**truth, test_numbers=split.test, training_numbers=split.training, shares=shares)
    return labels if groups is None else replace(labels, test_groups=groups[split.test])


# Twins that train in one graph: the replicates of all are one axis ---------------------------------------------------


def encode_twins(twins: Sequence[Rows], splits: Sequence[Split]) -> Samples:
    """Encode each twin once per replicate, as the stage `preprocess` does; the rows of all are numbered through."""
    size = len(twins[0].labels)
    shifted = [[rows + place * size for rows in split] for place, split in enumerate(splits)]
    labels, columns = (np.concatenate([getattr(twin, name) for twin in twins]) for name in ("labels", "columns"))
    rows = replace(twins[0], labels=labels, columns=columns)
    development, held_out = store(rows, Split(*map(np.concatenate, zip(*shifted, strict=True))))
    return encode_development(development), encode_held_out(held_out)


def train_and_predict(run: RunPlan, samples: Samples, seed: int) -> list[Predictions]:
    """Train all lanes of a run, and predict with each set of weights that the study judges.

    These are those of each lane's best epoch, then those of the last one; the latter alone where nothing is stopped.
    """
    from stages import evaluate  # here, since both import TensorFlow, which only the workers need
    from stages.lib.lanes.training import train_lanes

    run = replace(run, seed=seed, replicates=tuple(range(len(samples[0].training))))
    trained = train_lanes(run, samples[0])
    judged = [stop_in_time(trained), trained] if run.stopped else [trained]
    return [evaluate.run(run, weights, *samples) for weights in judged]


def train_arms(study: PlannedStudy, samples: Samples, seed: int) -> Arms:
    """Those that `compare` makes of the baseline, its equal with other seeds, l2 with its path, and two more knobs."""
    from stages.evaluate import collect_labels

    baseline, runs = study.study.baseline, study.runs
    knobs = {name: runs[name].at_knob for name in AT_ONE}
    trained = {name: train_and_predict(run, samples, seed) for name, run in {**runs, **knobs}.items()}
    trained["other_seeds"] = train_and_predict(runs[baseline], samples, seed + OTHER_SEEDS)
    predicted = StudyPredictions(
        collect_labels(*samples, outputs=study.study.outputs),
        {name: each[0] for name, each in trained.items()},
        at_end={baseline: trained[baseline][1]} if study.study.stopped else {},
    )
    return name_arms(choose_variants(study.study, trained, (L2, *AT_ONE)), predicted)


def choose_variants(plan: StudyPlan, names: Iterable[str], singles: Sequence[str] = ()) -> StudyPlan:
    """The study with these variants; singles: those of one regulariser, among which validation rows choose."""
    search = ComparedSearch(plan.baseline, 0, (), (), tuple(singles), BEST_SINGLE)
    variants = tuple(ComparedVariant(name, plan.baseline, "regularizers") for name in names)
    return replace(plan, variants=variants, searches=(search,))


def name_arms(plan: StudyPlan, predicted: StudyPredictions) -> Arms:
    """The arms of a study, as far as they are kept."""
    return {"/".join(key): arm.test[..., 0] for key, arm in build_arms(plan, predicted).items()}


def train_group(group: Group, *, study: PlannedStudy, seed: int) -> list[Predicted]:
    """Draw, split and train the twins of a group."""
    setting, numbers = group
    population, protocol = Population.fit(), study.study.protocol
    twins = [draw_twin(population, setting, number, seed) for number in numbers]
    splits = [protocol.split(twins[place].labels, num_own_test=0, seed=number) for place, number in enumerate(numbers)]
    arms = train_arms(study, encode_twins(twins, splits), seed + numbers[0])
    by_twin = {name: np.split(predicted, len(twins)) for name, predicted in arms.items()}
    return [
        Predicted(label_split(twin.labels, split), {name: by_twin[name][place] for name in arms})
        for place, (twin, split) in enumerate(zip(twins, splits, strict=True))
    ]


# All twins, in processes of their own --------------------------------------------------------------------------------


def keep_group(group: Group, *, study: PlannedStudy, seed: int, folder: Path) -> None:
    """Train the twins of a group, and keep their predictions."""
    setting, numbers = group
    for number, predicted in zip(numbers, train_group(group, study=study, seed=seed), strict=True):
        save_predicted(predicted, folder / name_file(setting, number, seed))


def is_as_trained_now(group: Group, *, study: PlannedStudy, seed: int) -> bool:
    """Whether the kept predictions of a group are those that it gives today; it is trained again to see."""
    files = [name_file(group[0], number, seed) for number in group[1]]
    with TemporaryDirectory() as scratch:
        keep_group(group, study=study, seed=seed, folder=Path(scratch))
        return all(filecmp.cmp(KEPT / file, Path(scratch, file), shallow=False) for file in files)


def train_missing(counts: Mapping[str, int], study: PlannedStudy, *, seed: int, jobs: int) -> None:
    """Train the twins that are not kept yet, several at a time; counts: setting -> number of twins.

    UserError where what is kept comes from other code or another study.
    """
    groups: list[Group] = [
        (setting, tuple(range(first, min(first + PER_GRAPH, count))))
        for setting, count in counts.items()
        for first in range(0, count, PER_GRAPH)
    ]
    groups.sort(key=lambda group: group[1])  # so that a run which is cut short has as many twins of each setting
    kept = [group for group in groups if all((KEPT / name_file(group[0], n, seed)).exists() for n in group[1])]
    missing = [group for group in groups if group not in kept]
    if not groups:  # no processes for nothing: to end them while they start can wait for ever
        return
    with multiprocessing.get_context("spawn").Pool(jobs, configure) as pool:
        if kept and not pool.apply(is_as_trained_now, kept[:1], {"study": study, "seed": seed}):
            found = f"the twins in {KEPT} are not what this code and {PARAMS} give"
            raise UserError(f"{found}, expected the same: remove that folder")
        work = pool.imap_unordered(partial(keep_group, study=study, seed=seed, folder=KEPT), missing)
        for _ in track(work, "Training twins", total=len(missing)):
            pass


def name_file(setting: str, number: int, seed: int) -> str:
    return f"{setting}_{seed}_{number:04d}.npz"


def save_predicted(predicted: Predicted, path: Path) -> None:
    write_arrays(path, add_prefix("label", vars(predicted.labels)) | add_prefix("arm", predicted.arms))


def load_predicted(path: Path) -> Predicted:
    fields = read_arrays(path, written_by="make calibrate")
    return Predicted(Labels(**pop_prefix("label", fields)), pop_prefix("arm", fields))


# Judging one twin; workers find functions by name, so that none of theirs stands in what is run -----------------------


def judge_kept(number: int, *, setting: str, study: PlannedStudy, seed: int) -> pd.DataFrame:
    """One twin whose networks are trained."""
    return judge_twin(load_predicted(KEPT / name_file(setting, number, seed)), study, methods=METHODS)


def judge_twin(
    predicted: Predicted, study: PlannedStudy, *, methods: Iterable[str] = (AS_USED,), in_sets: Sequence[str] = ()
) -> pd.DataFrame:
    """Every arm against the baseline, by each method, and against no skill, by both scores of the study: a row each.

    asked: whether a question is about it. own: half of the interval of the arm alone. in_best: whether it may be the
    best, of the arms whose place in the set of the best is counted; None of the others.
    """
    judge = make_judge(predicted, study)
    arms = [key for key in judge.arms if key != NO_SKILL]
    families = {(AS_USED, NO_SKILL.variant): judge_skills(judge, arms)}
    for method in methods:
        with patch.object(designs, "METHOD", METHODS[method]):
            families[method, judge.plan.baseline] = judge_networks(judge, arms)[0]
    best = {score: find_best(judge, score) if in_sets else [] for score in judge.scores}
    found = pd.DataFrame(
        {"method": method, "against": against, "score": key.score, "arm": f"{key.variant}/{key.kind}"}
        | {**asdict(difference), "in_best": ArmKey(key.variant, key.kind) in best[key.score]}
        for (method, against), differences in families.items()
        for key, difference in differences.items()
    ).rename(columns={"value": "difference"})
    own, asked = (found.own_high - found.own_low) / 2, found.verdict != "not_asked"
    return found.assign(own=own, asked=asked, in_best=found.in_best.where(found.arm.isin(in_sets), None))


def make_judge(predicted: Predicted, study: PlannedStudy) -> Judge:
    """The judge of a study that compares these arms."""
    arms = {ArmKey(*name.split("/")): Arm(rows[..., None]) for name, rows in predicted.arms.items()}
    names = dict.fromkeys(key.variant for key in arms if key.variant != BEST_SINGLE)
    return Judge(choose_variants(study.study, names), study.statistics, predicted.labels, arms)
