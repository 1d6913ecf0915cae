"""Start TensorFlow as the stages do: quickly, and without its banners."""

from stages.lib.lanes import runtime  # noqa: F401 -- before the test modules import Keras
