"""A pytest plugin: `--leaks=N` runs every test N times in one process, and fails the tests that leave something behind.

After some runs to warm up, a round of N runs must bring back every number of `immutable._stats()` and the number of
blocks that CPython's allocator has given out. Where one is higher, further rounds tell a leak from a cache that fills:
a test leaks if the number rises in every one of ROUNDS rounds. The memory of the C library, from which the Rust core's
tables and records come, is compared in bytes, and may vary by less than one block for each run. What the caches of its
threads hold counts as given out, so they fill for some rounds unless they are off (GLIBC_TUNABLES, in the Makefile).

Each run sets up and tears down every fixture of the test, those of its module and of the session too: pytest lets the
ones that last longer keep something for each use. What pytest itself holds is moved out of the collector's sight, so
that the collections of a run are short.
"""

import array
import ctypes
import fnmatch
import gc
import os
import sys
import time
import warnings

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings
from sanitizers import SANITIZED

from immutable import _stats

WARM_UP, WARM_UP_SELDOM = 10, 2  # runs
ROUNDS = 8
SMALLEST_BLOCK = 32  # bytes that malloc(1) takes of the C library's memory
EXAMPLES = "10"  # of each hypothesis test: the same ones in each run

# Run N / SELDOM times, by pattern of the node id, and why.
SELDOM = 20
RUN_SELDOM = {
    "tests/test_memory_errors.py::*": "tries every allocation of an operation in turn",
    "tests/test_bench.py::test_*bench*": "starts child processes, which are not measured",
    "tests/test_explain.py::test_the_command_*": "starts child processes, which are not measured",
    "tests/test_explain.py::test_a_head_of_*": "starts child processes, which are not measured",
    "tests/test_passing.py::test_an_allocator_*": "starts child processes, which are not measured",
    "tests/test_low_memory.py::test_the_memory_error_*": "starts child processes, which are not measured",
    "tests/test_demo.py::test_it_*": "starts child processes, which are not measured",
    "tests/test_surface.py::test_it_works_in_a_virtual_environment": "starts child processes, which are not measured",
    "tests/test_foreign.py::*": "starts child processes, which are not measured",
    "tests/test_check.py::*": "starts child processes, which are not measured",
    "tests/test_every_type.py::*": "starts child processes, which are not measured",
    "tests/test_teardown.py::*_without_recursion*": "takes up to seconds for up to a million objects",
    "tests/test_teardown.py::*_million_*": "takes up to seconds for up to a million objects",
    "tests/test_finalizers.py::test_finalizers_of_a_long_chain_*": "takes a second for 100,000 objects",
}
# Not run again at all.
LEFT_OUT = {
    "tests/test_barrier.py::*[[]Element: o.__init__*": "leaks on stock CPython: it forgets what was there",
    "tests/test_weakrefs.py::test_nothing_is_kept_for_an_interpreter_that_is_gone*": "looks for leaks itself",
    "tests/test_modules.py::test_a_frozen_c_function_is_reclaimed": "loads a C module that then stays for good",
    "tests/test_docs.py::test_every_snippet_*[[]GUIDE.md]": "shows a warning that is given once in a process",
    "tests/test_sentinels.py::test_a_sentinel_of_a_module_*": "imports a module whose sentinel lives for the process",
    "tests/test_sentinels.py::test_a_module_that_runs_again_*": "imports a module whose sentinel lives for the process",
    "tests/test_share_module.py::*": "shares modules, which live for the process; looks for leaks itself",
    "tests/test_leaks.py::*": "runs this plugin in processes of its own",
    "tests/stress/test_program.py::*": "runs a program that looks for leaks itself, in processes of its own",
}


class _MallInfo(ctypes.Structure):
    """struct mallinfo2 of <malloc.h>."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


_mallinfo = ctypes.CDLL(None).mallinfo2
_mallinfo.restype = _MallInfo

sees_malloc = pytest.mark.skipif(SANITIZED, reason="the C library gives out nothing under a sanitizer")

COUNTED = (*_stats(), "allocated blocks")
MEASURED = (*COUNTED, "bytes of malloc")


def malloc_bytes():
    """What the C library has given out, of which nothing is CPython's own."""
    memory = _mallinfo()
    return memory.uordblks + memory.hblkhd


