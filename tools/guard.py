"""Say whether what DVC will read in dvc.lock is what DVC may have written, before DVC reads it.

DVC makes a path of each hash that dvc.lock names, and replaces or removes what it finds there. Plain `dvc` cannot be
kept from that: ask `python -m tools.guard` about a dvc.lock that somebody else has changed. `make` and `make check` do;
`make` also looks where outputs lead, and at what comes back from DVC's cache, which DVC itself believes.

--in-step also asks `dvc repro --allow-missing --dry` whether dvc.lock is in step with the code and params.yaml. That
needs no data.

exit status:
  0    nothing in dvc.lock or in files *.dvc leads out of the project; --in-step: and nothing would run
  1    something does, or the file is damaged; each fault has its line; --in-step: or stages would run
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.lock import HASH, LOCK, find_object, hash_file, is_inside, read_listing
from stages.lib.settings.yaml_text import TextError, compose, decode
from tools.repro.engine import explain_disk

MAX_BYTES, MAX_VALUES = 2**25, 2**21  # a hundred times what this project's dvc.lock has
# The keys that DVC writes, and what stands there: a mapping, a list of entries, or None for what is not looked at. All
# others are refused: `<<` brings in keys of another mapping.
ANY = "*"  # any name
ENTRY = dict.fromkeys(("path", "hash", "md5", "size", "nfiles", "isexec"))  # a file that DVC keeps in its local cache
STAGE = {"cmd": None, "deps": [ENTRY], "params": None, "outs": [ENTRY]}  # in dvc.lock
SINGLE_STAGE = dict.fromkeys(("md5", "wdir", "desc", "meta", "frozen", "locked", "always_changed")) | STAGE  # in *.dvc
ROOT = {"schema": None, "stages": {ANY: STAGE}, "datasets": None}
NUMBER = re.compile(r"\d+(e\d+)?")  # to YAML, where no quotes stand around it
MERGE = "tag:yaml.org,2002:merge"  # what YAML makes of `<<`
OWN_FOLDERS = {".git", ".dvc", ".venv"}
SHOWN = 40  # characters of a value in a message
MAX_ENTRY = 2**20  # bytes of an entry of DVC's cache of runs
DRY_RUN = [sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry"]
# Of a stage whose inputs have changed, and one of them is missing, DVC says the latter.
WOULD_RUN = re.compile(r"^(?:Running stage|ERROR: failed to reproduce) '([^']*)':(?:$|.* No such file)", re.MULTILINE)
MOST_STAGES = 5  # named


class GuardError(UserError):
    """What DVC would read leads out of the project, or is damaged; the message has one line per fault."""


def check_records() -> None:
    """GuardError with every fault of dvc.lock and of files *.dvc."""
    if faults := [fault for path in list_records() for fault in check_record(path)]:
        raise GuardError("\n".join(faults))


def list_records() -> Iterator[Path]:
    """All files in which DVC looks for hashes, as it goes through folders."""
    folders = [Path()]  # and no recursion, since the folders of somebody else may lie a thousand deep
    while folders:
        folder = folders.pop()
        if not os.access(folder, os.R_OK | os.X_OK):  # DVC does not look into it either
            continue
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink() and path.name not in OWN_FOLDERS:
                folders.append(path)
            elif path.name == LOCK.name or (path.suffix == ".dvc" and not path.is_dir()):
                yield path


def check_record(path: Path) -> Iterator[str]:
    """The faults of one file, in words."""
    remedy = f"restore it with `git checkout {path}`"
    if path == LOCK:
        remedy += ", or delete it (results come back from DVC's cache)"
    if path.is_symlink() or not path.is_file():
        yield f"{path}: is no plain file, expected one: {remedy}"
        return
    try:
        with path.open("rb") as file:
            root = compose(decode(file.read(MAX_BYTES + 1), limit=MAX_BYTES), most=MAX_VALUES)
        shape = ROOT if path.name == LOCK.name else SINGLE_STAGE
        faults = [*check_shape("this file", root, shape), *check_folder(root, path.parent)] if root else []
    except TextError as error:
        yield f"{path}, {error}: {remedy}" if error.line else f"{path}: {error}: {remedy}"
        return
    for node, text in faults:
        yield f"{path}, line {node.start_mark.line + 1}: {text}: {remedy}"


Fault = tuple[yaml.Node, str]


def check_shape(where: str, node: yaml.Node, shape: Mapping[str, Any]) -> Iterator[Fault]:
    """That it is a mapping, each of its keys there once and known, and what stands there as it has to be."""
    if not isinstance(node, yaml.MappingNode):
        yield node, f"{where} is no mapping, expected what DVC writes"
        return
    seen = set[str]()
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        inner = shape.get(name, shape.get(ANY))
        if name in seen:
            yield key, f"{where}: has the key {shorten(name)} twice, expected it once"
        elif not name or key.tag == MERGE or (name not in shape and ANY not in shape):
            expected = "a name" if ANY in shape else f"none but {', '.join(sorted(shape))}"
            yield key, f"{where}: has the key {shorten(key.value)}, expected {expected}"
        elif isinstance(inner, Mapping):
            yield from check_shape(name, value, inner)
        elif inner:
            for entry in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from check_entry(f"{where}, {name}", entry)
        seen.add(name)


def check_entry(where: str, entry: yaml.Node) -> Iterator[Fault]:
    """One file or folder and its hash."""
    fields, texts = dict(list_items(entry)), read_texts(entry)
    if "path" not in texts:
        yield entry, f"{where}: an entry has no path, expected what DVC writes"
        return
    where = f"{where}, {shorten(texts['path'])}"
    if not is_inside(texts["path"]):
        yield fields["path"], f"{where}: expected a path inside the project"
    if "md5" in fields and texts.get("hash") != "md5":  # without it, DVC looks in another place of its cache
        yield entry, f"{where}: hash is {shorten(texts.get('hash', 'missing'))}, expected md5"
    if "md5" in fields and not HASH.fullmatch(texts.get("md5", "")):
        yield fields["md5"], f"{where}: md5 is {shorten(texts.get('md5', 'no text'))}, expected 32 hex digits"
    elif "md5" in fields and NUMBER.fullmatch(texts["md5"]) and not fields["md5"].style:
        yield fields["md5"], f"{where}: md5 is the number {texts['md5']}, expected it in quotes, as DVC writes it"
    yield from check_shape(where, entry, ENTRY)


def check_folder(root: yaml.Node, folder: Path) -> Iterator[Fault]:
    """That a file *.dvc, which lies in a folder, works inside the project."""
    for key, value in list_items(root):
        if key == "wdir" and Path(os.path.normpath(folder / str(value.value))).parts[:1] in (("/",), ("..",)):
            yield value, f"this file: wdir is {shorten(value.value)}, expected a folder inside the project"


def list_items(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    """The keys and values of a mapping; none of what is not one."""
    return [(str(key.value), value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


def read_texts(node: yaml.Node) -> dict[str, str]:
    """The values of a mapping that are no mappings or sequences, as they are written."""
    return {key: value.value for key, value in list_items(node) if isinstance(value, yaml.ScalarNode)}


def is_part(path: str, outputs: tuple[str, ...]) -> bool:
    """Whether a path is one of these outputs, or lies in one."""
    return is_inside(path) and any(PurePosixPath(path).is_relative_to(output) for output in outputs)


def shorten(text: object) -> str:
    shown = repr(str(text))
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 4]}...'"


def check_outputs(outputs: Iterable[Path], cache: str) -> None:
    """GuardError where an output leads out of the project, also through a link. Links into DVC's cache are DVC's."""
    faults, allowed = list[str](), (Path.cwd().resolve(), Path(cache).resolve())
    for output in outputs:
        parent, end = output.parent.resolve(), output.resolve()
        inside = parent.is_relative_to(Path.cwd().resolve()) and any(map(end.is_relative_to, allowed))
        if not inside or output == Path.cwd():
            told = f"the output {output} leads to {end}, expected a path inside the project"
            faults.append(f"{told}: change it in dvc.yaml, or put a folder in place of the link")
    if faults:
        raise GuardError("\n".join(dict.fromkeys(faults)))


def check_cache(name: str, outs: dict[str, str], runs: Path, objects: Path) -> None:
    """Remove from DVC's cache what it would believe of a stage and is not what its hash says; each fault is told.

    These are the objects of its present outputs, the entries of the cache of runs for its inputs, and the objects that
    these name. DVC restores or keeps what is there, and looks no closer. To hash it takes 1.7 seconds a gigabyte.

    outs: path -> hash. runs: the folder with the entries, in `runs` of the cache. objects: that of all objects.
    """
    expect_no_link(runs, runs.parent)
    hashes = {md5: path for path, md5 in outs.items()}
    for entry in sorted(runs.glob("*")):
        named = read_entry(entry)
        if sorted(path for path, _ in named) == sorted(outs):
            hashes |= {md5: path for path, md5 in named}
        else:
            print(f"Damaged in DVC's cache of runs, removed: {entry} (of {name})")
            remove_path(entry)
    with suppress(OSError):  # it is missing, or holds an entry
        runs.rmdir()  # as a run leaves it that is killed in between; DVC would look for its newest entry, and fail
    for md5, path in hashes.items():
        for bad in find_bad(objects, md5):
            print(f"Damaged in DVC's cache, removed: {bad} (of {path})")
            remove_path(bad)


def expect_no_link(*folders: Path) -> None:
    """GuardError where a folder inside DVC's cache is a link: what is removed there would be somebody else's."""
    for path in folders:
        if path.is_symlink():
            raise GuardError(f"{path} is a link to {path.resolve()}, expected a folder of DVC's cache: remove the link")


def read_entry(path: Path) -> list[tuple[str, str]]:
    """Path and hash of the outputs that an entry of the cache of runs names; none if it is not as DVC writes it."""
    try:
        if path.is_symlink() or not path.is_file():
            return []
        with path.open("rb") as file:
            root = compose(decode(file.read(MAX_ENTRY + 1), limit=MAX_ENTRY), most=MAX_ENTRY)
        entries = [entry for key, outs in list_items(root) if key == "outs" for entry in outs.value]
        faults = [fault for entry in entries for fault in check_entry("", entry)]
        return [] if faults else [(texts["path"], texts["md5"]) for texts in map(read_texts, entries)]
    except (OSError, TextError, KeyError):
        return []


def find_bad(objects: Path, md5: str) -> Iterator[Path]:
    """The objects of an output that are not what their hash says; those that are missing are not among them."""
    if not HASH.fullmatch(md5):
        return
    path = find_object(objects, md5)
    expect_no_link(path.parent)
    if os.path.lexists(path) and hash_file(path) != md5.removesuffix(".dir"):
        yield path
    elif os.path.lexists(path) and md5.endswith(".dir"):
        members = read_listing(path)
        if members is None:
            yield path
        for member in set((members or {}).values()):
            yield from find_bad(objects, member)


def remove_path(path: Path) -> None:
    """Remove a file or a link, or a folder in the place of one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def name_up_to(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def print_error(error: Exception) -> None:
    """What is wrong, each of several mistakes in its line."""
    text = str(error) if isinstance(error, (UserError, ModuleNotFoundError)) else explain_disk(error)
    print("\n".join(f"error: {line}" for line in text.splitlines()), file=sys.stderr)


def check_step() -> None:
    """GuardError where stages would run. DVC itself ends with status 0 also then."""
    done = subprocess.run(DRY_RUN, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if stages := WOULD_RUN.findall(done.stdout):
        found = f"{name_up_to(stages, MOST_STAGES)} would run"
        raise GuardError(f"dvc.lock is out of step: {found}, expected nothing to do: run make, commit its changes")
    if done.returncode:
        raise GuardError(done.stdout or f"dvc ended with status {done.returncode}, expected 0: run dvc repro --dry")


def main() -> None:
    parser = make_parser("tools.guard", __doc__)
    parser.add_argument("--in-step", action="store_true", help="ask as well whether any stage would run")
    options = parser.parse_args()
    check_records()
    if options.in_step:
        check_step()
    in_step = "dvc.lock is in step with the code and params.yaml."
    print(in_step if options.in_step else "Nothing in dvc.lock leads out of the project.")


if __name__ == "__main__":
    run_main(main)
