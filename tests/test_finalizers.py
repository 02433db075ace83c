"""Finalizers of frozen objects run once each, as those of mutable ones do, and may do anything: also resurrect."""

import _socket
import gc
import io
import itertools
import socket
import sys
import textwrap
import threading
import types
import warnings
import weakref

import pytest
from graphs import frozen_now

from immutable import (
    FreezabilityWarning,
    MutationError,
    NotFreezableError,
    _stats,
    freeze,
    is_frozen,
    register_freezable,
)

pytestmark = pytest.mark.usefixtures("without_collector")


class Node:
    pass


freeze(Node)


@pytest.fixture
def define(module):
    """Makes a module whose finalizers log what they see, to a list that stays mutable since it hangs on a module."""
    log = module("entries = []", name="log_made_by_test")

    def make(*sources):
        made = module("import gc, sys, threading\nimport log_made_by_test as log\nfrom immutable import *\n")
        for source in sources:
            exec(compile(textwrap.dedent(source), "<finalizers>", "exec"), made.__dict__)
        made.entries = log.entries
        return made

    yield make
    log.entries.clear()


@pytest.fixture
def unraisable(monkeypatch):
    """What was reported as unraisable: the type of the exception and its message."""
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: reported.append(repr(problem.exc_value)))
    return reported


FINALIZED = """
    class Finalized:
        def __init__(self, name, *parts):
            self.name, self.parts = name, list(parts)

        def __del__(self):
            log.entries.append(self.name)
"""


@pytest.fixture(params=["mutable", "frozen"])
def settle(request):
    """Freezes a graph or leaves it mutable: what finalizers do must not depend on that."""
    return freeze if request.param == "frozen" else lambda *graph: graph[0]


# ---- Once each -------------------------------------------------------------


def alone(new):
    return new("a")


def in_itself(new):
    made = new("a")
    made.parts.append(made)
    return made


def a_ring(new):
    first, second, third = (new(name) for name in "abc")
    first.parts.append(second)
    second.parts.append({"third": third})
    third.parts.append((first,))
    return first


def held_by_a_ring(new):
    made = new("a"), new("b")
    ring = [made]
    ring.append(ring)
    return ring


def that_holds_a_ring(new):
    ring = []
    ring.append(ring)
    return new("a", ring)


def two_rings_one_in_the_other(new):
    outer, inner = new("a"), new("b")
    outer.parts += [outer, inner]
    inner.parts.append(inner)
    return outer


def many_in_one_component(new):
    made = [new(str(number)) for number in range(1000)]
    for each, following in zip(made, [*made[1:], made[0]], strict=True):
        each.parts.append(following)
    return made[0]


def with_its_class(new):
    kind = type("Derived", (new,), {})
    kind.only = kind("a")
    return kind.only


GRAPHS = [
    alone,
    in_itself,
    a_ring,
    held_by_a_ring,
    that_holds_a_ring,
    two_rings_one_in_the_other,
    many_in_one_component,
    with_its_class,
]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_every_finalizer_runs_once_when_the_graph_is_dropped(graph, settle, define):
    made = define(FINALIZED)
    created = itertools.count()

    def new(name, *parts):
        next(created)
        return made.Finalized(name, *parts)

    root = graph(made.Finalized if graph is with_its_class else new)
    names = {"a"} if graph is with_its_class else {str(n) for n in range(1000)} | set("abc")
    expected = 1 if graph is with_its_class else next(created)
    settle(root)
    assert made.entries == []
    del root
    if settle is not freeze:
        gc.collect()
    assert len(made.entries) == len(set(made.entries)) == expected
    assert set(made.entries) <= names
    for _ in range(2):
        gc.collect()
    assert len(made.entries) == expected


