"""Weak references to frozen objects behave as ever; inside a frozen graph they are strong while it is frozen."""

import gc
import inspect
import itertools
import re
import sys
import textwrap
import threading
import types
import weakref
from concurrent import interpreters

import leaks
import pytest
from graphs import frozen_now

from immutable import (
    FREEZABLE_YES,
    MutationError,
    NotFreezableError,
    freeze,
    is_frozen,
    register_freezable,
)

pytestmark = pytest.mark.usefixtures("without_collector")


class Node:
    def __init__(self, *parts):
        self.parts = list(parts)

    def method(self):
        return self

    def __call__(self, *arguments):
        return (self, *arguments)


class Link:
    __slots__ = ("__weakref__", "a", "b")


freeze(Node, Link)


def plain():
    return Node()


def a_ring():
    made = Node(Node())
    made.parts[0].parts.append(made)
    return made


@pytest.fixture(params=[plain, a_ring], ids=["plain", "in a cycle"])
def make(request):
    return request.param


@pytest.fixture(params=["mutable", "frozen before", "frozen after"])
def stage(request):
    """The two moments of a test at which it may freeze an object: before weak references are made, or after."""
    early = freeze if request.param == "frozen before" else lambda value: value
    late = freeze if request.param == "frozen after" else lambda value: value
    return early, late


def drop_cycles(stage):
    """Frozen cycles go at once; mutable ones with a collection."""
    if freeze not in stage:
        gc.collect()


# ---- To frozen objects: the same as to mutable ones ------------------------


def test_a_reference_yields_its_object_until_that_dies(stage, make):
    early, late = stage
    value = early(make())
    reference = weakref.ref(value)
    late(value)
    assert reference() is value
    assert "Node" in repr(reference)
    assert "dead" not in repr(reference)
    del value
    drop_cycles(stage)
    assert reference() is None
    assert "dead" in repr(reference)


def test_a_reference_can_keep_its_object_alive_again(stage, make):
    early, late = stage
    value = early(make())
    reference = weakref.ref(value)
    late(value)
    for _ in range(3):
        again = reference()
        del value
        gc.collect()
        value = reference()
        assert value is again
        del again
    del value
    drop_cycles(stage)
    assert reference() is None


def test_a_member_without_references_from_outside_is_reached_weakly(stage):
    early, late = stage
    value = early(a_ring())
    reference = weakref.ref(value.parts[0])
    late(value)
    gc.collect()
    inner = reference()
    assert inner.parts[0] is value
    del value
    gc.collect()
    assert reference() is inner
    del inner
    drop_cycles(stage)
    assert reference() is None


def test_references_without_callback_are_one_object(stage):
    early, late = stage
    value = early(plain())
    reference, proxy = weakref.ref(value), weakref.proxy(value)
    late(value)
    assert weakref.ref(value) is reference
    assert weakref.proxy(value) is proxy
    assert weakref.ref(value, print) is not reference
    assert weakref.ref(value, None) is reference


def test_references_are_counted_and_listed(stage):
    early, late = stage
    value = early(plain())
    assert weakref.getweakrefcount(value) == 0
    assert weakref.getweakrefs(value) == []
    references = [weakref.ref(value), weakref.ref(value, print)]
    late(value)
    references += [weakref.ref(value, repr), weakref.proxy(value), weakref.proxy(value, print)]
    assert weakref.getweakrefcount(value) == 5
    assert sorted(map(id, weakref.getweakrefs(value))) == sorted(map(id, references))
    assert weakref.getweakrefs(value)[0] is references[0]
    del references[1:3]
    assert weakref.getweakrefcount(value) == 3
    assert value in [reference() for reference in references[:1]]
    references.clear()
    assert weakref.getweakrefcount(value) == 0
    assert weakref.getweakrefs(value) == []


@pytest.mark.parametrize("make", [plain, a_ring, Link])
def test_an_object_shows_the_first_reference_to_it_while_there_is_one(stage, make):
    early, late = stage
    value = early(make())
    assert value.__weakref__ is None
    references = [weakref.ref(value), weakref.ref(value, print)]
    late(value)
    assert value.__weakref__ is references[0]
    assert dict(inspect.getmembers(value))["__weakref__"] is references[0]
    del references[0]
    assert value.__weakref__ is references[0]
    references.clear()
    assert value.__weakref__ is None


