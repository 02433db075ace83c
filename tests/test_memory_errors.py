"""Whatever runs out of memory, at any allocation, raises MemoryError and has changed nothing.

Every allocation is made to fail in turn: those of the Rust core and those of CPython, one alone and all from one on.
"""

import _testcapi
import abc
import ctypes
import functools
import gc
import itertools
import json
import logging
import os
import sys
import threading
import types
import weakref
from array import array
from collections import OrderedDict, deque

import pytest
from _immutable import _explain, _fail_allocations
from graphs import blueprints, build, frozen_now
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from immutable import (
    FREEZABLE_NO,
    FreezabilityOverride,
    InterpreterLocal,
    MutationError,
    NotFreezableError,
    freeze,
    get_freezable,
    is_freezable,
    is_frozen,
    require_mutable,
    set_freezable,
    unset_freezable,
)

pytestmark = pytest.mark.usefixtures("without_collector", "small_heap")


@pytest.fixture
def small_heap(without_collector):
    """The collector sees only what the test makes, so that a full collection is short."""
    gc.freeze()
    yield
    gc.unfreeze()


# ---- Allocations that fail --------------------------------------------------


class Core:
    """Makes allocations of the Rust core fail, those of this thread.

    Iteration yields functions that run an operation while an allocation fails, a later one each time, until the
    operation makes no more. They return whether it raised MemoryError.
    """

    def __init__(self, alone):
        self.alone = alone

    def __iter__(self):
        self.raised = True
        for self.number in itertools.count(1):
            if not self.raised:
                return
            yield self.attempt

    def attempt(self, operation, *arguments):
        self.raised = False
        _fail_allocations(self.number, self.number if self.alone else 0)
        try:
            operation(*arguments)
        except MemoryError:
            self.raised = True
        finally:
            failed = _fail_allocations(0)
        assert self.raised == (failed > 0), f"MemoryError: {self.raised}, but {failed} allocations failed"
        return self.raised


class CPython:
    """Makes CPython's own allocations fail, of objects and of other memory; otherwise as Core."""

    CALM = 12  # so many attempts in a row must meet no failure: CPython does not tell whether one did

    def __init__(self, alone):
        self.alone = alone
        self.calm = 0

    def __iter__(self):
        self.calm = 0
        for self.number in itertools.count():
            if self.calm == self.CALM:
                return
            yield self.attempt

    def attempt(self, operation, *arguments):
        raised = False
        _testcapi.set_nomemory(self.number, self.number + 1 if self.alone else 0)
        try:
            operation(*arguments)
        except MemoryError:
            raised = True
        finally:
            _testcapi.remove_mem_hooks()
        self.calm = 0 if raised else self.calm + 1
        return raised


class Result:
    """What an operation that may find no memory gave: kept in a place that is there before.

    Which error it is, the test asks later: a class that was frozen is looked up to tell, and what is found is noted if
    there is memory. That is no allocation of the operation, and none for want of which anything is raised.
    """

    __slots__ = ("error", "value")

    def of(self, operation, *arguments):
        try:
            self.value = operation(*arguments)
        except MemoryError:
            raise
        except Exception as error:
            self.error = error.with_traceback(None)  # which would refer to this result


INJECTIONS = {
    "core, one allocation": (Core, True),
    "core, all from one on": (Core, False),
    "CPython, one allocation": (CPython, True),
    "CPython, all from one on": (CPython, False),
}


@pytest.fixture(params=INJECTIONS)
def failing(request):
    kind, alone = INJECTIONS[request.param]
    return kind(alone)


# ---- The state of objects ----------------------------------------------------

FLAGS_OFFSET = 6
OURS = 0x0F00  # frozen, visited, member, proxy: see immutability.h


def flags(each):
    return ctypes.c_uint16.from_address(id(each) + FLAGS_OFFSET).value & OURS


def state(objects):
    """What a freeze could leave behind on objects."""
    return [(flags(each), gc.is_tracked(each), sys.getrefcount(each)) for each in objects]


def reachable(root):
    """Everything mutable below root that the collector knows; modules, their namespaces, and loggers are left out."""
    found, stack = {}, [root]
    while stack:
        each = stack.pop()
        if id(each) in found or flags(each) or isinstance(each, types.ModuleType | logging.Logger):
            continue
        if isinstance(each, dict) and ("__builtins__" in each or "__build_class__" in each):
            continue
        found[id(each)] = each
        stack.extend(gc.get_referents(each))
    return list(found.values())


