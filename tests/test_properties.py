"""Random graphs against a slow model: what freezes, what is counted, what is reclaimed, what a refusal leaves."""

import copy
import gc
import os
import weakref

import pytest
from graphs import (
    IMMUTABLE_KINDS,
    Instance,
    Names,
    OnTheFly,
    Slotted,
    blueprints,
    build,
    closure,
    components,
    frozen_now,
    internal_references,
    reference_counts,
    shape,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from immutable import MutationError, NotFreezableError, freeze, is_frozen

pytestmark = pytest.mark.usefixtures("without_collector")

EXAMPLES = settings(max_examples=int(os.environ.get("IMMUTABLE_EXAMPLES", "300")))

# What graphs share with the running code, and so would survive them.
freeze(Instance, Slotted, Names, OnTheFly, "first", "second", "a", "b", "c", "d", "parts", "step")
freeze(OnTheFly("Made", (), {}), OnTheFly("MadeWithInstance", (), {})())


@EXAMPLES
@given(blueprints(), st.data())
def test_exactly_what_the_roots_reach_is_frozen(blueprint, data):
    nodes = build(blueprint)
    roots = data.draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=3))
    reached = closure(nodes[root] for root in roots)
    freeze(*(nodes[root] for root in roots))
    assert all(is_frozen(each) for each in reached.values())
    for node, kind in zip(nodes, blueprint.kinds, strict=True):
        if id(node) not in reached and kind not in IMMUTABLE_KINDS:
            assert not is_frozen(node)
            assert gc.is_tracked(node)


@EXAMPLES
@given(blueprints())
def test_a_frozen_graph_has_the_shape_that_it_had(blueprint):
    nodes, twin = build(blueprint), build(blueprint)
    before = shape(nodes)
    assert shape(twin) == before
    freeze(nodes)
    assert shape(nodes) == before
    assert shape(twin) == before


@EXAMPLES
@given(blueprints())
def test_a_deep_copy_of_a_frozen_graph_is_mutable_and_the_same(blueprint):
    kinds = {"cell", "bound method", "class", "made instance"}
    assume(kinds.isdisjoint(blueprint.kinds))  # copy.deepcopy shares these, or cannot copy them
    nodes = build(blueprint)
    expected = shape(copy.deepcopy(build(blueprint)))
    freeze(nodes)
    duplicate = copy.deepcopy(nodes)
    assert shape(duplicate) == expected
    for node, kind in zip(duplicate, blueprint.kinds, strict=True):
        if kind not in IMMUTABLE_KINDS:
            assert not is_frozen(node)


@EXAMPLES
@given(blueprints())
def test_reference_counts_are_those_that_come_from_outside_the_component(blueprint):
    nodes = build(blueprint)
    objects = closure(nodes)
    internal = internal_references(objects)
    expected = [count - internal[id(node)] for count, node in zip(reference_counts(nodes), nodes, strict=True)]
    del objects
    freeze(*nodes)
    # The closure held each node once more while the first counts were taken.
    assert [count + 1 for count in reference_counts(nodes)] == expected


@EXAMPLES
@given(blueprints())
def test_dropping_a_graph_reclaims_everything(blueprint):
    before = frozen_now()
    nodes = build(blueprint)
    freeze(*nodes)
    del nodes
    assert frozen_now() == before


@EXAMPLES
@given(blueprints(), st.data())
def test_one_kept_node_keeps_what_it_reaches_and_nothing_else(blueprint, data):
    number = data.draw(st.integers(0, len(blueprint.kinds) - 1))
    before = frozen_now()
    nodes = build(blueprint)
    freeze(*nodes)
    kept = nodes[number]
    expected = shape([kept])
    reached = set(closure([kept]))
    weak = [(id(node) in reached, weakref.ref(node)) for node in nodes if weak_referenceable(node)]
    del nodes
    assert [reference() is not None for _, reference in weak] == [stays for stays, _ in weak]
    assert shape([kept]) == expected
    assert all(is_frozen(each) for each in closure([kept]).values())
    del kept
    assert all(reference() is None for _, reference in weak)
    assert frozen_now() == before


