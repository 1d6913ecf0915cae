"""How TensorFlow starts and runs here. Import this before anything else that imports TensorFlow."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_start() -> Iterator[None]:
    """Drop what is written to the standard error: TensorFlow's C++ start-up banners come before any log level."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 -- a device, not a file of the project
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def quick_start() -> Iterator[None]:
    """Take two fifths off the time that TensorFlow's import takes: each stage pays it, most for a second of training.

    All that is imported lasts, so there is no garbage to be looked for again and again. And Keras imports scikit-learn,
    for wrappers that nobody here uses; it does without where that is missing.
    """
    hidden = "sklearn" not in sys.modules
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if hidden:
            del sys.modules["sklearn"]


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings are not shown, errors are
with silent_start(), quick_start():
    import tensorflow as tf


def configure() -> None:
    """One thread a process, since stages run side by side; operations whose result depends on timing are refused.

    Grappler's arithmetic optimiser merges sums of several terms in an order that follows addresses in memory, which
    differ from process to process, and so does the last bit of a loss with penalties. It gains no time here.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
