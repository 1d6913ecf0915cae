"""The entries of a judged table in params.yaml: written, and taken out again, without a change of any other line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Container
from pathlib import Path
from typing import Any

from stages.lib.core.cli import UserError
from stages.lib.core.files import write_bytes
from stages.lib.data.dataset import DataError
from stages.lib.data.table import FOLDER, Table
from stages.lib.judge.comparison import find_comparison
from stages.lib.lock import LOCK
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.yaml_text import load_document
from stages.plan import check, read_source, read_text
from tools.judge.design import BATCH, FOLDS, Columns, StudyDesign, Wishes

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
SECTIONS = ("datasets", "studies")
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
    training = f", training: {design.training}" if design.training else ""
    protocol = f"folds: {FOLDS}, repeats: {design.repeats}, validation: {design.validation}{training}"
    changes = [f"{variant}: {{learning_rate: {rate}}}" for variant, rate in RATES.items() if variant in catalogue]
    return [
        f"  {name}:",
        f"    # {command}",
        f"    data: {name}",
        "    baseline: unregularized",
        "    references: [logistic_regression, random_forest]",
        f"    protocol: {{kind: repeated_stratified_k_fold, {protocol}}}",
        f"    network: {{hidden: [{design.units}, {design.units}], activation: relu}}",
        "    training: {loss: crossentropy, optimizer: adam, learning_rate: "
        f"{RATE}, batch_size: {BATCH}, steps: {design.steps}, callbacks: [terminate_on_nan]}}",
        f"    variants: {{{', '.join(changes)}}}",
    ]


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


def undo(name: str) -> list[str]:
    """Take out the entries of a judged table, its CSV and its results; return what was taken out."""
    text = read_text(PARAMS)
    if not (NAME.fullmatch(name) and f"\n  {name}:\n    # make judge " in text):
        raise UserError(f"{PARAMS} has no study {name} that `make judge` wrote, expected its name: mend UNDO")
    file, changed = Path(FOLDER, f"{name}.csv"), remove(text, name)  # and no other file, whatever the entry says now
    is_copy = f"DATA={file} " not in text and str(file) not in changed
    write_bytes(Path(PARAMS), changed.encode())
    results = [find_comparison(name), Path("metrics/studies", name)]
    gone = [file] if is_copy and file.is_file() else []
    gone += [path for path in results if path.exists()]
    for path in gone:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if Path(LOCK).is_file():
        write_bytes(Path(LOCK), forget_stages(Path(LOCK).read_text(encoding="utf-8"), name).encode())
    return [f"the entries of {name} in {PARAMS} and {LOCK}", *map(str, gone)]


def forget_stages(text: str, name: str) -> str:
    """dvc.lock without the stages of a study and its data set."""
    blocks = re.split(r"^(?=  \S)", text, flags=re.MULTILINE)
    return "".join(block for block in blocks if not re.match(rf"  \w+@{name}(-\w+)?:", block))
