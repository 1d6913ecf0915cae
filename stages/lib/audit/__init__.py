"""The tutorial's claims and defects, each judged by rules that stand in params.yaml."""
