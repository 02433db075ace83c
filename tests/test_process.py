"""Frozen objects and the rest of the process: fork, the collector's interface, sizes, traces, allocators, shutdown."""

import collections
import faulthandler
import gc
import itertools
import multiprocessing
import os
import re
import signal
import sys
import threading
import tracemalloc
import types
import weakref

import pytest
from graphs import frozen_now
from sanitizers import UNDER_TSAN

from immutable import MutationError, _stats, freeze, is_frozen

pytestmark = pytest.mark.usefixtures("without_collector")


class Node:
    def __init__(self, *parts):
        self.parts = list(parts)

    def method(self):
        return self.parts


freeze(Node)

needs_total = pytest.mark.skipif(
    not hasattr(sys, "gettotalrefcount"), reason="only debug builds of CPython count all references"
)


def a_ring():
    made = Node(Node())
    made.parts[0].parts.append(made)
    return made


# Used by programs that run in processes of their own.
WORK = """
import gc, sys, weakref
from immutable import MutationError, _stats, freeze, is_frozen

class Node:
    def __init__(self, *parts):
        self.parts = list(parts)

    def method(self):
        return self.parts

def a_ring(size=10):
    nodes = [Node(number) for number in range(size)]
    for node, following in zip(nodes, nodes[1:] + nodes[:1]):
        node.parts.append(following)
    return nodes[0]

def walk(node):
    for _ in range(100):
        node = node.method()[1]
    return node.parts[0]

def work(times=100):
    for _ in range(times):
        ring = freeze(a_ring())
        assert walk(ring) == 0
        gone = weakref.ref(ring)
        try:
            ring.more = 1
        except MutationError:
            pass
        table = {ring: [ring], "text": "a" * 100, 1: (ring, {ring})}
        freeze(table)
        del ring
        assert gone() is table[1][0]
        del table
        assert gone() is None

freeze(Node, walk)
"""


# ---- Fork ------------------------------------------------------------------


def in_a_child(work):
    """Runs a function in a forked process, and returns its exit status."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_both_sides_of_a_fork_drop_the_graph_by_themselves():
    before = frozen_now()
    called = []
    ring = freeze(a_ring())
    reference = weakref.ref(ring, called.append)

    def work():
        nonlocal ring
        assert is_frozen(ring)
        assert ring.parts[0].parts[0] is ring
        del ring
        assert called == [reference]
        assert reference() is None
        assert frozen_now() == before

    assert in_a_child(work) == 0
    assert called == []
    assert reference() is ring
    del ring
    assert called == [reference]
    assert frozen_now() == before


def test_a_child_freezes_more_without_the_parent_seeing_it():
    ring = freeze([[1]])
    before = frozen_now()

    def work():
        graph = freeze([ring, a_ring()])
        with pytest.raises(MutationError):
            ring[0].append(2)
        assert frozen_now()["components"] == before["components"] + 1
        del graph
        assert frozen_now() == before

    assert in_a_child(work) == 0
    assert frozen_now() == before
    assert ring == [[1]]


def test_a_child_calls_frozen_functions():
    step = 2

    def add(number):
        return number + step

    freeze(add)
    assert add(3) == 5
    assert in_a_child(lambda: add(10) == 12 or os._exit(2)) == 0


def test_a_forked_program_ends_cleanly_on_both_sides(run_python):
    output = run_python(
        WORK
        + """
import os
kept = freeze(a_ring(100))
cached = freeze(lambda: walk(kept))
assert cached() == 0
child = os.fork()
work(20)
assert cached() == 0
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print("parent")
else:
    print("child")
"""
    )
    assert sorted(output.split()) == ["child", "parent"]


def test_a_fork_from_a_thread_leaves_a_child_that_works(run_python):
    output = run_python(
        WORK
        + """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
kept, stop = freeze(a_ring()), threading.Event()

def keep_busy():
    while not stop.is_set():
        walk(kept)
        reference = weakref.ref(kept, print)
        freeze([kept])

busy = [threading.Thread(target=keep_busy, daemon=True) for _ in range(2)]
for thread in busy:
    thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        work(5)
        assert walk(kept) == 0
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in busy:
    thread.join()
print("right")
"""
    )
    assert output == "right\n"


def test_a_process_pool_that_forks_shares_what_was_frozen_before(run_python):
    output = run_python(
        WORK
        + """
import multiprocessing

kept = freeze(a_ring(50))

