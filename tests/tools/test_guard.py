"""Broken dvc.lock files, damaged caches and outputs that lead out of the project, against real runs."""

import json
import os
import re
import shutil
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import pytest

from stages.lib.lock import find_object, read_listing
from tests.tools.test_repro import Pipeline
from tools.guard import is_part

FOLDER = "stages: {folder: {cmd: mkdir -p out; cp source out/one, deps: [source], outs: [out]}}\n"


class Home:
    """A folder with a pipeline that has run, and files that are not the pipeline's."""

    def __init__(self, folder: Path, pipeline: Pipeline):
        """pipeline: one that has run, of which it has a copy."""
        self.folder = folder
        self.pipeline = pipeline.copy_to(folder / "work/project")
        self.project, self.lock = self.pipeline.folder, self.pipeline.folder / "dvc.lock"
        for name in ("victim.txt", "work/victim.txt", "work/other/one/deep.txt", "work/other/two.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("somebody else's")
        self.before = self.watch()

    def watch(self) -> dict[str, tuple[bytes, int]]:
        """Every file outside the project and DVC's site cache: its content and the time of its last change."""
        own = (self.project, self.project.with_name("site"))
        outside = [path for path in self.folder.rglob("*") if path.is_file() and not any(map(path.is_relative_to, own))]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in outside}

    @property
    def entry(self) -> Path:
        """The one entry of the cache of runs."""
        (path,) = [path for path in (self.project / ".dvc/cache/runs").rglob("*") if path.is_file()]
        return path

    def make_anew(self) -> str:
        """Have the folder `out` made from what DVC's cache has, without dvc.lock; what the run prints."""
        self.lock.unlink(missing_ok=True)
        (self.project / "out/one").unlink()
        printed = self.pipeline.run()
        assert [path.read_text() for path in (self.project / "out").rglob("*")] == ["one"]
        assert self.watch() == self.before
        return printed

    def find_object(self, name: str) -> Path:
        """The cached object of an output."""
        found = re.search(rf"- path: {name}\n      hash: md5\n      md5: (\w\w)(\S+)", self.lock.read_text())
        assert found
        return self.project / ".dvc/cache/files/md5" / found[1] / found[2]


@pytest.fixture(scope="module")
def files_run(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("run") / "project", {"a": 0, "b": 0})
    pipeline.run()
    return pipeline


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("run") / "project", {})
    (pipeline.folder / "dvc.yaml").write_text(FOLDER)
    pipeline.run()
    return pipeline


@pytest.fixture
def home(tmp_path: Path, files_run: Pipeline) -> Home:
    return Home(tmp_path, files_run)


@pytest.fixture
def folders(tmp_path: Path, folder_run: Pipeline) -> Home:
    """Of a pipeline whose output is a folder."""
    return Home(tmp_path, folder_run)


BROKEN: dict[str, tuple[str, str]] = {  # what dvc.lock becomes, which % stands for -> what is told of it
    "conflict markers": ("<<<<<<< HEAD\n%=======\n%>>>>>>> main\n", r", line 1: holds a conflict marker of git"),
    "half a stage": ("%  more:\n    md5", " has no mapping of `stages`"),
    "half a file": ("%  more:\n    md5: [", ", line [0-9]+: is not YAML"),
    "another file": ("garbage", " has no mapping of `stages`"),
    "a list of stages": ("stages: [a]", " has no mapping of `stages`"),
    "nested": ("[" * 100, ", line 1: is nested more than 24 levels deep"),
}


def break_lock(lock: Path, name: str) -> str:
    """Break dvc.lock; a pattern of the whole line that is told."""
    content, told = BROKEN[name]
    lock.write_text(content.replace("%", lock.read_text()))
    return rf"error: dvc\.lock{told}.*restore it with `git checkout HEAD dvc\.lock`, or delete it \(results come back.*"


@pytest.mark.parametrize("name", [*BROKEN, "a folder"])
def test_a_broken_lock_is_told_in_one_line_and_can_be_deleted(home: Home, name: str) -> None:
    told = r"error: dvc\.lock is no plain file, expected one: remove it.*"
    if name == "a folder":
        home.lock.unlink()
        home.lock.mkdir()
    else:
        told = break_lock(home.lock, name)
    done = home.pipeline.call_tool("guard", "--in-step")
    for said in (done.stderr, home.pipeline.run(status=2)):
        assert re.fullmatch(told, said.strip()), said
    home.lock.rmdir() if name == "a folder" else home.lock.unlink()
    (home.project / "head.txt").unlink()
    assert home.pipeline.run().endswith(": 4 restored\n")


@pytest.mark.parametrize("name", ["conflict markers", "another file"])
def test_a_lock_that_is_broken_while_a_run_goes_on_is_told_in_one_line_and_nothing_is_lost(
    home: Home, name: str
) -> None:
    good = home.lock.read_bytes()
    (home.project / "broken").write_text(BROKEN[name][0].replace("%", good.decode()))
    graph, told = home.project / "dvc.yaml", break_lock(home.lock, name)
    home.lock.write_bytes(good)
    graph.write_text(
        f"{graph.read_text()}  late: {{cmd: cp broken dvc.lock; touch late.txt, deps: [broken], outs: [late.txt]}}\n"
    )
    *_, said = home.pipeline.run(status=2).splitlines()
    assert re.fullmatch(told, said)
    home.lock.unlink()
    assert home.pipeline.run().endswith(": 5 restored\n")


