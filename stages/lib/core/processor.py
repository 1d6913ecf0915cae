"""The instruction set that numeric libraries use: one for all x86-64 processors, so that results agree to the last bit.

TensorFlow's oneDNN, NumPy and OpenBLAS choose routines by what the processor can do, and routines round differently.
All are held to what processors since 2013 have (AVX2 and FMA). This module is imported before any of them.
"""

import os
import platform

PINNED = {
    "TF_ENABLE_ONEDNN_OPTS": "1",  # TensorFlow itself decides by the processor
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's names of what goes beyond
}


def pin_instructions() -> None:
    """Set the libraries' environment variables, on x86-64; elsewhere verdicts agree, but bytes need not."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.update(PINNED)