CLASSES = {
    "with slots": "class Made:\n    __slots__ = ('a', '__weakref__')",
    "without attributes": "class Made:\n    __slots__ = ()",
    "of numbers": "class Made(int):\n    pass",
    "of numbers without attributes": "class Made(int):\n    __slots__ = ()",
    "of text": "class Made(str):\n    pass",
    "of tuples": "class Made(tuple):\n    pass",
    "of tuples without attributes": "class Made(tuple):\n    __slots__ = ()",
    "of lists": "class Made(list):\n    pass",
    "of dicts": "class Made(dict):\n    pass",
    "of sets": "class Made(set):\n    pass",
    "with a metaclass": "class Meta(type):\n    pass\nclass Made(metaclass=Meta):\n    pass",
    "derived": "class Base:\n    def __del__(self):\n        log.entries.append('base')\nclass Made(Base):\n    pass",
}


@pytest.mark.parametrize("kind", CLASSES)
def test_finalizers_run_once_for_instances_of_any_class(kind, settle, define):
    made = define(CLASSES[kind])
    exec("def __del__(self): log.entries.append(type(self).__name__)", made.__dict__)
    made.Made.__del__ = made.__del__
    one, other = settle(made.Made()), settle(made.Made())
    del one
    assert made.entries == ["Made"]
    del other
    gc.collect()
    assert made.entries == ["Made"] * 2


def test_a_finalizer_of_a_class_runs_once(settle, define):
    made = define("""
        class Meta(type):
            def __del__(cls):
                log.entries.append(cls.__name__)
    """)
    kind = made.Meta("Made", (), {"method": lambda self: self})
    settle(kind)
    del kind
    if settle is not freeze:
        gc.collect()
    assert made.entries == ["Made"]
    gc.collect()
    assert made.entries == ["Made"]


def test_a_finalizer_that_a_class_was_given_later_is_found(define):
    made = define("class Made:\n    pass", "def finalize(self): log.entries.append('given')")
    value = made.Made()
    made.Made.__del__ = made.finalize
    freeze(value)
    with pytest.raises(MutationError):
        made.Made.__del__ = None
    with pytest.raises(MutationError):
        del made.Made.__del__
    del value
    assert made.entries == ["given"]


def test_a_finalizer_of_a_base_is_called_through_super(settle, define):
    made = define("""
        class Base:
            def __del__(self):
                log.entries.append("base")

        class Made(Base):
            def __del__(self):
                log.entries.append("derived")
                super().__del__()
    """)
    value = settle(made.Made())
    del value
    assert made.entries == ["derived", "base"]


# ---- Finalizers of types made in C -----------------------------------------


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_stream_that_is_dropped_is_closed_once(cyclic, settle, define, unraisable):
    made = define("""
        import io

        class Stream(io.RawIOBase):
            def close(self):
                if not self.closed:
                    log.entries.append("closed")
                super().close()
    """)
    with pytest.warns(FreezabilityWarning, match="does not own"):
        register_freezable(made.Stream)
    stream = made.Stream()
    stream.me = stream if cyclic else None
    settle(stream)
    del stream
    gc.collect()
    assert made.entries == ["closed"]
    assert unraisable == []


def test_a_socket_that_is_dropped_is_closed_and_warned_about_once():
    class Socket(_socket.socket):  # the class socket.socket and its methods refuse, whatever is said of a subclass
        pass

    register_freezable(Socket)
    held = freeze(Socket())
    number = held.fileno()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del held
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    with pytest.raises(OSError, match="Bad file descriptor"):
        socket.socket(fileno=number)


def test_buffers_of_bytes_are_given_back_by_the_types_that_count_them():
    class Buffer(io.BytesIO):
        pass

    register_freezable(Buffer)
    before = frozen_now()
    held = freeze([Buffer(b"abc")])
    assert held[0].getvalue() == b"abc"
    del held
    assert frozen_now()["frozen_objects"] <= before["frozen_objects"] + 100