@pytest.mark.parametrize("output", ["../other/two.txt", "link/two.txt", "link"])
def test_an_output_that_leads_out_of_the_project_is_refused(home: Home, output: str) -> None:
    (home.project / "link").symlink_to(home.project / "../other")
    graph = home.project / "dvc.yaml"
    graph.write_text(graph.read_text().replace("outs: [tail.txt]", f"outs: [{output}]"))
    assert "expected a path inside the project" in home.pipeline.run(status=2)
    assert home.watch() == home.before


def damage(path: Path) -> None:
    """Flip a bit of a file, which stays read-only and keeps its dates, as a disk does it."""
    known = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(0o444)
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))


@pytest.mark.parametrize("runs", ["with its cache of runs", "without"])
def test_a_damaged_object_is_named_and_made_anew(home: Home, runs: str) -> None:
    good, lock = (home.project / "head.txt").read_bytes(), home.lock.read_bytes()
    path = home.find_object("head.txt")
    damage(path)
    (home.project / "head.txt").unlink()
    if runs == "without":
        (home.project / "dvc.lock").unlink()
        shutil.rmtree(home.project / ".dvc/cache/runs")
    printed = home.pipeline.run()
    assert re.search(rf"Damaged in DVC's cache, removed: \S*{path.parent.name}/{path.name} \(of head.txt\)", printed)
    assert (home.project / "head.txt").read_bytes() == path.read_bytes() == good
    assert home.lock.read_bytes() == lock
    (home.project / "head.txt").unlink()
    assert "Damaged" not in home.pipeline.run()
    assert (home.project / "head.txt").read_bytes() == good


def damage_yaml(path: Path) -> None:
    path.write_bytes(b"cmd: [\xff")


def rename_outs(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"outs:", b"other:"))


HARMS: list[tuple[str, Callable[[Path], object]]] = [  # what of DVC's cache, and what has become of it
    ("object", damage),
    ("listing", damage),
    *(("entry", harm) for harm in (rename_outs, damage_yaml, Path.unlink)),  # a kill leaves the entry's folder empty
]


@pytest.mark.parametrize(("what", "harm"), HARMS)
def test_what_is_wrong_in_the_cache_of_a_folder_is_named_and_made_anew(
    folders: Home, what: str, harm: Callable[[Path], object]
) -> None:
    listing = folders.find_object("out")
    member = find_object(listing.parents[1], md5(b"one").hexdigest())
    path = {"entry": folders.entry, "object": member, "listing": listing}[what]
    good = path.read_bytes()
    harm(path)
    told = rf"Damaged in DVC's cache( of runs)?, removed: \S*{path.name} \(of (out|folder)\)"
    assert bool(re.search(told, folders.make_anew())) == (harm != Path.unlink)
    assert path.read_bytes() == good


def test_a_listing_that_leads_out_of_the_project_is_none(inside: Path) -> None:
    for name, is_listing in {"a/b": True, "../b": False, "/b": False}.items():
        Path("listing").write_text(json.dumps([{"md5": "0" * 32, "relpath": name}]))
        assert (read_listing(Path("listing")) is not None) == is_listing


def test_a_lock_with_aliases_is_what_dvc_writes_for_parameters_that_share_a_value(home: Home) -> None:
    (home.project / "params.yaml").write_text("a: &a {x: 1}\nb: *a\n")
    stage = "stages: {one: {cmd: cp source one, params: [params.yaml: ], deps: [source], outs: [one]}}\n"
    (home.project / "dvc.yaml").write_text(stage)
    home.pipeline.run()
    assert "*id001" in home.lock.read_text()
    assert "unchanged" in home.pipeline.run()
    (home.project / "one").unlink()
    home.lock.unlink()
    assert "Damaged" not in home.pipeline.run()


def test_a_file_that_dvc_add_tracks_is_taken_in_and_not_removed(home: Home) -> None:
    """As `dvc repro` does: a stage depends on it, and somebody has changed it."""
    own = home.project / "mine.csv"
    own.write_text("first")
    home.pipeline.call("dvc", "add", "--quiet", own.name)
    stage = f"stages: {{copy: {{cmd: cp {own.name} copy, deps: [{own.name}], outs: [copy]}}}}\n"
    (home.project / "dvc.yaml").write_text(stage)
    home.pipeline.run()
    own.chmod(0o644)
    own.write_text("second")
    home.pipeline.run()
    assert own.read_text() == (home.project / "copy").read_text() == "second"
    assert md5(b"second").hexdigest() in own.with_name("mine.csv.dvc").read_text()


@pytest.mark.parametrize(
    ("path", "expected"),
    [("out", True), ("out/a/b", True), ("other", False), ("outer", False), ("out/../x", False), ("/out", False)],
)
def test_a_cluster_can_return_nothing_but_the_outputs_of_the_stage(path: str, expected: bool) -> None:
    assert is_part(path, ("out",)) is expected
