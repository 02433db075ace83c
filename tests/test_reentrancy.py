"""Freezing in the middle of something else: never a crash, never a write to what is frozen already."""

import gc
import heapq
import sys
import threading
import types
import weakref

import pytest

from immutable import MutationError, NotFreezableError, freeze, is_frozen


class FreezesWhenCompared:
    """An object whose comparison and hash freeze what it is told to."""

    def __init__(self, victim):
        self.box = [victim]

    def freeze_victim(self):
        if self.box:
            freeze(self.box.pop())

    def __eq__(self, other):
        self.freeze_victim()
        return False

    def __lt__(self, other):
        self.freeze_victim()
        return False

    def __hash__(self):
        return 1


def frozen_while_iterating(victim, items):
    """Yields items, and freezes the victim before the last of them."""
    *first, last = items
    yield from first
    freeze(victim)
    yield last


def unchanged_or_refused(victim, write):
    """Runs a write in which the victim is frozen half-way: what was frozen stays as it was then."""
    with pytest.raises(MutationError):
        write()
    assert is_frozen(victim)
    text = repr(victim)
    for _ in range(3):
        gc.collect()
    assert repr(victim) == text


# ---- Containers frozen by what is put into them ----------------------------


def test_a_list_frozen_by_the_iterator_that_extends_it():
    victim = [0]
    unchanged_or_refused(victim, lambda: victim.extend(frozen_while_iterating(victim, [1, 2, 3])))
    assert 3 not in victim


def test_a_list_cannot_be_frozen_while_it_is_sorted():
    victim = [[3], [1], [2]]

    def key(item):
        freeze(victim)
        return item

    with pytest.raises(NotFreezableError):
        victim.sort(key=key)
    assert not is_frozen(victim)
    assert victim == [[3], [1], [2]]
    victim.sort()
    assert freeze(victim) == [[1], [2], [3]]


def test_a_list_frozen_while_it_is_compared_and_removed_from():
    victim = [1, 2, 3]
    victim.append(FreezesWhenCompared(victim))
    with pytest.raises((MutationError, ValueError)):
        victim.remove(FreezesWhenCompared(victim))
    assert is_frozen(victim)
    assert len(victim) == 4


HEAPS = {
    "heapify": ([3, 1, 2], lambda heap, item: heapq.heapify(heap), [3, 1, 2]),
    "heappush": ([1, 2, 3], lambda heap, item: heapq.heappush(heap, item(0)), [1, 2, 3, 0]),
    "heappop": ([1, 2, 3, 4], lambda heap, item: heapq.heappop(heap), [4, 2, 3]),
    "heapreplace": ([1, 2, 3], lambda heap, item: heapq.heapreplace(heap, item(4)), [4, 2, 3]),
    "heappushpop": ([1, 2, 3], lambda heap, item: heapq.heappushpop(heap, item(4)), [1, 2, 3]),
    "heapify_max": ([1, 3, 2], lambda heap, item: heapq.heapify_max(heap), [1, 3, 2]),
    "heappush_max": ([3, 2, 1], lambda heap, item: heapq.heappush_max(heap, item(4)), [3, 2, 1, 4]),
    "heapreplace_max": ([3, 2, 1], lambda heap, item: heapq.heapreplace_max(heap, item(0)), [0, 2, 1]),
    "heappushpop_max": ([3, 2, 1], lambda heap, item: heapq.heappushpop_max(heap, item(0)), [3, 2, 1]),
}


@pytest.mark.parametrize("way", HEAPS)
def test_a_heap_stays_as_it_was_when_a_comparison_froze_it(way):
    numbers, write, then = HEAPS[way]
    heap = []

    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            freeze(heap)
            return self.number < other.number

    heap.extend(map(Item, numbers))
    with pytest.raises(MutationError):
        write(heap, Item)
    assert is_frozen(heap)
    assert [item.number for item in heap] == then


def test_a_list_frozen_while_it_is_iterated():
    victim, seen = [1, 2, 3], []
    for item in victim:
        freeze(victim)
        seen.append(item)
    assert seen == [1, 2, 3]


def test_a_list_frozen_by_the_value_of_a_slice_assignment():
    victim = [1, 2, 3]
    unchanged_or_refused(victim, lambda: victim.__setitem__(slice(0, 2), frozen_while_iterating(victim, [7, 8, 9])))
    assert victim == [1, 2, 3]


def test_a_list_frozen_by_the_index_it_is_written_at():
    victim = [1, 2, 3]

    class Index:
        def __index__(self):
            freeze(victim)
            return 0

    for write in (
        lambda: victim.__setitem__(Index(), 9),
        lambda: victim.insert(Index(), 9),
        lambda: victim.pop(Index()),
        lambda: victim.__delitem__(Index()),
    ):
        unchanged_or_refused(victim, write)
        assert victim == [1, 2, 3]


