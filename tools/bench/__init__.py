"""`python -m tools.bench`: what `make bench` runs."""
