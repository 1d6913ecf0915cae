"""The packages whose licences `make audit-deps` lists."""

from __future__ import annotations

from tools.dependencies import list_dependencies


def test_names_stand_without_versions_extras_and_markers() -> None:
    text = """
    [project]
    name = "made"
    dependencies = ["first>=1.0", "second[extra]>=2,<3; python_version > '3'", "third.part"]
    [project.optional-dependencies]
    cpu = ["fourth-cpu==1"]
    dev = ["fifth"]
    """
    assert list_dependencies(text) == ["first", "fourth-cpu", "second", "third.part"]
