"""A table of settings that cannot be used: each is told in words, with its line, in one go and without much work."""

import os
import re
import subprocess
from dataclasses import replace as replace_field
from pathlib import Path

import pytest

from stages import plan
from stages.lib.data.dataset import Facts
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RunPlan
from stages.lib.settings.machine import FLOAT, HISTORY, Room, estimate, estimate_rows
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.schema import read_statistics
from tests.fuzz_params import fuzz
from tests.memory import run_measured
from tests.project import load_yaml
from tests.test_plan import read, replace

# What stands in tests/params.yaml -> what is put in its place -> what is told of that; <9 * 30> is a 9 thirty times.
EDITS: dict[str, dict[str, str]] = load_yaml(Path(__file__).with_name("mistakes.yaml"))
EDITS["seed: 3"]["seed: '\ud800'"] = "is not YAML ("
EDITS["regularizers: [l2, activity_l1]}"][f"regularizers: [l2], path: {list(range(101))}}}"] = (
    "path: has 101 entries, expected at most 100"
)
EDITS["variants:\n  unreg"][f"variants:\n{''.join(f'  v{number}:' + chr(10) for number in range(200))}  unreg"] = (
    "has 218 entries, expected"
)

WHOLE = ("has more than", "is not YAML")  # told of the file
ELSEWHERE = ("uses", "stands under", "has no", "both hold", "layers [3]", "unregularized, exp", "softmax.st", "none:")


def write_out(*texts: str) -> list[str]:
    return [re.sub(r"(?s)<(.{1,3}?) \* (\d+)>", lambda found: found[1] * int(found[2]), text) for text in texts]


CASES = [(old, *write_out(new, message)) for old, edits in EDITS.items() for new, message in edits.items()]


def tell(text: str, room: Room | None = None) -> list[str]:
    """What is told of a text, line by line."""
    with pytest.raises(ParamsError) as caught:
        plan.run(text, read, room=room)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("old", "new", "message"), CASES, ids=range(len(CASES)))
def test_every_mistake_is_told_in_one_short_line_with_its_place(
    params_text: str, old: str, new: str, message: str
) -> None:
    told = tell(replace(params_text, (old, new)))
    lines = [re.fullmatch(r"params\.yaml(?:, line (\d+))?: (.*)", line) for line in told]
    assert all(lines), told
    places = [match[1] for match in lines if match and message in match[2]]
    assert places, told
    assert all(len(line) < 900 for line in told)
    assert all(places) or any(words in message for words in WHOLE)
    first = params_text[: params_text.index(old)].count("\n") + 1
    if not any(words in message for words in ELSEWHERE + WHOLE):
        assert any(first - 25 <= int(place) <= first + 30 for place in places if place), told


def test_one_mistake_hides_no_other(params_text: str) -> None:
    """Of a field, of a study by itself, of its data, of a callback, of a search and of a table, all in one go."""
    text = replace(
        params_text,
        ("seed: 3", "seed: -3"),
        ("\ndropout: 0.5", "\ndropout: 1.5\ndropuot: 1"),
        ("batch_size: 30", "batch_size: 0"),
        ("layers: {dropout: [1]}", "layers: {dropout: [7]}"),
        ("regularizers: [l2, activity_l1]}", "regularizers: [l2, l2], path: [1]}"),
        ("references: []", "references: [large]"),
        (
            "thoracic_surgery: {kind",
            "mine: {kind: table, file: data/source/none.csv, target: y}\n  thoracic_surgery: {kind",
        ),
        ("    monitor: val_loss       # loss", "    monitor: val_auc  # loss"),
        ("training: 2000", "training: 999999"),
        ("points: 64", "points: 0"),
        ("l2: [0.001, 0.1]\n", "l2: [1, 0.1]\n      l3: [1, 2]\n"),
        ("epochs: 100\n", "epochs: 0\n"),
    )
    told = "\n".join(tell(text))
    for words in (
        "seed: is -3",
        "dropout: is 1.5",
        "dropuot: is not a known key",
        "batch_size: is 0",
        "dropout acts on layers [7]",
        "regularizers names one twice",
        "path goes with 2 regularizers",
        "references.0: is 'large'",
        "datasets.mine: data/source/none.csv cannot be read",
        "callbacks.early_stopping.monitor is val_auc",
        "protocol.training is 999999",
        "search.points: is 0",
        "search.l2: is [1, 0.1]",
        "search.l3: is not a known key",
        "thoracic.training.epochs: is 0",
    ):
        assert words in told, words


