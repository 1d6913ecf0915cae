"""How TensorFlow is imported and set up here. Other modules take `tf` and `keras` from this one.

Both are imported when they are first used. So `plan` can read the tables of regularisers and losses without
TensorFlow, and importing TensorFlow costs less than it does by itself.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any


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


def start() -> None:
    """Import TensorFlow and Keras, once, in three fifths of the time that it takes by itself.

    Garbage collection is off during the import, since all that is imported lasts. Keras imports scikit-learn for
    wrappers that nobody uses here, and does without where it is missing, so it is hidden.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors are shown, warnings are not
    hidden = "sklearn" not in sys.modules
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    gc.disable()
    with silent_start():
        importlib.import_module("tensorflow")
        importlib.import_module("keras")
    gc.freeze()
    gc.enable()
    if hidden:
        del sys.modules["sklearn"]


class ImportedOnUse:
    """A module that is imported when one of its names is first asked for."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        start()
        return getattr(sys.modules[self._name], attribute)


if TYPE_CHECKING:
    import keras as keras
    import tensorflow as tf
else:
    keras, tf = ImportedOnUse("keras"), ImportedOnUse("tensorflow")


Function = Callable[["tf.Tensor"], "tf.Tensor"]


def with_gradient(gradient: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[[Function], Function]:
    """Decorate a function of values: it is differentiated as gradient(slope, values), not as TensorFlow would do it."""

    def decorate(function: Function) -> Function:
        pair = lambda values: (function(values), lambda slope: gradient(slope, values))  # noqa: E731
        return lambda values: tf.custom_gradient(pair)(values)

    return decorate


def configure() -> None:
    """Use one thread, since stages run side by side, and refuse operations whose result depends on timing.

    Grappler's arithmetic optimiser merges sums of several terms in an order that follows addresses in memory. These
    differ from process to process, and so would the last bit of a loss with penalties. It gains no time here.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
