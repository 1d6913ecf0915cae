"""Expand params.yaml into one resolved file per run, so that a changed knob changes just the files of runs that use it.

Reads   params.yaml
Writes  data/plan/<study>/{<variant>,_split,_study,_reference}.json, data/plan/_statistics.json
"""

from stages.lib import artifacts, expansion
from stages.lib.commands import parse_arguments, run_main
from stages.lib.params import parse_params


def run(text: str) -> dict[str, object]:
    """Every plan in the text of params.yaml, by its name in the plan folder."""
    params = parse_params(text)
    named: dict[str, object] = {"_statistics": expansion.statistics_plan(params)}
    for study in params.studies:
        named[f"{study}/_split"] = expansion.split_plan(params, study)
        named[f"{study}/_study"] = expansion.study_plan(params, study)
        named[f"{study}/_reference"] = expansion.reference_plan(params, study)
        for variant in params.studies[study].variants:
            named[f"{study}/{variant}"] = expansion.run_plan(params, study, variant)
    return named


def main() -> None:
    parse_arguments(__doc__)
    artifacts.save_plans(run(artifacts.load_params()))


if __name__ == "__main__":
    run_main(main)
