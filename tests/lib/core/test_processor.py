"""Numeric libraries use one instruction set on all x86-64 processors."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from stages.lib.core.processor import PINNED, pin_instructions

PROBE = """
import json, os
import stages.reference, scipy.linalg
from threadpoolctl import threadpool_info
from numpy._core._multiarray_umath import __cpu_features__ as features
blas = [library["architecture"] for library in threadpool_info() if library["user_api"] == "blas"]
print(json.dumps([blas, features["X86_V4"], os.environ.get("ONEDNN_MAX_CPU_ISA")]))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets are pinned on x86-64 alone")
def test_libraries_are_pinned_before_they_are_imported() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in PINNED}
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    architectures, beyond, dnn = json.loads(done.stdout)
    assert set(architectures) == {"Haswell"}
    assert (beyond, dnn) == (False, "AVX2")


def test_other_architectures_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for name in PINNED:
        monkeypatch.delenv(name, raising=False)
    pin_instructions()
    assert not PINNED.keys() & os.environ.keys()