def test_an_object_shows_each_interpreter_the_reference_that_was_made_there(elsewhere):
    value = freeze(plain())
    here, there = weakref.ref(value), elsewhere()
    there.run(
        """
        import weakref

        assert value.__weakref__ is None
        reference = weakref.ref(value)
        assert value.__weakref__ is reference
        """,
        value=value,
    )
    assert value.__weakref__ is here
    there.close()
    assert value.__weakref__ is here


@pytest.mark.parametrize("make_lasting", [lambda: freeze(plain()), lambda: re.Pattern], ids=["object", "shared C type"])
def test_nothing_is_kept_for_an_interpreter_that_is_gone(make_lasting):
    lasting = make_lasting()
    runs = 20

    def refer():
        for _ in range(runs):
            there = interpreters.create()
            there.prepare_main(value=lasting)
            there.exec("import re, weakref; weakref.ref(value); weakref.WeakSet([value])")
            there.close()

    reached = [[0] * len(leaks.MEASURED) for _ in range(4)]
    for numbers in reached:
        refer()
        leaks.measure(numbers)
    assert not all("bytes of malloc" in leaks.grown(*pair, runs) for pair in itertools.pairwise(reached))


def test_an_object_does_not_show_a_reference_that_was_frozen_with_it():
    value = plain()
    reference = weakref.ref(value)
    graph = freeze([value, reference])
    assert value.__weakref__ is None
    later = weakref.ref(value)
    assert value.__weakref__ is later
    del graph


def test_references_compare_and_hash_as_their_objects_do_and_by_identity_when_dead(stage):
    early, late = stage
    value, other = early(Number(1)), early(Number(1))
    first, second, third = weakref.ref(value), weakref.ref(other, print), weakref.ref(early(Number(2)))
    late(value), late(other)
    assert first == second
    assert hash(first) == hash(second) == hash(Number(1))
    assert first != third  # it is dead
    with pytest.raises(TypeError):
        hash(third)
    del value
    assert first != second
    assert first == first
    assert hash(first) == hash(Number(1))


class Number:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return hash(("number", self.value))


freeze(Number)


def test_objects_without_room_for_weak_references_refuse_them(stage):
    early, _ = stage
    for value in early([1]), early((1, [2])), early({"a": 1}), early(type("Bare", (), {"__slots__": ()})()):
        with pytest.raises(TypeError):
            weakref.ref(value)
        assert weakref.getweakrefcount(value) == 0


REFERENTS = {
    "instance": plain,
    "slotted instance": Link,
    "class": lambda: type("Made", (), {"items": [1]}),
    "metaclass": lambda: type("Made", (type,), {}),
    "function": lambda: lambda: None,
    "recursive function": lambda: recursive(),
    "bound method": lambda: Node().method,
    "builtin method": lambda: [1].append,
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset([1000, "two"]),
    "generic alias": lambda: types.GenericAlias(list, ([],)),
    "code": lambda: compile("1 + 1", "<made>", "eval"),
    "memoryview": lambda: memoryview(b"abc"),
    "number": lambda: type("Float", (float,), {})(1.5),
    "list of a class": lambda: type("List", (list,), {})([1]),
    "dict of a class": lambda: type("Dict", (dict,), {})(a=1),
    "weak reference": lambda: type("Reference", (weakref.ref,), {})(Node),
}


def recursive():
    def made(n):
        return n and made(n - 1)

    return made


@pytest.mark.parametrize("kind", REFERENTS)
def test_whatever_can_be_referenced_weakly_can_be_when_frozen(kind, stage):
    early, late = stage
    called = []
    value = early(REFERENTS[kind]())
    references = [weakref.ref(value, called.append), weakref.ref(value), weakref.ref(value, called.append)]
    late(value)
    assert [reference() is value for reference in references] == [True] * 3
    del value
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    assert sorted(map(id, called)) == sorted(map(id, references[::2]))


# ---- Proxies ---------------------------------------------------------------


def test_a_proxy_reads_what_its_object_has_until_that_dies(stage, make):
    early, late = stage
    value = early(make())
    proxy = weakref.proxy(value)
    late(value)
    assert type(proxy) is weakref.CallableProxyType
    assert proxy.parts is value.parts
    assert proxy(1) == (value, 1)
    assert proxy.method() is value
    assert isinstance(proxy, Node)
    del value
    drop_cycles(stage)
    for use in (lambda: proxy.parts, lambda: proxy(1), lambda: str(proxy), lambda: proxy == 1, lambda: bool(proxy)):
        with pytest.raises(ReferenceError):
            use()


