"""The entries of a judged table in params.yaml: written, and taken out again, without a change of any other line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core.cli import UserError
from stages.lib.core.files import write_bytes
from stages.lib.data.dataset import DataError
from stages.lib.data.table import FOLDER, Table
from stages.lib.lanes.kept import KEPT
from stages.lib.lanes.plan import MODELS
from stages.lib.lock import LOCK, find_object, read_entry, read_listing
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.yaml_text import load_document
from stages.plan import check, read_source, read_text
from tools.guard import check_lock
from tools.judge.design import BATCH, FOLDS, Columns, StudyDesign, Wishes

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
SECTIONS = ("datasets", "studies")
ANSWER = Path("metrics/answer.json")
RATE, RATES = 0.006, {"learning_rate_low": 0.002, "learning_rate_high": 0.018}  # of the study of the public tables


def write_entries(name: str, columns: Columns, design: StudyDesign, wishes: Wishes, *, csv: bytes, command: str) -> int:
    """Write the table and its entries, all or nothing, and return the number of lines; DataError where it cannot be."""
    text, file = read_text(PARAMS), Path(FOLDER) / f"{name}.csv"
    declared = load_document(text)[0]
    if any(name in (declared.get(section) or {}) for section in SECTIONS):
        again = f"`make judge STUDY={name}` runs it again, `make judge UNDO={name}` takes it out"
        raise DataError(f"{PARAMS} has the name {name} already: {again}, NAME=another gives another")
    if file.exists() and file.read_bytes() != csv:
        raise DataError(f"{file} is there already with other content, expected a new name: write NAME=another")
    table = describe_table(str(file), columns, wishes)
    Table(**table).facts(lambda _: csv)
    added = {
        "datasets": [f"  {name}: {json.dumps({'kind': 'table'} | table, ensure_ascii=False)}"],  # JSON is YAML, too
        "studies": describe_study(name, design, command, declared.get("variants") or {}),
    }
    changed = text
    for section, lines in added.items():
        before, found, behind = find_section(changed, section)
        changed = "".join([before, found, *(f"{line}\n" for line in lines), behind])
    check(changed, lambda path: csv if path == str(file) else read_source(path))
    if load_document(remove(changed, name))[0] != declared:
        expected = "expected block mappings under datasets and studies"
        raise UserError(f"{PARAMS} could not be extended, {expected}: add it by hand")
    if not file.exists():
        write_bytes(file, csv)
    write_bytes(Path(PARAMS), changed.encode())
    return sum(map(len, added.values()))


def describe_table(file: str, columns: Columns, wishes: Wishes) -> dict[str, Any]:
    """The fields of stages.lib.data.table.Table, but for those that would be empty."""
    left_out = [*wishes.drop, *(column for names in columns.left_out.values() for column in names)]
    entry: dict[str, Any] = {"file": file, "target": wishes.target, "positive": wishes.positive}
    entry |= {"group": "" if wishes.group == "none" else wishes.group, "drop": left_out}
    entry |= {"categorical": list(columns.categorical), "missing": "impute" if columns.missing else ""}
    return {name: value for name, value in entry.items() if value}


def describe_study(name: str, design: StudyDesign, command: str, catalogue: Container[str]) -> list[str]:
    """The study's entry; its learning rates are those of the study of the public tables."""
    training = [f"      training: {design.training}"] if design.training else []
    known = [f"      {knob}: {strength:g}" for knob, strength in find_defaults().items() if knob in catalogue]
    changes = [f"      {variant}: {{learning_rate: {rate}}}" for variant, rate in RATES.items() if variant in catalogue]
    return [  # in lines that DVC's writer leaves as they are
        f"  {name}:",
        f"    # {command}",
        f"    data: {name}",
        "    references: logistic_regression, random_forest",
        "    protocol:",
        "      kind: repeated_stratified_k_fold",
        f"      folds: {FOLDS}",
        f"      repeats: {design.repeats}",
        f"      validation: {design.validation}",
        *training,
        f"    network: {{hidden: [{design.units}, {design.units}], activation: relu}}",
        f"    training: {{learning_rate: {RATE}, batch_size: {BATCH}, steps: {design.steps}}}",
        *(["    strengths:  # that suit the public tables best", *known] if known else []),
        *(["    variants:", *changes] if changes else []),
    ]


def find_defaults() -> dict[str, float]:
    """Regulariser -> the strength that suits the public tables best: that of its knob in a study of a new one."""
    try:
        defaults = json.loads(ANSWER.read_bytes())["defaults"]
        return {variant: strengths[variant] for variant, strengths in defaults.items() if [*strengths] == [variant]}
    except (OSError, ValueError, LookupError, TypeError):  # no results yet
        return {}


def find_section(text: str, section: str) -> tuple[str, str, str]:
    """What stands before a section, the section from its key to the last of its lines that holds anything, the rest."""
    key, lines = rf"^{section}:[ \t]*(?:#.*)?\r?\n", r"(?:(?:[ #\r].*)?\n)*"
    found = re.search(rf"{key}(?:{lines} +[^\s].*\n)?", text if text.endswith("\n") else f"{text}\n", re.MULTILINE)
    if not found:
        raise UserError(f"{PARAMS} has no block '{section}:', expected one: git checkout {PARAMS}")
    return text[: found.start()], found[0], text[found.end() :]


def remove(text: str, name: str) -> str:
    """The text without the entries of this name in both sections."""
    for section in SECTIONS:
        before, lines, behind = find_section(text, section)
        kept = re.sub(rf"^  {name}:.*\n(?:   .*\n)*", "", lines, count=1, flags=re.MULTILINE)
        text = f"{before}{kept}{behind}"
    return text


