"""Components of any shape and size are torn down at once, by counting alone, and without recursion."""

import abc
import dataclasses
import enum
import functools
import gc
import sys
import types
import typing
import weakref

import pytest
from graphs import frozen_now

from immutable import InterpreterLocal, MutationError, _stats, freeze, is_frozen

pytestmark = pytest.mark.usefixtures("without_collector")

MILLION = 1_000_000


class Node:
    pass


class Link:
    __slots__ = ("__weakref__", "next", "own")


class Witness:
    """A part whose end can be seen."""


freeze(Node, Link, Witness)


# ---- Shapes: each takes a witness, and returns one member of a component that holds it ------


def list_in_itself(witness):
    made = [witness]
    made.append(made)
    return made


def dict_in_itself(witness):
    made = {"witness": witness}
    made["me"] = made
    return made


def dict_of_a_key_that_holds_it(witness):
    key = Node()
    made = {key: witness}
    key.table = made
    return made


def tuple_in_a_list_in_it(witness):
    part = []
    made = (part, witness)
    part.append(made)
    return made


def set_of_an_item_that_holds_it(witness):
    item = Node()
    made = {item, witness}
    item.group = made
    return made


def frozenset_of_an_item_that_holds_it(witness):
    item = Node()
    made = frozenset({item, witness})
    item.group = made
    return made


def frozendict_of_a_list_that_holds_it(witness):
    part = []
    made = frozendict(part=part, witness=witness)  # noqa: F821
    part.append(made)
    return made


def instance_in_its_own_attribute(witness):
    made = Node()
    made.me, made.witness = made, witness
    return made


def instance_and_its_namespace(witness):
    made = Node()
    made.__dict__["namespace"] = made.__dict__
    made.me, made.witness = made, witness
    return made.__dict__


def instance_with_many_attributes(witness):
    made = Node()
    for number in range(100):
        setattr(made, f"attribute_{number}", made)
    made.witness = witness
    return made


def instance_in_its_own_slot(witness):
    made = Link()
    made.next, made.own = made, witness
    return made


def instance_of_a_builtin_in_itself(kind):
    class Derived(kind):
        pass

    def shape(witness):
        made = Derived()
        made.me, made.witness = made, witness
        return made

    freeze(Derived)
    shape.__name__ = f"{kind.__name__}_with_attributes_in_itself"
    return shape


def namespace_in_itself(witness):
    made = types.SimpleNamespace(witness=witness)
    made.me = made
    return made


def proxy_of_a_dict_that_holds_it(witness):
    table = {"witness": witness}
    made = table["proxy"] = types.MappingProxyType(table)
    return made


def cell_in_itself(witness):
    made = types.CellType()
    made.cell_contents = (made, witness)
    return made


def slice_of_a_list_that_holds_it(witness):
    part = [witness]
    made = slice(part)
    part.append(made)
    return made


def bound_method_of_an_instance_that_holds_it(witness):
    self = Node()
    made = self.method = types.MethodType(Node, self)
    self.witness = witness
    return made


def method_wrapper_of_a_list_that_holds_it(witness):
    part = [witness]
    made = part.__len__
    part.append(made)
    return made


def builtin_method_of_a_list_that_holds_it(witness):
    part = [witness]
    made = part.count
    part.append(made)
    return made


def property_of_a_function_that_holds_it(witness):
    def get():
        return made, witness

    made = property(get)
    return made


def static_method_of_a_function_that_holds_it(witness):
    def call():
        return made, witness

    made = staticmethod(call)
    return made


def class_method_of_a_function_that_holds_it(witness):
    def call(cls):
        return made, witness

    made = classmethod(call)
    return made


def super_of_an_instance_that_holds_it(witness):
    self = Node()
    made = self.above = super(Node, self)
    self.witness = witness
    return made


def generic_alias_of_a_list_that_holds_it(witness):
    part = [witness]
    made = types.GenericAlias(list, (part,))
    part.append(made)
    return made


def union_of_an_alias_that_holds_it(witness):
    part = [witness]
    made = list[int] | types.GenericAlias(list, (part,))
    part.append(made)
    return made


def closure_over_itself(witness):
    def made():
        return made, witness

    return made