def test_a_proxy_of_a_container_works_as_that(stage):
    early, late = stage
    value = early(REFERENTS["list of a class"]())
    proxy = weakref.proxy(value)
    late(value)
    assert type(proxy) is weakref.ProxyType
    assert (len(proxy), proxy[0], [*proxy], 1 in proxy, proxy * 2) == (1, 1, [1], True, [1, 1])
    del value
    with pytest.raises(ReferenceError):
        len(proxy)


def test_nothing_can_be_written_through_a_proxy():
    value = freeze(Node(1))
    items = freeze(REFERENTS["list of a class"]())
    table = freeze(REFERENTS["dict of a class"]())
    proxies = [weakref.proxy(each) for each in (value, items, table)]
    for write in (
        lambda: setattr(proxies[0], "parts", 1),
        lambda: delattr(proxies[0], "parts"),
        lambda: proxies[1].append(1),
        lambda: proxies[1].__setitem__(0, 2),
        lambda: proxies[2].__setitem__("a", 2),
        lambda: proxies[2].__delitem__("a"),
    ):
        with pytest.raises(MutationError):
            write()
    assert (value.parts, items, table) == ([1], [1], {"a": 1})


def test_a_call_through_a_proxy_keeps_its_object_until_it_returns():
    class Last:
        def __call__(self):
            held.clear()
            return reference() is self

        def method(self):
            held.clear()
            return reference() is self

    held = []
    for call in (lambda proxy: proxy(), lambda proxy: proxy.method()):
        value = Last()
        reference, proxy = weakref.ref(value), weakref.proxy(value)
        held.append(value)
        del value
        assert call(proxy) is True
        assert reference() is None


# ---- Callbacks -------------------------------------------------------------


def test_every_callback_is_called_once_with_its_reference(stage, make):
    early, late = stage
    called = []
    value = early(make())
    references = [weakref.ref(value, called.append), weakref.proxy(value, lambda _: called.append("proxy"))]
    late(value)
    references += [weakref.ref(value, called.append), weakref.ref(value)]
    del value
    drop_cycles(stage)
    assert len(called) == 3
    assert "proxy" in called
    assert any(each is references[0] for each in called)
    assert any(each is references[2] for each in called)
    gc.collect()
    assert len(called) == 3


def test_callbacks_are_called_latest_first(stage):
    early, late = stage
    called = []
    value = early(plain())
    references = [weakref.ref(value, lambda _, number=number: called.append(number)) for number in range(5)]
    late(value)
    references += [weakref.ref(value, lambda _, number=number: called.append(number)) for number in range(5, 10)]
    del value
    assert called == [*range(9, -1, -1)]


def test_callbacks_of_references_that_are_gone_are_not_called(stage, make):
    early, late = stage
    called = []
    value = early(make())
    references = [weakref.ref(value, called.append) for _ in range(4)]
    del references[0]
    late(value)
    del references[1]
    del value
    drop_cycles(stage)
    assert sorted(map(id, called)) == sorted(map(id, references))


@pytest.mark.parametrize("early", [False, True])
def test_a_callback_cannot_reach_a_dying_object(early):
    value = a_ring()
    if early:
        freeze(value)
    seen = []
    references = [weakref.ref(each) for each in (value, value.parts[0])]

    def look(dead):
        gc.collect()
        seen.append([reference() for reference in (dead, *references, *with_callback)])

    with_callback = [weakref.ref(each, look) for each in (value, value.parts[0])]
    freeze(value)
    del value
    assert seen == [[None] * 5] * 2


def test_a_callback_may_drop_the_other_references(stage):
    early, late = stage
    value = early(plain())
    called, references = [], []

    def drop(_):
        called.append(len(references))
        references.clear()

    references += [weakref.ref(value, drop) for _ in range(3)]
    late(value)
    del value
    assert called == [3, 0, 0]


def test_a_callback_may_freeze_collect_and_drop_frozen_graphs(make):
    other = freeze(a_ring())
    gone, called = weakref.ref(other), []
    held = [other]
    del other

    def work(_):
        gc.collect()
        called.append(is_frozen(freeze([[]])))
        held.clear()
        called.append(gone() is None)

    value = freeze(make())
    reference = weakref.ref(value, work)
    del value
    assert reference() is None
    assert called == [True, True]


