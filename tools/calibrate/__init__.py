"""`python -m tools.calibrate`: what `make calibrate` runs."""

from stages.lib.core.processor import pin_instructions

pin_instructions()  # twins are trained by the bit as studies are; before NumPy is imported