@pytest.mark.parametrize(
    "write",
    [
        lambda victim, key: victim.__setitem__(key, 1),
        lambda victim, key: victim.setdefault(key, 1),
        lambda victim, key: victim.update({key: 1}),
        lambda victim, key: victim.update([(key, 1)]),
    ],
)
def test_a_dict_frozen_by_the_comparison_of_a_key(write):
    victim = {}
    victim[FreezesWhenCompared(victim)] = 0
    unchanged_or_refused(victim, lambda: write(victim, 1))
    assert len(victim) == 1


@pytest.mark.parametrize("write", [lambda victim, key: victim.pop(key), lambda victim, key: victim.__delitem__(key)])
def test_a_dict_frozen_by_the_comparison_of_a_key_that_is_removed(write):
    victim = {}
    victim[FreezesWhenCompared(victim)] = 0
    with pytest.raises((MutationError, KeyError)):
        write(victim, 1)
    assert is_frozen(victim)
    assert len(victim) == 1


def test_a_dict_frozen_by_the_pairs_that_update_it():
    victim = {"a": 1}
    pairs = [("b", 2), ("c", 3)]
    unchanged_or_refused(victim, lambda: victim.update(frozen_while_iterating(victim, pairs)))
    assert "c" not in victim


def test_a_dict_frozen_while_it_is_iterated():
    victim, seen = {"a": 1, "b": 2}, []
    for key, value in victim.items():
        freeze(victim)
        seen.append((key, value))
    assert seen == [("a", 1), ("b", 2)]


def test_a_set_frozen_by_the_comparison_of_an_item():
    for write in set.add, lambda victim, item: victim.update([item]), lambda victim, item: victim.__ior__({item}):
        victim = set()
        victim.add(FreezesWhenCompared(victim))
        unchanged_or_refused(victim, lambda victim=victim, write=write: write(victim, 1))
        assert len(victim) == 1


def test_a_bytearray_frozen_by_the_items_that_extend_it():
    victim = bytearray(b"a")
    unchanged_or_refused(victim, lambda: victim.extend(frozen_while_iterating(victim, [1, 2, 3])))
    assert victim == b"a"


def test_a_bytearray_cannot_be_frozen_while_a_view_outside_could_write_to_it():
    victim = bytearray(b"abc")
    view = memoryview(victim)
    with pytest.raises(NotFreezableError):
        freeze(victim)
    view[0] = ord("x")
    view.release()
    freeze(victim)
    assert victim == b"xbc"


def test_a_bytearray_and_its_views_may_freeze_together():
    victim = bytearray(b"abc")
    view = memoryview(victim)[1:]
    freeze([victim, view])
    with pytest.raises((MutationError, TypeError)):
        view[0] = 0
    assert victim == b"abc"
    assert view == b"bc"


def test_an_instance_frozen_by_the_value_that_is_assigned_to_it():
    class Victim:
        value = None

        def __setattr__(self, name, value):
            freeze(self)
            object.__setattr__(self, name, value)

    victim = Victim()
    with pytest.raises(MutationError):
        victim.value = 1
    assert victim.value is None


# ---- Classes and functions frozen while they are at work -------------------


def test_a_class_frozen_by_its_own_creation():
    class Base:
        def __init_subclass__(cls):
            freeze(cls)

    class Derived(Base):
        items = [1]

        def method(self):
            return __class__

    assert is_frozen(Derived)
    assert is_frozen(Base)
    assert Derived().method() is Derived


def test_an_instance_frozen_by_its_own_constructor():
    class Sealed:
        def __init__(self, value):
            self.value = value
            freeze(self)

    for n in range(1000):
        sealed = Sealed([n])
        with pytest.raises(MutationError):
            sealed.value = 1
        assert sealed.value == [n]


def test_an_instance_frozen_by_a_constructor_that_goes_on_writing():
    class Hasty:
        def __init__(self):
            freeze(self)
            self.late = 1

    for _ in range(1000):
        with pytest.raises(MutationError):
            Hasty()


def test_a_function_that_freezes_itself(module):
    m = module("""
        from immutable import freeze

        count = [0]

        def once():
            freeze(once)
            return count
    """)
    assert m.once() == [0]
    assert is_frozen(m.once)
    assert m.once() == [0]
    with pytest.raises(MutationError):
        m.count.append(1)


def test_a_generator_whose_function_is_frozen_goes_on(module):
    m = module("""
        limit = 3

        def count():
            for n in range(limit):
                yield n
    """)
    generator = m.count()
    assert next(generator) == 0
    freeze(m.count)
    m.limit = 0
    assert list(generator) == [1, 2]
    assert list(m.count()) == [0, 1, 2]


def test_a_method_that_freezes_its_instance_cannot_write_any_more():
    class Thing:
        def __init__(self):
            self.value = 0

        def seal_and_write(self):
            self.value += 1
            freeze(self)
            self.value += 1

    thing = Thing()
    with pytest.raises(MutationError):
        thing.seal_and_write()
    assert thing.value == 1