def test_a_frozen_callback_is_called(make, module):
    m = module("called = []", name="log_made_by_test")
    source = module("""
        import log_made_by_test as log

        def callback(reference):
            log.called.append(reference)
    """)
    value = freeze(make())
    reference = weakref.ref(value, freeze(source.callback))
    del value
    assert m.called == [reference]


def test_a_callback_that_raises_is_reported_and_the_others_are_called(stage, make, monkeypatch):
    reported, called = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: reported.append(repr(problem.exc_value)))
    early, late = stage
    value = early(make())
    references = [weakref.ref(value, callback) for callback in (called.append, int, called.append, int)]
    late(value)
    del value
    drop_cycles(stage)
    assert len(called) == len(reported) == 2
    assert references[0]() is None
    assert reported[0].startswith("TypeError")


def test_the_thread_that_drops_an_object_calls_the_callbacks(make):
    called = []
    value = freeze(make())
    references = [weakref.ref(value, lambda _: called.append(threading.current_thread())) for _ in range(2)]
    held = [value]
    del value
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert called == [thread] * len(references)


def test_callbacks_and_exceptions_leave_each_other_alone(make):
    handled = []
    value = freeze(make())
    reference = weakref.ref(value, lambda _: handled.append(sys.exception()))
    held = [value]
    del value
    try:
        raise KeyError("mine")
    except KeyError:
        held.clear()
        assert handled == [sys.exception()]
    assert reference() is None


# ---- The containers of the module weakref ----------------------------------


def test_a_dict_with_weak_keys_follows_them(stage):
    early, late = stage
    first, second = early(plain()), early(a_ring())
    table = weakref.WeakKeyDictionary({first: 1, second: 2})
    late(first), late(second)
    assert (table[first], table[second], len(table)) == (1, 2, 2)
    table[first] = 3
    assert sorted(table.values()) == [2, 3]
    del first
    assert [key is second for key in table] == [True]
    del second
    drop_cycles(stage)
    assert (len(table), [*table], [*table.items()]) == (0, [], [])


def test_a_dict_with_weak_values_follows_them(stage):
    early, late = stage
    table = weakref.WeakValueDictionary()
    first, second = table["first"], table["second"] = early(plain()), early(a_ring())
    late(first), late(second)
    assert table["first"] is first
    assert sorted(table) == ["first", "second"]
    table["again"] = second
    del second
    drop_cycles(stage)
    assert [*table.items()] == [("first", first)]
    del first
    assert (len(table), table.get("first"), "first" in table) == (0, None, False)


def test_a_set_with_weak_members_follows_them(stage):
    early, late = stage
    first, second = early(plain()), early(a_ring())
    group = weakref.WeakSet([first])
    late(first), late(second)
    group.add(second)
    assert first in group
    assert second in group
    group.discard(first)
    group.add(first)
    assert len(group) == 2
    del first
    assert [*group] == [second]
    del second
    drop_cycles(stage)
    assert len(group) == 0
    assert [*group] == []


def test_a_weak_container_may_lose_its_members_while_it_is_iterated(stage):
    early, late = stage
    held = [early(plain()) for _ in range(20)]
    group = weakref.WeakSet(held)
    keys = weakref.WeakKeyDictionary(zip(held, itertools.count(), strict=False))
    values = weakref.WeakValueDictionary(enumerate(held))
    list(map(late, held))
    for container in group, keys, values:
        seen = 0
        for _ in container:
            seen += 1
            if held:
                held.pop()
        assert seen <= 20
    held.clear()
    del _
    assert (len(group), len(keys), len(values)) == (0, 0, 0)


def test_a_weak_method_yields_a_method_until_its_object_or_function_dies(stage, make):
    early, late = stage
    value = early(make())
    called = []
    methods = [weakref.WeakMethod(value.method), weakref.WeakMethod(value.method, called.append)]
    late(value)
    methods.append(weakref.WeakMethod(value.method))
    assert all(method()() is value for method in methods)
    assert methods[0] == methods[2]
    del value
    drop_cycles(stage)
    assert [method() for method in methods] == [None] * 3
    assert called == [methods[1]]


def test_a_finalizer_of_the_module_is_called_once(stage, make):
    early, late = stage
    called = []
    value = early(make())
    finalizers = [weakref.finalize(value, called.append, "before")]
    late(value)
    finalizers += [weakref.finalize(value, called.append, "after"), weakref.finalize(value, called.append, "never")]
    assert finalizers[0].peek()[0] is value
    assert finalizers[2].detach()[0] is value
    finalizers.append(weakref.finalize(value, called.append, "early"))
    finalizers[3]()
    assert called == ["early"]
    del value
    drop_cycles(stage)
    assert sorted(called) == ["after", "before", "early"]
    assert not any(finalizer.alive for finalizer in finalizers)
    finalizers[0]()
    assert len(called) == 3


