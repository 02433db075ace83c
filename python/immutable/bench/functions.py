"""Calling a frozen function in another interpreter beside calling it at home, where nobody froze it."""

import time
from collections.abc import Callable
from concurrent import interpreters
from concurrent.interpreters import Interpreter
from functools import partial
from itertools import repeat
from types import FunctionType
from typing import Any

from immutable import freeze
from immutable.bench.comparison import Ratio, Result, Settings, Way, in_turns

WEIGHTS = (3, 1, 4, 1, 5)


def nothing(number: int) -> int:
    return number


def weigh(number: int) -> int:
    return sum([number * weight for weight in WEIGHTS])


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def collatz(number: int) -> int:
    steps = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


# Function, argument, and how often it is called for each thousand calls of the shortest.
CALLS: list[tuple[Callable[[int], int], int, int]] = [
    (collatz, 27, 10),
    (weigh, 7, 100),
    (fibonacci, 12, 2),
    (nothing, 1, 1000),
]


def time_calls(function: Callable[[int], int], argument: int, times: int) -> float:
    start = time.perf_counter()
    for _ in repeat(None, times):
        function(argument)
    return time.perf_counter() - start


def copied(function: Any) -> Any:
    """The function again, with globals of its own, so that it can be frozen alone."""
    names = dict(function.__globals__)
    names[function.__name__] = made = FunctionType(function.__code__.replace(), names, function.__name__)
    return made


def called(
    elsewhere: Interpreter, timer: Callable[..., float], function: Callable[[int], int], argument: int, times: int
) -> Way:
    """Seconds of calling a frozen function in an interpreter, the loop being run there."""
    return lambda: elsewhere.call(timer, function, argument, times)


def run(settings: Settings) -> list[Result]:
    thousands, rounds = settings.size(20, 1), settings.size(40, 3)
    results: list[Result] = []
    elsewhere = interpreters.create()
    timer = freeze(copied(time_calls))
    for function, argument, share in CALLS:
        times = thousands * share
        there = called(elsewhere, timer, freeze(copied(function)), argument, times)
        here = partial(copied(time_calls), copied(function), argument, times)
        there(), here()  # specialises the bytecode
        our_seconds, their_seconds = in_turns(rounds, there, here)
        name = f"{function.__name__}({argument})"
        results.append(Ratio(name, "frozen, elsewhere", "mutable, at home", our_seconds, their_seconds, at_most=1.05))
    elsewhere.close()
    return results