def test_a_mistake_of_type_hides_none_of_meaning(params_text: str) -> None:
    """Of the same study, its network and its protocol, or of the same variant."""
    text = replace(
        params_text,
        ("optimizer: adam", "optimizer: lion"),
        ("folds: 5", "folds: 99"),
        ("layers: {dropout: [1]} ", "layers: {dropout: [7]} "),
        ("activation: relu\n      layers", "activation: rely\n      layers"),
        ("regularizers: [l2, activity_l1]}", "regularizers: [l2, activity_l1], path: [1], epochs: much}"),
    )
    told = "\n".join(tell(text))
    for words in (
        "training.optimizer: is 'lion'",
        "folds is 99",
        "activation: is 'rely'",
        "dropout acts on layers [7]",
        "epochs: is 'much'",
        "path goes with 2 regularizers",
    ):
        assert words in told, told


def test_the_line_is_that_of_the_key(params_text: str) -> None:
    for old, new in (
        ("dropout: 0.5 ", "dropout: 2 "),
        ("      epochs: 1\n", "      epochs: 0\n"),
        ("    min_lr: 0", "    min_lr: -1"),
        ("seed: 3", "<<<<<<< HEAD\n#"),
        ("      l2: {path: [0.0001", "      l2: {path: [-1"),
        ("    baseline: softmax", "    baseline: 3"),
        ("  l2_activity_l1: {", "  l2_activity_l1: {path: [-1], "),
    ):
        (told,) = tell(replace(params_text, (old, new)))
        assert told.startswith(f"params.yaml, line {params_text[: params_text.index(old)].count(chr(10)) + 1}: "), told


def test_statistics_are_read_whatever_else_is_wrong(params_text: str) -> None:
    wrong = replace(params_text, ("seed: 3", "seed: -3"))
    assert read_statistics(wrong) == read_statistics(params_text)
    with pytest.raises(ParamsError, match=r"^params.yaml, line \d+: statistics.confidence: is 2, [^\n]*$"):
        read_statistics(replace(wrong, ("confidence: 0.95", "confidence: 2")))


FILES: dict[str, tuple[bytes, str]] = {
    "itself": (b"a: &a [*a]\n", "line 1: is nested more than 24 levels deep"),
    "brackets": (b"[" * 100_000, "is nested more than 24 levels deep"),
    "many values": (b"a: [" + b"1," * 60_000 + b"]", "a: is not a known key"),
    "many keys": (b"".join(b"k%d: 1\n" % number for number in range(9000)), "more mistakes: mend these first"),
    "too long": (b"#" * 200_000, "has more than 131,072 bytes"),
    "latin": ("seed: 3  # gewählt".encode("latin-1"), "line 1: is not UTF-8 text"),
    "utf-16": ("seed: 3".encode("utf-16"), "line 1: is not UTF-8 text"),
    "empty": (b"", "line 1: is None, expected a mapping"),
    "a list": (b"- a\n", "line 1: is ['a'], expected a mapping"),
    "zeros": (bytes(1000), "is not YAML"),
    "digits": (b"seed: " + b"9" * 100_000, "holds a value that is none"),
    "a tag": (b"seed: 3\nl1: !!bool maybe\n", "line 2: holds a value that is none"),
    "a tag of its own": (
        b"seed: !python/name:os.system\n",
        "line 1: is not YAML (could not determine a constructor for the tag",
    ),
    "no date behind numbers": (b"a: [" + b"1," * 19_000 + b"]\nb: 2020-13-45\n", "line 2: holds a value that is none"),
}


