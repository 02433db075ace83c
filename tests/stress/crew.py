"""Several interpreters with a GIL each, driven by threads of this one: what the scenarios about sharing run on.

A worker is a function that takes a Run made in its own interpreter and what it works on. It is named by a function
of a module that every interpreter imports for itself.
"""

import contextlib
import sys
from concurrent import interpreters

from scenario import Run

RELEASE = """
import gc, sys
sys.unraisablehook = sys.__unraisablehook__
for _ in range(2):
    gc.collect()
"""


def work_here(module, function, name, seed, arguments):
    """Runs in another interpreter: makes a Run and calls the worker. Returns the number of steps, and the result."""
    run = Run(name, seed, threads=2, interpreters=1)
    try:
        result = getattr(__import__(module), function)(run, *arguments)
    except Exception as error:
        return run.unexpected(error)
    return run.steps, result


class Crew:
    """`size` interpreters. As a context manager, closes those that are left."""

    def __init__(self, run, size=None):
        self.run = run
        self.members = [interpreters.create() for _ in range(size or run.interpreters)]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        while self.members:
            self.close(self.members[-1])

    def close(self, member):
        """Ends an interpreter, after a collection or without."""
        self.members.remove(member)
        if self.run.random.random() < 0.5:
            member.exec(RELEASE)
        member.close()

    def replace(self, member):
        """Ends an interpreter and starts another. Returns the new one."""
        self.close(member)
        self.members.append(interpreters.create())
        return self.members[-1]

    def ask(self, member, worker, *arguments, seed=None):
        """Calls a worker in one interpreter, and returns what it returns. May be called from any thread."""
        run = self.run
        run.step()
        if seed is None:
            seed = run.random.getrandbits(32)
        try:
            arguments = worker.__module__, worker.__name__, run.name, seed, arguments
            steps, result = member.call(work_here, *arguments)
        except interpreters.ExecutionFailed as error:
            return run.unexpected(error)
        run.steps_elsewhere.append(steps)
        return result

    def ask_all(self, worker, *arguments, beside=()):
        """Calls a worker in all interpreters at once, and functions in threads here beside it. Returns the results."""
        results = [None] * len(self.members)

        def asking(place, member):
            def ask(rng):
                results[place] = self.ask(member, worker, *arguments, seed=rng.getrandbits(32))

            return ask

        self.run.in_threads(*(asking(*each) for each in enumerate(self.members)), *beside)
        return results


@contextlib.contextmanager
def switching_often(run):
    """Threads of this interpreter take turns often during a block."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(run.random.choice((1e-6, 1e-5, 1e-3)))
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
