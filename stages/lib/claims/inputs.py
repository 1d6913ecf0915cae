"""What claims read: comparison, paths, measurements and evidence, with the figures that many claims take from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.claims import evidence, measurements
from stages.lib.claims.evidence import Evidence
from stages.lib.claims.figures import Draft, Source, bounded_mean, fixed, mean, mean_share, turn
from stages.lib.claims.measurements import Measured, Measurements
from stages.lib.core.values import read
from stages.lib.judge.arms import AT_KNOB, TUNED
from stages.lib.judge.comparison import COMPARISON, PATHS, ArmResult, Comparison, PathPoint
from stages.lib.judge.scores import SCORES


class MissingError(Exception):
    """What a claim is judged by is missing: it is not in params.yaml, or a network has diverged; says what."""


@dataclass(frozen=True)
class Records:
    """confidence: of the intervals of `comparison`."""

    confidence: float
    comparison: Comparison
    paths: Sequence[PathPoint]
    measurements: Mapping[str, Measurements]
    evidence: Mapping[str, Evidence]

    def studies_with(self, variant: str, studies: Sequence[str]) -> list[str]:
        """Those of the studies that are there and have a variant, and its baseline."""
        found = [name for name in studies if name in self.comparison and variant in self.comparison[name].arms]
        if not found:
            raise MissingError(f"{variant} in one of the studies {', '.join(studies)}")
        return found

    def arm(self, study: str, variant: str, kind: str) -> ArmResult:
        try:
            return self.comparison[study].arms[variant][kind]  # type: ignore[index]
        except KeyError:
            raise MissingError(f"{variant} ({kind}) in the study {study}") from None

    def best_kind(self, study: str, variant: str) -> str:
        """Tuned, or at its knobs where it has no path."""
        return TUNED if TUNED in self.comparison[study].arms.get(variant, {}) else AT_KNOB

    def baseline(self, study: str) -> str:
        if study not in self.comparison:
            raise MissingError(f"the study {study}")
        return self.comparison[study].baseline

    def measured(self, study: str, variant: str) -> Measured:
        try:
            return self.measurements[study].variants[variant]
        except KeyError:
            raise MissingError(f"{variant} in the study {study}") from None

    def ratio(self, study: str) -> float:
        return self.measurements[study].test_train_ratio

    def values(self, study: str, variant: str, kind: str, quantity: str) -> np.ndarray:
        """A measured quantity of an arm, [replicate]."""
        found = self.measured(study, variant)
        try:
            values = found.at_tuned(quantity) if kind == TUNED else found.at_knob(quantity)
        except KeyError:
            raise MissingError(f"{quantity} of {variant} in the study {study}") from None
        return expect_finite(values, f"{quantity} of {variant} in the study {study}")

    def improvement(
        self, study: str, variant: str, kind: str, score: str, *, quantity: str = "", cost: bool = False
    ) -> Draft:
        """What an arm gains over its baseline by a score, on held-out rows, as `compare` has judged it.

        cost: what it loses instead.
        """
        arm = self.arm(study, variant, kind)
        found = arm.judged[score].difference if score in arm.judged else None
        if found is None:
            raise MissingError(f"a difference of {variant} by {score} in the study {study}")
        sign = (1 if SCORES[score].greater_is_better else -1) * (-1 if cost else 1)
        words = ("gained", "lost") if SCORES[score].greater_is_better else ("saved", "added")
        label = f"held-out {SCORES[score].label} {words[cost]} by {variant} against {arm.baseline}"
        source = Source(str(COMPARISON), study, variant, kind)
        stands = found.p_adjusted < 1 - self.confidence
        return Draft(label, source, turn(found, sign=sign), quantity, "nats" if score == "log_loss" else "", stands)

    def mean_of(
        self,
        values: np.ndarray,
        label: str,
        *,
        study: str,
        variant: str,
        kind: str,
        quantity: str = "",
        unit: str = "",
        is_share: bool = False,
    ) -> Draft:
        """The mean of what was measured of an arm, [replicate]."""
        source = Source(str(measurements.find_path(study)), study, variant, kind)
        interval = (bounded_mean if is_share else mean)(values, self.ratio(study))
        return Draft(label, source, interval, quantity, unit)

    def path_points(self, study: str, variant: str, score: str) -> Iterator[Draft]:
        """A score at each point of a path, for information."""
        for point in self.paths:
            if (point.study, point.variant, point.score) == (study, variant, score):
                label = f"held-out {SCORES[score].label} at {variant} {point.strength:g}"
                interval = fixed(point.mean, point.ci_low, point.ci_high)
                yield Draft(label, Source(str(PATHS), study, variant, f"{point.strength:g}"), interval)

    def experiment(self, name: str) -> Evidence:
        if name not in self.evidence:
            raise MissingError(f"the experiment {name}")
        return self.evidence[name]

    def case(self, experiment: str, name: str, quantity: str, level: float = 0.0) -> np.ndarray:
        """What an experiment has measured, [replicate]."""
        where = f"{quantity} of {name} at {level:g} in the experiment {experiment}"
        for case in self.experiment(experiment).cases:
            if (case.name, case.level) == (name, level) and quantity in case.values:
                return expect_finite(read(case.values[quantity]), where)
        raise MissingError(where)

    def levels(self, experiment: str, name: str) -> list[float]:
        return [case.level for case in self.experiment(experiment).cases if case.name == name]

    def count(self, experiment: str, name: str) -> tuple[int, int]:
        for found in self.experiment(experiment).counts:
            if found.name == name:
                return found.hits, found.cases
        raise MissingError(f"the count {name} in the experiment {experiment}")

    def share_in(self, experiment: str, values: np.ndarray, label: str, *, quantity: str = "") -> Draft:
        """The mean of shares that an experiment has measured, [replicate]."""
        found = self.experiment(experiment)
        source = Source(str(evidence.find_path(experiment)), found.study)
        return Draft(label, source, mean_share(values, found.test_train_ratio), quantity)

    def mean_in(
        self,
        experiment: str,
        values: np.ndarray,
        label: str,
        *,
        variant: str = "",
        quantity: str = "",
        unit: str = "",
        is_share: bool = False,
    ) -> Draft:
        """The mean of what an experiment has measured, [replicate]."""
        found = self.experiment(experiment)
        source = Source(str(evidence.find_path(experiment)), found.study, variant)
        interval = (bounded_mean if is_share else mean)(values, found.test_train_ratio)
        return Draft(label, source, interval, quantity, unit)


def expect_finite(values: np.ndarray, what: str) -> np.ndarray:
    """What was measured, [replicate]; MissingError where a network had diverged."""
    if not np.isfinite(values).all():
        raise MissingError(f"a finite {what} for every network")
    return values