def write(objects):
    """Writes to each object, in a way that can be undone, and undoes it."""
    for each in objects:
        match each:
            case list():
                each.append(1)
                each.pop()
            case bytearray():
                each[0] = each[0]
            case dict():
                each["written"] = 1
                del each["written"]
            case set():
                each.add("written")
                each.discard("written")
            case types.CellType():
                each.cell_contents = each.cell_contents
            case Slotted():
                each.part = each.part
            case type() | types.FunctionType() | types.SimpleNamespace() | Node():
                each.written = 1
                del each.written


class Node:
    def __init__(self, **parts):
        for name, part in parts.items():
            setattr(self, name, part)


class Slotted:
    __slots__ = ("__weakref__", "part")

    def __init__(self, part):
        self.part = part


class Witness:
    """A part of a graph that tells whether the graph was reclaimed."""


WITNESSES = []


def witness():
    made = Witness()
    WITNESSES.append(weakref.ref(made))
    return made


def reclaimed():
    """Whether all graphs made so far are gone."""
    gone = all(each() is None for each in WITNESSES)
    WITNESSES.clear()
    return gone


# What graphs share with the running code would survive them.
freeze(Node, Slotted, Witness)


# ---- Graphs ------------------------------------------------------------------


def leaves():
    return [1.5, "text made here".upper(), 10**30, b"bytes " * 2, (witness(), 1j), bytearray(b"abc")]


def collections():
    return {"list": [witness()], "set": {witness()}, (1, "x"): (2, [3]), "frozen": frozenset([witness()])}


def instances():
    node = Node(slotted=Slotted(witness()), namespace=types.SimpleNamespace(part=witness()))
    vars(node)["more"] = [1]  # the dict shares the values that lie in the instance
    return [node, Node(part=node), vars(node)]


def a_wide_list():
    return [[Node(part=[])] for _ in range(3_000)] + [witness()]


def a_deep_list():
    root = nest = []
    for _ in range(5_000):
        nest.append([])
        nest = nest[0]
    nest.append(witness())
    return root


def a_small_cycle():
    node = Node(part=witness())
    node.me = node
    return node


def a_large_cycle():
    first = last = Node(part=witness())
    for _ in range(3_000):
        last.next = Node()
        last = last.next
    last.next = first
    return first


def many_cycles():
    root = [witness()]
    for _ in range(150):
        ring = []
        ring.append([ring])
        root.append(ring)
    return root


def a_class():
    class Meta(type):
        pass

    class Base(metaclass=Meta):
        items = [1]

        def method(self):
            return self.items, Base

    class Derived(Base):
        __slots__ = ("a", "b")

        @property
        def reading(self):
            return super().method()

        @classmethod
        def make(cls):
            return cls()

        @staticmethod
        def nothing():
            pass

    Base.witness = witness()
    return Derived()


def many_classes():
    return [type("Made", (), {"number": [number]})() for number in range(30)] + [witness()]


def a_class_with_annotations():
    class Annotated:
        name: str
        items: list[int]

        def method(self, other: Annotated) -> list[Annotated]:
            return [self, other]

    assert Annotated.__annotations__
    return Annotated


def functions():
    namespace = {"__name__": "made_here", "__builtins__": __builtins__, "held": [witness()], "unrelated": [1]}
    source = """if True:
        import json
        def outer(first, second=[2], *, third={3: 4}):
            "Text."
            local = [first]
            def inner(fourth: "int" = 5) -> str:
                class Local:
                    attribute = held
                return [local for _ in second], Local, (lambda: outer), json
            return inner
        def recursive(n):
            return recursive(n - 1) if n else held
    """
    exec(compile(source, "<made here>", "exec"), namespace)
    outer, recursive = namespace["outer"], namespace["recursive"]
    inner = outer(1)
    inner.note = [witness()]
    inner.__annotations__["more"] = int
    return [outer, inner, recursive, namespace["held"], Node(part=inner).__init__]


def loggers():
    def make(logger):
        return lambda: logger

    namespace = {"__name__": "made_here", "__builtins__": __builtins__, "log": logging.getLogger("made_here")}
    exec(compile("def use(): return log", "<made here>", "exec"), namespace)
    return [namespace["use"], make(logging.getLogger()), witness()]


