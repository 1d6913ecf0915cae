"""One file, one verb, one stage of dvc.yaml: `python -m stages.<verb> ...`."""
