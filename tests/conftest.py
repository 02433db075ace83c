"""What several tests need: modules made on the fly, child interpreters, no collector."""

import gc
import itertools
import subprocess
import sys
import textwrap
import threading
import types
from concurrent import interpreters

import pytest
from hypothesis import HealthCheck, settings
from sanitizers import UNDER_TSAN

pytest_plugins = ("leaks",)

# Bytes; a thousand nested calls in C do not fit. With a small one CPython built for ThreadSanitizer, which leaves half
# of it to the sanitizer, puts off every deallocation, and forgets what is left when the thread ends.
SMALL_STACK = (4096 if UNDER_TSAN else 256) * 1024

settings.register_profile(
    "immutable",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("immutable")


def pytest_itemcollected(item):
    """Marks the cases that run under PYTHONMALLOC=pymalloc, which not every build has."""
    allocator = item.callspec.params.get("allocator", "") if hasattr(item, "callspec") else ""
    if allocator.startswith("pymalloc"):
        item.add_marker("allocator")


@pytest.fixture
def module():
    """Makes a module from source, importable under its own name during the test."""
    serial = itertools.count()
    names = []

    def make(source="", name=None):
        name = name or f"made_by_test_{next(serial)}"
        made = types.ModuleType(name)
        sys.modules[name] = made
        names.append(name)
        exec(compile(textwrap.dedent(source), f"<{name}>", "exec"), made.__dict__)
        return made

    yield make
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def run_python():
    """Runs source in a new process of this interpreter and returns what it printed, also on stderr if asked to."""

    def run(source, *arguments, options=(), timeout=300, with_errors=False):
        done = subprocess.run(
            [sys.executable, *options, "-c", textwrap.dedent(source), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr if with_errors else done.stdout

    return run


@pytest.fixture
def without_collector():
    """The cyclic collector is off: only reference counts reclaim."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def everywhere_at_once():
    """Runs source in three interpreters at the same time, and then in this one, with a frozen object as `shared`."""

    def run(source, shared):
        crew = [interpreters.create() for _ in range(3)]
        failures = []

        def work(interpreter):
            try:
                interpreter.prepare_main(shared=shared)
                interpreter.exec(source)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(interpreter,)) for interpreter in crew]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for interpreter in crew:
            interpreter.close()
        assert failures == []
        exec(source, {"shared": shared})

    return run


@pytest.fixture
def elsewhere(tmp_path):
    """Runs source in another interpreter, with the names given; modules under `tmp_path` can be imported there."""
    created = []

    class Elsewhere:
        path = tmp_path

        def __init__(self):
            self.interpreter = interpreters.create()
            created.append(self.interpreter)
            self.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")

        def run(self, source, **shared):
            if shared:
                self.interpreter.prepare_main(**shared)
            self.interpreter.exec(textwrap.dedent(source))

        def close(self):
            created.remove(self.interpreter)
            self.interpreter.close()

    yield Elsewhere
    for interpreter in created:
        interpreter.close()


@pytest.fixture
def in_a_small_stack():
    """Runs a function in a thread that a recursion over the graph would crash."""
    previous = threading.stack_size(SMALL_STACK)

    def run(function):
        outcome = []

        def work():
            try:
                outcome.append(function())
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    yield run
    threading.stack_size(previous)