# ---- What a finalizer sees -------------------------------------------------


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_finalizer_sees_its_object_whole_and_as_an_ordinary_one(cyclic, settle, define):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append((self.parts, is_frozen(self), gc.is_tracked(self), self.me is self))
    """)
    value = made.Made()
    value.parts, value.me = (1, "two"), value if cyclic else None
    settle(value)
    del value
    gc.collect()
    assert made.entries == [((1, "two"), False, True, cyclic)]


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize("kind", ["attributes", "attributes in a dict", "slots", "attributes of a list"])
def test_a_finalizer_may_write_to_its_own_object(kind, cyclic, settle, define, unraisable):
    made = define("""
        class Made:
            def __del__(self):
                self.me = "changed"
                del self.parts
                self.parts = [self.me]
                log.entries.append(self.parts)

        class WithSlots:
            __slots__ = ("me", "parts")
            __del__ = Made.__del__

        class List(list):
            __del__ = Made.__del__
    """)
    value = made.WithSlots() if kind == "slots" else made.List() if "list" in kind else made.Made()
    if kind == "attributes in a dict":
        vars(value)
    value.parts, value.me = 1, value if cyclic else None
    settle(value)
    del value
    gc.collect()
    assert unraisable == []
    assert made.entries == [["changed"]]


def test_a_finalizer_sees_the_whole_component(settle, define):
    made = define("""
        class Pair:
            def __del__(self):
                log.entries.append((self.name, self.other.name, self.other.other is self))
    """)
    left, right = made.Pair(), made.Pair()
    left.name, right.name, left.other, right.other = "left", "right", right, left
    settle(left)
    del left, right
    gc.collect()
    assert sorted(made.entries) == [("left", "right", True), ("right", "left", True)]


def test_what_a_finalized_object_held_stays_frozen(define, unraisable):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append(is_frozen(self.parts))
                self.parts.append(2)
    """)
    value = made.Made()
    value.parts = kept = [1]
    freeze(value)
    del value
    assert made.entries == [True]
    assert len(unraisable) == 1
    assert unraisable[0].startswith("MutationError")
    assert kept == [1]


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_weak_reference_reaches_the_object_while_its_finalizer_runs(cyclic, settle, define):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append(log.reference() is self)
    """)
    value = made.Made()
    value.me = value if cyclic else None
    sys.modules["log_made_by_test"].reference = reference = weakref.ref(value)
    settle(value)
    del value
    gc.collect()
    assert made.entries == [True]
    assert reference() is None


@pytest.mark.parametrize("graph", [alone, in_itself], ids=lambda graph: graph.__name__)
def test_a_finalizer_runs_before_the_callbacks_of_weak_references(graph, define):
    made = define(FINALIZED)
    value = graph(made.Finalized)
    reference = weakref.ref(value, lambda _: made.entries.append("callback"))
    freeze(value)
    del value
    assert made.entries == ["a", "callback"]
    assert reference() is None


def test_an_exception_that_is_being_handled_is_not_disturbed(define):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append(str(sys.exception()))
                try:
                    raise KeyError
                except KeyError:
                    pass
    """)
    held = [freeze(in_a_cycle(made.Made()))]
    try:
        raise ValueError("mine")
    except ValueError:
        held.clear()
        handled = sys.exception()
    assert str(handled) == "mine"
    assert made.entries == ["mine"]
    with pytest.raises(ZeroDivisionError):
        [freeze(in_a_cycle(made.Made()))][1 // 0]


def in_a_cycle(value):
    value.me = value
    return value


# ---- Resurrection ----------------------------------------------------------

RESURRECTED = """
    class Resurrected:
        def __init__(self, *parts):
            self.parts = list(parts)

        def __del__(self):
            log.entries.append(self)
"""


def test_an_object_that_is_resurrected_becomes_an_ordinary_mutable_one(define):
    made = define(RESURRECTED)
    before = _stats()["frozen_objects"]
    value = freeze(made.Resurrected("part"))
    during = _stats()["frozen_objects"]
    del value
    (saved,) = made.entries
    assert not is_frozen(saved)
    assert gc.is_tracked(saved)
    assert saved in gc.get_objects()
    saved.more = 1
    assert vars(saved) == {"parts": ["part"], "more": 1}
    assert is_frozen(saved.parts)
    assert before < _stats()["frozen_objects"] == during - 1


def test_a_component_that_is_resurrected_becomes_mutable_as_a_whole(define):
    made = define(RESURRECTED)
    first, second, table = made.Resurrected(), Node(), {}
    first.parts.append(second)
    second.table, table["first"], table["text"] = table, first, ["apart"]
    before = frozen_now()
    freeze(first)
    del first, second, table
    (saved,) = made.entries
    together = [saved, saved.parts, saved.parts[0], saved.parts[0].table]
    assert not any(map(is_frozen, together))
    assert all(map(gc.is_tracked, together))
    together[3]["more"] = together[1].append(1)
    assert saved.parts[0].table["first"] is saved
    assert is_frozen(together[3]["text"])
    assert frozen_now()["components"] <= before["components"] + 1  # a class is one


@pytest.mark.parametrize("cyclic", [False, True])
def test_what_was_resurrected_is_collected_later_and_not_finalized_again(cyclic, settle, define):
    made = define(RESURRECTED)
    value = made.Resurrected()
    value.me = value if cyclic else None
    settle(value)
    del value
    gc.collect()
    (saved,) = made.entries
    saved.me = saved
    made.entries.clear()
    gone = weakref.ref(saved)
    del saved
    assert gone() is not None
    gc.collect()
    assert gone() is None
    assert made.entries == []


@pytest.mark.parametrize("cyclic", [False, True])
def test_what_was_resurrected_can_be_frozen_again_and_is_not_finalized_again(cyclic, define):
    made = define(RESURRECTED)
    value = made.Resurrected("part")
    value.me = value if cyclic else None
    freeze(value)
    del value
    saved = freeze(made.entries.pop())
    assert is_frozen(saved)
    with pytest.raises(MutationError):
        saved.more = 1
    gone = weakref.ref(saved)
    before = _stats()["frozen_objects"]
    del saved
    assert gone() is None
    assert _stats()["frozen_objects"] < before
    assert made.entries == []


@pytest.mark.parametrize("cyclic", [False, True])
def test_weak_references_to_what_was_resurrected_stay(cyclic, define):
    made = define(RESURRECTED)
    called = []
    value = made.Resurrected()
    value.me = value if cyclic else None
    references = [weakref.ref(value), weakref.ref(value, called.append), weakref.proxy(value)]
    freeze(value)
    references.append(weakref.ref(value, called.append))
    del value
    saved = made.entries.pop()
    assert references[0]() is references[1]() is references[3]() is saved
    assert references[2].parts == []
    assert called == []
    saved.me = None
    del saved
    assert references[0]() is None
    assert sorted(map(id, called)) == sorted(map(id, references[1::2]))


def test_a_finalizer_may_resurrect_another_member(define):
    made = define("""
        class Resurrecting:
            def __del__(self):
                log.entries.append(self.other)
                self.other = None
    """)
    value, other = made.Resurrecting(), Node()
    value.other, other.back = other, [value]
    freeze(value)
    gone = weakref.ref(value)
    del value, other
    saved = made.entries.pop()
    assert not is_frozen(saved)
    assert gone() is saved.back[0]
    saved.back.clear()
    assert gone() is None


def test_a_finalizer_may_resurrect_a_part_only(define):
    made = define("""
        class Resurrecting:
            def __del__(self):
                log.entries.append(self.part)
    """)
    value = in_a_cycle(made.Resurrecting())
    value.part = ["part"]
    gone = weakref.ref(freeze(value))
    del value
    assert gone() is None
    (part,) = made.entries
    assert part == ["part"]
    assert is_frozen(part)


def test_all_finalizers_of_a_resurrected_component_ran_and_none_runs_again(define):
    made = define(RESURRECTED, FINALIZED)
    first, second, third = made.Resurrected(), made.Finalized("a"), made.Finalized("b")
    first.parts.append(second)
    second.parts.append(third)
    third.parts.append(first)
    freeze(first)
    del first, second, third
    assert len(made.entries) == 3
    assert {"a", "b"} == {entry for entry in made.entries if isinstance(entry, str)}
    made.entries.clear()
    gc.collect()
    assert made.entries == []


def test_an_object_that_joins_a_resurrected_component_has_its_own_finalizer(define):
    made = define(RESURRECTED, FINALIZED)
    value = freeze(in_a_cycle(made.Resurrected()))
    del value
    saved = made.entries.pop()
    saved.me = None
    saved.parts = [made.Finalized("late")]
    freeze(saved)
    del saved
    assert made.entries == ["late"]


def test_resurrection_repeated_with_new_objects_leaves_nothing(define):
    made = define(RESURRECTED)
    freeze(made.Resurrected)
    made.entries.clear()
    before = frozen_now()
    for number in range(50):
        value = freeze(in_a_cycle(made.Resurrected(number)))
        del value
        made.entries.pop().me = None
    assert frozen_now() == before


# ---- Finalizers that raise -------------------------------------------------

FAILING = """
    class Failing:
        def __init__(self, name):
            self.name = name

        def __del__(self):
            raise ValueError(self.name)
"""


def test_a_finalizer_that_raises_is_reported_and_the_rest_goes_on(define, unraisable):
    made = define(FAILING)
    first, second, third = (made.Failing(name) for name in "abc")
    first.other, second.other, third.other = second, third, first
    freeze(first)
    gone = [weakref.ref(each) for each in (first, second, third)]
    del first, second, third
    assert sorted(unraisable) == ["ValueError('a')", "ValueError('b')", "ValueError('c')"]
    assert [reference() for reference in gone] == [None] * 3


def test_the_report_names_the_finalizer(settle, define, monkeypatch):
    made = define(FAILING)
    value = settle(made.Failing("a"))
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: reported.append((problem.err_msg, problem.exc_type)))
    del value
    ((message, kind),) = reported
    assert "Failing.__del__" in message
    assert kind is ValueError


