"""Graphs of ten million objects: time, peak memory while freezing, and none kept afterwards."""

import json

import pytest
from sanitizers import UNDER_TSAN

pytestmark = pytest.mark.scale
counts_memory = pytest.mark.skipif(
    UNDER_TSAN, reason="what ThreadSanitizer notes of each byte counts as memory of the process"
)

BOOKKEEPING_PER_OBJECT = 24  # bytes, at the peak of a freeze

# Builds a graph in a process of its own, freezes it, drops it, and prints what that cost.
# Resetting VmHWM (by writing 5) makes the high-water mark start at the present size.
MEASURE = """
import gc, json, sys, time
from immutable import _stats, freeze, is_frozen

gc.disable()

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))

{build}

before = _stats()
root = build({objects})
resident = status("VmRSS")
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
start = time.perf_counter()
freeze(root)
freeze_seconds = time.perf_counter() - start
peak, after = status("VmHWM"), status("VmRSS")
frozen = _stats()
assert is_frozen(root)
start = time.perf_counter()
del root
drop_seconds = time.perf_counter() - start
dropped = _stats()
print(json.dumps(dict(
    objects=frozen["frozen_objects"] - before["frozen_objects"],
    components=frozen["components"] - before["components"],
    record_bytes=frozen["record_bytes"] - before["record_bytes"],
    left=dropped["frozen_objects"] - before["frozen_objects"],
    graph=resident, peak=peak - resident, kept=after - resident,
    freeze_seconds=freeze_seconds, drop_seconds=drop_seconds,
)))
"""

WIDE = """
class Position:
    def __init__(self, line, column):
        self.line, self.column = line, column

freeze(Position, "at")  # what the code of this program owns, and so outlives the graph

def build(objects):
    # Per round: a tuple, an instance, a list, a float and a dict.
    return [({"at": [Position(n & 255, 0.5 + n)]},) for n in range(objects // 5)]
"""

DEEP = """
def build(objects):
    root = []
    for _ in range(objects - 1):
        root = [root]
    return root
"""

RING = """
def build(objects):
    first = last = []
    for _ in range(objects - 1):
        following = []
        last.append(following)
        last = following
    last.append(first)
    return first
"""


def measure(run_python, build, objects, record_property):
    source = MEASURE.replace("{build}", build).replace("{objects}", str(objects))
    cost = json.loads(run_python(source, timeout=600))
    for name, value in cost.items():
        record_property(name, value)
    print(
        f"\n{cost['objects']:,} objects, graph {cost['graph'] / 1e6:,.0f} MB: "
        f"freeze {cost['freeze_seconds']:.2f} s, peak +{cost['peak'] / cost['objects']:.1f} bytes per object, "
        f"kept {cost['kept'] / 1e6:+.1f} MB, {cost['components']:,} components in {cost['record_bytes'] / 1e6:.1f} MB, "
        f"drop {cost['drop_seconds']:.2f} s"
    )
    return cost


@pytest.mark.allocator
@counts_memory
@pytest.mark.parametrize("build", [WIDE, DEEP], ids=["wide", "deep"])
def test_ten_million_objects_freeze_in_24_bytes_each_and_keep_none(build, run_python, record_property):
    cost = measure(run_python, build, 10_000_000, record_property)
    assert cost["objects"] >= 10_000_000
    assert cost["components"] == 0
    assert cost["peak"] <= BOOKKEEPING_PER_OBJECT * cost["objects"]
    assert cost["kept"] <= 0.5 * cost["objects"]  # half a byte each: pages of the allocators, not bookkeeping
    assert cost["left"] == 0


@pytest.mark.allocator
@counts_memory
def test_one_cycle_of_ten_million_objects_keeps_its_component_record_only(run_python, record_property):
    cost = measure(run_python, RING, 10_000_000, record_property)
    assert cost["objects"] == 10_000_000
    assert cost["components"] == 1
    assert cost["peak"] - cost["record_bytes"] <= BOOKKEEPING_PER_OBJECT * cost["objects"]
    assert cost["kept"] - cost["record_bytes"] <= 0.5 * cost["objects"]
    assert cost["left"] == 0


def test_the_time_to_freeze_grows_with_the_graph_and_no_faster(run_python, record_property):
    small = measure(run_python, WIDE, 500_000, record_property)
    large = measure(run_python, WIDE, 4_000_000, record_property)
    assert large["freeze_seconds"] < 8 * 4 * small["freeze_seconds"]


@pytest.mark.parametrize("make", ["functools.lru_cache(len)", "threading.local()", "types.ModuleType('made')"])
def test_the_time_to_freeze_grows_no_faster_with_objects_that_keep_something_mutable(make, run_python):
    done = run_python(f"""
        import functools, gc, threading, time, types
        from immutable import freeze

        gc.disable()

        def seconds(objects):
            values = [{make} for _ in range(objects)]
            start = time.process_time()
            freeze(values)
            return time.process_time() - start

        print(min(seconds(10_000) for _ in range(3)), seconds(80_000))
    """)
    small, large = map(float, done.split())
    assert large < 8 * 4 * small


def test_freezing_what_is_frozen_already_takes_no_time_and_no_memory(run_python):
    done = run_python("""
        import time
        from immutable import freeze
        value = freeze([[n] for n in range(1_000_000)])
        start = time.perf_counter()
        for _ in range(1000):
            freeze(value)
        print(time.perf_counter() - start < 0.5)
    """)
    assert done == "True\n"
