"""Score what every network of every study answered for its held-out rows.

Reads   data/plan/<study>/_study.json, data/predictions/<study>/
Writes  metrics/metrics.json   study -> variant -> score, means over replicates
"""

import numpy as np

from stages.lib import artifacts, scores
from stages.lib.commands import parse_arguments, run_main
from stages.lib.plans import StudyPlan
from stages.lib.predictions import Predictions

NO_SKILL = "no_skill"  # the row of a study's metrics that knows the base rates alone


def run(study: StudyPlan, labels: np.ndarray, predictions: dict[str, Predictions]) -> dict[str, dict[str, float]]:
    """Mean held-out scores of one study, at the knob.

    Args:
        labels: [replicate, row] of the held-out rows.
    """
    num_classes = max(predictions[study.baseline].test.shape[-1], 2)
    registry = scores.BINARY if num_classes == 2 else scores.MULTICLASS
    metrics = {}
    for variant in study.variants:
        probability = predictions[variant].test[: len(labels)]  # the first strength is the knob
        probability = probability[..., 0] if num_classes == 2 else probability
        metrics[variant] = {name: to_number(score.function(labels, probability)) for name, score in registry.items()}
    ignorant = scores.no_skill(labels, num_classes=num_classes)
    return metrics | {NO_SKILL: {name: to_number(ignorant[name]) for name in registry}}


def to_number(values: np.ndarray) -> float:
    """The mean, to the seven digits that float32 predictions carry."""
    return float(f"{values.mean():.7g}")


def main() -> None:
    parse_arguments(__doc__)
    metrics = {}
    for study in artifacts.load_study_plans():
        predictions = {variant: artifacts.load_predictions(study.study, variant) for variant in study.variants}
        metrics[study.study] = run(study, artifacts.load_labels(study.study).test, predictions)
    artifacts.save_metrics(metrics)


if __name__ == "__main__":
    run_main(main)