def test_a_hook_that_keeps_what_failed_resurrects_it(define, monkeypatch):
    made = define(FAILING)
    value = freeze(in_a_cycle(made.Failing("a")))
    kept = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: kept.append(problem.exc_value))
    del value
    saved = kept[0].__traceback__.tb_frame.f_locals["self"]
    assert saved.me is saved
    assert not is_frozen(saved)
    saved.me = None
    gone = weakref.ref(saved)
    del saved
    kept.clear()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit", "RecursionError", "MemoryError", "StopIteration"])
def test_no_exception_leaves_a_finalizer(error, define, unraisable):
    made = define(f"""
        class Failing:
            def __del__(self):
                raise {error}
    """)
    value = freeze(in_a_cycle(made.Failing()))
    del value
    assert unraisable == [f"{error}()"]


def test_a_finalizer_that_cannot_be_called_is_reported(define, unraisable):
    made = define("""
        class Made:
            __del__ = 1
    """)
    value = freeze(in_a_cycle(made.Made()))
    gone = weakref.ref(value)
    del value
    assert len(unraisable) == 1
    assert unraisable[0].startswith("TypeError")
    assert gone() is None


# ---- Finalizers that freeze, collect, drop, start threads ------------------


def test_a_finalizer_may_freeze_something_else(define):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append(freeze([self.name, [self.name]]))
    """)
    value = in_a_cycle(made.Made())
    value.name = "a"
    freeze(value)
    del value
    (part,) = made.entries
    assert part == ["a", ["a"]]
    assert is_frozen(part)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("graph", [alone, in_itself, a_ring], ids=lambda graph: graph.__name__)
def test_a_finalizer_may_freeze_its_own_object_again(graph, saved, define):
    made = define("""
        class Made:
            def __init__(self, name):
                self.parts = []

            def __del__(self):
                log.entries.append((is_frozen(self), is_frozen(freeze(self)), self if log.saved else None))
    """)
    sys.modules["log_made_by_test"].saved = saved
    freeze(made.Made)
    before = frozen_now()
    value = graph(made.Made)
    gone, number = weakref.ref(value), 3 if graph is a_ring else 1
    freeze(value)
    del value
    # The first finalizer froze the ring once more, so the second finds it frozen.
    assert [entry[1] for entry in made.entries] == [True] * number
    assert made.entries[0][0] is False
    if saved:
        assert made.entries[0][2] is gone()
        assert is_frozen(gone())
        with pytest.raises(MutationError):
            gone().parts.append(1)
        made.entries.clear()
    assert gone() is None
    assert len(made.entries) in (0, number)
    made.entries.clear()
    gc.collect()
    assert made.entries == []
    assert frozen_now() == before


def test_a_finalizer_may_freeze_part_of_its_component(define):
    made = define("""
        class Made:
            def __del__(self):
                freeze(self.part)
                log.entries.append((is_frozen(self.part), is_frozen(self)))
    """)
    freeze(made.Made)
    before = frozen_now()
    value, part = made.Made(), Node()
    value.part, part.whole = part, value
    gone = [weakref.ref(freeze(value)), weakref.ref(part)]
    del value, part
    assert made.entries == [(True, True)]
    assert [reference() for reference in gone] == [None, None]
    assert frozen_now() == before


def test_a_finalizer_may_fail_to_freeze(define):
    made = define("""
        class Made:
            def __del__(self):
                self.iterator = iter([])
                try:
                    freeze(self)
                except NotFreezableError as error:
                    log.entries.append(error.path)
    """)
    value = freeze(in_a_cycle(made.Made()))
    gone = weakref.ref(value)
    del value
    assert made.entries == ["root.iterator"]
    assert gone() is None
    assert issubclass(NotFreezableError, TypeError)


def test_a_finalizer_may_drop_other_frozen_graphs(define):
    dropping = """
        class Dropping:
            def __del__(self):
                log.entries.append("dropping")
                log.held.clear()
                log.entries.append("dropped")
    """
    made = define(dropping, FINALIZED)
    log = sys.modules["log_made_by_test"]
    log.held = [freeze(in_itself(made.Finalized)), freeze(made.Finalized("b"))]
    gone = [*map(weakref.ref, log.held)]
    value = freeze(in_a_cycle(made.Dropping()))
    del value
    assert sorted(made.entries[1:3]) == ["a", "b"]
    assert made.entries[::3] == ["dropping", "dropped"]
    assert [reference() for reference in gone] == [None, None]


def test_a_finalizer_may_drop_the_last_reference_to_its_own_class(define):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append(type(self).__name__)
    """)
    value = freeze(in_a_cycle(made.Made()))
    gone = weakref.ref(made.Made)
    del made.Made, value
    assert made.entries == ["Made"]
    assert gone() is None