def find_delivered(name: str) -> tuple[Path, Path]:
    """The network that is handed over, and the text that says how to use it."""
    return MODELS / f"{name}.keras", MODELS / f"{name}.txt"


def undo(name: str, made: Sequence[Path] = ()) -> list[str]:
    """Take out a judged table's CSV, what was made of it, and its entries, these last, so that it can be repeated.

    Returns what was taken out.
    """
    text = read_text(PARAMS)
    expect_judged(name, text)
    file, changed = Path(FOLDER, f"{name}.csv"), remove(text, name)  # and no other file, whatever the entry says now
    is_copy = f"DATA={file} " not in text and str(file) not in changed
    check(changed, read=None)
    gone = [path for path in ([file] if is_copy else []) + [*made] if path.exists()]
    for path in gone:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if LOCK.is_file():
        write_bytes(LOCK, forget_stages(name).encode())
    write_bytes(Path(PARAMS), changed.encode())
    return [f"the entries of {name} in {PARAMS} and {LOCK}", *map(str, gone)]


def expect_judged(name: str, text: str) -> None:
    """UserError where params.yaml has no such study that `make judge` wrote."""
    if not (NAME.fullmatch(name) and f"\n  {name}:\n    # make judge " in text):
        raise UserError(f"{PARAMS} has no study {name} that `make judge` wrote, expected its name: mend UNDO")


def is_of(name: str, command: object) -> bool:
    """Whether a command is that of a stage of a study or of its data set."""
    return bool(re.fullmatch(rf"python -m stages\.(?!experiment )\w+ {name}( \w+)?", str(command)))


def forget_stages(name: str) -> str:
    """The text of dvc.lock without the stages of a study and its data set."""
    blocks = re.split(r"^(?=  \S)", LOCK.read_text(encoding="utf-8") if LOCK.is_file() else "", flags=re.MULTILINE)
    commands = [re.search(r"^    cmd: (.*)$", block, re.MULTILINE) for block in blocks]
    return "".join(block for block, cmd in zip(blocks, commands, strict=True) if not (cmd and is_of(name, cmd[1])))


def take_out(name: str) -> list[str]:
    """Undo a judged table once no run is at work, with all that stages have made of it, also in DVC's cache.

    Returns what was taken out, and what stays: objects of the cache that anything else names.
    """
    from dvc.repo import Repo  # slow to import, as is what imports it

    from tools.repro.engine import Job
    from tools.repro.pipeline import take_lock

    expect_judged(name, read_text(PARAMS))
    check_lock()
    take_lock(repo := Repo())
    own = [stage for stage in repo.index.stages if is_of(name, stage.cmd)]
    outs = {Path(out.fs_path): out.hash_info.value for stage in own for out in stage.outs}
    others = {Path(out.fs_path).parent for stage in repo.index.stages if stage not in own for out in stage.outs}
    folders = {path.parent for path in outs if path.parent.name == name} - others  # models/<name>
    paths = {path.parent if path.parent in folders else path for path in outs}
    told = forget_objects(name, Path(repo.cache.local.path), Path(repo.stage_cache.cache_dir), {*outs.values()})
    for stage in own:
        Job(stage.addressing, "", "").log.unlink(missing_ok=True)
    made = {*(path.relative_to(Path.cwd()) for path in paths), *KEPT.glob(f"*/{name}"), *find_delivered(name)}
    told += undo(name, sorted(made))
    repo.lock.unlock()
    return told


def forget_objects(name: str, objects: Path, runs: Path, named: set[str]) -> list[str]:
    """Remove from DVC's cache what it has of a study, but what anything else names; what was removed, and what stays.

    objects, runs: its folders. named: the hashes of the study's outputs.
    """
    if not objects.resolve().is_relative_to(Path.cwd().resolve()):
        return [f"nothing of DVC's cache: {objects} may serve other projects, too"]
    own, kept = list[Path](), find_hashes(forget_stages(name)) | list_committed()
    for path in runs.glob("*/*/*"):
        text = path.read_text(errors="replace")
        found = re.search(r"^cmd: (.*)$", text, re.MULTILINE)
        if found and is_of(name, found[1]):
            own.append(path)
            named |= {*read_entry(path).values()}
        else:
            kept |= find_hashes(text)
    gone, left = (list_objects(objects, hashes) for hashes in (named, kept))
    for path in [*own, *gone - left]:
        path.unlink()
    told = [f"{len(gone - left)} objects and {len(own)} entries of DVC's cache"]
    stays = f"stays: {len(gone & left)} objects of DVC's cache, which other stages or a dvc.lock in git name"
    return [*told, stays] if gone & left else told


def find_hashes(text: str) -> set[str]:
    return set(re.findall(r"\b[0-9a-f]{32}(?:\.dir)?", text))


def list_committed() -> set[str]:
    """The hashes in dvc.lock of every branch and tag, and of HEAD."""
    names = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], capture_output=True, text=True).stdout
    wanted, command = [f"{name}:./{LOCK}\n" for name in ["HEAD", *names.split()]], ["git", "cat-file", "--batch"]
    done = subprocess.run(command, input="".join(wanted), capture_output=True, text=True, errors="replace")
    return find_hashes(done.stdout)


def list_objects(objects: Path, hashes: Iterable[str]) -> set[Path]:
    """The objects of DVC's cache with these hashes, and with those of the files of a folder among them."""
    paths = {find_object(objects, md5) for md5 in hashes if md5}
    listed = {md5 for path in paths if path.suffix for md5 in (read_listing(path) or {}).values()}
    return {path for path in paths | {find_object(objects, md5) for md5 in listed} if path.exists()}
