"""`python -m tools.calibrate`: what `make calibrate` runs."""