def task(number):
    work(2)
    return walk(kept) + number

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(task, range(4)))
"""
    )
    assert output == "[0, 1, 2, 3]\n"
    assert "fork" in multiprocessing.get_all_start_methods()


# ---- The collector's interface ---------------------------------------------


def test_frozen_objects_are_not_the_collectors():
    ring = freeze(a_ring())
    everything = [ring, ring.parts, ring.parts[0], ring.parts[0].parts]
    assert not any(map(gc.is_tracked, everything))
    assert not {*map(id, gc.get_objects())} & {*map(id, everything)}
    for generation in range(3):
        assert not {*map(id, gc.get_objects(generation))} & {*map(id, everything)}


def test_referrers_of_a_frozen_object_are_the_mutable_ones():
    part = freeze(["part"])
    mutable, frozen = [part], freeze([part])
    referrers = gc.get_referrers(part)
    assert any(each is mutable for each in referrers)
    assert not any(each is frozen for each in referrers)


@pytest.mark.parametrize(
    "make",
    [
        lambda: [1.5, ["part"]],
        lambda: {"key": ["part"], 2: ["other"]},
        lambda: {1.5, "part"},
        lambda: (["part"],),
        lambda: Node("part"),
        lambda: Node().method,
        lambda: types.SimpleNamespace(part=["part"]),
        lambda: types.MappingProxyType({"part": ["part"]}),
        lambda: slice(["part"], 1, 2),
        lambda: types.CellType(["part"]),
        lambda: property(Node),
        lambda: collections.namedtuple("Made", "part")(["part"]),
    ],
)
def test_referents_of_a_frozen_object_are_those_of_the_mutable_one(make):
    value = make()
    before = [*map(id, gc.get_referents(value))]
    freeze(value)
    assert [*map(id, gc.get_referents(value))] == before


def test_finalization_shows_as_ever(module):
    made = module("""
        import sys

        class Finalized:
            def __del__(self):
                sys.modules["saved_by_test"] = self
    """)
    value = freeze(made.Finalized())
    assert gc.is_finalized(value) is False
    del value
    saved = sys.modules.pop("saved_by_test")
    assert gc.is_finalized(saved) is True
    assert gc.is_finalized(freeze(saved)) is True


def test_what_was_set_aside_by_the_collector_can_be_frozen():
    before = frozen_now()
    ring, other = a_ring(), a_ring()
    gone = [weakref.ref(ring), weakref.ref(other)]
    gc.freeze()
    try:
        aside = gc.get_freeze_count()
        freeze(ring)
        assert gc.get_freeze_count() < aside
        del ring
        assert gone[0]() is None
        freeze(other)
    finally:
        gc.unfreeze()
    assert gc.get_freeze_count() == 0
    assert is_frozen(other)
    assert not gc.is_tracked(other)
    gc.collect()
    del other
    assert gone[1]() is None
    assert frozen_now() == before


def test_frozen_objects_are_not_set_aside_by_the_collector():
    ring = freeze(a_ring())
    gone = weakref.ref(ring)
    gc.freeze()
    try:
        del ring
        assert gone() is None
    finally:
        gc.unfreeze()


def test_a_resurrected_component_is_in_the_youngest_generation(module):
    made = module("""
        import sys

        class Back:
            def __del__(self):
                sys.modules["saved_by_test"] = self
    """)
    value = made.Back()
    value.me = value
    gc.collect()
    freeze(value)
    del value
    saved = sys.modules.pop("saved_by_test")
    assert any(each is saved for each in gc.get_objects(0))


def test_a_callback_of_the_collector_may_freeze_and_drop():
    dropped, before = [], frozen_now()

    def callback(phase, info):
        ring = freeze(a_ring())
        gone = weakref.ref(ring)
        del ring
        dropped.append((phase, gone()))
        dropped.append((phase, is_frozen(freeze([info]))))

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)
    assert dropped == [("start", None), ("start", True), ("stop", None), ("stop", True)]
    assert frozen_now() == before


def test_a_collection_that_saves_its_garbage_saves_no_frozen_objects():
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ring = freeze(a_ring())
        gone = weakref.ref(ring)
        del ring
        assert gone() is None
        mutable = [freeze([Node()])]
        mutable.append(mutable)
        del mutable
        gc.collect()
        assert not any(map(is_frozen, gc.garbage))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()


def test_an_automatic_collection_may_run_at_any_allocation():
    before, threshold = frozen_now(), gc.get_threshold()
    gc.enable()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            ring = freeze(a_ring())
            assert ring.parts[0].parts[0] is ring
            mutable = [ring]
            mutable.append(mutable)
            del ring, mutable
    finally:
        gc.set_threshold(*threshold)
        gc.disable()
    gc.collect()
    assert frozen_now() == before


# ---- Counts and sizes ------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: 10**40,
        lambda: "text" * 10,
        lambda: b"bytes",
        lambda: bytearray(b"abc"),
        lambda: (1, [2]),
        lambda: {n: n for n in range(20)},
        lambda: {"a": 1, "b": 2},
        lambda: {*range(20)},
        lambda: frozenset(range(20)),
        lambda: Node("part"),
        lambda: Node().method,
        lambda: types.SimpleNamespace(a=1),
        lambda: lambda: None,
        lambda: type("Made", (), {"a": 1}),
        list,
    ],
)
def test_freezing_does_not_change_a_size(make):
    value = make()
    before = sys.getsizeof(value)
    freeze(value)
    assert sys.getsizeof(value) == before


def test_a_list_loses_its_spare_room_when_it_freezes():
    value = [n for n in range(100)]  # noqa: C416 - comprehensions leave spare room
    before = sys.getsizeof(value)
    freeze(value)
    assert sys.getsizeof(value) == sys.getsizeof([None] * 100) <= before


def test_the_statistics_are_numbers_that_fit_together():
    before = frozen_now()
    rings = [a_ring() for _ in range(10)]
    freeze(*rings)
    during = frozen_now()
    assert during["frozen_objects"] == before["frozen_objects"] + 10 * 4
    assert during["components"] == before["components"] + 10
    assert during["record_bytes"] - before["record_bytes"] >= 10 * 4 * 8
    rings.clear()
    assert frozen_now() == before
    assert all(type(number) is int for number in _stats().values())


def test_the_statistics_are_those_of_the_process():
    before, seen = _stats(), []
    ring = freeze(a_ring())
    thread = threading.Thread(target=lambda: seen.append(_stats()))
    thread.start()
    thread.join()
    assert seen[0]["components"] == before["components"] + 1
    del ring


@pytest.mark.allocator
def test_blocks_of_memory_come_back_with_the_objects():
    def work():
        rings = freeze([a_ring() for _ in range(1_000)])
        during.append(sys.getallocatedblocks())
        del rings

    during = []
    for _ in range(3):
        work()
    before = sys.getallocatedblocks()
    work()
    assert during[-1] - before >= 4_000
    assert sys.getallocatedblocks() - before < 100


@pytest.mark.allocator
def test_blocks_are_counted_when_their_thread_has_ended():
    kept = []

    def work():
        kept.extend(freeze([[n] for n in range(10_000)]))

    for run in range(2):
        before = sys.getallocatedblocks()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert sys.getallocatedblocks() - before >= 10_000
        kept.clear()
        if run:
            assert abs(sys.getallocatedblocks() - before) < 100


@pytest.mark.allocator
def test_the_block_freed_last_is_the_next_one_handed_out():
    """Its lines are in the cache still."""
    made = [Node() for _ in range(100)]
    again = 0
    for _ in range(100):
        place = id(made[50])
        made[50] = None
        made[50] = Node()
        again += id(made[50]) == place
    assert again > 90


@pytest.mark.allocator
def test_full_pages_are_used_again_from_the_one_last_freed_into():
    """Objects made one after another then lie together."""
    made = [Node() for _ in range(100_000)]
    freed = {}  # place -> when
    for index in range(0, len(made), 1_000):
        freed[id(made[index])] = index
        made[index] = None
    more = [Node() for _ in range(1_000)]
    taken = [freed[id(node)] for node in more if id(node) in freed]
    assert len(taken) > 90
    assert sum(first > second for first, second in itertools.pairwise(taken)) > 80


@pytest.mark.allocator
@pytest.mark.skipif(hasattr(sys, "gettotalrefcount"), reason="a debug build puts marks around each block")
def test_objects_of_64_bytes_begin_a_line_of_the_cache():
    """The collector's header of the next one, 16 bytes before it, is in the same line, and comes with it."""
    assert sys.getsizeof([]) == 56
    assert {id(made) % 64 for made in [[] for _ in range(1_000)]} == {0}


