"""Picks scenarios and runs them, in a child process that a supervisor watches.

The child writes which scenario, seed and step it is at into memory that it shares with the supervisor, which can then
say so however the child ended: by a failed check, by a signal, or not at all.
"""

import faulthandler
import gc
import importlib
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import plans
import scenario
from _immutable import _number_interpreters_from
from scenario import SCENARIOS, SUBJECTS, Run, freeze_constants, settled

from immutable import freeze


class Progress:
    """Where a run is, readable by another process: number of the scenario, seed, step, number of the run."""

    def __init__(self):
        self._words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        self._names = list(SCENARIOS)

    def starts(self, run):
        """Notes that a run starts."""
        self._words[0], self._words[1], self._words[2] = self._names.index(run.name), run.seed, 0
        self._words[3] += 1

    def at_step(self, step):
        """Notes the step of the run."""
        self._words[2] = step

    @property
    def runs(self):
        """How many runs have started."""
        return self._words[3]

    def __str__(self):
        if not self.runs:
            return "before the first run"
        number, seed, step, _ = self._words[:4]
        name = self._names[number]
        return f"in {name}, seed {seed}, step {step}\nstress: repeat with --only {name} --seed {seed} --runs 1"


def supervise(chosen):
    """Runs the scenarios in a child process. Returns the exit status for this one."""
    # The memory of the supervisor stays small, and has no threads: so fork is all it takes.
    progress = Progress()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = run_here(chosen, progress)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    try:
        return _watch(child, progress, chosen.hang)
    except KeyboardInterrupt:
        os.waitpid(child, 0)
        return 130


def _watch(child, progress, patience):
    seen, since = progress.runs, time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if progress.runs != seen:
            seen, since = progress.runs, time.monotonic()
        elif time.monotonic() - since > patience:
            print(f"\nstress: HANG: no end after {patience:g} seconds {progress}", file=sys.stderr, flush=True)
            _show_stacks(child)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1
        time.sleep(0.05)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(f"\nstress: CRASH: {signal.Signals(-code).name} {progress}", file=sys.stderr, flush=True)
        return 1
    if code not in (0, scenario.WRONG_RESULT):
        # A sanitizer ends the process with a status of its own, after a report.
        print(f"\nstress: EXIT with status {code} {progress}", file=sys.stderr, flush=True)
    return min(code, 1)


def _show_stacks(child):
    """The stacks of a process that hangs: Python's of the interpreter that faulthandler picks, and all native ones."""
    os.kill(child, signal.SIGUSR1)
    time.sleep(2)
    if gdb := shutil.which("gdb"):
        command = [gdb, "--batch", "-p", str(child), "-ex", "thread apply all backtrace 40"]
        subprocess.run(command, stdout=sys.stderr, timeout=300, check=False)


def run_here(chosen, progress=None):
    """Runs the scenarios in this process. Returns the exit status."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    if progress is None:
        faulthandler.dump_traceback_later(chosen.seconds + chosen.hang, exit=True)
    sys.unraisablehook = _no_unraisable
    print(f"stress: seed {chosen.seed}, {chosen.seconds:g} seconds, {chosen.threads} threads,", end=" ")
    print(f"{chosen.interpreters} interpreters, Python {sys.version.split()[0]}", flush=True)
    if chosen.first_id is not None:
        _number_interpreters_from(chosen.first_id)
    _warm_up()

    chooser = random.Random(chosen.seed)
    names = chosen.scenarios
    weights = [max(SCENARIOS[name].weight, 1) for name in names]
    totals = {name: Totals() for name in names}
    start = time.monotonic()
    seed, runs, resident = chosen.seed, 0, None
    baseline = settled()
    gc.freeze()
    while time.monotonic() - start < chosen.seconds and runs != chosen.runs:
        name = chooser.choices(names, weights)[0]
        run = Run(name, seed, threads=chosen.threads, interpreters=chosen.interpreters, progress=progress)
        _run_once(run, totals[name], baseline, progress)
        seed = chooser.getrandbits(32)
        runs += 1
        if resident is None and time.monotonic() - start > chosen.seconds / 4:
            resident = _resident()
    seconds = time.monotonic() - start

    width = max(map(len, names))
    for name in names:
        print(f"  {name:{width}} {totals[name]}")
    steps = sum(each.steps for each in totals.values())
    grown = f", resident memory {_resident() - resident:+d} MiB in the last three quarters" if resident else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"stress: passed: {runs} runs, {steps} steps, {seconds:.0f} seconds, seed {chosen.seed},", end=" ")
    print(f"peak {peak} MiB{grown}")
    return 0


class Totals:
    """What the runs of one scenario add up to."""

    def __init__(self):
        self.runs = self.steps = 0
        self.seconds = self.longest = 0.0

    def __str__(self):
        return f"{self.runs:6} runs {self.steps:9} steps {self.seconds:8.1f} s, longest {self.longest:.1f} s"


def _run_once(run, totals, baseline, progress):
    if progress is not None:
        progress.starts(run)
    threads = threading.active_count()
    interval = sys.getswitchinterval()
    # Often shorter than what a thread needs to take or drop a reference through a function call.
    sys.setswitchinterval(run.random.choice((1e-6, 1e-5, 1e-4, 5e-3)))
    started = time.monotonic()
    try:
        SCENARIOS[run.name].function(run)
    except Exception as error:
        run.unexpected(error)
    took = time.monotonic() - started
    sys.setswitchinterval(interval)
    run.check(threading.active_count() == threads, "threads are left over", threading.enumerate())
    for key, count in run.left.items():
        baseline[key] += count
    after = settled(baseline)
    run.check(after == baseline, "frozen objects are left over, or too many are gone", baseline, after)
    if not gc.get_freeze_count():
        # With the objects of the program out of the way, a full collection takes a tenth of the time.
        gc.freeze()
    totals.runs += 1
    totals.steps += run.steps + sum(run.steps_elsewhere)
    totals.seconds += took
    totals.longest = max(totals.longest, took)


IMPORTED_BY_SCENARIOS = (
    *("_interpreters", "_interpqueues", "_interpchannels", "concurrent.futures.interpreter"),
    *("csv", "decimal", "pickle", "urllib.parse", "xml.etree.ElementTree", "zoneinfo"),
)


def _warm_up():
    """Freezes what the program itself owns, and what is made once for each kind of node: no run is the first.

    The types of C modules, and sentinels, are shared for good once they are imported, so the modules that only some
    runs import are imported.
    """
    for name in IMPORTED_BY_SCENARIOS:
        importlib.import_module(name)
    freeze_constants(*(sys.modules[name] for name in ("plans", "ledger", "scenario", "driver", *SUBJECTS)))
    for _ in range(2):
        freeze(plans.build(plans.example_of_every_kind()))
        for make in scenario.MAKERS:
            freeze(make())


def _no_unraisable(problem):
    """An exception that nobody could catch is a wrong result, unless the scenario has a hook of its own."""
    sys.excepthook(type(problem.exc_value), problem.exc_value, problem.exc_traceback)
    text = f"\nstress: WRONG RESULT: unraisable exception: {problem.err_msg} {problem.object!r}"
    print(text, file=sys.stderr, flush=True)
    os._exit(scenario.WRONG_RESULT)


def _resident():
    """The resident memory of this process, in MiB."""
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * mmap.PAGESIZE // 2**20
