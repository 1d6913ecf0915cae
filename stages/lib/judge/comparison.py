"""The record of a comparison: what `compare` writes of each study, and what audit, report and review read.

data/points/<study>/comparison.json, in DVC's cache, has all of it. metrics/comparison/<study>.json, in git, is the same
for a study of one data set. Of several data sets it is the summary that a reader or a review needs, a line for each arm
and data set: whatever has a default here is left out. Its structure is data; who shows it makes sentences of it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter

from stages.lib.core.files import read_bytes, write_bytes
from stages.lib.data.checks import Check
from stages.lib.data.protocols import Protocol
from stages.lib.judge.arms import ArmKey
from stages.lib.judge.plans import Group, Question
from stages.lib.judge.scores import SCORES

METRICS = Path("metrics")
COMPARISON, POINTS = METRICS / "comparison", Path("data/points")  # a file, or a folder, for each study
RECORD, PATHS, SEARCHES = "comparison.json", "paths.csv", "searches.csv"

Kind = Literal["at_knob", "tuned", "default", "to_end", "averaged", "reference"]
Verdict = Literal["better", "worse", "equivalent", "inconclusive", "not_asked"]


@dataclass(frozen=True)
class Difference:
    """A score of an arm less that of what it is compared with, whichever direction is better.

    low, high: the interval that agrees with the verdict, and is the one that is shown. It holds together with all
        intervals of its question; of what is equivalent or not asked it is that of the arm alone.
    own_low, own_high: the arm's own interval, at the confidence of params.yaml.
    p_value, p_adjusted: two-sided, of the arm alone, and adjusted over its question and for the level that it has.
    """

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    own_low: FiniteFloat = 0.0
    own_high: FiniteFloat = 0.0
    p_value: FiniteFloat = 1.0
    p_adjusted: FiniteFloat = 1.0
    verdict: Verdict = "not_asked"

    def summarize(self) -> Difference:
        return replace(self, own_low=0.0, own_high=0.0)


@dataclass(frozen=True)
class Judgement:
    """An arm by one score, on held-out rows.

    value: mean over replicates. replicates: the score of each. Replicates of cross-validation share rows.
    difference: from the arm's baseline; None for an arm that is compared with none.
    skill: difference from no skill, the class shares of the arm's training rows.
    """

    value: FiniteFloat
    replicates: Annotated[list[FiniteFloat], Field(min_length=2)] = field(default_factory=list)
    difference: Difference | None = None
    skill: Difference = Difference(0.0, 0.0, 0.0)

    def summarize(self) -> Judgement:
        return Judgement(self.value, difference=self.difference and self.difference.summarize())

    @property
    def verdict(self) -> str:
        return self.difference.verdict if self.difference else "baseline"


def check_values(judged: dict[str, Judgement]) -> dict[str, Judgement]:
    for name, one in judged.items():
        score, values = SCORES.get(name), (one.value, *one.replicates)
        if not score or not score.least <= min(values) <= max(values) <= score.most:
            raise ValueError(f"{name} should be a known score, its values possible")
    return judged


@dataclass(frozen=True)
class ArmResult:
    """One arm.

    baseline: the variant, at its knobs, that it is compared with.
    group: what it differs in from its baseline; model for a reference model.
    judged: score -> judgement; the score of discrimination first, then that of probabilities.
    strengths: regulariser -> the strengths that its replicates use, each once.
    scores: name -> mean over replicates; `gap` is the score of probabilities on training rows less that on held-out
        rows.
    mechanisms: what the regularisers did, means over replicates; see `measure_mechanisms`. `one_answer` is the share of
        replicates in which a network puts all held-out rows into one class.
    optimism: of a tuned or averaged arm, score -> that on the validation rows which chose its points less that on
        held-out rows, mean over replicates.
    """

    baseline: str
    group: Group | Literal["model"]
    judged: Annotated[dict[str, Judgement], AfterValidator(check_values)]
    strengths: dict[str, list[FiniteFloat]] = field(default_factory=dict)
    scores: dict[str, FiniteFloat] = field(default_factory=dict)
    mechanisms: dict[str, FiniteFloat] = field(default_factory=dict)
    optimism: dict[str, FiniteFloat] = field(default_factory=dict)

    def summarize(self) -> ArmResult:
        judged = {score: one.summarize() for score, one in self.judged.items()}
        return ArmResult(self.baseline, self.group, judged)


@dataclass(frozen=True)
class Use:
    """How an arm uses one regulariser: the share of its replicates that do, and their least and greatest strength."""

    share: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


@dataclass(frozen=True)
class SearchResult:
    """The search of a variant, whose tuned arm takes the best points.

    num_points: the knobs' included.
    uses: regulariser of the search -> how the best points use it; without those that none uses.
    best_single: the arm, tuned, that is the best single regulariser; empty where no variant has one regulariser.
    singles: regulariser -> how that arm uses it.
    against_best_single: score -> the search's tuned arm less the best single regulariser.
    average: number of the best points that are averaged, or 0. best_singles: the arm that averages as many of all
        points of variants of one regulariser; or empty.
    averaged_against_best_single: score -> the same as above, both averaged.
    """

    num_points: int
    uses: dict[str, Use]
    best_single: str
    singles: dict[str, Use]
    against_best_single: dict[str, Difference]
    average: int = 0
    best_singles: str = ""
    averaged_against_best_single: dict[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Reach:
    """What a study can see by one score, for a typical arm of its networks.

    detectable: the smallest true difference that would be called better or worse with a chance of 80 %.
    margin: the smallest margin within which two equal arms would be called equivalent with that chance.
    wanted: the greatest difference that does not matter.
    """

    detectable: FiniteFloat
    margin: FiniteFloat
    wanted: FiniteFloat = 0.0


Way = Literal["choose", "average", "average_best"]


@dataclass(frozen=True)
class CostPoint:
    """What so many trained networks are worth, used in one way: the change of the score of probabilities from one.

    difference: of the best of them less as many averaged, or as many as there are; where it is asked.
    """

    way: Way
    networks: int
    change: FiniteFloat
    difference: Difference | None = None


@dataclass(frozen=True)
class StudyResult:
    """All arms of a study, and the protocol by which they were judged.

    dataset, features, protocol, seed: together they fix the rows of every replicate.
    scores: question -> the score that answers it.
    no_skill: score -> what predictions that know the class shares alone would score.
    reach: score -> what the study can see by it; empty where the baseline is the only arm.
    arms: variant or reference model -> kind of arm -> result.
    searches: variant -> what its search found.
    may_be_best: score -> the arms that are not shown to be worse than another; each variant once, as one would use it.
    checks: what a reader of the result has to know of the data and of it.
    explored: as in `StudyPlan`. equal_cost: what so many networks are worth, by `equal_cost.compare_costs`.
    """

    dataset: str
    features: str
    protocol: Protocol
    seed: int
    scores: dict[Question, str]
    baseline: str
    no_skill: dict[str, FiniteFloat]
    reach: dict[str, Reach]
    arms: dict[str, dict[Kind, ArmResult]]
    searches: dict[str, SearchResult] = field(default_factory=dict)
    may_be_best: dict[str, list[ArmKey]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    explored: bool = False
    equal_cost: list[CostPoint] = field(default_factory=list)

    def list_arms(self) -> Iterator[tuple[ArmKey, ArmResult]]:
        for variant, kinds in self.arms.items():
            for kind, result in kinds.items():
                yield ArmKey(variant, kind), result

    def find(self, key: ArmKey) -> ArmResult:
        return next(arm for found, arm in self.list_arms() if found == key)

    @property
    def baseline_result(self) -> ArmResult:
        return self.arms[self.baseline]["at_knob"]

    def is_judged_on_the_same_rows(self, other: StudyResult) -> bool:
        """Whether replicates of the two can be paired."""
        return all(getattr(self, part) == getattr(other, part) for part in ("dataset", "features", "protocol", "seed"))


Comparison = dict[str, StudyResult]  # task -> result

LAYOUT, ARM = TypeAdapter(Comparison), TypeAdapter(ArmResult)


@dataclass(frozen=True)
class PathPoint:
    """One score of a variant at one point of its path, mean over replicates with its interval."""

    study: str
    score: str
    variant: str
    strength: float
    mean: float
    ci_low: float
    ci_high: float
    gap: float


@dataclass(frozen=True)
class SearchPoint:
    """One score of one point of a search, and the strength of one of its regularisers; means over replicates.

    chosen: share of the replicates whose best point it is.
    """

    study: str
    variant: str
    point: int
    regularizer: str
    strength: float
    score: str
    validation: float
    held_out: float
    chosen: float


def find_comparison(study: str) -> Path:
    return COMPARISON / f"{study}.json"


def save_comparison(study: str, comparison: Comparison) -> None:
    """All of it for the stages that follow, and what stays in git; comparison: of the study's tasks."""
    write_bytes(POINTS / study / RECORD, lay_out(comparison))
    write_bytes(find_comparison(study), lay_out(comparison, summary=len(comparison) > 1))


