"""One file, one verb, one stage of dvc.yaml: `python -m stages.<verb> ...`."""

from stages.lib.core.processor import pin_instructions

pin_instructions()  # here, since it must come before NumPy and TensorFlow are imported