def weak_referenceable(node):
    return isinstance(node, (Instance, Slotted, Names, OnTheFly)) or type(type(node)) is OnTheFly


@EXAMPLES
@given(blueprints(), st.data())
def test_nodes_may_be_dropped_in_any_order(blueprint, data):
    order = data.draw(st.permutations(range(len(blueprint.kinds))))
    before = frozen_now()
    nodes = build(blueprint)
    freeze(*nodes)
    weak = {number: weakref.ref(node) for number, node in enumerate(nodes) if weak_referenceable(node)}
    held = dict(enumerate(nodes))
    del nodes
    for number in order:
        del held[number]
        reached = set(closure(held.values()))
        for reference in weak.values():
            assert reference() is None or id(reference()) in reached
    assert frozen_now() == before


@EXAMPLES
@given(blueprints(), blueprints(), st.data())
def test_a_graph_may_be_frozen_in_parts(first, second, data):
    numbers = st.lists(st.integers(0, len(first.kinds) - 1), min_size=len(second.kinds), max_size=len(second.kinds))
    links = data.draw(numbers)
    before = frozen_now()
    inner = build(first)
    freeze(*inner)
    outer = build(second)
    for node, link in zip(outer, links, strict=True):
        if type(node) is list:
            node.append(inner[link])
    expected = shape(outer)
    freeze(*outer)
    assert all(is_frozen(each) for each in closure(outer).values())
    del inner
    assert shape(outer) == expected
    del outer, node
    assert frozen_now() == before


@EXAMPLES
@given(blueprints(), st.data())
def test_a_refusal_leaves_everything_as_it_was(blueprint, data):
    nodes = build(blueprint)
    places = [number for number, kind in enumerate(blueprint.kinds) if kind in ("list", "names")]
    assume(places)
    objects = list(closure(nodes).values())
    culprit = (number for number in [1])
    nodes[data.draw(st.sampled_from(places))].append(culprit)
    expected, counts = shape(nodes), reference_counts(objects)
    frozen = [is_frozen(each) for each in objects]  # first: it marks shallow immutables
    tracked = [gc.is_tracked(each) for each in objects]
    with pytest.raises(NotFreezableError) as raised:
        freeze(nodes)
    assert raised.value.obj is culprit
    assert eval(raised.value.path, {"root": nodes, "gc": gc}) is culprit
    del raised
    assert reference_counts(objects) == counts
    assert [gc.is_tracked(each) for each in objects] == tracked
    assert [is_frozen(each) for each in objects] == frozen
    assert shape(nodes) == expected
    for node, kind in zip(nodes, blueprint.kinds, strict=True):
        if kind == "list":
            node.append(None)
        elif kind == "dict":
            node["new"] = None
        elif kind in ("instance", "namespace", "class", "made instance"):
            node.new = None


@EXAMPLES
@given(blueprints(), st.data())
def test_using_a_frozen_graph_does_not_change_its_counts(blueprint, data):
    nodes = build(blueprint)
    freeze(*nodes)
    counts = reference_counts(nodes)
    for _ in range(3):
        shape(nodes)
        repr(nodes)
        for node in nodes:
            for write in (
                lambda node=node: node.append(1),
                lambda node=node: setattr(node, "a", 1),
                lambda node=node: node.update({1: 2}),
            ):
                with pytest.raises((MutationError, AttributeError)):
                    write()
        del write, node
    assert reference_counts(nodes) == counts


def test_the_model_finds_components():
    ring, outside = [[]], [1]
    ring[0].append(ring)
    ring.append(outside)
    objects = {id(each): each for each in (ring, ring[0], outside)}
    together = components(objects)
    assert together[id(ring)] == {id(ring), id(ring[0])}
    assert together[id(outside)] == set()
    assert internal_references(objects) == {id(ring): 1, id(ring[0]): 1, id(outside): 0}
