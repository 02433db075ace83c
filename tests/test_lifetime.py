"""Frozen objects are reclaimed by reference counting alone, cycles included, as soon as they are dropped.

Shapes and sizes are in test_teardown.py, finalizers in test_finalizers.py, weak references in test_weakrefs.py, and
what the rest of the process sees in test_process.py.
"""

import gc
import sys
import types
import weakref

import pytest
from graphs import frozen_now

from immutable import freeze, is_frozen

pytestmark = pytest.mark.usefixtures("without_collector")


class Node:
    def __init__(self, *parts):
        self.parts = list(parts)


class Slotted:
    __slots__ = ("__weakref__", "other")


freeze(Node, Slotted)


def a_list():
    return [1.5, ["text made here".upper()], (10**30, [])]


def a_dict():
    return {f"key {n}": {n: [n]} for n in range(50)}


def an_instance():
    return Node(Node(), {"a": Node()})


def a_self_reference():
    made = []
    made.append(made)
    return made


def a_cycle_of_instances():
    first, second = Node(), Node()
    first.parts.append(second)
    second.parts.append(first)
    return first


def a_cycle_of_everything():
    node, slotted, table = Node(), Slotted(), {}
    slotted.other = (table, [node])
    table["all"] = [slotted, types.SimpleNamespace(node=node), types.MappingProxyType(table)]
    node.parts.append(table)
    return node


def two_cycles_that_share_a_part():
    shared = ["shared"]
    left, right = [shared], [shared]
    left.append(left)
    right.append(right)
    return [left, right, left]


def a_chain_of_cycles():
    last = []
    for _ in range(50):
        ring = [last]
        ring.append([ring])
        last = ring
    return last


def a_class():
    return type("Made", (), {"items": [1, [2]]})


def an_instance_of_a_class():
    return a_class()()


def a_class_with_methods():
    class Made:
        items = [1]

        def method(self):
            return self.items, Made

        @property
        def reading(self):
            return __class__

        @classmethod
        def make(cls):
            return super().__new__(cls)

    return Made()


def a_tower_of_classes():
    meta = type("Meta", (type,), {})
    base = meta("Base", (), {"x": 1})
    derived = meta("Derived", (base,), {"__slots__": ("a", "b")})
    base.derived = [derived]
    return derived


def a_closure():
    held = [1, 2]

    def recursive(n=[3]):
        return (held, n) if n == [3] else recursive

    recursive.note = recursive
    return recursive


def a_function_that_was_called():
    held = [1, 2]

    def get(n=[3]):
        return held, n

    assert freeze(get)() == ([1, 2], [3])
    return get


def a_bound_method():
    node = Node()
    node.parts.append(node.__init__)
    return node.__init__


SCENARIOS = [
    a_list,
    a_dict,
    an_instance,
    a_self_reference,
    a_cycle_of_instances,
    a_cycle_of_everything,
    two_cycles_that_share_a_part,
    a_chain_of_cycles,
    a_class,
    an_instance_of_a_class,
    a_class_with_methods,
    a_tower_of_classes,
    a_closure,
    a_function_that_was_called,
    a_bound_method,
]


@pytest.mark.parametrize("make", SCENARIOS)
def test_dropping_a_graph_reclaims_all_of_it(make):
    for _ in range(2):
        freeze(make())  # the names in its code stay: the running code, and its copy, own them
    before = frozen_now()
    value = freeze(make())
    assert frozen_now()["frozen_objects"] > before["frozen_objects"]
    del value
    assert frozen_now() == before


@pytest.mark.parametrize("make", SCENARIOS)
def test_one_reference_into_a_graph_keeps_what_it_reaches(make):
    freeze(make())
    before = frozen_now()
    kept = None
    value = freeze(make())
    for part in gc.get_referents(value):
        if is_frozen(part) and not isinstance(part, type):
            kept = part
    description = repr(kept)
    del value, part
    assert repr(kept) == description
    assert is_frozen(kept)
    del kept
    assert frozen_now() == before


def test_a_weak_reference_sees_the_end_at_once():
    node = freeze(Node())
    reference = weakref.ref(node)
    assert reference() is node
    del node
    assert reference() is None


def test_a_cycle_ends_with_its_last_reference_from_outside():
    first = freeze(a_cycle_of_instances())
    second = first.parts[0]
    gone = [weakref.ref(first), weakref.ref(second)]
    del first
    assert all(reference() is not None for reference in gone)
    assert second.parts[0].parts[0] is second
    del second
    assert all(reference() is None for reference in gone)