def test_a_finalizer_of_the_module_runs_at_exit(run_python):
    assert run_python("""
        import weakref
        from immutable import freeze

        class Node:
            pass

        ring = Node()
        ring.me = ring
        keep = freeze(ring), freeze(Node()), freeze(Node())
        weakref.finalize(keep[0], print, "ring")
        weakref.finalize(keep[1], print, "plain")
        weakref.finalize(keep[2], print, "never").atexit = False
    """).split() == ["plain", "ring"]


def test_a_class_is_left_out_of_its_base_once_it_is_gone(stage):
    early, late = stage

    class Base:
        pass

    made = early(type("Made", (Base,), {}))
    late(made)
    assert Base.__subclasses__() == [made]
    del made
    gc.collect()
    assert Base.__subclasses__() == []


@pytest.mark.allocator
def test_a_class_is_left_out_of_its_base_once_it_is_gone_elsewhere(elsewhere):
    class Base:
        pass

    freeze(Base)
    there = elsewhere()

    def make_and_drop():
        there.run("kept = value", value=freeze(tuple(type("Made", bases, {}) for bases in [(), (Base,)] * 100)))
        gc.collect()  # each class would be found through its reference to itself
        during = sys.getallocatedblocks()
        there.run("import gc; del kept, value; gc.collect()")
        gc.collect()
        return during, sys.getallocatedblocks()

    make_and_drop()
    _, before = make_and_drop()
    during, after = make_and_drop()
    assert during - after > 1000
    assert after - before < 50  # each class had a reference and a key in the table of its base
    assert Base.__subclasses__() == []


# ---- Several threads -------------------------------------------------------