def code_objects():
    source = "\n".join(f"def function_{number}(a, b=1): return lambda: (a, b, {number})" for number in range(12))
    return [compile(source, "<made here>", "exec"), witness()]


def members_without_collector_header():
    rings = [[witness()] for _ in range(30)]
    for number, ring in enumerate(rings):
        ring.append(compile(f"{number}", "<made here>", "eval").replace(co_consts=(ring,)))
    return rings


def break_rings(root):
    """The collector does not see code objects, and so reclaims no cycle through one that is not frozen."""
    for ring in root:
        ring.clear()


def buffers():
    data = bytearray(b"abc")
    view = memoryview(data)
    return [data, view, view[1:], memoryview(bytearray(b"x")), memoryview(b"abc"), witness()]


def modules():
    module = types.ModuleType("made_here")
    module.part = [1]
    return [module, json, witness()]


def generic_types():
    class Generic[T]:
        part: list[T]

    return [Generic, list[Generic], Generic | None, witness()]


def weak_references():
    node, other = Node(part=witness()), Node()
    node.other = weakref.ref(other, print)
    other.other = [weakref.ref(node), weakref.proxy(node), weakref.ref(node, print)]
    return [node, other, weakref.ref(Node())]


def interpreter_locals():
    return [InterpreterLocal(freeze([1])), {"local": InterpreterLocal((1, 2))}, witness()]


def parts_of_the_library():
    class Base(abc.ABC):  # noqa: B024
        pass

    class Derived(Base):
        part = witness()

    class Registered:
        pass

    @functools.lru_cache
    def cached(number):
        return [number]

    Base.register(Registered)
    assert isinstance(Registered(), Base)
    cached(1)
    local = threading.local()
    local.value = [1]
    return [Derived, cached, local, deque([witness()]), OrderedDict(a=[1]), array("i", [1, 2]), ValueError([witness()])]


GRAPHS = [
    leaves,
    collections,
    instances,
    a_wide_list,
    a_deep_list,
    a_small_cycle,
    a_large_cycle,
    many_cycles,
    a_class,
    many_classes,
    a_class_with_annotations,
    functions,
    loggers,
    code_objects,
    members_without_collector_header,
    buffers,
    modules,
    generic_types,
    weak_references,
    interpreter_locals,
    parts_of_the_library,
]

every_graph = pytest.mark.parametrize("make", GRAPHS)


@every_graph
def test_a_freeze_that_finds_no_memory_changes_nothing(make, failing):
    for _ in range(3):
        freeze(make())  # what its code refers to stays frozen, and copies of that code are kept
        gc.collect()
    failures = 0
    for attempt in failing:
        counts = frozen_now()
        root = make()
        objects = reachable(root)
        before = state(objects)
        if attempt(freeze, root):
            failures += 1
            assert state(objects) == before
            write(objects)
        else:
            assert is_frozen(root)
        if make is members_without_collector_header and not flags(root):
            break_rings(root)
        del root, objects
        gc.collect()
        assert reclaimed()
        assert frozen_now() == counts
    assert failures or isinstance(failing, CPython)  # which is not asked for memory by every freeze


@every_graph
def test_a_graph_for_which_there_was_no_memory_freezes_once_there_is(make, failing):
    root = make()
    objects = reachable(root)
    before = state(objects)
    for attempt in failing:
        if not attempt(freeze, root):
            break
        assert state(objects) == before
    assert is_frozen(root)
    del root, objects
    gc.collect()
    assert reclaimed()


def test_more_members_without_collector_header_than_ever_before_freeze_or_stay_mutable():
    # Their table belongs to the process, and keeps its memory.
    kept = []
    for _ in range(40):
        for attempt in Core(alone=True):
            root = members_without_collector_header()
            objects = reachable(root)
            before = state(objects)
            if attempt(freeze, root):
                assert state(objects) == before
                break_rings(root)
            else:
                kept.append(root)
    assert all(is_frozen(root) for root in kept)
    del root, objects
    kept.clear()
    assert reclaimed()


