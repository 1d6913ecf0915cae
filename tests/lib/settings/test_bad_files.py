# a table
"""A table of settings that cannot be used: each is told in words, with its line, in one go and without much work."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from stages import plan
from stages.lib.settings.machine import Machine
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.yaml_text import TextError, decode
from tests.conftest import ROOT
from tests.memory import run_measured

STUDY = "repeats: 10, validation: 0.2"
FIXED = "kind: fixed_test, seeds: 10"
VARIANT = "regularizers: [l2, activity_l1]"
STOPPING = "monitor: val_loss       # loss"
MINE = "  thoracic_surgery: {kind: thoracic_surgery}"
TOO_LONG = "a" * 65
HUGE = "9" * 30

# What stands in tests/params.yaml, what is put in its place, and what is told of that.
EDITS: list[tuple[str, str, str]] = [
    # numbers without a bound
    ("seed: 3", "seed: 4294967296", "seed: is 4294967296, expected a number of at most 4,294,967,295"),
    ("seed: 3", "seed: -1", "seed: is -1, expected a number of at least 0"),
    ("seed: 3", "seed: 3.0", "seed: is 3.0, expected a whole number"),
    ("seed: 3", "seed: three", "seed: is 'three', expected a whole number"),
    ("seed: 3", f"seed: {HUGE}", "seed: is a number of 100 bits, expected a number of at most 4,294,967,295"),
    ("seed: 3", "seed: 0x" + "f" * 5000, "seed: is a number of 20000 bits"),
    ("seed: 3", "seed: " + "9" * 5000, "holds no value"),
    ("seed: 3", "seed: null", "seed: is None, expected a whole number"),
    ("seed: 3", "seed: [3]", "seed: is [3], expected a whole number"),
    ("seed: 3", "seed: {a: 3}", "seed: is {'a': 3}, expected a whole number"),
    ("seed: 3", "seed: true", "seed: is True, expected a whole number"),
    ("seed: 3", "seed: 2020-13-45", "holds no value (month must be in 1..12)"),
    ("seed: 3", "seed: 2020-02-30", "holds no value (day"),
    ("seed: 3", "seed: 2020-01-01", "seed: is datetime.date(2020, 1, 1), expected a whole number"),
    ("hidden: [128]", "hidden: [1000000000]", "hidden.0: is 1000000000, expected a number of at most 16,384"),
    ("hidden: [128]", "hidden: [0]", "hidden.0: is 0, expected a number of at least 1"),
    ("hidden: [128]", "hidden: 128", "hidden: is 128, expected a list"),
    ("hidden: [128]", f"hidden: [{'4, ' * 40}]", "hidden: has 40 entries, expected at most 32"),
    ("hidden: [128]", "hidden: [1.5]", "hidden.0: is 1.5, expected a whole number"),
    ("epochs: 1\n", f"epochs: 1{'0' * 30}\n", "epochs: is a number of 100 bits, expected a number of at most 100,000"),
    ("epochs: 1\n", "epochs: 100001\n", "epochs: is 100001, expected a number of at most 100,000"),
    ("epochs: 1\n", "epochs: -5\n", "epochs: is -5, expected a number of at least 1"),
    ("epochs: 1\n", "epochs: 1.0\n", "epochs: is 1.0, expected a whole number"),
    ("epochs: 1\n", "epochs:\n", "epochs: is None, expected a whole number"),
    ("epochs: 1\n", "\n", "training.epochs: is missing, expected a value"),
    ("batch_size: 30", "batch_size: 0", "batch_size: is 0, expected a number of at least 1"),
    ("batch_size: 30", f"batch_size: {HUGE}", "expected a number of at most 10,000,000"),
    ("batch_size: 30", "batch_size: 30 rows", "batch_size: is '30 rows', expected a whole number"),
    ("learning_rate: 0.001", "learning_rate: 0", "learning_rate: is 0, expected a number greater than 0"),
    ("learning_rate: 0.001", "learning_rate: -1", "learning_rate: is -1, expected a number greater than 0"),
    (
        "learning_rate: 0.001",
        "learning_rate: 1e300",
        "learning_rate: is 1e+300, expected a number of at most 1,000,000,000",
    ),
    ("learning_rate: 0.001", "learning_rate: .nan", "learning_rate: is nan, expected a finite number"),
    ("learning_rate: 0.001", "learning_rate: .inf", "learning_rate: is inf, expected a finite number"),
    ("learning_rate: 0.001", "learning_rate: -.inf", "learning_rate: is -inf, expected a finite number"),
    ("learning_rate: 0.001", "learning_rate: 0,001", "learning_rate: is '0,001', expected a number"),
    ("learning_rate: 0.001", "learning_rate: '0.001'", "learning_rate: is '0.001', expected a number"),
    (
        "patience: 10 ",
        f"patience: 1{'0' * 30} ",
        "patience: is a number of 100 bits, expected a number of at most 100,000",
    ),
    ("patience: 10 ", "patience: -1 ", "patience: is -1, expected a number of at least 0"),
    ("patience: 10 ", "patience: 1.5 ", "patience: is 1.5, expected a whole number"),
    ("start_from_epoch: 0", "start_from_epoch: 1000000", "expected a number of at most 100,000"),
    ("cooldown: 0", "cooldown: 99999999", "cooldown: is 99999999, expected a number of at most 100,000"),
    ("factor: 0.1", "factor: 1", "factor: is 1, expected a number less than 1"),
    ("factor: 0.1", "factor: 0", "factor: is 0, expected a number greater than 0"),
    ("min_lr: 0", "min_lr: -1", "min_lr: is -1, expected a number of at least 0"),
    ("min_delta: 0.0001", "min_delta: 1e99", "min_delta: is 1e+99, expected a number of at most 1,000,000,000"),
    (STUDY, "repeats: 10000000, validation: 0.2", "repeats: is 10000000, expected a number of at most 1,000"),
    (STUDY, "repeats: 0, validation: 0.2", "repeats: is 0, expected a number of at least 1"),
    (STUDY, "repeats: 10, validation: 0", "validation: is 0, expected a number greater than 0"),
    (STUDY, "repeats: 10, validation: 1", "validation: is 1, expected a number less than 1"),
    (
        STUDY,
        "repeats: 10, validation: 1e-300",
        "protocol.validation is 1e-300, expected a share that puts at least one row",
    ),
    (STUDY, "repeats: 10", "protocol.validation: is missing"),
    (STUDY, "repeats: 10, validation: 0.2, seeds: 3", "protocol.seeds: is not a known key"),
    ("folds: 5", "folds: 1", "folds: is 1, expected a number of at least 2"),
    ("folds: 5", "folds: 1001", "folds: is 1001, expected a number of at most 1,000"),
    ("folds: 5, repeats: 10", "folds: 70, repeats: 1000", "has 70 folds x 1000 repeats, expected at most 5,000"),
    ("folds: 5", "folds: 471", "folds is 471, expected at most 70"),
    (FIXED, "kind: fixed_test, seeds: 1000000", "seeds: is 1000000, expected a number of at most 10,000"),
    (FIXED, "kind: fixed_test, seeds: 10, test: 0.2", "protocol.test is 0.2, expected no such key"),
    (FIXED, "seeds: 10", "protocol: is {'seeds': 10, "),
    (FIXED, "kind: [fixed_test], seeds: 10", "expected a kind among"),
    ("training: 2000", "training: 0", "training: is 0, expected a number of at least 1"),
    ("training: 2000", "training: 99999999", "training: is 99999999, expected a number of at most 10,000,000"),
    ("confidence: 0.95", "confidence: 95", "confidence: is 95, expected a number less than 1"),
    ("confidence: 0.95", "confidence: 1", "confidence: is 1, expected a number less than 1"),
    ("confidence: 0.95", "confidence: 0.5", "confidence: is 0.5, expected a number greater than 0.5"),
    ("    auc: 0.01", "    auc: -0.01", "equivalence.auc: is -0.01, expected a number of at least 0"),
    ("    auc: 0.01", "    auk: 0.01", "equivalence.auk: is 'auk', expected one of"),
    # knobs and strengths
    ("l1: 0.001", "l1: -1", "l1: is -1, expected a number of at least 0"),
    ("l1: 0.001", "l1: 1e300", "l1: is 1e+300, expected a number of at most 1,000,000,000"),
    ("l1: 0.001", "l1:", "l1: is None, expected a number"),
    ("l1: 0.001", "11: 0.001", "l1: is missing"),
    ("l1: 0.001", "l1: 0.001\nl1: 0.002", "is not YAML (while constructing a mapping, found duplicate key"),
    ("dropout: 0.5", "dropout: 1", "dropout: is 1, expected a number less than 1"),
    ("batch_norm: 0.99", "batch_norm: 1.0", "batch_norm: is 1.0, expected a number less than 1"),
    ("max_norm: 2.0", "max_norm: 0", "max_norm: is 0, expected a number of at least 1e-06"),
    (
        VARIANT,
        "regularizers: [l2], path: [1e300]",
        "path holds 1e+300, expected a number of at least 0 and at most 1,000,000,000",
    ),
    (
        VARIANT,
        "regularizers: [early_stopping], path: [1e300]",
        "path holds 1e+300, expected a whole number of at least 0",
    ),
    (VARIANT, "regularizers: [early_stopping], path: [100001]", "and at most 100,000 for early_stopping"),
    (VARIANT, "regularizers: [l2], path: [.nan]", "path.0: is nan, expected a finite number"),
    (VARIANT, "regularizers: [l2], path: [-1]", "path holds -1.0, expected a number of at least 0"),
    (
        VARIANT,
        "regularizers: [l2], path: [0.1, 0.2, 0.1]",
        "path: is [0.1, 0.2, 0.1], expected each entry at most once",
    ),
    (VARIANT, "regularizers: [l2], path: 0.1", "path: is 0.1, expected a list"),
    (
        VARIANT,
        f"regularizers: [l2], path: [{', '.join(map(str, range(101)))}]",
        "path: has 101 entries, expected at most 100",
    ),
    (VARIANT, "regularizers: [], path: [0.1]", "path goes with 0 regularizers, expected exactly one"),
    (VARIANT, "regularizers: [l2], strengths: {l2: 1e99}", "strengths.l2 holds 1e+99, expected a number"),
    (VARIANT, "regularizers: [l2], strengths: {l2: two}", "strengths.l2: is 'two', expected a number"),
    (VARIANT, "regularizers: [l2], strengths: [l2]", "strengths: is ['l2'], expected a mapping"),
    (VARIANT, "regularizers: l2", "regularizers: is 'l2', expected a list"),
    (VARIANT, "regularizers: [{l2: 0.1}]", "regularizers.0: is {'l2': 0.1}, expected text"),
    (VARIANT, "regularizers: [L2]", "regularizers.0: is 'L2', expected one of l1, l2"),
    (VARIANT, f"regularizers: [{'x' * 500}]", "regularizers.0: is 'xxxx"),
    (VARIANT, "regularizer: [l2]", "regularizer: is not a known key"),
    (VARIANT, "regularizers: [l2], layers: {l2: [0]}", "layers.l2.0: is 0, expected a number of at least 1"),
    (VARIANT, "regularizers: [l2], layers: {l2: [9]}", "l2 acts on layers [9], expected some of"),
    (VARIANT, "regularizers: [mixup], loss: categorical_crossentropy, layers: {mixup: [1]}", "layers.mixup is set"),
    (VARIANT, "regularizers: [l2], activation: rellu", "activation: is 'rellu', expected 'linear', 'relu'"),
    (
        VARIANT,
        "regularizers: [l2], optimizer: adm",
        "optimizer: is 'adm', expected 'sgd', 'rmsprop', 'adam' or 'adamw'",
    ),
    (VARIANT, "regularizers: [l2], momentum: 1", "momentum: is 1, expected a number less than 1"),
    (
        VARIANT,
        "regularizers: [l2], callbacks: [early_stopping]",
        "callbacks.0: is 'early_stopping', expected 'checkpoint'",
    ),
    (VARIANT, "regularizers: [l2], baseline: Me", "baseline: is 'Me', expected a name of small letters"),
    (
        VARIANT,
        "regularizers: [l2], epochs: 3",
        "differs from its baseline unregularized in its regularizers and in epochs",
    ),
    # names
    ("poisson: {", f"{TOO_LONG}: {{", "expected at most 64 characters"),
    ("poisson: {", f"{'b' * 245}: {{", "expected at most 64 characters"),
    ("poisson: {", "../poisson: {", "expected a name of small letters"),
    ("poisson: {", "_poisson: {", "expected a name of small letters"),
    ("poisson: {", "1: {", "expected text"),
    ("poisson: {", "null: {", "expected text"),
    ("poisson: {", "'poi sson': {", "expected a name of small letters"),
    ("  tutorial_thoracic:", f"  {TOO_LONG}:", "expected at most 64 characters"),
    ("  tutorial_thoracic:", "  Tutorial:", "expected a name of small letters"),
    ("dataset: fashion_mnist", "dataset: 3", "dataset: is 3, expected text"),
    ("dataset: fashion_mnist", f"dataset: {TOO_LONG}", "expected at most 64 characters"),
    ("features: raw", "features: RAW", "features: is 'RAW', expected a name"),
    ("features: raw", "features: rare", "features: is rare, expected encoded or raw"),
    # structure
    ("loss: poisson", "loss: [poisson]", "loss: is ['poisson'], expected text"),
    ("network: {hidden: [128], activation: relu}", "network: none", "network: is 'none', expected a mapping"),
    ("training:\n", "training: [\n", "is not YAML"),
    ("studies:\n", "studies: []\nmore:\n", "studies: is [], expected a mapping"),
    ("studies:\n", "studies:\nmore:\n", "studies: is None, expected a mapping"),
    ("datasets:\n", "datasets: {}\nmore:\n", "datasets: is {}, expected at least one entry"),
    ("callbacks:  ", "callback:  ", "callbacks: is missing"),
    (STOPPING, "monitor: loss_val  # loss", "monitor: is 'loss_val', expected one of loss, val_loss"),
    (STOPPING, "monitor: [val_loss]  # loss", "monitor: is ['val_loss'], expected text"),
    ("restore_best: true", "restore_best: yes", "restore_best: is 'yes', expected true or false"),
    ("save_best_only: true", "save_best_only: 1", "save_best_only: is 1, expected true or false"),
    ("seed: 3", "\tseed: 3", "is not YAML"),
    ("seed: 3", "seed: 3\n<<<<<<< HEAD", "holds a conflict marker of git"),
    ("seed: 3", "seed: &a [*a]", "has more than 20,000 values"),
    ("seed: 3", "seed: *nobody", "is not YAML (found undefined alias"),
    ("seed: 3", f"seed: {'[' * 3000}", "is nested more than 24 levels deep"),
    ("seed: 3", f"seed: {'{a: ' * 30}", "is nested more than 24 levels deep"),
    ("seed: 3", "seed: !!python/object/apply:os.system ['true']", "has the tag 'tag:yaml.org,2002:python/"),
    ("seed: 3", 'seed: 3\n"a\\nerror: x\\e[2J": 1', "'a\\nerror: x\\x1b[2J': is not a known key"),
    ("seed: 3", f"seed: 3\n{'k' * 90}: 1", f"{'k' * 77}...: is not a known key"),
    ("seed: 3", "seed: !mine 3", "has the tag '!mine', expected none"),
    ("seed: 3", "seed: \x07", "is not YAML (a character that it does not take"),
    ("seed: 3", "seed: 3\n---\nseed: 4", "is not YAML (expected a single document"),
    ("seed: 3", "seed: 3\n? [a, b]\n: 1", "expected text for every key"),
    ("seed: 3", "seed: 3\nl2", "is not YAML"),
    ("seed: 3", 'seed: "3', "is not YAML"),
    ("seed: 3", "seed: %3", "is not YAML"),
    ("seed: 3", "seed: @3", "is not YAML"),
    # tables of one's own
    (
        MINE,
        f"{MINE}\n  mine: {{kind: table, file: /etc/passwd, target: y}}",
        "file: is '/etc/passwd', expected a file in",
    ),
    (MINE, f"{MINE}\n  mine: {{kind: table, file: data/source/../x, target: y}}", "expected a file in data/source"),
    (MINE, f"{MINE}\n  mine: {{kind: table, file: data/source/none.csv, target: y}}", "cannot be read (No such file"),
    (MINE, f"{MINE}\n  mine: {{kind: table, file: data/source, target: y}}", "expected a file in data/source"),
    (MINE, f"{MINE}\n  mine: {{kind: table, file: data/source/thoracic_surgery.csv}}", "mine.target: is missing"),
    (
        MINE,
        f"{MINE}\n  mine: {{kind: table, file: data/source/thoracic_surgery.csv, target: ''}}",
        "at least one character",
    ),
    (MINE, f"{MINE}\n  mine: {{kind: tables}}", "expected a kind among"),
    (
        MINE,
        f"{MINE}\n  mine: {{kind: table, file: data/source/thoracic_surgery.csv, target: x, drop: [a, a]}}",
        "at most once",
    ),
    (
        MINE,
        f"{MINE}\n  mine: {{kind: table, file: data/source/thoracic_surgery.csv, target: x, drop: [x]}}",
        "expected one of them",
    ),
    (
        MINE,
        f"{MINE}\n  mine: {{kind: table, file: data/source/{'x' * 200}.csv, target: x}}",
        "expected at most 200 characters",
    ),
]


@pytest.fixture(scope="module")
def graph() -> str:
    return (ROOT / "dvc.yaml").read_text()


def tell(text: str, **options: object) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        plan.run(text, lambda path: (ROOT / path).read_bytes(), **options)  # type: ignore[arg-type]
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("old", "new", "message"), EDITS, ids=range(len(EDITS)))
def test_every_mistake_is_told_in_one_short_line_with_its_place(
    params_text: str, old: str, new: str, message: str
) -> None:
    assert old in params_text
    told = tell(params_text.replace(old, new, 1))
    lines = [re.fullmatch(r"params\.yaml(?:, line (\d+))?: (.*)", line) for line in told]
    assert all(lines), told
    found = [match for match in lines if match and message in match[2]]
    assert found, told
    assert all(len(line) < 900 for line in told)
    where = params_text[: params_text.index(old)].count("\n") + 1
    places = [int(match[1]) for match in found if match[1]]
    assert places or "has more than" in message
    if "cause" not in message and "YAML" not in message:
        assert any(where - 25 <= place <= where + 30 for place in places) or "missing" in message or not places


def test_one_mistake_hides_no_other(params_text: str, graph: str) -> None:
    """Of a field, of a study by itself, of its data, of a callback, of a table and of dvc.yaml, all in one go."""
    text = params_text
    for old, new in (
        ("seed: 3", "seed: -3"),
        ("batch_size: 30", "batch_size: 0"),
        ("discrimination: accuracy", "discrimination: auc"),
        ("layers: {dropout: [1]}", "layers: {dropout: [7]}"),
        ("regularizers: [l2, activity_l1]}", "regularizers: [l2, l2], path: [1]}"),
        ("references: []", "references: [softmax]"),
        (MINE, f"{MINE}\n  mine: {{kind: table, file: data/source/none.csv, target: y}}"),
        (STOPPING, "monitor: val_auc       # loss"),
        ("training: 2000", "training: 999999"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    told = "\n".join(tell(text, graph=graph.replace("train_thoracic:", "train_nobody:")))
    for words in (
        "seed: is -3",
        "batch_size: is 0",
        "scores.discrimination is auc, expected one of",
        "dropout acts on layers [7]",
        "regularizers names one twice",
        "path goes with 2 regularizers",
        "references.0: is 'softmax'",
        "datasets.mine: data/source/none.csv cannot be read",
        "callbacks.early_stopping.monitor is val_auc",
        "protocol.training is 999999",
        "studies.thoracic: has no block train_thoracic",
        "dvc.yaml, line ",
    ):
        assert words in told, words


def test_the_line_is_that_of_the_key(params_text: str) -> None:
    lines = params_text.splitlines()
    for old, new in (
        ("dropout: 0.5", "dropout: 2"),
        ("      epochs: 1", "      epochs: 0"),
        ("    min_lr: 0", "    min_lr: -1"),
    ):
        place = next(number for number, line in enumerate(lines, start=1) if line.startswith(old))
        (told,) = tell(params_text.replace(old, new, 1))
        assert told.startswith(f"params.yaml, line {place}: "), told


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
)
FILES: dict[str, tuple[bytes, str]] = {
    "alias bomb": (BOMB.encode(), "has more than 20,000 values"),
    "brackets": (b"[" * 100_000, "is nested more than 24 levels deep"),
    "many values": (b"a: [" + b"1," * 60_000 + b"]", "has more than 20,000 values"),
    "many keys": (b"".join(b"k%d: 1\n" % number for number in range(9000)), "is not a known key"),
    "too long": (b"#" * 200_000, "has more than 131,072 bytes"),
    "latin": ("seed: 3  # gewählt".encode("latin-1"), "line 1: is not UTF-8 text"),
    "utf-16": ("seed: 3".encode("utf-16"), "line 1: is not UTF-8 text"),
    "empty": (b"", "line 1: is None, expected a mapping"),
    "a list": (b"- a\n", "line 1: is ['a'], expected a mapping"),
    "zeros": (bytes(1000), "is not YAML"),
    "digits": (b"seed: " + b"9" * 100_000, "holds no value"),
    "a tag": (b"seed: 3\nl1: !!bool maybe\n", "line 2: has the tag 'tag:yaml.org,2002:bool', expected none"),
    "a tag of its own": (b"seed: !python/name:os.system\n", "line 1: has the tag '!python/name:os.system'"),
    "no date behind numbers": (b"a: [" + b"1," * 19_000 + b"]\nb: 2020-13-45\n", "line 2: holds no value"),
}


def start_plan(folder: Path) -> tuple[subprocess.CompletedProcess[str], int]:
    """`python -m stages.plan` in `folder`, and the megabytes that it took."""
    return run_measured('import runpy; runpy.run_module("stages.plan", run_name="__main__", alter_sys=True)', folder)


@pytest.mark.parametrize("name", FILES)
def test_any_file_is_answered_within_little_time_and_memory(name: str, tmp_path: Path, graph: str) -> None:
    content, message = FILES[name]
    (tmp_path / "dvc.yaml").write_text(graph)
    (tmp_path / "params.yaml").write_bytes(content)
    done, megabytes = start_plan(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml")
    assert message in done.stderr
    assert megabytes < 500


def test_a_file_that_is_none_is_told(tmp_path: Path, graph: str) -> None:
    (tmp_path / "dvc.yaml").write_text(graph)
    path = tmp_path / "params.yaml"
    for make, message in (
        (lambda: None, "error: .*params.yaml is missing"),
        (lambda: os.mkfifo(path), "error: .*params.yaml is no plain file"),
        (lambda: (path.unlink(), path.mkdir()), "error: params.yaml (is no plain file|Is a directory)"),
    ):
        make()
        done, _ = start_plan(tmp_path)
        assert done.returncode == 1
        assert re.match(message, done.stderr)


def test_what_the_machine_cannot_hold_is_refused_in_words(params_text: str) -> None:
    small = Machine(memory=1e6, disk=1e12)
    told = tell(params_text, machine=small)
    first = next(line for line in told if "studies.fashion.variants.large:" in line)
    assert re.search(
        r"trains 5 networks, which need at least [\d.]+ GB of memory, expected at most the 0\.0 GB that this", first
    )
    assert all("GB of memory" in line for line in told)
    assert all("GB on the disk" in line for line in tell(params_text, machine=Machine(memory=1e12, disk=1e3)))
    plan.run(params_text, lambda path: (ROOT / path).read_bytes(), machine=Machine(memory=4e9, disk=4e9))


def test_text_is_decoded_with_the_line_of_its_fault() -> None:
    with pytest.raises(TextError, match="line 3: is not UTF-8 text"):
        decode(b"a\nb\n\xff")
    with pytest.raises(TextError, match="has 2,000,000 bytes, expected at most 131,072"):
        decode(bytes(2_000_000))