def test_a_finalizer_may_replace_what_holds_its_component_together(define):
    made = define("""
        class Made:
            def __del__(self):
                log.entries.append(self.name)
                self.other = None
    """)
    first, second = made.Made(), made.Made()
    first.name, second.name = "first", "second"
    first.other, second.other = second, first
    gone = [weakref.ref(freeze(first)), weakref.ref(second)]
    del first, second
    assert sorted(made.entries) == ["first", "second"]
    assert [reference() for reference in gone] == [None, None]


def test_a_finalizer_may_collect(define):
    made = define("""
        class Made:
            def __del__(self):
                gc.collect()
                log.entries.append((self.me is self, len(self.parts)))
    """)
    value = in_a_cycle(made.Made())
    value.parts = [[value]]
    gone = weakref.ref(freeze(value))
    del value
    assert made.entries == [(True, 1)]
    assert gone() is None


def test_a_finalizer_may_start_a_thread_that_uses_the_object(define):
    made = define("""
        class Made:
            def __del__(self):
                def work():
                    log.entries.append((self.name, self.me is self, gc.collect() >= 0))

                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
    """)
    value = in_a_cycle(made.Made())
    value.name = "a"
    gone = weakref.ref(freeze(value))
    del value
    assert made.entries == [("a", True, True)]
    gc.collect()  # the thread object and its function refer to each other's frames
    assert gone() is None


