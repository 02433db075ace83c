"""Frozen objects are reclaimed by reference counting alone, cycles included, as soon as they are dropped."""

import gc
import sys
import types
import weakref

import pytest
from graphs import frozen_now

from immutable import MutationError, freeze, is_frozen

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
    freeze(make())  # the names in its code stay: the running code owns them
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


# ---- Depth and size --------------------------------------------------------


def test_a_list_nested_a_million_deep_freezes_and_is_released():
    before = frozen_now()
    root = []
    for _ in range(1_000_000):
        root = [root]
    freeze(root)
    assert frozen_now()["frozen_objects"] == before["frozen_objects"] + 1_000_001
    inner = root
    for _ in range(999_999):
        inner = inner[0]
    assert is_frozen(inner)
    with pytest.raises(MutationError):
        inner.append(1)
    del inner
    del root
    assert frozen_now() == before


def test_instances_linked_a_million_deep_freeze_and_are_released():
    before = frozen_now()
    last = None
    for _ in range(1_000_000):
        node = Slotted()
        node.other = last
        last = node
    freeze(last)
    gone = weakref.ref(last)
    del last, node
    assert gone() is None
    assert frozen_now() == before


def test_tuples_and_dicts_nested_a_million_deep_freeze_and_are_released():
    before = frozen_now()
    root = ()
    for n in range(1_000_000):
        root = (root,) if n % 2 else {0: root}
    freeze(root)
    del root
    assert frozen_now() == before


def test_a_cycle_of_a_million_nodes_is_one_component_and_is_released():
    before = frozen_now()
    first = last = []
    for _ in range(999_999):
        following = []
        last.append(following)
        last = following
    last.append(first)
    freeze(last)
    during = frozen_now()
    assert during["frozen_objects"] == before["frozen_objects"] + 1_000_000
    assert during["components"] == before["components"] + 1
    del first, following
    assert last[0][0] is not last
    assert frozen_now() == during
    del last
    assert frozen_now() == before


def test_many_small_cycles_are_released():
    before = frozen_now()
    rings = []
    for _ in range(200_000):
        ring = []
        ring.append(ring)
        rings.append(ring)
    del ring
    freeze(rings)
    assert frozen_now()["components"] == before["components"] + 200_000
    del rings
    assert frozen_now() == before


def test_a_dense_component_is_released():
    before = frozen_now()
    nodes = [[] for _ in range(500)]
    for node in nodes:
        node.extend(nodes)
    freeze(nodes)
    kept = nodes[17]
    del nodes, node
    assert len(kept[3][4][5]) == 500
    del kept
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


# ---- Finalizers ------------------------------------------------------------


@pytest.fixture
def finalizing(module):
    module("entries = []", name="log_made_by_test")
    return module("""
        import log_made_by_test as log

        class Finalized:
            def __init__(self, name, other=None):
                self.name, self.other = name, other

            def __del__(self):
                log.entries.append(self.name)

        class Resurrected:
            def __init__(self, other=None):
                self.other = other

            def __del__(self):
                log.entries.append(self)
    """)


def test_a_finalizer_runs_once_when_the_object_is_dropped(finalizing):
    value = freeze(finalizing.Finalized("a"))
    assert finalizing.log.entries == []
    del value
    assert finalizing.log.entries == ["a"]
    gc.collect()
    assert finalizing.log.entries == ["a"]


def test_every_finalizer_of_a_cycle_runs_once(finalizing):
    first, second, third = (finalizing.Finalized(name) for name in "abc")
    first.other, second.other, third.other = second, third, [first]
    freeze(first)
    gone = weakref.ref(third)
    del first, second, third
    assert sorted(finalizing.log.entries) == ["a", "b", "c"]
    assert gone() is None
    gc.collect()
    assert len(finalizing.log.entries) == 3


def test_a_finalizer_still_sees_the_whole_cycle(module):
    module("entries = []", name="log_made_by_test")
    m = module("""
        import log_made_by_test as log

        class Pair:
            def __del__(self):
                log.entries.append((self.name, self.other.name, self.other.other is self))
    """)
    left, right = m.Pair(), m.Pair()
    left.name, right.name, left.other, right.other = "left", "right", right, left
    freeze(left)
    del left, right
    assert sorted(m.log.entries) == [("left", "right", True), ("right", "left", True)]


def test_an_object_resurrected_by_its_finalizer_lives_on(finalizing):
    value = freeze(finalizing.Resurrected(["part"]))
    del value
    (saved,) = finalizing.log.entries
    assert saved.other == ["part"]
    finalizing.log.entries.clear()
    gone = weakref.ref(saved)
    del saved
    gc.collect()
    assert gone() is None
    assert finalizing.log.entries == []  # a finalizer runs once


def test_a_cycle_resurrected_by_a_finalizer_is_mutable_and_collected_as_usual(finalizing):
    first, second = finalizing.Resurrected(), Node()
    first.other, second.parts = second, [first]
    before = frozen_now()
    freeze(first)
    del first, second
    (saved,) = finalizing.log.entries
    assert saved.other.parts[0] is saved
    assert not is_frozen(saved)
    saved.note = "mutable again"
    saved.other.parts.append("mutable again")
    assert gc.is_tracked(saved)
    assert frozen_now()["components"] <= before["components"] + 1
    gone = weakref.ref(saved)
    finalizing.log.entries.clear()
    del saved
    assert gone() is not None
    gc.collect()
    assert gone() is None


def test_a_finalizer_that_raises_is_reported_and_the_rest_is_released(module):
    m = module("""
        class Failing:
            def __del__(self):
                raise ValueError("from a finalizer")
    """)
    first, second = m.Failing(), m.Failing()
    first.other, second.other = second, first
    freeze(first)
    reported = []
    previous, sys.unraisablehook = sys.unraisablehook, lambda problem: reported.append(str(problem.exc_value))
    try:
        gone = weakref.ref(first)
        del first, second
    finally:
        sys.unraisablehook = previous
    assert reported == ["from a finalizer"] * 2
    assert gone() is None


# ---- Weak references -------------------------------------------------------


def test_weak_references_made_before_and_after_work():
    node = Node()
    before = weakref.ref(node)
    freeze(node)
    after, proxy = weakref.ref(node), weakref.proxy(node)
    assert before() is after() is node
    assert proxy.parts == []
    del node
    assert before() is after() is None
    with pytest.raises(ReferenceError):
        proxy.parts


def test_weak_reference_callbacks_run_once():
    called = []
    node = freeze(Node())
    reference = weakref.ref(node, called.append)
    finalizer = weakref.finalize(node, called.append, "finalize")
    del node
    assert called.count(reference) == 1
    assert called.count("finalize") == 1
    assert not finalizer.alive


def test_weak_reference_callbacks_of_a_cycle_run_once():
    called = []
    first = a_cycle_of_instances()
    references = [weakref.ref(node, called.append) for node in (first, first.parts[0])]
    freeze(first)
    del first
    assert sorted(map(id, called)) == sorted(map(id, references))
    assert all(reference() is None for reference in references)


def test_weak_dictionaries_follow_frozen_keys_and_values():
    keys, values = weakref.WeakKeyDictionary(), weakref.WeakValueDictionary()
    node = freeze(Node())
    keys[node], values["node"] = 1, node
    assert (len(keys), len(values)) == (1, 1)
    del node
    assert (len(keys), len(values)) == (0, 0)


def test_a_weak_reference_to_a_frozen_class_works():
    made = a_class()
    reference = weakref.ref(made)
    freeze(made)
    assert reference() is made
    del made
    assert reference() is None
    assert not any(base.__name__ == "Made" for base in object.__subclasses__())


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
