"""`python -m tools.review`: what `make review` runs."""