# No Phase.explain: it traces each line, and the tracer would be what finds no memory.
@settings(
    max_examples=int(os.environ.get("IMMUTABLE_EXAMPLES", "100")),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(
    blueprints(max_nodes=12),
    st.lists(st.tuples(st.sampled_from(list(INJECTIONS)), st.integers(1, 8), st.integers(0, 11)), max_size=8),
)
def test_freezes_that_fail_and_freezes_that_do_not_may_follow_each_other(blueprint, steps):
    nodes = build(blueprint)
    for injection, number, node in steps:
        kind, alone = INJECTIONS[injection]
        failing = kind(alone)
        failing.number = number
        root = nodes[node % len(nodes)]
        before = state(nodes)
        if failing.attempt(freeze, root):
            assert state(nodes) == before
        else:
            assert is_frozen(root)
    freeze(nodes)
    assert all(is_frozen(each) for each in nodes)


# ---- Dry runs, hooks, and terms ------------------------------------------------

DRY_RUNS = {"is_freezable": is_freezable, "explain": _explain}


@pytest.mark.parametrize("name", DRY_RUNS)
@pytest.mark.parametrize(
    "make", [collections, instances, a_class_with_annotations, functions, code_objects, buffers, weak_references]
)
def test_a_dry_run_that_finds_no_memory_changes_nothing(make, name, failing):
    root = [make(), a_generator()]
    objects = reachable(root)
    DRY_RUNS[name](root)
    before = state(objects)
    for attempt in failing:
        attempt(DRY_RUNS[name], root)
        assert state(objects) == before
    write(objects)
    del root, objects
    gc.collect()
    assert reclaimed()


class Hooked:
    def __init__(self, **parts):
        vars(self).update(parts)
        self.calls = 0

    def __pre_freeze__(self):
        self.calls += 1


freeze(Hooked)


def test_a_freeze_with_hooks_that_finds_no_memory_changes_nothing_else(failing):
    for attempt in failing:
        root = [Hooked(part=Hooked(part=witness())) for _ in range(10)]
        if attempt(freeze, root):
            assert not any(flags(each) for each in reachable(root))
            root.append(1)
            root.pop()
            freeze(root)
        assert is_frozen(root)
        del root
        gc.collect()
        assert reclaimed()


def freeze_isolated(box):
    """Freezes what is in a box of one, to which nothing but this refers meanwhile."""
    root, box[0] = box[0], None
    try:
        freeze(root, isolated=True)
    finally:
        box[0] = root


def test_an_isolated_freeze_that_finds_no_memory_changes_nothing(failing):
    for attempt in failing:
        box = [[{"a": [number, (number, "x")]} for number in range(30)] + [witness()]]
        if attempt(freeze_isolated, box):
            assert not any(flags(each) for each in reachable(box))
            write(box)
            freeze_isolated(box)
        assert is_frozen(box[0])
        del box
        gc.collect()
        assert reclaimed()


def test_a_policy_of_an_object_for_which_there_is_no_memory_is_not_set(failing):
    kept = []
    for attempt in failing:
        value = []
        if attempt(set_freezable, value, FREEZABLE_NO):
            assert get_freezable(value) != FREEZABLE_NO
        else:
            assert get_freezable(value) == FREEZABLE_NO
        unset_freezable(value)
        kept.append(value)  # each at another address
    freeze(kept)


def test_an_override_for_which_there_is_no_memory_is_not_entered(failing):
    def enter(override, entered):
        override.__enter__()
        entered[0] = True

    for attempt in failing:
        value, entered = [], [False]
        override = FreezabilityOverride(value, FREEZABLE_NO)
        attempt(enter, override, entered)
        assert (get_freezable(value) == FREEZABLE_NO) is entered[0]
        if entered[0]:
            override.__exit__(None, None, None)
        with require_mutable(value):
            pass
        freeze(value)


# ---- Refusals ----------------------------------------------------------------


def a_generator():
    return (number for number in [1])


def in_a_closure(culprit):
    def function(first=1):
        return first, culprit

    return function


def a_class_that_holds(culprit):
    return type("Derived", (type("Holder", (), {"attribute": [culprit]}),), {})


def a_bytearray_exported_outside(culprit):
    data = bytearray(b"abc")
    VIEWS.append(memoryview(data))
    return [data]


VIEWS = []

REFUSED = {
    "itself": lambda culprit: culprit,
    "items": lambda culprit: [0, ({"it's": {(1, "x"): {None: {2.5: culprit}}}},)],
    "a key": lambda culprit: {"a": {culprit: 1}},
    "sets": lambda culprit: [{frozenset([culprit])}],
    "attributes": lambda culprit: Node(part=Node(part=Slotted(culprit))),
    "odd attributes": lambda culprit: Node(**{"class": Node(**{"not an identifier": culprit})}),
    "a namespace": lambda culprit: types.SimpleNamespace(a=types.MappingProxyType({"a": culprit})),
    "a closure": in_a_closure,
    "a class": lambda culprit: [a_class_that_holds(culprit)()],
    "a bound method": lambda culprit: Node(part=culprit).__init__,
    "the end of a long way": lambda culprit: deep(culprit),
    "after other roots": lambda culprit: [[Node(part=[])] for _ in range(50)] + [culprit],
    "a buffer that is in use": a_bytearray_exported_outside,
}


def deep(last):
    for _ in range(300):
        last = [last]
    return last


@pytest.mark.parametrize("place", REFUSED)
def test_a_refusal_for_whose_report_there_is_no_memory_changes_nothing(place, failing):
    make = REFUSED[place]
    with pytest.raises(NotFreezableError) as raised:
        freeze(make(a_generator()))
    expected = raised.value.path, str(raised.value)
    for attempt in failing:
        root = make(a_generator())
        objects = reachable(root)
        before = state(objects)
        result = Result()
        if not attempt(result.of, freeze, root):
            assert isinstance(result.error, NotFreezableError)
            assert (result.error.path, str(result.error)) == expected
        del result
        assert state(objects) == before
        write(objects)
    VIEWS.clear()


def test_a_write_for_whose_refusal_there_is_no_memory_does_not_happen(failing):
    freeze(MutationError, NotFreezableError)  # as whoever freezes a function that names them does
    frozen, klass = freeze([1]), freeze(type("Made", (), {}))
    for writing in (list.append, frozen, 2), (setattr, klass, "attribute", 1):
        for attempt in failing:
            result = Result()
            if not attempt(result.of, *writing):
                assert isinstance(result.error, MutationError)
            assert frozen == [1]
            assert not hasattr(klass, "attribute")


# ---- Asking ------------------------------------------------------------------


def test_classes_of_one_name_are_told_without_memory_to_note_them(run_python):
    run_python("""
        import fractions
        from concurrent import interpreters

        from _immutable import _fail_allocations
        from immutable import MutationError, NotFreezableError, freeze

        def refused(value):
            try:
                value.append(2)
            except (NotFreezableError, MutationError) as error:
                return error

        assert isinstance(fractions.Fraction(1, 3), fractions.Fraction)
        other = interpreters.create()
        value = other.call(eval, "__import__('immutable').freeze(__import__('fractions').Fraction(1, 3))")
        assert type(value) is not fractions.Fraction
        _fail_allocations(1)
        is_instance = isinstance(value, fractions.Fraction)
        assert _fail_allocations(0) == 1 and is_instance

        frozen = freeze([1], NotFreezableError)
        for number in range(1, 20):
            error = None
            _fail_allocations(number)
            try:
                error = refused(frozen)
            except MemoryError:
                pass
            failed = _fail_allocations(0)
            assert failed > 0 and frozen == [1]
            if error is not None:
                break
        # What is said had memory; only to note what the handler has looked up there was none.
        assert failed == 1 and number > 1 and type(error) is MutationError and error.obj is frozen
        other.close()
    """)


def nested(last):
    """A tuple of tuples, made here and not by the compiler."""
    parts = [tuple([number, str(number), last]) for number in range(200)]  # noqa: C409
    return tuple([frozenset([1.5]), range(10**10), slice(10**10, None), *parts])  # noqa: C409


@pytest.mark.parametrize(("last", "answer"), [(freeze([1]), True), ([], False)], ids=["frozen", "not frozen"])
def test_asking_whether_something_is_frozen_raises_rather_than_being_wrong(last, answer, failing):
    for attempt in failing:
        root = nested(last)
        objects = reachable(root)
        before = state(objects)
        result = Result()
        if attempt(result.of, is_frozen, root):
            assert state(objects) == before
        else:
            assert result.value is answer


# ---- Interpreter locals, views, dicts ----------------------------------------


def test_an_interpreter_local_for_whose_value_there_is_no_memory_keeps_the_one_before(failing):
    def set_all(table, value):
        for local in table:
            local.set(value)

    value = [1]
    count = sys.getrefcount(value)
    for attempt in failing:
        table = [InterpreterLocal(None) for _ in range(60)]
        complete = not attempt(set_all, table, value)
        values = [local.get() for local in table]
        stored = [each for each in values if each is value]
        assert all(each is value or each is None for each in values)
        assert len(stored) == len(table) or not complete
        del table, values, stored
        assert sys.getrefcount(value) == count


def test_an_interpreter_local_whose_factory_finds_no_memory_calls_it_again(failing):
    @freeze
    def empty():
        return []

    def get_all(table):
        for local in table:
            local.get()

    assert empty() == []
    for attempt in failing:
        table = [InterpreterLocal(empty) for _ in range(60)]
        attempt(get_all, table)
        for local in table:
            local.get().append(1)
            assert local.get() == [1]


def test_the_first_call_of_a_frozen_function_may_find_no_memory(failing):
    held = [1, 2]

    def make():
        def function(first, *, second=held):
            def inner():
                return json.dumps([first, second])

            return inner()

        return freeze(function)

    def call_all(table):
        for function in table:
            function(0)

    make()
    for attempt in failing:
        table = [make() for _ in range(20)]
        attempt(call_all, table)
        assert {function(0) for function in table} == {"[0, [1, 2]]"}


def test_annotations_of_a_frozen_function_may_find_no_memory(module, failing):
    m = module("""
        class Local:
            pass

        def function(first: Local) -> list[Local]:
            pass
    """)
    freeze(m.function)
    assert not is_frozen(m.Local)
    for attempt in failing:
        attempt(getattr, m.function, "__annotations__")
        assert m.function.__annotations__ == {"first": m.Local, "return": list[m.Local]}


def test_the_dict_of_a_frozen_instance_is_complete_or_there_is_no_memory(failing):
    node = freeze(Node(first=[1], second=2.5, third="three"))
    for attempt in failing:
        result = Result()
        if not attempt(result.of, vars, node):
            assert result.value == {"first": [1], "second": 2.5, "third": "three"}
            assert is_frozen(result.value)
    assert vars(node) == {"first": [1], "second": 2.5, "third": "three"}


# ---- The state of an interpreter ---------------------------------------------


def test_a_policy_for_which_there_is_no_memory_is_not_set(run_python):
    run_python("""
        from _immutable import _explain, _fail_allocations
        from immutable import FREEZABLE_NO, NotFreezableError, freeze, is_frozen, register_freezable

        failures = 0
        for number in range(40):
            made = type("Made", (), {})
            _fail_allocations(1)
            try:
                register_freezable(made, FREEZABLE_NO)
            except MemoryError:
                failures += 1
                refuses = False
            else:
                refuses = True
            assert _fail_allocations(0) == (not refuses)
            try:
                freeze(made())
            except NotFreezableError:
                assert refuses
            else:
                assert not refuses
            made = type("Made", (), {})
            register_freezable(made, FREEZABLE_NO)
        assert failures > 0
    """)


def test_a_thread_that_finds_no_memory_does_not_lose_the_state_of_its_interpreter(run_python):
    run_python("""
        import threading

        import _testcapi
        from immutable import FREEZABLE_NO, NotFreezableError, freeze, register_freezable

        class Refusing:
            pass

        register_freezable(Refusing, FREEZABLE_NO)
        outcomes = []

        def first_use(number):
            outcome = None
            _testcapi.set_nomemory(number, number + 1)
            try:
                freeze(Refusing())
            except Exception as error:
                outcome = type(error)
            finally:
                _testcapi.remove_mem_hooks()
            outcomes.append(outcome)

        for number in range(40):
            thread = threading.Thread(target=first_use, args=(number,))
            thread.start()
            thread.join()
            try:
                freeze([Refusing()])
            except NotFreezableError:
                pass
            else:
                raise AssertionError("the policy was lost")
        assert set(outcomes) == {MemoryError, NotFreezableError}
    """)


def test_an_interpreter_for_whose_first_freeze_there_is_no_memory_can_try_again(run_python):
    run_python("""
        from concurrent import interpreters

        interpreter = interpreters.create()
        interpreter.exec('''if True:
            from _immutable import _fail_allocations
            from immutable import freeze, is_frozen

            failures = 0
            for number in range(1, 10):
                value, refused = [[]], False
                _fail_allocations(number)
                try:
                    freeze(value)
                except MemoryError:
                    refused = True
                finally:
                    failed = _fail_allocations(0)
                assert refused == (failed > 0) and is_frozen(value) == (not refused)
                if not failed:
                    break
                failures += 1
            assert failures > 0 and not failed
        ''')
        interpreter.close()
    """)