def run_together(*works):
    """Runs functions in threads that start at the same moment, and raises what any of them raised."""
    errors, start = [], threading.Barrier(len(works))

    def run(work):
        try:
            start.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def fast_switches():
    """Threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("fast_switches")
def test_references_are_made_used_and_dropped_in_several_threads(make):
    value = freeze(make())
    called = []

    def work():
        for _ in range(500):
            references = [weakref.ref(value, called.append), weakref.ref(value), weakref.proxy(value)]
            assert references[0]() is references[1]() is value
            assert references[2].parts is value.parts
            assert weakref.getweakrefcount(value) >= 3

    run_together(*[work] * 4)
    assert called == []
    assert weakref.getweakrefcount(value) == 0


@pytest.mark.usefixtures("fast_switches")
def test_callbacks_are_called_once_however_many_threads_drop_the_object(make):
    for _ in range(50):
        called = []
        value = freeze(make())
        references = [weakref.ref(value, called.append) for _ in range(10)]
        held = [[value] for _ in range(4)]
        del value
        run_together(*[each.clear for each in held])
        assert sorted(map(id, called)) == sorted(map(id, references))


@pytest.mark.usefixtures("fast_switches")
def test_a_reference_yields_a_whole_object_or_none_while_threads_drop_it(make):
    for _ in range(50):
        value = freeze(make())
        reference, held = weakref.ref(value), [value]
        before = repr(value.parts) if make is plain else None
        del value

        def look(reference=reference, before=before):
            while (found := reference()) is not None:
                assert is_frozen(found)
                assert found.parts is not None
                assert before is None or repr(found.parts) == before
                del found

        run_together(look, look, look, held.clear)
        assert reference() is None


@pytest.mark.usefixtures("fast_switches")
def test_weak_containers_are_used_in_several_threads():
    values, keys, group = weakref.WeakValueDictionary(), weakref.WeakKeyDictionary(), weakref.WeakSet()

    def work(number):
        for turn in range(200):
            value = freeze(a_ring())
            values[number, turn] = value
            keys[value] = number
            group.add(value)
            assert values[number, turn] is value
            assert keys[value] == number
            assert value in group
            del value
            assert (number, turn) not in values

    run_together(*[lambda number=number: work(number) for number in range(4)])
    assert (len(values), len(keys), len(group)) == (0, 0, 0)


# ---- Inside a frozen graph -------------------------------------------------


def test_a_weak_reference_in_a_frozen_graph_keeps_its_object_alive():
    value = plain()
    graph = {"reference": weakref.ref(value)}
    freeze(graph)
    assert is_frozen(value)
    assert is_frozen(graph["reference"])
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert graph["reference"]() is gone()
    assert graph["reference"]().parts == []
    del graph
    assert gone() is None


def test_an_object_that_somebody_else_holds_outlives_the_graph():
    value = plain()
    graph = freeze([weakref.ref(value)])
    del graph
    assert is_frozen(value)
    reference = weakref.ref(value)
    assert reference() is value
    del value
    assert reference() is None


def test_a_frozen_reference_keeps_its_object_also_on_its_own():
    value = plain()
    reference = weakref.ref(value, None)
    graph = [reference]
    freeze(graph)
    gone = weakref.ref(value, lambda _: None)
    del graph, value
    assert reference() is gone()
    del reference
    assert gone() is None


def test_a_reference_can_be_the_root_of_a_freeze():
    value = plain()
    reference = freeze(weakref.ref(value, print))
    assert is_frozen(reference)
    assert is_frozen(value)
    gone = weakref.ref(value)
    del value
    assert reference() is gone()
    del reference
    assert gone() is None


def test_references_outside_the_graph_stay_weak():
    value = plain()
    outside, inside = weakref.ref(value), weakref.ref(value, print)
    graph = freeze([inside])
    del value, inside
    assert outside() is graph[0]()
    del graph
    assert outside() is None


def test_an_object_is_frozen_through_a_reference_and_what_refuses_is_named():
    value = Node(iter([]))
    graph = {"reference": weakref.ref(value)}
    with pytest.raises(NotFreezableError) as raised:
        freeze(graph)
    assert raised.value.path == "root['reference']().parts[0]"
    assert not is_frozen(value)
    assert not is_frozen(graph)
    del raised
    gone = weakref.ref(value)
    del value
    assert gone() is None
    assert graph["reference"]() is None


def test_parents_that_children_know_weakly_are_one_component_with_them():
    def tree(depth):
        made = Node()
        for _ in range(2 if depth else 0):
            child = tree(depth - 1)
            child.parent = weakref.ref(made)
            made.parts.append(child)
        return made

    freeze(tree(3))
    before = frozen_now()
    root = freeze(tree(3))
    assert frozen_now()["components"] == before["components"] + 1
    leaf = root.parts[0].parts[1].parts[0]
    gone = weakref.ref(root)
    del root
    assert leaf.parent().parent().parent() is gone()
    del leaf
    assert gone() is None
    assert frozen_now() == before


def test_references_to_each_other_alone_hold_nothing_from_outside():
    before = frozen_now()
    left, right = Link(), Link()
    left.a, right.a = weakref.ref(right), weakref.ref(left)
    freeze(left)
    gone = [weakref.ref(left), weakref.ref(right)]
    del right
    assert left.a().a() is left
    del left
    assert [reference() for reference in gone] == [None, None]
    assert frozen_now() == before


def test_a_reference_to_its_own_holder_is_a_cycle_that_is_reclaimed():
    before = frozen_now()
    value = Link()
    value.a = weakref.ref(value)
    freeze(value)
    assert frozen_now()["components"] == before["components"] + 1
    assert value.a() is value
    gone = weakref.ref(value)
    kept = value.a
    del value
    assert gone() is kept()
    del kept
    assert gone() is None
    assert frozen_now() == before


@pytest.fixture
def callback(module):
    """A function that can be frozen, and the list of the references that it was called with."""
    log = module("called = []", name="log_of_callbacks")
    made = module("""
        import log_of_callbacks

        def callback(reference):
            log_of_callbacks.called.append(reference)
    """)
    yield made.callback, log.called
    log.called.clear()


@pytest.mark.parametrize("place", ["beside its object", "in a cycle with its object", "alone"])
def test_callbacks_of_references_in_a_graph_that_dies_are_not_called(place, callback):
    function, called = callback
    value = plain()
    graph = [weakref.ref(value, function)]
    if place == "beside its object":
        graph.append(value)
    if place == "in a cycle with its object":
        value.parts.append(graph)
    freeze(graph)
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert gone() is graph[0]()
    del graph
    assert gone() is None
    assert called == []


def test_a_dead_reference_freezes_as_a_dead_one():
    reference = weakref.ref(plain(), None)
    dead = weakref.ref(Link(), print)
    graph = freeze([reference, dead])
    assert is_frozen(reference)
    assert [each() for each in graph] == [None, None]
    assert "dead" in repr(graph[0])
    del graph
    assert reference() is None


def test_references_to_what_is_frozen_already_become_strong_too():
    value = freeze(a_ring())
    graph = freeze([weakref.ref(value), weakref.ref(value.parts[0], print)])
    gone = weakref.ref(value)
    del value
    assert graph[0]() is gone()
    assert graph[1]() is gone().parts[0]
    del graph
    assert gone() is None


def test_a_mutable_reference_to_what_is_frozen_later_stays_weak():
    value = plain()
    holder = [weakref.ref(value)]
    freeze(value)
    assert not is_frozen(holder[0])
    del value
    assert holder[0]() is None


def test_two_references_in_two_graphs_each_keep_the_object():
    value = plain()
    left, right = freeze([weakref.ref(value, None)]), freeze([weakref.ref(value, print)])
    gone = weakref.ref(value)
    del value, left
    assert right[0]() is gone()
    del right
    assert gone() is None


def test_counts_of_objects_that_frozen_references_keep_are_real():
    value = plain()
    before = sys.getrefcount(value)
    graph = freeze([weakref.ref(value, print), weakref.ref(value, repr)])
    assert sys.getrefcount(value) == before + 2
    assert weakref.getweakrefcount(value) == 0
    del graph
    assert sys.getrefcount(value) == before


def test_frozen_references_compare_and_hash_as_before():
    value, other = Number(1), Number(1)
    references = [weakref.ref(value), weakref.ref(other, print)]
    table = {references[0]: "found"}
    graph = freeze([table, *references])
    assert references[0] == references[1]
    assert hash(references[0]) == hash(Number(1))
    assert table[weakref.ref(other)] == "found"
    del value, other
    assert graph[0][references[1]] == "found"


def test_a_proxy_in_a_frozen_graph_keeps_its_object_alive():
    value = Node("part")
    graph = freeze([weakref.proxy(value)])
    assert is_frozen(value)
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert graph[0].parts == ["part"]
    with pytest.raises(MutationError):
        graph[0].parts = []
    del graph
    assert gone() is None


def test_a_weak_method_in_a_frozen_graph_keeps_its_object_alive():
    value = plain()
    graph = freeze([weakref.WeakMethod(value.method)])
    gone = weakref.ref(value)
    del value
    assert graph[0]()() is gone()
    del graph
    assert gone() is None


def test_a_reference_of_a_class_with_attributes_freezes_with_them():
    class Reference(weakref.ref):
        pass

    value = plain()
    reference = Reference(value)
    reference.note = ["note"]
    freeze([reference])
    assert is_frozen(reference.note)
    with pytest.raises(MutationError):
        reference.note = 1
    gone = weakref.ref(value)
    del value
    assert reference() is gone()
    del reference
    assert gone() is None


WEAK_CONTAINERS = """
    import gc, weakref
    from immutable import MutationError, freeze, is_frozen

    class Node:
        pass

    def refused(write):
        try:
            write()
        except MutationError:
            return True

    nodes = [Node() for _ in range(3)]
    gone = [weakref.ref(node) for node in nodes]
