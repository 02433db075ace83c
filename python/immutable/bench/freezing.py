"""Freezing a graph, beside pickling and unpickling it, and beside the least that a freeze must do."""

import pickle
from collections.abc import Callable

from _immutable import _header_walk_seconds  # type: ignore[import-not-found]

from immutable import freeze
from immutable.bench.comparison import Ratio, Result, Settings, seconds


class Pair:
    def __init__(self, first: object, second: object) -> None:
        self.first, self.second = first, second


class FrozenPair:
    """The same for what is frozen: the graph that is pickled shares no frozen class with it."""

    def __init__(self, first: object, second: object) -> None:
        self.first, self.second = first, second


type PairClass = type[Pair] | type[FrozenPair]


def dict_of_ints(entries: int, _: PairClass) -> object:
    return {number: number + entries for number in range(entries)}


def dict_of_objects(entries: int, pair: PairClass) -> object:
    return {number: pair(number, number + entries) for number in range(entries)}


def tuple_of_strings(entries: int, _: PairClass) -> object:
    return tuple([f"string {number}" for number in range(entries)])


def binary_tree(entries: int, pair: PairClass) -> object:
    """A complete tree, built from its leaves up: its size is rounded down to a power of two, less one."""
    level: list[Pair | FrozenPair | None] = [None] * (1 << ((entries + 1).bit_length() - 1))
    while len(level) > 1:
        level = [pair(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def there_and_back(graph: object) -> object:
    return pickle.loads(pickle.dumps(graph, protocol=pickle.HIGHEST_PROTOCOL))


SHAPES: list[tuple[Callable[[int, PairClass], object], float]] = [
    (dict_of_ints, 8),
    (dict_of_objects, 20),
    (tuple_of_strings, 8),
    (binary_tree, 20),
]


def one_round(build: Callable[[int, PairClass], object], entries: int) -> tuple[float, float, float]:
    """Seconds to pickle and unpickle a graph, and, for another one, to walk over it and to freeze it."""
    graph = build(entries, Pair)
    pickled = seconds(there_and_back, graph)
    graph = build(entries, FrozenPair)
    return pickled, _header_walk_seconds(graph), seconds(freeze, graph)


def run(settings: Settings) -> list[Result]:
    """One million entries each, in a new graph for each round."""
    entries, rounds = settings.size(1_000_000, 10_000), settings.size(7, 3)
    freeze(FrozenPair)  # classes are frozen once, and not with each graph
    results: list[Result] = []
    for build, faster in SHAPES:
        times = [one_round(build, entries) for _ in range(rounds)]
        pickled, walked, frozen = map(list, zip(*times, strict=True))
        name = build.__name__.replace("_", " ")
        results.append(Ratio(f"{name}: freeze, pickle", "freeze", "pickle", frozen, pickled, at_least=faster))
        results.append(Ratio(f"{name}: freeze, bare walk", "freeze", "walk", frozen, walked, at_most=2.0))
    return results
