"""params.yaml with some of its entries removed, renamed or of another type: `python -m tests.fuzz_params 2000`."""

import copy
import datetime
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import plan
from stages.lib.core.records import to_json
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.yaml_text import load_document
from tests.conftest import ROOT

VALUES = load_document((ROOT / "tests/params.yaml").read_text())[0]
SECONDS, CHARACTERS = 5, 4000  # of the processor, and of a message, at most
NUMBERS: list[Any] = [0, 1, -1, 2.5, 1e308, 10**30, float("nan"), float("inf"), True]
TEXTS: list[Any] = [None, "", "l2", "x" * 5000, datetime.date(2020, 1, 1)]
NESTED: list[Any] = [[], ["l2"], [[]], [None], {}, {"a": 1}, {1: 2}]
NAMES: list[Any] = ["l2", "fashion", "Other", "x" * 300, "", "a\nb", 1, None, True, 0.5]
PUT: list[Any] = [("put", value) for value in NUMBERS + TEXTS + NESTED]
WAYS = [("remove", None), ("copy", None), *(("rename", name) for name in NAMES), *PUT]
Mutation = tuple[tuple[Any, ...], tuple[str, Any], tuple[Any, ...]]  # a place, what is done there, another place


def list_places(values: Any, where: tuple = ()) -> Iterator[tuple]:
    """The keys on the way to every entry."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        yield (*where, key)
        yield from list_places(value, (*where, key))


PLACES = list(list_places(VALUES))
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(WAYS), st.sampled_from(PLACES)), min_size=1, max_size=3
)


def find(values: Any, where: tuple) -> Any:
    for key in where:
        values = values[key]
    return values


def mutate(mutations: list[Mutation]) -> str:
    """The text of params.yaml after these changes; one whose place is gone by then is left out."""
    values = copy.deepcopy(VALUES)
    for place, (way, value), other in mutations:
        try:
            within, key = find(values, place[:-1]), place[-1]
            removed = within.pop(key)
        except (LookupError, TypeError, AttributeError):
            continue
        if way == "rename":
            key, value = (value, removed) if isinstance(within, dict) else (key, removed)
        elif way == "copy":
            value = find(VALUES, other)
        if way != "remove" and isinstance(within, dict):
            within[key] = copy.deepcopy(value)
        elif way != "remove":
            within.insert(key, copy.deepcopy(value))
    return yaml.dump(values, Dumper=yaml.CSafeDumper, sort_keys=False)


def answer(mutations: list[Mutation]) -> str:
    """Whether these changes give plans, which can be written, or mistakes in words; in little time, in few words."""
    start, told = time.process_time(), ""
    try:
        plans = plan.run(mutate(mutations), lambda path: (ROOT / path).read_bytes())
        assert all(map(to_json, plans.values()))
    except ParamsError as error:
        told = str(error)
        assert 0 < len(told) <= CHARACTERS
        assert all(line.startswith("params.yaml") for line in told.splitlines())
    assert time.process_time() - start < SECONDS
    return "mistakes" if told else "plans"


def fuzz(count: int) -> Counter[str]:
    """How often each of the answers is given to so many drawn changes."""
    answers = Counter[str]()

    @settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(MUTATIONS)
    def try_mutations(mutations: list[Mutation]) -> None:
        answers[answer(mutations)] += 1

    try_mutations()
    return answers


if __name__ == "__main__":
    print(*(f"{name} {count}" for name, count in fuzz(int(sys.argv[1])).items()), sep=", ")
