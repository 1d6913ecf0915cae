"""Expand params.yaml into one resolved file per run, so that a changed knob changes just the files of runs that use it.

Reads   params.yaml
Writes  data/plan/<study>/{<variant>,_split,_study}.json
"""

from stages.lib import artifacts, params
from stages.lib.commands import parse_arguments


def run(text: str) -> list[tuple[params.plans.SplitPlan, params.plans.StudyPlan, list[params.plans.RunPlan]]]:
    """The plans of every study in the text of params.yaml."""
    parsed = params.parse_params(text)
    return [
        (
            params.split_plan(parsed, study),
            params.study_plan(parsed, study),
            [params.run_plan(parsed, study, variant) for variant in parsed.studies[study].variants],
        )
        for study in parsed.studies
    ]


def main() -> None:
    parse_arguments(__doc__)
    artifacts.save_plans(run(artifacts.load_params()))


if __name__ == "__main__":
    main()
