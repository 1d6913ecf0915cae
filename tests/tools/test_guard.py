"""Hostile dvc.lock files, caches and links against real runs: nothing outside the project is written or removed.

Every test has a scratch home: the project, and beside it files of somebody else, which stay as they are.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from hashlib import md5
from pathlib import Path

import pytest

from stages.lib.lock import find_object, read_listing
from tests.lib.settings.test_bad_files import BOMB
from tests.tools.test_repro import Pipeline
from tools.guard import GuardError, check_cache, check_records, is_part

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


PLAIN, CONTENT = "expected a path inside the project", "expected 32 hex digits"
CLIMB, HOME = "CLIMB", "HOME"  # in a table: the victim as a hash, the folder beside which it lies
TAIL, STAGES = "- path: tail.txt", "stages:\n"
LED_OUT = "{outs: [{path: ../../victim.txt}]}"
# What is hostile: a pattern in dvc.lock, what takes its first place, and words of the refusal.
ATTACKS = {
    "hash of an output": (r"(outs:\n    - path: head.txt\n.*\n      md5: )\w+", rf"\1{CLIMB}", CONTENT),
    "hash of a dependency": (r"(deps:\n    - path: source\n.*\n      md5: )\w+", rf"\1{CLIMB}", CONTENT),
    "path of an output": (TAIL, "- path: ../../victim.txt", PLAIN),
    "absolute path": (TAIL, f"- path: {HOME}/victim.txt", PLAIN),
    "list of files": (TAIL, rf"{TAIL}\n      files:\n      - {{relpath: ../x, md5: '{'0' * 32}'}}", "files"),
    "a hash that is a number": ("md5: .*", f"md5: {'1' * 32}", f"md5 is the number {'1' * 32}, expected it in quotes"),
    "no kind of hash": ("      hash: md5\n", "", "hash is 'missing', expected md5"),
    "another kind of hash": ("hash: md5", "hash: etag", "expected md5"),
    "conflict marker": (r"(?s)(.*)", r"<<<<<<< HEAD\n\1=======\n>>>>>>> main\n", "conflict marker"),
    "bomb of aliases": ("schema: '2.0'", f"{BOMB}schema: '2.0'", "has more than 2,097,152 values"),
    "merged into an entry": (TAIL, rf"- <<: {{md5: {CLIMB}}}\n      path: tail.txt", "has the key '<<'"),
    "merged into a stage": (
        r"(    cmd: .*\n)",
        rf"\1    <<: {{outs: [{{path: head.txt, hash: md5, md5: {CLIMB}}}]}}\n",
        "has the key '<<'",
    ),
    "merged into the stages": (STAGES, rf"stages:\n  <<: {{head: {LED_OUT}}}\n", "has the key '<<'"),
    "merged into the file": ("^", rf"<<: {{stages: {{head: {LED_OUT}}}}}\n", "has the key '<<'"),
    "the same key twice": (STAGES, rf"stages: {{head: {LED_OUT}}}\nstages:\n", "the key 'stages' twice"),
    "path as bytes": (TAIL, "- path: !!binary Li4vLi4vdmljdGltLnR4dA==", "has the tag 'tag:yaml.org,2002:binary'"),
    "merged by a tag": (
        TAIL,
        rf"- !!merge size: {{md5: {CLIMB}}}\n      path: tail.txt",
        "has the tag 'tag:yaml.org,2002:merge'",
    ),
    "half a file": (r"(?s)(      md5).*", r"\1", "YAML"),
    "no mapping": ("(?s).*", r"- a\n- b\n", "expected"),
}


def attack(home: Home, name: str) -> str:
    """Make dvc.lock hostile; words of the refusal."""
    objects = home.project / ".dvc/cache/files/md5"  # DVC looks below the first two characters of a hash
    climb = f"../{os.path.relpath(home.folder / 'victim.txt', objects)}"
    pattern, replacement, words = ATTACKS[name]
    text = home.lock.read_text()
    changed = re.sub(pattern, replacement, text, count=1).replace(CLIMB, climb).replace(HOME, str(home.folder))
    assert changed != text
    home.lock.write_text(changed)
    return words


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_lock_is_refused_in_words(home: Home, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.project)
    check_records()
    with pytest.raises(GuardError, match=re.escape(attack(home, name))) as raised:
        check_records()
    assert re.match(r"dvc\.lock(, line \d+)?: .*git checkout dvc.lock", str(raised.value))


@pytest.mark.parametrize("name", ["hash of an output", "path of an output"])
def test_a_hostile_lock_is_refused_before_dvc_reads_it(home: Home, name: str) -> None:
    words = attack(home, name)
    for path in ("head.txt", "tail.txt"):
        (home.project / path).unlink()
    assert re.search(rf"^error: dvc\.lock, line \d+: .*{words}", home.pipeline.run(status=2))
    for options in ([], ["--in-step"]):
        done = home.pipeline.call_tool("guard", *options)
        assert (done.returncode, words in done.stderr) == (1, True)
    assert home.watch() == home.before


@pytest.mark.parametrize(("wdir", "refused"), [("..", False), (".", False), ("../..", True), ("/tmp", True)])
def test_the_folder_that_a_file_of_dvc_works_in_is_in_the_project(inside: Path, wdir: str, refused: bool) -> None:
    Path("sub").mkdir()
    Path("sub/mine.dvc").write_text(f"wdir: {wdir}\nouts:\n- {{path: mine, hash: md5, md5: {'a' * 32}}}\n")
    if refused:
        with pytest.raises(GuardError, match=r"sub/mine\.dvc, line 1: this file: wdir is .*, expected a folder inside"):
            check_records()
    else:
        check_records()


def test_folders_a_thousand_deep_are_walked_through(inside: Path) -> None:
    for _ in range(1100):  # one by one, since a path may have 4,096 letters
        Path("f").mkdir()
        os.chdir("f")
    Path("x.dvc").write_text("outs: [{path: /etc/passwd}]\n")
    os.chdir(inside)
    with pytest.raises(GuardError, match=r"x\.dvc"):
        check_records()
    subprocess.run(["rm", "-r", "f"], check=True)  # Python's own way would recurse


def test_a_lock_that_names_a_file_of_the_project_as_an_output_does_not_touch_it(home: Home) -> None:
    precious = home.project / "precious.txt"
    precious.write_text("mine")
    home.lock.write_text(home.lock.read_text().replace("- path: tail.txt", "- path: precious.txt"))
    home.pipeline.run()
    assert precious.read_text() == "mine"
    assert home.watch() == home.before


@pytest.mark.parametrize("output", ["../other/two.txt", "link/two.txt", "link"])
def test_an_output_that_leads_out_of_the_project_is_refused(home: Home, output: str) -> None:
    (home.project / "link").symlink_to(home.project / "../other")
    graph = home.project / "dvc.yaml"
    graph.write_text(graph.read_text().replace("outs: [tail.txt]", f"outs: [{output}]"))
    assert "expected a path inside the project" in home.pipeline.run(status=2)
    assert home.watch() == home.before


LISTINGS: dict[str, Callable[[list[dict]], object]] = {
    "climbs": lambda entries: [entry | {"relpath": "../../../victim.txt"} for entry in entries],
    "is absolute": lambda entries: [entry | {"relpath": "/tmp/none/victim.txt"} for entry in entries],
    "has a hash that is a path": lambda entries: [entry | {"md5": "../../../victim"} for entry in entries],
    "is no list": lambda entries: {"relpath": "x"},
    "names one file twice": lambda entries: [*entries, *entries],
    "names a file in a file": lambda entries: [*entries, entries[0] | {"relpath": "one/two"}],
    "has a name that is not plain": lambda entries: [entry | {"relpath": "./one"} for entry in entries],
    "has more keys": lambda entries: [entry | {"size": 3} for entry in entries],
}


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


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def rename_outs(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"outs:", b"other:"))


HARMS: list[tuple[str, Callable[[Path], object]]] = [  # what of DVC's cache, and what has become of it
    *(("object", harm) for harm in (damage, put_folder)),
    *(("listing", harm) for harm in (damage, put_folder)),
    *(("entry", harm) for harm in (rename_outs, put_folder, Path.unlink)),  # a kill leaves the entry's folder empty
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


@pytest.mark.parametrize("fault", LISTINGS)
def test_a_listing_is_one_that_dvc_writes_or_none(folders: Home, fault: str) -> None:
    listing = folders.find_object("out")
    entries = json.loads(listing.read_bytes())
    assert read_listing(listing) == {"one": md5(b"one").hexdigest()}
    listing.chmod(0o644)
    listing.write_text(json.dumps(LISTINGS[fault](entries)))
    assert read_listing(listing) is None


@pytest.mark.parametrize("way", ["dvc.lock", "run cache"])
def test_a_listing_that_leads_out_of_the_project_plants_nothing(folders: Home, way: str) -> None:
    """It comes from a shared remote with its right hash, which dvc.lock or the cache of runs names."""
    listing = folders.find_object("out")
    content = json.dumps(LISTINGS["climbs"](json.loads(listing.read_bytes()))).encode()
    planted = md5(content).hexdigest()
    path = listing.parents[1] / planted[:2] / f"{planted[2:]}.dir"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    record = folders.lock if way == "dvc.lock" else folders.entry
    record.write_text(record.read_text().replace(f"{listing.parent.name}{listing.name}", f"{planted}.dir"))
    if way == "run cache":
        folders.lock.unlink()
    (folders.project / "out/one").unlink()
    assert f"{path.name} (of out)" in folders.pipeline.run()
    assert [file.name for file in (folders.project / "out").rglob("*")] == ["one"]
    assert folders.watch() == folders.before


ENTRIES = {
    "a path out of the project": ("path: out", "path: ../../victim.txt"),
    "path is a list": ("path: out", "path: [a]"),
    "no date": ("  md5: ", "  md5: 2026-99-99\n  x: "),
    "no text": ("path: out", "path: \udcff"),
    "one output twice": ("outs:", "outs:\n- {path: out, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661.dir}"),
    "another output": ("outs:", "outs:\n- {path: other, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661.dir}"),
    "another place of the cache": ("  hash: md5\n", ""),
    "no YAML": ("cmd:", "cmd: ["),
    "no outs": ("outs:", "other:"),
    "a tag": ("path: out", "path: !!int ''"),
}


@pytest.mark.parametrize("fault", ENTRIES)
def test_an_entry_of_the_run_cache_that_is_not_the_stages_is_removed(folders: Home, fault: str) -> None:
    entry, content = folders.entry, folders.entry.read_text()
    outs, objects = {"out": ""}, folders.project / ".dvc/cache/files/md5"
    check_cache("folder", outs, entry.parent, objects)
    assert entry.is_file()
    old, new = ENTRIES[fault]
    assert old in content
    entry.write_bytes(content.replace(old, new).encode(errors="surrogateescape"))
    check_cache("folder", outs, entry.parent, objects)
    assert not entry.parent.exists()


@pytest.mark.parametrize("what", ["runs", "objects"])
def test_a_link_in_the_place_of_a_folder_of_the_cache_is_refused(folders: Home, what: str) -> None:
    """What would be removed there as damaged is somebody else's."""
    folder = folders.entry.parent if what == "runs" else folders.find_object("out").parent
    shutil.rmtree(folder)
    folder.symlink_to(folders.folder / "work/other", target_is_directory=True)
    if what == "runs":
        folders.lock.unlink()
    (folders.project / "out/one").unlink()
    printed = folders.pipeline.run(status=2)
    assert f"{folder.relative_to(folders.project)} is a link" in printed.replace(f"{folders.project}/", "")
    assert "Traceback" not in printed
    assert folders.watch() == folders.before


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
