"""How results are called in what a person reads."""

ARMS = {"at_knob": "at the knob", "tuned": "tuned", "reference": "scikit-learn"}
SCORES = {"auc": "AUC", "accuracy": "accuracy"}