def function_in_its_own_defaults(witness):
    def made(*, part=[]):
        return part, witness

    made.__kwdefaults__["part"].append(made)
    return made


def function_in_its_own_attributes(witness):
    def made():
        return witness

    made.me = made
    return made


def two_closures_over_each_other(witness):
    def made(depth):
        return other(depth - 1) if depth else witness

    def other(depth):
        return made(depth)

    return made


def decorated_recursion(witness):
    def twice(function):
        @functools.wraps(function)
        def wrapper(n):
            return function(n), function(n)

        return wrapper

    @twice
    def made(n):
        return made(n - 1) if n else witness

    return made


def code_in_its_own_constants(witness):
    part = [witness]

    def template():
        return 1.25

    made = template.__code__.replace(co_consts=(part,))
    part.append(made)
    return made


def class_with_methods(witness):
    class Made:
        part = witness

        def method(self):
            return self, Made

        @property
        def reading(self):
            return super().__repr__()

        @classmethod
        def make(cls):
            return cls()

        @staticmethod
        def plain():
            return Made

    return Made


def class_that_holds_an_instance_of_itself(witness):
    class Made:
        part = witness

        def __init__(self):
            self.own = [self]

    Made.only = Made()
    return Made.only


def class_of_numbers_that_holds_one_of_them(witness):
    class Made(int):
        __slots__ = ()

    Made.zero, Made.part = Made(0), witness
    return Made.zero


def class_with_bases_that_know_it(witness):
    class Base:
        derived = []

        def __init_subclass__(cls):
            cls.derived.append(cls)

    class Left(Base):
        pass

    class Right(Base):
        pass

    class Made(Left, Right):
        part = witness

        def method(self):
            return super().method()

    return Made


def metaclass_that_knows_its_classes(witness):
    class Meta(type):
        made = []

        def __init__(cls, name, bases, namespace):
            super().__init__(name, bases, namespace)
            Meta.made.append(cls)

        def __call__(cls):
            return super().__call__()

    class Made(metaclass=Meta):
        part = witness

    return Made


def metaclass_of_a_metaclass(witness):
    class Above(type):
        pass

    class Meta(type, metaclass=Above):
        pass

    class Made(metaclass=Meta):
        part = witness

    Above.bottom = Made()
    return Made


def abstract_class_with_registered_ones(witness):
    class Abstract(abc.ABC):
        part = witness

        @abc.abstractmethod
        def method(self):
            return Abstract

    class Made(Abstract):
        def method(self):
            return super().method()

    Abstract.known = Made
    assert isinstance(Made(), Abstract)
    return Made


def data_class(witness):
    @dataclasses.dataclass(order=True)
    class Made:
        part: object = witness
        items: list = dataclasses.field(default_factory=list)

    made = Made()
    made.items.append(made)
    return made


def slotted_data_class(witness):
    @dataclasses.dataclass(slots=True, frozen=True)
    class Made:
        part: object
        items: list

    gc.collect()  # the class that this one replaces is in a cycle with the methods of both
    made = Made(witness, [])
    made.items.append(made)
    return made


def named_tuple(witness):
    class Made(typing.NamedTuple):
        part: object
        items: list

    made = Made(witness, [])
    made.items.append(made)
    return made


def enumeration(witness):
    class Made(enum.Enum):
        FIRST = 1
        SECOND = 2

        def other(self):
            return Made.FIRST if self is Made.SECOND else Made.SECOND

    Made.part = witness
    return Made.FIRST


def generic_class(witness):
    class Made[T]:
        part = witness

        def method(self, other: T) -> T:
            return Made[T]

    return Made