def test_a_thread_that_a_finalizer_leaves_behind_resurrects_the_object(define):
    made = define("""
        class Made:
            def __del__(self):
                def work(mine):
                    log.go.wait()
                    log.entries.append((mine.me is mine, is_frozen(mine)))

                log.thread = threading.Thread(target=work, args=(self,))
                log.thread.start()
    """)
    log = sys.modules["log_made_by_test"]
    log.go = threading.Event()
    value = freeze(in_a_cycle(made.Made()))
    gone = weakref.ref(value)
    del value
    assert gone() is not None
    log.go.set()
    log.thread.join()
    assert made.entries == [(True, False)]
    del log.thread
    gc.collect()
    assert gone() is None


def test_a_finalizer_may_call_frozen_functions_of_its_own_component(define):
    made = define("""
        def new():
            class Made:
                def __del__(self):
                    log.entries.append(self.helper(3))

                def helper(self, depth):
                    return self.helper(depth - 1) if depth else Made.__name__

            Made.only = Made()
            return Made.only
    """)
    value = freeze(made.new())
    del value
    assert made.entries == ["Made"]


def test_a_generator_of_a_finalizer_may_outlive_it(define):
    made = define("""
        class Made:
            def __del__(self):
                def parts():
                    yield self.name
                    yield is_frozen(self)

                log.entries.append(parts())
    """)
    value = in_a_cycle(made.Made())
    value.name = "a"
    freeze(value)
    del value
    assert list(made.entries.pop()) == ["a", False]


