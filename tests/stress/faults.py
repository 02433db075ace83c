"""Scenarios that fail on purpose, each in one of the ways that the program must notice. Only run by name."""

import os
import threading
import time

from scenario import scenario

from immutable import freeze

kept = []


@scenario(weight=0)
def fault_wrong_result(run):
    run.step()
    run.check(1 + 1 == 3, "arithmetic", 1 + 1)


@scenario(weight=0)
def fault_exception_in_a_thread(run):
    run.in_threads(lambda rng: rng.nothing_of_this_name)


@scenario(weight=0)
def fault_unraisable_exception(run):
    class Failing:
        def __del__(self):
            raise ValueError("not expected")

    run.step()
    Failing()


@scenario(weight=0)
def fault_leak(run):
    run.step()
    kept.append(freeze([run.random.random()]))


@scenario(weight=0)
def fault_thread_left_over(run):
    run.step()
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()


@scenario(weight=0)
def fault_hang(run):
    run.step()
    threading.Event().wait()


@scenario(weight=0)
def fault_crash(run):
    run.step()
    run.step()
    os.abort()


@scenario(weight=0)
def fault_nothing(run):
    """Fails in no way."""
    for _ in range(run.random.randrange(1, 10)):
        run.step()
        freeze([run.random.random()])