@pytest.mark.allocator
@pytest.mark.skipif(UNDER_TSAN, reason="what ThreadSanitizer notes of each byte counts as memory of the process")
def test_memory_goes_back_to_the_system_while_the_program_goes_on(run_python):
    """Bytes that the process has in memory: with 400 MB of small objects, and after they have gone."""
    full, empty = map(
        int,
        run_python("""
            import os, time
            from immutable import freeze

            def resident():
                with open("/proc/self/statm") as file:
                    return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

            kept = [freeze([bytes(100)]) if n % 2 else bytearray(100) for n in range(2_000_000)]
            print(resident())
            del kept
            for _ in range(100):
                time.sleep(0.01)
                work = [bytearray(n) for n in range(5_000)]
            print(resident())
        """).split(),
    )
    assert full > 400_000_000
    assert empty < full / 3


@pytest.mark.parametrize("size", [1, 40, 500, 1_000, 10_000, 70_000, 200_000, 3_000_000, 50_000_000])
def test_memory_asked_for_as_zeros_is_zeros_though_it_was_in_use(size):
    number = max(2, min(2_000, 10_000_000 // size))
    zeros = bytes(1)
    for _ in range(4):
        used = [bytearray(b"\xff") * size for _ in range(number)]
        del used[::2]
        cleared = [bytes(size) for _ in range(number)]
        assert all(made.count(zeros) == size for made in cleared)


@pytest.mark.allocator
def test_blocks_are_those_of_the_process_however_many_interpreters_there_are(run_python):
    before, during, after = map(
        int,
        run_python("""
            import sys
            from concurrent import interpreters

            interpreters.create().close()
            print(sys.getallocatedblocks())
            one = interpreters.create()
            print(sys.getallocatedblocks())
            one.close()
            print(sys.getallocatedblocks())
        """).split(),
    )
    assert before < during < 2 * before
    assert abs(after - before) < 100


@needs_total
class TestTotalReferences:
    """sys.gettotalrefcount() comes back to where it was over freeze, use and drop."""

    GRAPHS = [
        lambda: [[1], {"a": [2]}],
        a_ring,
        lambda: Node(a_ring(), a_ring()),
        lambda: type("Made", (), {"method": lambda self: self, "part": [1]})(),
        lambda: (lambda n: lambda: n)([1]),
        lambda: [weakref.ref(Node, None), weakref.proxy(Node)],
        lambda: {a_ring(): {1, (2, a_ring())}},
    ]

    @staticmethod
    def growth(work, times=100):
        """By how much one run of work changes the total, on average."""

        def total():
            for _ in range(2):
                sys._clear_internal_caches()
                gc.collect()
            return sys.gettotalrefcount()

        for _ in range(5):
            work()
            before = total()
        for _ in range(times):
            work()
        return (total() - before) / times

    @pytest.mark.parametrize("number", range(len(GRAPHS)))
    def test_over_a_freeze_and_a_drop(self, number):
        assert abs(self.growth(lambda: freeze(self.GRAPHS[number]()))) < 0.5

    @pytest.mark.parametrize("number", range(len(GRAPHS)))
    def test_over_use(self, number):
        kept = freeze(self.GRAPHS[number]())

        def work():
            copies = [kept] * 10
            for each in copies:
                repr(each), is_frozen(each), {1: each}, [each], (each,)
                gc.get_referents(each)

        assert abs(self.growth(work)) < 0.5

    def test_over_a_resurrection(self, module):
        made = module("""
            import sys

            class Back:
                def __del__(self):
                    sys.modules["saved_by_test"] = self
        """)
        freeze(made.Back)

        def work():
            value = made.Back()
            value.me = value
            freeze(value)
            del value
            sys.modules.pop("saved_by_test").me = None

        assert abs(self.growth(work)) < 0.5

    def test_over_a_refusal(self):
        def work():
            with pytest.raises(TypeError):
                freeze([a_ring(), {"part": iter([])}])

        assert abs(self.growth(work)) < 0.5

    def test_over_threads(self):
        ring = freeze(a_ring())

        def use():
            for _ in range(100):
                assert ring.parts[0].parts[0] is ring

        def work():
            threads = [threading.Thread(target=use) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert abs(self.growth(work)) < 0.5


# ---- Traces of memory ------------------------------------------------------


@pytest.fixture
def traced():
    tracemalloc.start(3)
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_traced_memory_comes_back_with_the_objects():
    def work():
        rings = freeze([a_ring() for _ in range(1_000)])
        during.append(tracemalloc.get_traced_memory()[0])
        del rings

    during = []
    for _ in range(3):
        work()
    before = tracemalloc.get_traced_memory()[0]
    work()
    assert during[-1] - before > 1_000 * 100
    assert tracemalloc.get_traced_memory()[0] - before < 10_000


@pytest.mark.usefixtures("traced")
def test_a_frozen_object_remembers_where_it_was_made():
    value = bytearray(b"a" * 10_000)
    line = sys._getframe().f_lineno - 1
    freeze(value)
    assert tracemalloc.get_object_traceback(value)[-1].lineno == line


def test_tracing_may_begin_and_end_while_objects_are_frozen():
    early = freeze(a_ring())
    tracemalloc.start()
    late = freeze(a_ring())
    del early
    tracemalloc.stop()
    gone = weakref.ref(late)
    del late
    assert gone() is None


# ---- Tracing, profiling, signals -------------------------------------------


@pytest.mark.parametrize("install", [sys.settrace, sys.setprofile])
def test_a_trace_function_may_run_while_things_die(install, module):
    made = module("""
        import sys

        class Finalized:
            def __del__(self):
                sys.modules[__name__].seen.append("finalized")

        seen = []
    """)
    freeze(made.Finalized)
    events, dropped = [], []

    def tracer(frame, event, argument):
        events.append((event, frame.f_code.co_name))
        inner = freeze(a_ring())
        dropped.append(weakref.ref(inner))
        del inner
        return tracer

    value = made.Finalized()
    value.me = value
    gone = weakref.ref(freeze(value))
    previous = sys.gettrace() if install is sys.settrace else sys.getprofile()
    install(tracer)
    try:
        del value
    finally:
        install(previous)
    assert gone() is None
    assert ("call", "__del__") in events
    assert ("return", "__del__") in events
    assert all(reference() is None for reference in dropped)


def test_a_monitoring_tool_sees_finalizers(module):
    made = module("class Finalized:\n    def __del__(self):\n        return 1\n")
    freeze(made.Finalized)
    value = freeze(made.Finalized())
    value.__class__.__del__(value)
    tool, seen = sys.monitoring.PROFILER_ID, []
    sys.monitoring.use_tool_id(tool, "test")
    try:
        sys.monitoring.register_callback(
            tool, sys.monitoring.events.PY_START, lambda code, offset: seen.append(code.co_qualname)
        )
        sys.monitoring.set_events(tool, sys.monitoring.events.PY_START)
        del value
    finally:
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.free_tool_id(tool)
    assert "Finalized.__del__" in seen


def test_a_signal_handler_may_drop_the_last_reference():
    held = [freeze(a_ring())]
    gone = weakref.ref(held[0])
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: held.clear())
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert gone() is None


def test_a_graph_may_die_at_the_limit_of_recursion(module):
    made = module("""
        seen = []

        class Finalized:
            def __del__(self, note=[].append):
                note(1)
    """)
    freeze(made.Finalized)
    gone = []

    def fall(value):
        try:
            fall(made.Finalized())
        except RecursionError:
            value.me = value
            gone.append(weakref.ref(freeze(value)))
            del value
            raise

    hook, sys.unraisablehook = sys.unraisablehook, lambda problem: None  # its frame may not fit
    try:
        with pytest.raises(RecursionError):
            fall(made.Finalized())
    finally:
        sys.unraisablehook = hook
    assert gone
    gc.collect()
    assert all(reference() is None for reference in gone)


def test_a_dump_of_tracebacks_goes_through_frozen_functions(tmp_path):
    ready, done = threading.Event(), threading.Event()

    def frozen_function_that_waits(wait):
        wait()

    def wait():
        ready.set()
        done.wait()

    freeze(frozen_function_that_waits)
    thread = threading.Thread(target=frozen_function_that_waits, args=(wait,))
    thread.start()
    ready.wait()
    with open(tmp_path / "dump", "w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        done.set()
        thread.join()
        file.seek(0)
        assert "frozen_function_that_waits" in file.read()


# ---- Allocators and modes --------------------------------------------------


DEFAULT_ALLOCATOR = "mimalloc_debug" if hasattr(sys, "gettotalrefcount") else "mimalloc"
ALLOCATORS = {"default": DEFAULT_ALLOCATOR, "debug": "mimalloc_debug"} | {
    name: name for name in ("malloc", "malloc_debug", "pymalloc", "pymalloc_debug", "mimalloc", "mimalloc_debug")
}


@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_one_interpreter_may_use_any_allocator(allocator, run_python, monkeypatch):
    monkeypatch.setenv("PYTHONMALLOC", allocator)
    output = run_python(
        WORK
        + """
import _testinternalcapi, threading
work()
threads = [threading.Thread(target=work, args=(20,)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
kept = freeze(a_ring())
gc.collect()
print(_testinternalcapi.pymem_getallocatorsname())
"""
    )
    assert output.strip() == ALLOCATORS[allocator]


@pytest.mark.parametrize(
    "options",
    [
        ("-X", "dev"),
        ("-X", "faulthandler"),
        ("-X", "tracemalloc=5"),
        ("-X", "importtime"),
        ("-X", "utf8=0"),
        ("-O",),
        ("-OO",),
        ("-I",),
        ("-S",),
        ("-W", "error"),
    ],
    ids=" ".join,
)
def test_it_works_in_every_mode(options, run_python):
    output = run_python(WORK + "work()\nkept = freeze(a_ring())\nprint('right')\n", options=options)
    assert output == "right\n"


@needs_total
def test_frozen_objects_alive_at_exit_leave_no_more_references_than_mutable_ones(run_python):
    left = []
    for prepare in "lambda value: value", "freeze":
        program = WORK + f"prepare = {prepare}\nkept = prepare(a_ring())\nsys.kept = prepare([kept])\n"
        report = run_python(program, options=("-X", "showrefcount"), with_errors=True)
        left.append(int(re.search(r"\[(\d+) refs, \d+ blocks\]", report)[1]))
    assert left[0] == left[1]


# ---- Shutdown --------------------------------------------------------------


def test_functions_registered_at_exit_may_use_and_drop_frozen_objects(run_python):
    output = run_python(
        WORK
        + """
import atexit
kept = [freeze(a_ring())]
gone = weakref.ref(kept[0])

def at_exit():
    print(walk(kept[0]))
    kept.clear()
    print(gone())
    work(3)
    print(is_frozen(freeze([[]])))

atexit.register(at_exit)
frozen = freeze(lambda: print("frozen"))
atexit.register(frozen)
"""
    )
    assert output.split() == ["frozen", "0", "None", "True"]


def test_daemon_threads_may_freeze_use_and_drop_at_shutdown(run_python):
    for _ in range(3):
        output = run_python(
            WORK
            + """
import threading, time
sys.setswitchinterval(1e-5)
kept = freeze(a_ring())
started = threading.Barrier(5)

def busy():
    started.wait()
    while True:
        walk(kept)
        work(1)
        weakref.ref(kept, print)

for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
started.wait()
time.sleep(0.05)
print("end")
"""
        )
        assert output == "end\n"


def test_daemon_threads_may_run_frozen_functions_at_shutdown(run_python):
    output = run_python(
        WORK
        + """
import threading
started = threading.Barrier(3)

def forever(begin, ring):
    begin()
    while True:
        [walk(ring) for _ in range(10)]

freeze(forever)
for _ in range(2):
    threading.Thread(target=forever, args=(started.wait, freeze(a_ring())), daemon=True).start()
started.wait()
print("end")
"""
    )
    assert output == "end\n"


def test_a_graph_that_only_a_module_of_the_program_held_dies_at_shutdown(run_python):
    output = run_python(
        WORK
        + """
import os

class Finalized(Node):
    def __del__(self, write=os.write):
        write(1, b"finalized\\n")

ring = Finalized()
ring.parts.append(ring)
"""
    )
    assert output == "finalized\n"


def test_an_interpreter_that_is_left_open_does_no_harm(run_python):
    output = run_python(
        """
        from concurrent import interpreters

        left = interpreters.create()
        left.exec('''if True:
            from immutable import freeze
            ring = []
            ring.append(ring)
            kept = freeze(ring), freeze(lambda: ring)
            assert kept[1]() is ring
        ''')
        print("end")
        """
    )
    assert output == "end\n"


def test_an_interpreter_that_has_ended_leaves_no_memory_behind(run_python):
    left = run_python(
        """
        import ctypes, gc
        from concurrent import interpreters

        class MallInfo(ctypes.Structure):
            _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

        mallinfo = ctypes.CDLL(None).mallinfo2
        mallinfo.restype = MallInfo

        def used():
            gc.collect()
            return mallinfo().h

        for _ in range(5):
            interpreters.create().close()
        before = used()
        for _ in range(20):
            interpreters.create().close()
        print((used() - before) // 20)
        """,
        options=("-I",),
    )
    assert int(left) < 100
