"""Times several ways to do one thing in turns, and tells how they compare."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

type Way = Callable[[], float]
"""Does one round of something, prepares whatever that needs, and returns the seconds of what counts."""


@dataclass(frozen=True)
class Settings:
    """How much to measure, and which unpatched interpreter to compare with, if any."""

    quick: bool = False
    stock: str | None = None

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def seconds(action: Callable[..., object], *arguments: object) -> float:
    """The time of one call, during which the cyclic collector is off: its runs would fall on either side."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        result = action(*arguments)
        taken = time.perf_counter() - start
        del result  # not in the time: what was made is what the next step would use
        return taken
    finally:
        if was_enabled:
            gc.enable()


def in_turns(rounds: int, *ways: Way) -> list[list[float]]:
    """The seconds of each way in each round. Every other round goes backwards, so that none always comes first."""
    taken: list[list[float]] = [[0.0] * rounds for _ in ways]
    for number in range(rounds):
        order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
        for way in order:
            taken[way][number] = ways[way]()
    return taken


@dataclass
class Ratio:
    """Two ways that took turns, and what is wanted of them.

    With at_least, the ratio is how many times faster the first way is than the
    second; with at_most it is the cost of the first in terms of the second.
    Without either it is the former, and nothing is wanted.
    """

    name: str
    ours: str
    theirs: str
    our_seconds: Sequence[float]
    their_seconds: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.our_seconds, self.their_seconds, strict=True)
        if self.at_most is not None:
            return [ours / theirs for ours, theirs in pairs]
        return [theirs / ours for ours, theirs in pairs]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def of_best(self) -> float:
        """The ratio of the shortest times, which other work on the machine can only lengthen."""
        ours, theirs = min(self.our_seconds), min(self.their_seconds)
        return ours / theirs if self.at_most is not None else theirs / ours

    @property
    def held(self) -> bool | None:
        """Whether the target is met by the median, None where there is no target."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return self.median <= self.at_most if self.at_most is not None else None

    def shown(self) -> str:
        if self.at_most is not None:
            wanted = f"<= {self.at_most:g}"
        elif self.at_least is not None:
            wanted = f">= {self.at_least:g}"
        else:
            wanted = ""
        verdict = {True: "ok", False: "MISSED", None: ""}[self.held]
        return (
            f"{self.name:44} {time_text(min(self.our_seconds)):>10} {time_text(min(self.their_seconds)):>10} "
            f"{self.median:9.2f} {self.of_best:9.2f} {wanted:>8} {verdict}"
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"median": self.median, "of_best": self.of_best, "held": self.held}


@dataclass
class Series:
    """How something grows: one value for each size. Values are the best, or the only ones, that were measured."""

    name: str
    sizes: list[int]
    size_label: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, size: int, **values: float) -> None:
        self.sizes.append(size)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def shown(self) -> str:
        names = list(self.values)
        lines = [
            f"{self.name}, in {self.unit}",
            f"  {self.size_label:>24} " + " ".join(f"{name:>16}" for name in names),
        ]
        for number, size in enumerate(self.sizes):
            lines.append(f"  {size:>24,} " + " ".join(f"{self.values[name][number]:16.2f}" for name in names))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


type Result = Ratio | Series


def time_text(value: float) -> str:
    """A time with three digits and a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