def start_plan(folder: Path) -> tuple[subprocess.CompletedProcess[str], int]:
    """`python -m stages.plan` in `folder`, and the megabytes that it took."""
    return run_measured('import runpy; runpy.run_module("stages.plan", run_name="__main__", alter_sys=True)', folder)


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_any_file_is_answered_within_little_time_and_memory(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    done, megabytes = start_plan(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml")
    assert message in done.stderr and len(done.stderr) < 4100
    assert megabytes < 500


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
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


def test_a_short_file_that_asks_for_many_runs_is_refused(params_text: str) -> None:
    many = ", ".join(f"d{number}: {{kind: fashion_mnist}}" for number in range(150))
    text = replace(
        params_text,
        ("datasets:\n", f"datasets:\n  many: {{{many}}}\n"),
        ("variants:\n", "variants:\n" + "".join(f"  v{number}:\n" for number in range(50))),
        ("data: fashion_mnist", "data: many"),
    )
    (told,) = tell(text)
    assert "studies: train 10,352 variants on data sets, expected at most 5,000: name fewer of either" in told


def test_what_the_machine_cannot_hold_is_refused_in_words(params_text: str) -> None:
    needs = r": \w+ trains [\d,]+ networks, which need at least \d+\.\d GB {}, expected at most the 0\.\d GB that this "
    needs += "machine has: lower repeats or seeds, the entries of the path, hidden or epochs"
    for room, words in ((Room(6e7, disk=1e12), "of memory"), (Room(1e12, disk=1e3), "on the disk")):
        told = [line for line in tell(params_text, room=room) if "more mistakes: mend these first" not in line]
        assert told and [line for line in told if not re.search(needs.format(words), line)] == []
    plan.run(params_text, read, room=Room(memory=4e9, disk=4e9))


def test_a_table_of_16_megabytes_is_taken_ten_times_and_counted_a_thousand_times() -> None:
    """100,000 rows x 20 columns: 5,000 replicates share them, but each has its own numbers of rows."""
    facts, regularizers = Facts((60_000, 40_000), num_columns=20), ()
    network, callbacks, optimizer = NetworkPlan((64,), "relu", 1), CallbacksPlan(), OptimizerPlan("adam", 0.001, 0.0)
    needs = []
    for repeats in (10, 1000):
        protocol = RepeatedStratifiedKFold(folds=5, repeats=repeats, validation=0.2)
        replicates = tuple(range(protocol.num_replicates))
        run = RunPlan("t", "v", 3, replicates, network, regularizers, callbacks, "crossentropy", optimizer, 32, 50)
        needs.append(estimate(replace_field(run, stopped=True), facts, protocol))
    weights, predicted, history = 50 * (21 * 64 + 65) * FLOAT, 50 * 20_000 * FLOAT, 50 * 50 * HISTORY
    rows, numbers = 100_000 * 20 * 8, 50 * 80_000 * 4
    assert needs[0] == pytest.approx((2 * (weights + rows + numbers) + history, 2 * weights + predicted + history))
    assert needs[1].memory > 3e9
    assert estimate_rows(facts) == 2 * rows


WIDE = b",".join([b"y", *(b"c%d" % number for number in range(3000))]) + b"\n" + (b"a" + 3000 * b"," + b"\n") * 2


def test_a_table_that_cannot_be_used_is_told_in_few_words(
    params_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project/data/source"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "outside.csv").write_text("y,x\na,1\nb,2\n")
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "wide.csv").write_bytes(WIDE)
    (folder / "large.csv").touch()
    os.truncate(folder / "large.csv", 200_000_000)
    for name, words in {
        "link": "(leads out of the project), expected a CSV file: copy your table there",
        "wide": "more mistakes: mend these first",
        "large": "(has more than 33,554,432 bytes), expected a CSV file: leave out rows or columns",
    }.items():
        old, entry = "datasets:\n", f"datasets:\n  mine: {{kind: table, file: data/source/{name}.csv, target: y}}\n"
        with pytest.raises(ParamsError, match=re.escape(words)) as caught:
            plan.run(replace(params_text, (old, entry)), plan.read_source)
        assert f"datasets.mine: data/source/{name}.csv " in str(caught.value)
        assert len(str(caught.value)) < 4000


def test_any_change_of_any_key_gives_plans_or_mistakes_in_words() -> None:
    assert sum(fuzz(200).values()) >= 200