"""


@pytest.mark.parametrize(
    "program",
    [
        """
        table = freeze(weakref.WeakValueDictionary(enumerate(nodes)))
        del nodes
        assert [*table] == [0, 1, 2] and table[1] is gone[1]() and [*table.values()] == [each() for each in gone]
        assert refused(lambda: table.__setitem__(3, gone[0]())) and refused(lambda: table.pop(0)) and len(table) == 3
        del table
        """,
        """
        table = freeze(weakref.WeakKeyDictionary((node, number) for number, node in enumerate(nodes)))
        del nodes
        assert [*table.values()] == [0, 1, 2] and table[gone[1]()] == 1 and [*table] == [each() for each in gone]
        assert refused(lambda: table.__setitem__(Node(), 3)) and refused(lambda: table.popitem()) and len(table) == 3
        del table
        """,
        """
        group = freeze(weakref.WeakSet(nodes))
        del nodes
        assert len(group) == 3 and gone[1]() in group and Node() not in group and {*group} == {each() for each in gone}
        assert refused(lambda: group.add(Node())) and refused(group.clear) and len(group) == 3
        del group
        """,
    ],
    ids=["values", "keys", "members"],
)
def test_weak_containers_that_are_frozen_keep_what_they_hold(program, run_python):
    finish = "gc.collect()\nassert [each() for each in gone] == [None] * 3\nprint('right')\n"
    source = "".join(map(textwrap.dedent, (WEAK_CONTAINERS, program, finish)))
    assert run_python(source) == "right\n"


# ---- Weak again after a resurrection ---------------------------------------


@pytest.fixture
def resurrecting(module):
    """A class whose finalizer saves the object."""
    log = module("saved = []", name="log_made_by_test")
    made = module("""
        import log_made_by_test as log

        class Resurrecting:
            def __del__(self):
                log.saved.append(self)
    """)
    made.saved = log.saved
    return made


def test_references_of_a_resurrected_component_are_weak_again(resurrecting):
    value, other = resurrecting.Resurrecting(), Node()
    value.other, value.reference = other, weakref.ref(other)
    other.parts.append(value)
    freeze(value)
    del value, other
    saved = resurrecting.saved.pop()
    assert not is_frozen(saved.reference)
    assert saved.reference() is saved.other
    saved.other = None
    assert saved.reference() is None


def test_a_reference_that_only_hangs_on_what_is_resurrected_stays_frozen_and_strong(resurrecting):
    value, apart = resurrecting.Resurrecting(), Node()
    value.me, value.reference = value, weakref.ref(apart)
    freeze(value)
    gone = weakref.ref(apart)
    del value, apart
    saved = resurrecting.saved.pop()
    assert is_frozen(saved.reference)
    assert saved.reference() is gone()
    saved.reference = None
    assert gone() is None


def test_a_member_that_only_a_reference_kept_goes_at_the_resurrection(resurrecting):
    value, other = resurrecting.Resurrecting(), Node()
    value.reference, other.back = weakref.ref(other), value
    freeze(value)
    gone = weakref.ref(other)
    del other
    assert value.reference() is gone()
    del value
    saved = resurrecting.saved.pop()
    assert not is_frozen(saved)
    assert gone() is None
    assert saved.reference() is None


def test_callbacks_of_a_resurrected_component_are_called_once_later(resurrecting, callback):
    function, called = callback
    value, other = resurrecting.Resurrecting(), Node()
    value.other, value.reference = other, weakref.ref(other, function)
    other.parts.append(value)
    freeze(value)
    del value, other
    saved = resurrecting.saved.pop()
    assert called == []
    assert saved.reference() is saved.other
    saved.other = None
    assert called == [saved.reference]
    gc.collect()
    assert len(called) == 1


def test_what_was_resurrected_can_be_frozen_again_with_its_references(resurrecting):
    value, other = resurrecting.Resurrecting(), Node()
    value.other, value.reference = other, weakref.ref(other)
    other.parts.append(value)
    freeze(value)
    del value, other
    saved = resurrecting.saved.pop()
    saved.other, kept = None, Node()
    saved.reference = weakref.ref(kept)
    freeze(saved)
    gone = weakref.ref(kept)
    del kept
    assert saved.reference() is gone()
    del saved
    assert gone() is None
    assert resurrecting.saved == []


@pytest.mark.parametrize("frozen_before", [False, True])
@pytest.mark.parametrize("also", ["the class", "an instance", "nothing"])
def test_a_reference_to_a_class_does_not_make_its_bases_keep_it(also, frozen_before):
    class Base:
        pass

    def classes():
        class Derived(Base, Node):
            pass

        register_freezable(Derived, FREEZABLE_YES)
        if frozen_before:
            freeze(Derived)
        reference = weakref.ref(Derived)
        with_it = {"the class": [Derived], "an instance": [Derived()], "nothing": []}[also]
        holder = freeze([reference, with_it])
        assert Derived in Base.__subclasses__()
        assert Derived in Node.__subclasses__()
        return holder

    holder = classes()
    gone = weakref.ref(holder[0](), lambda _: None)
    assert len(Base.__subclasses__()) == 1
    before = frozen_now()["frozen_objects"]
    del holder
    assert gone() is None
    assert frozen_now()["frozen_objects"] < before
    assert Base.__subclasses__() == []


def test_a_reference_to_the_resurrected_object_itself_yields_it(resurrecting):
    value = resurrecting.Resurrecting()
    value.reference = weakref.ref(value)
    freeze(value)
    del value
    saved = resurrecting.saved.pop()
    assert saved.reference() is saved
    saved.note = 1
    reference = saved.reference
    del saved
    gc.collect()
    assert reference() is None