SHAPES = [
    list_in_itself,
    dict_in_itself,
    dict_of_a_key_that_holds_it,
    tuple_in_a_list_in_it,
    set_of_an_item_that_holds_it,
    frozenset_of_an_item_that_holds_it,
    frozendict_of_a_list_that_holds_it,
    instance_in_its_own_attribute,
    instance_and_its_namespace,
    instance_with_many_attributes,
    instance_in_its_own_slot,
    *map(instance_of_a_builtin_in_itself, (list, dict, set, frozenset, tuple, int, float, str, bytes, bytearray)),
    namespace_in_itself,
    proxy_of_a_dict_that_holds_it,
    cell_in_itself,
    slice_of_a_list_that_holds_it,
    bound_method_of_an_instance_that_holds_it,
    method_wrapper_of_a_list_that_holds_it,
    builtin_method_of_a_list_that_holds_it,
    property_of_a_function_that_holds_it,
    static_method_of_a_function_that_holds_it,
    class_method_of_a_function_that_holds_it,
    super_of_an_instance_that_holds_it,
    generic_alias_of_a_list_that_holds_it,
    union_of_an_alias_that_holds_it,
    closure_over_itself,
    function_in_its_own_defaults,
    function_in_its_own_attributes,
    two_closures_over_each_other,
    decorated_recursion,
    code_in_its_own_constants,
    class_with_methods,
    class_that_holds_an_instance_of_itself,
    class_of_numbers_that_holds_one_of_them,
    class_with_bases_that_know_it,
    metaclass_that_knows_its_classes,
    metaclass_of_a_metaclass,
    abstract_class_with_registered_ones,
    data_class,
    slotted_data_class,
    named_tuple,
    enumeration,
    generic_class,
]


def parts(each):
    return (each.co_consts,) if isinstance(each, types.CodeType) else gc.get_referents(each)


def settle(make):
    """Freezes and drops what make returns, twice: what its code keeps (names, constants) stays frozen with the code."""
    for _ in range(2):
        freeze(make())