# ---- One after the other ---------------------------------------------------


def test_finalizers_run_from_the_outside_inwards(settle, define):
    made = define(FINALIZED)
    value = made.Finalized("inner")
    for name in "middle", "outer":
        value = made.Finalized(name, value)
    settle(value)
    del value
    assert made.entries == ["outer", "middle", "inner"]


def test_the_finalizer_of_a_component_runs_before_those_of_what_it_alone_holds(define):
    made = define(FINALIZED)
    inner = in_itself(made.Finalized)
    outer = made.Finalized("outer", inner)
    outer.parts.append(outer)
    freeze(outer)
    del inner, outer
    assert made.entries == ["outer", "a"]


def test_what_an_object_that_is_cleared_held_cannot_reach_it_any_more(define):
    made = define("""
        class Part:
            def __del__(self):
                log.entries.append(log.owner())
    """)
    owner = Node()
    owner.me, owner.part = owner, made.Part()
    sys.modules["log_made_by_test"].owner = weakref.ref(owner)
    freeze(owner)
    del owner
    assert made.entries == [None]


@pytest.mark.parametrize("cyclic", [False, True])
def test_finalizers_of_a_long_chain_run_without_recursion(cyclic, define, in_a_small_stack):
    made = define("""
        class Linked:
            __slots__ = ("following", "me")

            def __del__(self):
                log.entries[0] += 1
    """)
    made.entries.append(0)
    last = None
    for _ in range(100_000):
        link = made.Linked()
        link.following, link.me = last, link if cyclic else None
        last = link
    held = [freeze(last)]
    del link, last
    in_a_small_stack(held.clear)
    assert made.entries == [100_000]


def test_each_finalizer_may_drop_the_next_graph(define):
    made = define("""
        class Linked:
            def __del__(self):
                log.entries.append(len(log.held))
                if log.held:
                    log.held.pop()
    """)
    log = sys.modules["log_made_by_test"]
    log.held = [freeze(in_a_cycle(made.Linked())) for _ in range(100)]
    log.held.pop()
    assert made.entries == list(range(99, -1, -1))


def test_threads_may_drop_graphs_with_finalizers_at_the_same_time(define):
    made = define(FINALIZED)
    threads = [
        threading.Thread(
            target=lambda number=number: [
                freeze(a_ring(lambda name, turn=turn: made.Finalized((number, turn, name)))) for turn in range(100)
            ].clear()
        )
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made.entries) == len(set(made.entries)) == 4 * 100 * 3


# ---- The end of the interpreter --------------------------------------------

AT_EXIT = """
    import atexit, os, sys, threading, time
    from immutable import freeze, is_frozen

    class Finalized:
        def __init__(self, name, cyclic):
            self.name, self.me = name, self if cyclic else None

        def __del__(self, write=os.write):
            write(1, f"{self.name} ".encode())
"""