def lay_out(comparison: Comparison, *, summary: bool = False) -> bytes:
    """JSON with a line for each arm, so that a change is read as such. ValueError where a number is not finite."""
    content, lines = LAYOUT.dump_python(comparison, mode="json"), list[str]()
    for task, result in comparison.items():
        for key, arm in result.list_arms():
            content[task]["arms"][key.variant][key.kind] = f"@{len(lines)}"
            kept = ARM.dump_python(arm.summarize() if summary else arm, mode="json", exclude_defaults=summary)
            lines.append(json.dumps(kept, separators=(",", ":"), allow_nan=False))
    text = json.dumps(content, indent=1, allow_nan=False)
    return (re.sub(r'"@(\d+)"', lambda found: lines[int(found[1])], text) + "\n").encode()


def load_comparison(*studies: str, whole: bool = False) -> Comparison:
    """All tasks of these studies, as git keeps them, or the whole record, as the cache has it."""
    paths = [POINTS / study / RECORD if whole else find_comparison(study) for study in studies]
    texts = [read_bytes(path, written_by="compare") for path in paths]
    return {task: result for text in texts for task, result in parse_comparison(text).items()}


def parse_comparison(text: bytes | str) -> Comparison:
    """pydantic's ValidationError where the text is not what `save_comparison` writes."""
    return LAYOUT.validate_json(text)


def save_points(study: str, paths: Sequence[PathPoint], searches: Sequence[SearchPoint]) -> None:
    """Write two flat tables, the form in which `dvc plots` can show them."""
    for name, kind, points in ((PATHS, PathPoint, paths), (SEARCHES, SearchPoint, searches)):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in fields(kind))
        for point in points:
            writer.writerow(f"{cell:.7g}" if isinstance(cell, float) else cell for cell in asdict(point).values())
        write_bytes(POINTS / study / name, text.getvalue().encode())


def load_paths(study: str) -> list[PathPoint]:
    """pydantic's ValidationError where the file is not what `save_points` writes."""
    text = read_bytes(POINTS / study / PATHS, written_by="compare").decode()
    return TypeAdapter(list[PathPoint]).validate_python(list(csv.DictReader(io.StringIO(text, newline=""))))


def join_points(studies: Sequence[str]) -> None:
    """Put the tables of studies together."""
    for name in (PATHS, SEARCHES):
        first, *others = [read_bytes(POINTS / study / name, written_by="compare") for study in studies]
        write_bytes(METRICS / name, b"".join([first, *(text.partition(b"\n")[2] for text in others)]))
