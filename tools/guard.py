"""Say whether dvc.lock can be read, before DVC reads it, and whether it is in step with the code and params.yaml.

`make` also looks where outputs lead, and at what comes back from DVC's cache, which DVC itself believes. Who can edit
dvc.lock can edit the stages that `make` runs, so nobody is kept from forging it.

--in-step also asks `dvc repro --allow-missing --dry` whether dvc.lock is in step with the code and params.yaml. That
needs no data.

exit status:
  0    dvc.lock can be read, or there is none; --in-step: and nothing would run
  1    it cannot; --in-step: or stages would run
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import yaml

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.lock import HASH, LOCK, find_object, hash_file, is_inside, read_entry, read_listing
from stages.lib.settings.yaml_text import TextError, compose, decode
from tools.repro.engine import explain_disk

MAX_BYTES = 2**25  # a hundred times what this project's dvc.lock has
REMEDY = "restore it with `git checkout HEAD dvc.lock`, or delete it (results come back from DVC's cache)"
DRY_RUN = [sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry"]
# Of a stage whose inputs have changed, and one of them is missing, DVC says the latter.
WOULD_RUN = re.compile(r"^(?:Running stage|ERROR: failed to reproduce) '([^']*)':(?:$|.* No such file)", re.MULTILINE)
MOST_STAGES = 5  # named


class GuardError(UserError):
    """What DVC would read is damaged or out of step, or an output leads out of the project; one line per fault."""


def check_lock() -> None:
    """GuardError, in one line, where dvc.lock is there and DVC cannot read it, such as one with git's markers."""
    if not os.path.lexists(LOCK):
        return
    if not LOCK.is_file():
        raise GuardError(f"{LOCK} is no plain file, expected one: remove it (results come back from DVC's cache)")
    try:
        root = compose(decode(LOCK.read_bytes(), limit=MAX_BYTES))
    except TextError as error:
        raise GuardError(f"{LOCK}{',' if error.line else ':'} {error}: {REMEDY}") from None
    keys = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    stages = keys.get("stages")
    entries = [entry for _, entry in stages.value] if isinstance(stages, yaml.MappingNode) else [stages]
    if root and not all(isinstance(entry, yaml.MappingNode) for entry in entries):
        raise GuardError(f"{LOCK} has no mapping of `stages` to mappings, expected what DVC writes: {REMEDY}")


def is_part(path: str, outputs: tuple[str, ...]) -> bool:
    """Whether a path is one of these outputs, or lies in one."""
    return is_inside(path) and any(PurePosixPath(path).is_relative_to(output) for output in outputs)


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
    hashes = {md5: path for path, md5 in outs.items()}
    for entry in sorted(runs.glob("*")):
        named = read_entry(entry)
        if named.keys() == outs.keys():
            hashes |= {md5: path for path, md5 in named.items()}
        else:
            print(f"Damaged in DVC's cache of runs, removed: {entry} (of {name})")
            entry.unlink()
    with suppress(OSError):  # it is missing, or holds an entry
        runs.rmdir()  # as a run leaves it that is killed in between; DVC would look for its newest entry, and fail
    for md5, path in hashes.items():
        for bad in find_bad(objects, md5):
            print(f"Damaged in DVC's cache, removed: {bad} (of {path})")
            bad.unlink()


def find_bad(objects: Path, md5: str) -> Iterator[Path]:
    """The objects of an output that are not what their hash says; those that are missing are not among them."""
    path = find_object(objects, md5)
    if not HASH.fullmatch(md5) or not path.exists():
        return
    members = read_listing(path) if md5.endswith(".dir") else {}
    if hash_file(path) != md5.removesuffix(".dir") or members is None:
        yield path
    else:
        for member in set(members.values()):
            yield from find_bad(objects, member)


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
    check_lock()
    if options.in_step:
        check_step()
    print("dvc.lock is in step with the code and params.yaml." if options.in_step else "dvc.lock can be read.")


if __name__ == "__main__":
    run_main(main)