def test_a_running_frame_keeps_its_locals_when_what_they_hold_freezes():
    items = [1]
    local = {"items": items}
    freeze(local)
    local = {"another": 1}
    local["more"] = 2
    assert items == [1]
    assert sys._getframe().f_locals["local"] == {"another": 1, "more": 2}


# ---- Frozen dicts as namespaces --------------------------------------------


def test_a_frozen_namespace_cannot_be_written_by_exec():
    namespace = freeze({"__builtins__": {"len": len}, "x": 1})
    assert eval("x + 1", namespace) == 2
    for statement in "x = 2", "y = 2", "del x", "def f(): pass", "for x in [1]: pass", "x += 1":
        with pytest.raises(MutationError):
            exec(statement, namespace)
        with pytest.raises(MutationError):
            exec(statement, {}, namespace)
    assert namespace["x"] == 1
    assert set(namespace) == {"__builtins__", "x"}


def test_a_frozen_namespace_without_builtins_is_not_given_any():
    namespace = freeze({"x": [1]})
    assert eval("len(x)", namespace) == 1
    with pytest.raises(MutationError):
        exec("y = 1", namespace)
    assert namespace == {"x": [1]}


def test_a_class_body_cannot_write_to_a_frozen_namespace():
    class Meta(type):
        @classmethod
        def __prepare__(metacls, name, bases):
            return freeze({})

    with pytest.raises(MutationError):

        class Made(metaclass=Meta):
            attribute = 1


def test_a_class_can_be_made_from_a_frozen_namespace():
    made = type("Made", (), freeze({"items": [1], "method": lambda self: self.items}))
    assert made().method() == [1]
    made.more = 1
    assert not is_frozen(made)


# ---- Freezing from odd places ----------------------------------------------


def test_freezing_inside_a_finalizer(module):
    m = module("""
        from immutable import freeze
        saved = []

        class Late:
            def __del__(self):
                self.items = [1]
                saved.append(freeze(self.items))
    """)
    late = m.Late()
    del late
    assert is_frozen(m.saved[0])


def test_an_object_frozen_by_its_own_finalizer(module):
    module("seen = []", name="log_made_by_test")
    m = module("""
        import log_made_by_test as log
        from immutable import freeze, is_frozen

        class Late:
            def __del__(self):
                freeze(self)
                log.seen.append(is_frozen(self))
    """)
    late = m.Late()
    late.me = late
    del late
    late = m.Late()
    gone = weakref.ref(late)
    del late
    gc.collect()
    assert m.log.seen == [True, True]
    assert gone() is None


def test_freezing_inside_a_weak_reference_callback():
    class Node:
        pass

    other, node = [1], Node()
    reference = weakref.ref(node, lambda _: freeze(other))
    del node
    assert reference() is None
    assert is_frozen(other)


def test_freezing_while_the_collector_runs():
    frozen = []

    def callback(phase, info):
        frozen.append(freeze([phase, [info["generation"]]]))

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)
    assert [value[0] for value in frozen] == ["start", "stop"]


def test_freezing_while_tracing():
    values = []

    def tracer(frame, event, argument):
        values.append(freeze([event]))
        return tracer

    previous = sys.gettrace()
    sys.settrace(tracer)
    try:
        freeze({"a": [1]})
    finally:
        sys.settrace(previous)
    assert all(map(is_frozen, values))


def test_threads_may_freeze_at_the_same_time():
    shared = [[n, {"n": [n]}] for n in range(200)]
    errors = []

    def work():
        try:
            for part in shared:
                freeze(part)
                assert is_frozen(part[1]["n"])
                own = [part, [part]]
                own[1].append(own)
                freeze(own)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(map(is_frozen, shared))


def test_threads_may_drop_the_same_cycle_at_the_same_time():
    class Node:
        pass

    for _ in range(50):
        ring = [Node() for _ in range(20)]
        for node, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            node.following = following
        freeze(*ring)

        def walk(node):
            for _ in range(200):
                node = node.following

        threads = [threading.Thread(target=walk, args=(node,)) for node in ring[:4]]
        for thread in threads:
            thread.start()
        del ring, node, following
        for thread in threads:
            thread.join()


def test_a_refusal_inside_a_freeze_of_the_same_graph():
    class Odd:
        def __repr__(self):
            freeze(root)
            return "odd"

    root = {Odd(): iter([])}
    with pytest.raises(NotFreezableError):
        freeze(root)
    assert not is_frozen(root)
    root.clear()


def test_a_key_whose_repr_raises_does_not_hide_the_refusal():
    class Rude(str):
        def __repr__(self):
            raise ZeroDivisionError

    root = {Rude("a"): iter([])}
    with pytest.raises(NotFreezableError):
        freeze(root)


def test_modules_as_roots_stay_usable():
    made = types.ModuleType("made")
    made.items = [1]
    freeze(made)
    made.items.append(2)
    made.more = 1
    assert made.items == [1, 2]
