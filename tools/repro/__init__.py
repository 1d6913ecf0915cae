"""`python -m tools.repro`: what `make` runs, `dvc repro` with independent stages side by side."""
