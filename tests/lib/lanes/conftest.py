"""Start TensorFlow as the stages do: quickly, and without its banners."""

from stages.lib.lanes import runtime

runtime.start()  # before the test modules import Keras