def measure(into):
    """Writes the numbers of MEASURED into an array: measuring must not allocate what it measures."""
    sys._clear_internal_caches()
    ctypes.pythonapi.PyType_ClearCache()  # it keeps 4,096 names alive, those made for one lookup among them
    for folder in sys.path_importer_cache.keys() - set(sys.path):  # those of the tests that had run
        del sys.path_importer_cache[folder]
    # A local view is dropped by the second full collection after its last call; what it held may need one more.
    for _ in range(3):
        gc.collect()
    for index, number in enumerate(_stats().values()):
        into[index] = number
    into[-2] = sys.getallocatedblocks()
    into[-1] = malloc_bytes()


class Leak(AssertionError):
    """What a test left behind."""


def run(item, times):
    """Runs a test so many times. Returns the reports of the first run that did not pass, or of the last."""
    for _ in range(times):
        item._report_sections.clear()  # what it has printed so far
        item.user_properties.clear()  # and recorded
        with warnings.catch_warnings(record=True):
            reports = runtestprotocol(item, log=False, nextitem=None)
        if not all(report.passed for report in reports):
            break
    return reports


def grown(before, after, times):
    """The names of the numbers that rose, and by how much; a number of bytes rose if it did so in each run."""
    rise = {name: now - then for name, then, now in zip(MEASURED, before, after, strict=True)}
    return {name: n for name, n in rise.items() if n >= (1 if name in COUNTED else times * SMALLEST_BLOCK)}


def search(item, times, warm_up):
    """Runs a test in rounds. Returns its reports, and the rise of each number in each round if it leaks."""
    gc.collect()
    gc.freeze()
    before, after = (array.array("q", [0] * len(MEASURED)) for _ in range(2))
    reports = run(item, warm_up)
    measure(before)  # the first measurement makes what later ones reuse
    measure(before)
    rises = {}
    for number in range(ROUNDS):
        if not all(report.passed for report in reports):
            return reports, {}
        reports = run(item, times)
        measure(after)
        rose = grown(before, after, times)
        rises = {name: [*rises.get(name, ()), n] for name, n in rose.items() if number == 0 or name in rises}
        if not rises:
            break
        before[:] = after
    return reports, rises


def repetitions(item, times):
    """How many times a test is run in a round, and before the first one."""
    if _listed(item.nodeid, LEFT_OUT):
        return 0, 0
    if "run_python" in item.fixturenames or item.get_closest_marker("scale") or _listed(item.nodeid, RUN_SELDOM):
        return max(times // SELDOM, 2), WARM_UP_SELDOM
    return times, WARM_UP


def _listed(nodeid, patterns):
    return any(fnmatch.fnmatchcase(nodeid, pattern) for pattern in patterns)


class Repeats:
    """The plugin, in a session with `--leaks`."""

    def __init__(self, times):
        self.times = times
        self.tests = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        times, warm_up = repetitions(item, self.times)
        self.tests[times] = self.tests.get(times, 0) + 1
        if not times:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        start = time.perf_counter()
        reports, rises = search(item, times, warm_up)
        reports[-1].duration = time.perf_counter() - start  # for --durations
        if rises:
            text = ", ".join(f"{name} {' '.join(f'{n:+}' for n in rise)}" for name, rise in rises.items())
            call = next(report for report in reports if report.when == "call")
            call.outcome, call.longrepr = "failed", f"{ROUNDS} rounds of {times} runs left behind: {text}"
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter):
        for times, tests in sorted(self.tests.items()):
            terminalreporter.write_line(f"leaks: {tests} tests, {f'{times} runs a round' if times else 'left out'}")


def pytest_addoption(parser):
    parser.addoption(
        "--leaks",
        type=int,
        metavar="N",
        help="run every test N times in one process, and fail those that leave frozen objects or memory behind",
    )


def pytest_configure(config):
    times = config.getoption("--leaks")
    if times:
        config.pluginmanager.register(Repeats(times))
        os.environ.setdefault("IMMUTABLE_EXAMPLES", EXAMPLES)
        settings.register_profile("leaks", settings.default, derandomize=True)
        settings.load_profile("leaks")