@pytest.fixture
def at_exit(run_python):
    """What a program that ends with frozen objects prints, in words."""

    def run(source, **keywords):
        return run_python(textwrap.dedent(AT_EXIT) + textwrap.dedent(source), **keywords).split()

    return run


def test_finalizers_of_module_globals_run_at_shutdown(at_exit):
    assert sorted(
        at_exit("""
        plain, ring = freeze(Finalized("plain", False)), freeze(Finalized("ring", True))
        held = [freeze(Finalized("held", True))]
    """)
    ) == ["held", "plain", "ring"]


def test_finalizers_run_once_when_frozen_objects_are_dropped_at_exit(at_exit):
    assert at_exit("""
        held = [freeze(Finalized("atexit", True))]
        atexit.register(lambda: os.write(1, b"before "))
        atexit.register(held.clear)
    """) == ["atexit", "before"]


def test_finalizers_at_shutdown_may_freeze(at_exit):
    words = at_exit("""
        class Late:
            def __init__(self):
                self.me = self

            def __del__(self, write=os.write, freeze=freeze):
                graph = [[]]
                graph.append(graph)
                freeze(graph)
                write(1, b"frozen ")

        mutable, frozen = Late(), freeze(Late())
    """)
    assert words == ["frozen", "frozen"]


def test_finalizers_at_shutdown_may_resurrect(at_exit):
    words = at_exit("""
        class Back:
            def __init__(self):
                self.me = self

            def __del__(self, write=os.write):
                sys.saved = self
                write(1, b"back ")

        frozen = freeze([Back()])
    """)
    assert words == ["back"]


def test_daemon_threads_may_hold_frozen_objects_at_shutdown(at_exit):
    words = at_exit("""
        started = threading.Barrier(5)

        def work(graph):
            started.wait()
            while True:
                graph.me.me.me

        for number in range(4):
            threading.Thread(target=work, args=(freeze(Finalized(number, True)),), daemon=True).start()
        started.wait()
        print("end", flush=True)
    """)
    assert words[0] == "end"
    assert len(words) == len(set(words))


def test_a_thread_that_outlives_the_main_one_drops_its_graph(at_exit):
    words = at_exit("""
        def work(graph):
            time.sleep(0.2)
            del graph
            os.write(1, b"thread ")

        threading.Thread(target=work, args=(freeze(Finalized("ring", True)),)).start()
    """)
    assert words == ["ring", "thread"] or words == ["thread", "ring"]


def test_finalizers_of_what_a_frozen_function_captured_run_at_shutdown(at_exit):
    words = at_exit("""
        captured = Finalized("captured", True)

        def use():
            return captured.name

        freeze(use)
        print(use())
        del captured
    """)
    assert words == ["captured", "captured"]


def test_finalizers_of_objects_kept_by_static_types_do_not_run_after_the_interpreter(at_exit):
    words = at_exit("""
        import functools

        @functools.lru_cache
        def cached(n):
            return freeze(Finalized(f"cached{n}", True))

        cached(1)
        sys.kept = freeze(Finalized("sys", True))
        types = [type("Made", (), {"part": Finalized("class", True)})]
        freeze(types[0])
    """)
    assert len(words) == len(set(words))
    assert set(words) <= {"cached1", "sys", "class"}


def test_an_exit_through_os_runs_nothing(at_exit):
    assert (
        at_exit("""
        frozen = freeze(Finalized("never", True))
        os._exit(0)
    """)
        == []
    )


def test_the_exit_status_survives_finalizers_that_raise(run_python):
    with pytest.raises(AssertionError, match="exit status 3"):
        run_python("""
            import sys
            from immutable import freeze

            class Failing:
                def __del__(self):
                    raise ValueError

            value = Failing()
            value.me = value
            freeze(value)
            sys.exit(3)
        """)


def test_a_type_without_finalizer_is_not_asked_for_one():
    value = freeze(types.SimpleNamespace(__del__=[1]))
    del value