def test_a_reference_taken_from_inside_keeps_the_cycle_alive():
    ring = [Node() for _ in range(100)]
    for node, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        node.parts.append(following)
    freeze(ring[0])
    kept, gone = ring[50], weakref.ref(ring[0])
    del ring, node, following
    assert gone() is not None
    for _ in range(100):
        kept = kept.parts[0]
    del kept
    assert gone() is None


def test_a_recursive_function_that_was_called_is_reclaimed_once_it_is_idle():
    def outer():
        def countdown(n):
            return n and countdown(n - 1)

        return countdown

    freeze(outer())
    for _ in range(3):
        gc.collect()  # what was idle before goes first
    before = frozen_now()
    countdown = freeze(outer())
    assert countdown(10) == 0
    gone = weakref.ref(countdown)
    del countdown
    gc.collect()
    gc.collect()
    assert gone() is None
    assert frozen_now() == before


def test_parts_shared_with_a_living_graph_stay():
    shared = Node("shared")
    left, right = Node(shared), Node(shared)
    gone = weakref.ref(shared)
    freeze(left, right)
    del shared
    del left
    assert gone() is right.parts[0]
    assert gone().parts == ["shared"]
    del right
    assert gone() is None


def test_a_mutable_object_may_hold_frozen_ones():
    before = frozen_now()
    holder = [freeze([n, [n]]) for n in range(1000, 1100)]
    assert frozen_now()["frozen_objects"] > before["frozen_objects"]
    holder.clear()
    assert frozen_now() == before


# ---- Reference counts ------------------------------------------------------


def test_getrefcount_is_the_real_count():
    value = Node()
    mutable = sys.getrefcount(value)
    freeze(value)
    assert sys.getrefcount(value) == mutable
    more = [value] * 1000
    assert sys.getrefcount(value) == mutable + 1000
    del more
    assert sys.getrefcount(value) == mutable


def test_the_count_of_a_member_of_a_cycle_is_what_comes_from_outside():
    first, second = [], []
    first.append(second)
    second.append(first)
    alone = []
    held_once = sys.getrefcount(alone)
    freeze(first)
    assert sys.getrefcount(first) == sys.getrefcount(second) == held_once
    more = (first, first)
    assert sys.getrefcount(first) == held_once + 2
    del more


def test_counts_do_not_drift_under_use():
    value = freeze({"a": [1, 2], "b": Node([3])})
    counts = [sys.getrefcount(part) for part in (value, value["a"], value["b"], value["b"].parts)]
    for _ in range(10_000):
        items = [*value.items(), value["b"].parts, *value["a"]]
        for key, _part in value.items():
            value.get(key)
        items * 3
        first, second = value.values()
        tuple(items)[1:]
        del items, first, second, _part, key
    assert [sys.getrefcount(part) for part in (value, value["a"], value["b"], value["b"].parts)] == counts


# ---- The collector keeps out -----------------------------------------------


def test_the_collector_never_sees_frozen_objects():
    node = Node()
    ring = [node, []]
    ring[1].append(ring)
    freeze(ring)
    known = {id(each) for each in gc.get_objects()}
    assert not known & {id(ring), id(ring[1]), id(node), id(node.parts)}
    gc.collect()
    assert ring[1][0] is ring


def test_the_collector_reclaims_mutable_cycles_that_hold_frozen_parts():
    before = frozen_now()
    part = freeze([Node()])
    gone = weakref.ref(part[0])
    ring = [part]
    ring.append(ring)
    del part, ring
    assert gone() is not None
    gc.collect()
    assert gone() is None
    assert frozen_now() == before


def test_frozen_objects_alive_at_exit_do_no_harm(run_python):
    assert (
        run_python("""
        import atexit, sys
        from immutable import freeze

        class Node:
            def __del__(self):
                pass

        ring = [Node()]
        ring.append(ring)
        ring[0].ring = ring
        kept = freeze(ring), freeze({"a": Node}), freeze(lambda: Node)
        sys.kept_for_ever = kept
        atexit.register(lambda: print("exit", kept[2]().__name__))
    """)
        == "exit Node\n"
    )


def test_specialised_code_drops_the_last_reference_to_a_frozen_leaf():
    # A debug build checks what specialised code has told about its stack, when an object is deallocated.
    def compare(n):
        return freeze(f"made {n}") == "made 1"

    def add(n):
        return freeze(f"made {n}") + "."

    def is_true(make, n):
        return 1 if freeze(make(n)) else 0

    before = frozen_now()["frozen_objects"]
    for n in range(3000):
        assert compare(n) is (n == 1)
        assert add(n) == f"made {n}."
    for make in (lambda n: 10**20 + n, lambda n: n + 1.5, lambda n: f"made {n}"):
        assert sum(is_true(make, n) for n in range(3000)) == 3000
    assert frozen_now()["frozen_objects"] == before
