"""Bytes on emulated processors: what is run, and what is told where they differ. No emulator is started here."""

import sys
from types import SimpleNamespace
from typing import Literal

import pytest

from stages.lib.core.cli import UserError
from tests.lib.lanes.cases import make_development, make_plan
from tools import processors

DIGESTS = {None: {"a": "1", "b": "2"}, "Haswell": {"a": "1", "b": "2"}, "EPYC": {"a": "1", "b": "3"}}


def test_what_differs_on_a_processor_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["processors"])
    monkeypatch.setattr(processors, "PROCESSORS", ["Haswell", "EPYC"])
    monkeypatch.setattr(processors, "run_work", DIGESTS.get)
    monkeypatch.setattr("shutil.which", lambda name: name)
    with pytest.raises(SystemExit, match="1"):
        processors.main()
    same = "{} of 2 results are those of this processor"
    told = capsys.readouterr().out.splitlines()
    assert told == [f"Haswell: {same.format(2)}", f"EPYC: {same.format(1)}", "  differs: b"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="qemu-x86_64 is not installed: install the package qemu-user"):
        processors.main()


def test_all_that_computes_is_run_and_the_same_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """In short: one of each kind."""
    monkeypatch.setattr(processors, "STUDIES", {"made": 1})
    monkeypatch.setattr(processors, "OPTIMIZERS", processors.OPTIMIZERS[1:2])
    monkeypatch.setattr(processors, "Activation", Literal["relu"])
    for table in ("LOSSES", "REFERENCES"):
        monkeypatch.setattr(processors, table, dict(list(getattr(processors, table).items())[:1]))
    monkeypatch.setattr(processors, "load_development", lambda study: make_development())
    monkeypatch.setattr(processors, "load_run_plan", lambda study, variant: make_plan())
    variants = [SimpleNamespace(name=name) for name in ("l2", "large")]
    monkeypatch.setattr(processors, "load_study_plan", lambda study: SimpleNamespace(variants=variants))
    monkeypatch.setattr(processors.runtime, "configure", lambda: None)
    digests = processors.digest_all()
    kinds = ("regulariser l2", "loss mean_squared_error", "optimiser sgd 0.9", "activation relu")
    assert list(digests) == [f"made, {kind}" for kind in (*kinds, "model logistic_regression")]
    assert processors.digest_all() == digests
