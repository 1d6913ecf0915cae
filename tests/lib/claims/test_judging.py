"""Thresholds: what an interval has to be for a claim to count as supported or as refuted."""

import pytest

from stages.lib.claims.claims import Threshold, less_than, matters, more_than, within
from stages.lib.claims.judging import combine


@pytest.mark.parametrize(
    ("threshold", "interval", "finding"),
    [
        (matters(0.1), (0.01, 0.2), "supported"),
        (matters(0.1), (0.01, 0.1), "supported"),
        (matters(0.1), (0.01, 0.09), "refuted"),  # surely there, surely too small to matter
        (matters(0.1), (-0.3, -0.2), "refuted"),
        (matters(0.1), (0.0, 0.2), "inconclusive"),
        (more_than(0.5), (0.51, 0.9), "supported"),
        (more_than(0.5), (0.1, 0.49), "refuted"),
        (more_than(0.5), (0.5, 0.9), "inconclusive"),
        (less_than(0.5), (0.1, 0.49), "supported"),
        (less_than(0.5), (0.51, 0.9), "refuted"),
        (less_than(0.5), (0.1, 0.5), "inconclusive"),
        (within(0.1), (-0.05, 0.09), "supported"),
        (within(0.1), (0.11, 0.2), "refuted"),
        (within(0.1), (-0.2, -0.11), "refuted"),
        (within(0.1), (-0.2, 0.2), "inconclusive"),
    ],
)
def test_an_interval_supports_or_refutes(threshold: Threshold, interval: tuple[float, float], finding: str) -> None:
    assert threshold.judge(*interval) == finding


@pytest.mark.parametrize(
    ("verdicts", "combined"),
    [
        (["supported"], "supported"),
        (["refuted", "refuted"], "refuted"),
        (["supported", "refuted"], "depends"),
        (["supported", "inconclusive"], "inconclusive"),
        (["inconclusive", "refuted"], "inconclusive"),
    ],
)
def test_a_claim_is_decided_where_all_say_the_same(verdicts: list, combined: str) -> None:
    assert combine(verdicts) == combined
