"""What a scenario is, and what the driver hands to it: random numbers, threads, checks.

A scenario is a function marked with `@scenario`, which takes a Run. It performs random operations, checks each result,
and leaves nothing frozen behind but what it says (`Run.stays`). A failed check ends the process on the spot: the first
wrong result is what counts, and nothing that runs later can bury it.
"""

import collections
import dataclasses
import gc
import importlib
import itertools
import os
import random
import sys
import threading
import traceback
import types
from collections.abc import Callable

from immutable import _stats, freeze

SUBJECTS = (
    "lifetimes",
    "weakrefs",
    "finalizers",
    "functions",
    "tasks",
    "failures",
    "surroundings",
    "sharing",
    "sharing_code",
    "sharing_ends",
    "sharing_modules",
    "channels",
    "volume",
    "faults",
)

WRONG_RESULT = 3
"""The exit status of a process that found a wrong result."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A named scenario; `weight` is how often it is picked beside the others, 0 for only by name."""

    name: str
    subject: str
    function: Callable
    weight: int


SCENARIOS: dict[str, Scenario] = {}


def scenario(function=None, /, *, weight=4):
    """Adds a function to the scenarios, under its own name."""

    def add(function):
        subject = function.__module__
        SCENARIOS[function.__name__] = Scenario(function.__name__, subject, function, weight)
        return function

    return add if function is None else add(function)


MAKERS: list[Callable] = []


def maker(*arguments):
    """Marks a function that makes something with code of its own, to be frozen; `arguments` are for a trial call.

    The code belongs to the maker, and stays when what was made has gone. So one of each is made and frozen before the
    program starts to count.
    """

    def add(function):
        MAKERS.append(lambda: function(*arguments))
        return function

    return add


class Run:
    """One run of one scenario.

    `random` is seeded for this run and belongs to the thread that started it; `threads` and `interpreters` say how many
    of each to use. The number of steps is what the totals count, and what a failure names.
    """

    def __init__(self, name, seed, *, threads, interpreters, progress=None):
        self.name, self.seed = name, seed
        self.threads, self.interpreters = threads, interpreters
        self.random = random.Random(seed)
        self.steps, self.steps_elsewhere = 0, []
        self.left = collections.Counter()
        self._count = itertools.count(1)
        self._progress = progress

    def step(self):
        """Notes that one more operation is about to run. May be called from any thread."""
        self.steps = next(self._count)
        if self._progress is not None:
            self._progress.at_step(self.steps)

    def check(self, condition, message, *details):
        """Ends the process unless the condition holds."""
        if not condition:
            self.fail(message, *details)

    def fail(self, message, *details):
        """Ends the process: prints what was wrong, where, how to repeat it, and the stacks of all threads."""
        text = ": ".join([message, *map(repr, details)])
        print(
            f"\nstress: WRONG RESULT in {self.name}, seed {self.seed}, step {self.steps}: {text}",
            f"stress: repeat with --only {self.name} --seed {self.seed} --runs 1",
            sep="\n",
            file=sys.stderr,
            flush=True,
        )
        try:
            import faulthandler
        except ImportError:  # in an interpreter that is not the main one
            traceback.print_stack()
        else:
            faulthandler.dump_traceback(all_threads=True)
        os._exit(WRONG_RESULT)

    def stays(self, stats):
        """Says what the run leaves frozen for good, in the terms of `_stats()`."""
        self.left.update(stats)

    def seeded(self):
        """A new random.Random, for another thread or another interpreter."""
        return random.Random(self.random.getrandbits(64))

    def in_threads(self, *functions):
        """Calls each function in a thread of its own with a random.Random, and waits for all of them."""
        threads = [self.thread(function) for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def thread(self, function):
        """A thread, not yet started, that calls a function with a random.Random of its own."""
        return threading.Thread(target=self._guarded, args=(function, self.seeded()))

    def _guarded(self, function, rng):
        try:
            function(rng)
        except BaseException as error:
            self.unexpected(error)

    def unexpected(self, error):
        """Ends the process because of an exception that should not have come."""
        sys.excepthook(type(error), error, error.__traceback__)
        self.fail("unexpected exception", error)


def load_scenarios():
    """Imports the files with scenarios."""
    for subject in SUBJECTS:
        importlib.import_module(subject)


def settled(expected=None):
    """What is frozen once everything has gone that goes by itself, or as soon as it is what is expected.

    A local view that was not used between two full collections is dropped, and what it held may be garbage for a
    third. The cache of attribute lookups holds the names, until other lookups push them out.
    """
    for _ in range(4):
        gc.collect()
        sys._clear_internal_caches()
        stats = _stats()
        if stats == expected:
            break
    return stats


PLAIN = str, bytes, int, float, complex, type(None)


def freeze_constants(*modules):
    """Freezes what the code of these modules owns for ever, and shares with what it makes: names and constants."""
    found = []
    seen = set()

    def take(value):
        if id(value) in seen:
            return
        seen.add(id(value))
        match value:
            case _ if isinstance(value, PLAIN):
                found.append(value)
            case tuple() | frozenset():
                if all(isinstance(part, PLAIN) for part in value):
                    found.append(value)
                for part in value:
                    take(part)
            case types.CodeType():
                for constants in (
                    value.co_consts,
                    value.co_names,
                    value.co_varnames,
                    value.co_freevars,
                    value.co_cellvars,
                ):
                    take(constants)
                for text in (value.co_name, value.co_qualname, value.co_filename):
                    take(text)
            case types.FunctionType():
                take(value.__code__)
                take(value.__module__)
            case type() if value.__module__ in names:
                for key, part in vars(value).items():
                    take(key)
                    take(part)
            case Scenario():
                take(value.function)

    names = {module.__name__ for module in modules}
    for module in modules:
        for name, value in vars(module).items():
            take(name)
            take(value)
    freeze(*found)