def members(root):
    """The objects of the component of a frozen object: those that reach it among those that it reaches."""
    reached, referrers, stack = {}, {}, [root]
    while stack:
        each = stack.pop()
        if id(each) not in reached and is_frozen(each):
            reached[id(each)] = each
            for part in parts(each):
                referrers.setdefault(id(part), []).append(id(each))
                stack.append(part)
    found, stack = {}, [id(root)]
    while stack:
        each = stack.pop()
        if each not in found:
            found[each] = reached[each]
            stack.extend(referrers.get(each, ()))
    return list(found.values())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_component_of_any_shape_goes_with_its_last_reference(shape):
    for _ in range(2):
        freeze(shape(Witness()))  # what its code names stays frozen with the code, and with its copy
    before, collections = frozen_now(), gc.get_stats()
    witness = Witness()
    gone = weakref.ref(witness)
    root = freeze(shape(witness))
    del witness
    assert frozen_now()["components"] > before["components"]
    del root
    assert gone() is None
    assert frozen_now() == before
    if shape is not slotted_data_class:
        assert gc.get_stats() == collections


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_any_member_keeps_its_component_of_any_shape(shape, place):
    witness = Witness()
    gone = weakref.ref(witness)
    together = members(freeze(shape(witness)))
    assert len(together) > 1 or together[0] in parts(together[0])
    kept = together[{"first": 0, "middle": len(together) // 2, "last": -1}[place]]
    del witness, together
    assert gone() is not None
    assert is_frozen(kept)
    del kept
    assert gone() is None


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_component_may_go_in_another_thread_than_froze_it(shape, in_a_small_stack):
    witness = Witness()
    gone, held = weakref.ref(witness), [freeze(shape(witness))]
    del witness
    in_a_small_stack(held.clear)
    assert gone() is None


def test_a_class_that_goes_leaves_no_trace_in_its_base():
    class Base:
        pass

    derived = freeze(type("Derived", (freeze(Base),), {"part": [Base]}))
    assert Base.__subclasses__() == [derived]
    gone = weakref.ref(derived)
    del derived
    assert gone() is None
    assert Base.__subclasses__() == []


# ---- Depth -----------------------------------------------------------------

DEEP = 100_000


def instance_of(inner):
    made = Node()
    made.inner = inner
    return made


def slotted_instance_of(inner):
    made = Link()
    made.next = inner
    return made


def set_of(inner):
    return {slotted_instance_of(inner)}


def cell_of(inner):
    return types.CellType(inner)


def closure_of(inner):
    return lambda: inner


def function_with_a_default_of(inner):
    def made(default=inner):
        return default

    return made


WRAPPERS = {
    "lists": lambda inner: [inner],
    "tuples": lambda inner: (inner,),
    "dicts": lambda inner: {"inner": inner},
    "dicts with other keys": lambda inner: {0: inner},
    "frozendicts": lambda inner: frozendict(inner=inner),  # noqa: F821
    "sets": set_of,
    "frozensets": lambda inner: frozenset(set_of(inner)),
    "instances": instance_of,
    "instances with slots": slotted_instance_of,
    "namespaces": lambda inner: types.SimpleNamespace(inner=inner),
    "mapping proxies": lambda inner: types.MappingProxyType({"inner": inner}),
    "cells": cell_of,
    "slices": slice,
    "bound methods": lambda inner: types.MethodType(Node, inner),
    "builtin methods": lambda inner: [inner].count,
    "method wrappers": lambda inner: [inner].__len__,
    "properties": lambda inner: property(inner),
    "static methods": lambda inner: staticmethod(inner),
    "class methods": lambda inner: classmethod(inner),
    "generic aliases": lambda inner: types.GenericAlias(list, (inner,)),
    "closures": closure_of,
    "functions": function_with_a_default_of,
    "everything in turn": None,
}


def nested(kind, depth, innermost):
    """A structure so deep, around the given object."""
    kinds = [wrap for wrap in WRAPPERS.values() if wrap] if WRAPPERS[kind] is None else [WRAPPERS[kind]]
    root = innermost
    for number in range(depth):
        root = kinds[number % len(kinds)](root)
    return root


@pytest.mark.parametrize("kind", WRAPPERS)
def test_deep_structures_are_released_without_recursion(kind, in_a_small_stack):
    for _ in range(2):
        settle(lambda: nested(kind, 100, Witness()))
    before = frozen_now()
    witness = Witness()
    gone, held = weakref.ref(witness), [freeze(nested(kind, DEEP, witness))]
    del witness
    assert frozen_now()["frozen_objects"] > before["frozen_objects"] + DEEP
    in_a_small_stack(held.clear)
    assert gone() is None
    assert frozen_now() == before


def test_a_structure_nested_a_million_deep_is_released_without_recursion(in_a_small_stack):
    before = frozen_now()
    held = [freeze(nested("lists", MILLION, None))]
    assert frozen_now()["frozen_objects"] == before["frozen_objects"] + MILLION
    inner = held[0]
    for _ in range(MILLION - 1):
        inner = inner[0]
    assert inner == [None]
    with pytest.raises(MutationError):
        inner.append(1)
    del inner
    in_a_small_stack(held.clear)
    assert frozen_now() == before


def test_classes_nested_deep_are_released_without_recursion(in_a_small_stack):
    def tower(height):
        made = None
        for _ in range(height):
            made = type("Made", (), {"inner": made})()
        return made

    settle(lambda: tower(10))
    before = frozen_now()
    held = [freeze(tower(5_000))]
    assert frozen_now()["components"] >= before["components"] + 5_000
    in_a_small_stack(held.clear)
    assert frozen_now() == before


def test_a_long_line_of_descent_is_released_without_recursion(in_a_small_stack):
    def line(generations):
        made = object
        for _ in range(generations):
            made = type("Made", (made,), {})
        return made

    settle(lambda: line(10))
    before = frozen_now()
    held = [freeze(line(1_000))]
    in_a_small_stack(held.clear)
    assert frozen_now() == before


# ---- Components that hold components ---------------------------------------


def ring_of(inner):
    made = [inner]
    made.append(made)
    return made


def pair_of(inner):
    first, second = Link(), Link()
    first.next, second.next, second.own = second, first, inner
    return first


def dict_ring_of(inner):
    made = {"inner": inner}
    made["me"] = made
    return made


def recursion_of(inner):
    def made(n):
        return made(n - 1) if n else inner

    return made


def trivial_and_ring_of(inner):
    return (ring_of([inner]),)


RINGS = {
    "lists in themselves": ring_of,
    "dicts in themselves": dict_ring_of,
    "pairs of instances": pair_of,
    "recursive functions": recursion_of,
    "cycles and plain objects in turn": trivial_and_ring_of,
}


def chain(ring, length, innermost):
    made = innermost
    for _ in range(length):
        made = ring(made)
    return made


@pytest.mark.parametrize("kind", RINGS)
def test_a_long_chain_of_components_is_released_without_recursion(kind, in_a_small_stack):
    settle(lambda: chain(RINGS[kind], 10, Witness()))
    before = frozen_now()
    witness = Witness()
    gone, held = weakref.ref(witness), [freeze(chain(RINGS[kind], DEEP, witness))]
    del witness
    assert frozen_now()["components"] == before["components"] + DEEP
    in_a_small_stack(held.clear)
    assert gone() is None
    assert frozen_now() == before


def test_a_chain_of_a_million_components_is_released_without_recursion(in_a_small_stack):
    before = frozen_now()
    held = [freeze(chain(ring_of, MILLION, None))]
    assert frozen_now()["components"] == before["components"] + MILLION
    in_a_small_stack(held.clear)
    assert frozen_now() == before


def test_a_chain_held_in_the_middle_is_released_up_to_there():
    held = freeze(chain(ring_of, 1_000, None))
    kept = held
    for _ in range(500):
        kept = kept[0]
    before = frozen_now()
    del held
    assert before["components"] - frozen_now()["components"] == 500
    assert kept[0][0][1] is kept[0][0]


def test_a_million_components_side_by_side_are_released():
    before = frozen_now()
    root = freeze([ring_of(None) for _ in range(MILLION)])
    assert frozen_now()["components"] == before["components"] + MILLION
    del root
    assert frozen_now() == before


def test_a_component_that_holds_a_million_others_is_released():
    before = frozen_now()
    root = [ring_of(None) for _ in range(MILLION)]
    root.append(root)
    freeze(root)
    assert frozen_now()["components"] == before["components"] + MILLION + 1
    del root
    assert frozen_now() == before


def test_what_a_million_components_share_goes_with_the_last_of_them():
    shared = Witness()
    gone = weakref.ref(shared)
    rings = [ring_of(shared) for _ in range(MILLION)]
    freeze(*rings)
    del shared
    last = rings.pop(MILLION // 2)
    rings.clear()
    assert gone() is last[0]
    del last
    assert gone() is None


def test_a_tree_whose_million_nodes_know_their_parents_is_released_without_recursion(in_a_small_stack):
    before = frozen_now()
    nodes = [Link() for _ in range(MILLION)]
    for number, node in enumerate(nodes):
        node.own = nodes[2 * number + 1 : 2 * number + 3]
        node.next = nodes[(number - 1) // 2]
    nodes[0].next = nodes[0]
    held = [freeze(nodes[0])]
    del nodes, node
    during = frozen_now()
    assert during["components"] == before["components"] + 1
    assert during["frozen_objects"] >= before["frozen_objects"] + MILLION
    in_a_small_stack(held.clear)
    assert frozen_now() == before


def test_a_path_through_a_million_members_is_released_without_recursion(in_a_small_stack):
    before = frozen_now()
    links = [Link() for _ in range(MILLION)]
    for link, following in zip(links, links[1:] + links[:1], strict=True):
        link.next = following
    held = [freeze(links[0])]
    del links, link, following
    assert frozen_now()["components"] == before["components"] + 1
    in_a_small_stack(held.clear)
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


def test_a_grid_of_a_million_members_is_released_without_recursion(in_a_small_stack):
    size = 1_000
    before = frozen_now()
    rows = [[[] for _ in range(size)] for _ in range(size)]
    for y, row in enumerate(rows):
        for x, place in enumerate(row):
            place += (row[x - 1], row[(x + 1) % size], rows[y - 1][x], rows[(y + 1) % size][x])
    held = [freeze(rows[0][0])]
    del rows, row, place
    during = frozen_now()
    assert during["components"] == before["components"] + 1
    assert during["frozen_objects"] == before["frozen_objects"] + size * size
    in_a_small_stack(held.clear)
    assert frozen_now() == before


# ---- What an interpreter keeps for frozen objects --------------------------


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_value_of_a_local_goes_with_it_in_whichever_thread(elsewhere, in_a_small_stack):
    witness = Witness()
    gone, held = weakref.ref(witness), [InterpreterLocal(None)]
    held[0].set([witness])
    del witness
    in_a_small_stack(held.clear) if elsewhere else held.clear()
    assert gone() is None


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_view_of_a_function_goes_with_it_in_whichever_thread(elsewhere, in_a_small_stack):
    witness = Witness()
    before = _stats()["local_views"]
    gone, held = weakref.ref(witness), [freeze(closure_of(witness))]
    assert held[0]() is witness
    assert _stats()["local_views"] == before + 1
    del witness
    in_a_small_stack(held.clear) if elsewhere else held.clear()
    assert gone() is None
    assert _stats()["local_views"] == before


def test_a_cycle_through_the_value_of_a_local_goes_when_the_value_is_reset():
    owner = Node()
    local = owner.local = InterpreterLocal(None)
    local.set([freeze(owner)])
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is local.get()[0]
    local.reset()
    assert gone() is None


def test_a_cycle_through_a_cache_goes_when_the_cache_is_cleared():
    class Made:
        @functools.lru_cache  # noqa: B019 - the cycle is what is tested
        def work(self):
            return [self]

    made = freeze(Made())
    assert made.work() is made.work()
    gone, clear = weakref.ref(made), made.work.cache_clear
    del made, Made
    assert gone() is not None
    clear()
    assert gone() is None


def test_a_chain_of_functions_that_were_called_is_released_without_recursion(in_a_small_stack):
    def called(inner):
        def made():
            return inner

        freeze(made)()
        return made

    settle(lambda: chain(called, 10, Witness()))
    before = frozen_now()
    held = [chain(called, 20_000, None)]
    assert frozen_now()["frozen_objects"] >= before["frozen_objects"] + 20_000
    in_a_small_stack(held.clear)
    assert frozen_now() == before


def test_a_chain_through_values_of_one_interpreter_is_released_without_recursion(in_a_small_stack):
    def local(inner):
        made = freeze(InterpreterLocal(None))
        made.set([inner])
        return made

    before = frozen_now()
    witness = Witness()
    gone, held = weakref.ref(witness), [chain(local, DEEP, witness)]
    del witness
    in_a_small_stack(held.clear)
    assert gone() is None
    assert frozen_now() == before


# ---- What else holds a member ----------------------------------------------


def test_a_teardown_in_the_middle_of_an_exception_leaves_it_alone():
    held = [freeze(ring_of(None))]
    try:
        raise KeyError("mine")
    except KeyError:
        held.clear()
        handled = sys.exception()
    assert handled.args == ("mine",)
    with pytest.raises(ZeroDivisionError):
        [freeze(ring_of(None))][1 // 0]


def test_a_member_that_is_iterated_keeps_the_component():
    before = frozen_now()
    ring = freeze([1, 2, []])
    iterator = iter(freeze(ring_of(3)))
    assert next(iterator) == 3
    inner = next(iterator)
    assert inner[1] is inner
    del inner
    assert frozen_now()["components"] == before["components"] + 1
    assert list(iterator) == []
    assert frozen_now()["components"] == before["components"]
    del ring
    assert frozen_now() == before


def test_a_buffer_of_a_member_keeps_the_component():
    class Buffer(bytearray):
        pass

    freeze(Buffer)
    buffer = Buffer(b"abc")
    buffer.me = buffer
    gone = weakref.ref(freeze(buffer))
    view = memoryview(buffer)
    del buffer
    assert gone() is not None
    assert view[1] == ord("b")
    view.release()
    assert gone() is None


def test_a_frame_keeps_the_component_that_it_works_on():
    def walk():
        ring = freeze(ring_of("part"))
        yield
        yield ring[0]

    settle(lambda: ring_of("part"))
    before = frozen_now()
    frame = walk()
    next(frame)
    assert frozen_now()["components"] == before["components"] + 1
    assert next(frame) == "part"
    frame.close()
    assert frozen_now() == before


def test_what_is_torn_down_stays_frozen_for_everybody_else():
    part = [1]
    ring = freeze(ring_of(part))
    del ring
    with pytest.raises(MutationError):
        part.append(2)
    assert part == [1]
