"""Reading frozen data beside reading the same data mutable, in a process with one interpreter."""

from collections.abc import Callable
from functools import partial
from itertools import repeat
from types import FunctionType
from typing import Any

from immutable import freeze
from immutable.bench.comparison import Ratio, Result, Settings, in_turns, seconds


def attribute(record: Any, times: int) -> None:
    for _ in repeat(None, times):
        record.x
        record.y
        record.z


def item(record: Any, times: int) -> None:
    items, table = record.items, record.table
    for _ in repeat(None, times):
        items[3]
        table["third"]
        table["fifth"]


def iteration(record: Any, times: int) -> None:
    items = record.items
    for _ in repeat(None, times // 10):
        for _value in items:
            pass


def method_call(record: Any, times: int) -> None:
    for _ in repeat(None, times):
        record.total()


def aggregate(record: Any, times: int) -> None:
    for _ in repeat(None, times // 10):
        sum(record.items)
        sorted(record.table.values())


READS: list[Callable[[Any, int], None]] = [attribute, item, iteration, method_call, aggregate]


def record_class() -> type:
    """A class of its own for each side: one that is frozen counts differently from one that is not."""

    class Record:
        def __init__(self) -> None:
            # Above the numbers that CPython makes immortal, so that each read counts a reference.
            self.x, self.y, self.z = 1001, 1002, 1003
            self.items = [1000 + number for number in range(20)]
            self.table = dict(zip(("first", "second", "third", "fourth", "fifth"), range(2000, 2005), strict=True))

        def total(self) -> int:
            return self.x + self.y + self.z

    return Record


def own_bytecode(function: Callable[[Any, int], None]) -> FunctionType:
    """A copy that specialises for one kind of data."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__)


def run(settings: Settings) -> list[Result]:
    times, rounds = settings.size(100_000, 2_000), settings.size(40, 3)
    results: list[Result] = []
    for read in READS:
        mutable, frozen = record_class()(), freeze(record_class()())
        of_mutable = partial(seconds, own_bytecode(read), mutable, times)
        of_frozen = partial(seconds, own_bytecode(read), frozen, times)
        of_mutable(), of_frozen()  # specialises the bytecode
        our_seconds, their_seconds = in_turns(rounds, of_frozen, of_mutable)
        name = read.__name__.replace("_", " ")
        results.append(Ratio(name, "frozen", "mutable", our_seconds, their_seconds, at_most=1.10))
    return results
