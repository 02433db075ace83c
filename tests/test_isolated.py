"""`freeze(obj, isolated=True)`: nothing outside the graph refers into it."""

import enum
import gc
import json
import weakref
from typing import NamedTuple

import pytest

from immutable import NotFreezableError, freeze, is_frozen, set_freezable


class Node:
    def __init__(self, **parts):
        vars(self).update(parts)

    def method(self):
        return self


@pytest.fixture
def kept():
    """Stands for the rest of the program."""
    return []


class Refusal(NamedTuple):
    id: int
    path: str
    reason: str


def refusal(root):
    """Why freeze() refuses; the exception, with its traceback, is gone."""
    try:
        freeze(root, isolated=True)
    except NotFreezableError as error:
        assert not is_frozen(root)
        found = Refusal(id(error.obj), error.path, error.reason)
    else:
        pytest.fail("was frozen")
    gc.collect()
    return found


def test_a_graph_that_nothing_else_refers_to_is_frozen():
    root = {"a": [1, 2, {"b": (3, [4])}], "c": {5, 6}, "d": bytearray(b"x")}
    assert freeze(root, isolated=True) is root
    assert is_frozen(root["d"])


def test_a_reference_from_outside_refuses_with_the_path(kept):
    root = {"a": [1, [2]]}
    kept.append(root["a"][1])
    error = refusal(root)
    assert error.id == id(kept[0])
    assert error.path == "root['a'][1]"
    assert "isolated" in error.reason
    kept.clear()
    assert is_frozen(freeze(root, isolated=True))


def test_nothing_is_frozen_by_a_refusal(kept):
    root = [[1], {"a": []}]
    kept.append(root[1]["a"])
    refusal(root)
    assert not any(is_frozen(part) for part in (root, root[0], root[1], root[1]["a"]))
    root[0].append(2)


def test_a_local_variable_is_a_reference_from_outside():
    inner = [1]
    root = [inner]
    refusal(root)
    del inner
    freeze(root, isolated=True)


def test_the_callers_own_reference_to_the_root_is_allowed():
    def with_a_local():
        root = [[1]]
        return freeze(root, isolated=True)

    def with_an_argument(root):
        return freeze(root, isolated=True)

    assert is_frozen(with_a_local())
    assert is_frozen(with_an_argument([[1]]))
    assert is_frozen(freeze([[1]], isolated=True))
    namespace = {}
    exec("from immutable import freeze; root = [[1]]; freeze(root, isolated=True)", namespace)
    assert is_frozen(namespace["root"])


def test_every_way_to_call_gives_the_same_answer(kept):
    terms = {"isolated": True}
    for call in (
        lambda root: freeze(root, isolated=True),
        lambda root: freeze(root, **terms),
        lambda root: freeze(*[root], **terms),
    ):
        for _ in range(20):  # specialised bytecode too
            assert is_frozen(call([[1]]))
            root = [[1]]
            kept.append(root)
            with pytest.raises(NotFreezableError):
                call(root)
            kept.clear()


def test_a_second_reference_to_the_root_refuses(kept):
    root = [1]
    kept.append(root)
    assert refusal(root).path == "root"
    kept.clear()
    alias = root
    assert refusal(root).id == id(alias)
    del alias
    freeze(root, isolated=True)


def test_each_of_several_roots_may_have_one_reference(kept):
    one, other = [1], [2]
    freeze(one, other, isolated=True)
    assert is_frozen(other)
    third, fourth = [1], [2]
    kept.append(fourth)
    with pytest.raises(NotFreezableError) as raised:
        freeze(third, fourth, isolated=True)
    assert raised.value.obj is fourth


def test_references_inside_the_graph_do_not_count():
    root = Node()
    root.self, root.parts = root, [root, root]
    root.parts.append(root.parts)
    freeze(root, isolated=True)


def test_a_dict_of_attributes_that_was_asked_for_is_inside(kept):
    root = Node(part=[1])
    assert vars(root)["part"] == [1]
    freeze(root, isolated=True)
    other = Node(part=[1])
    kept.append(vars(other))
    assert refusal(other).id == id(kept[0])


def test_values_that_never_change_may_be_shared(kept):
    name, number, pair = "".join(["na", "me"]), 10**30, ("x", (1.5, b"y"), frozenset([1]))
    root = {name: [number, pair, range(10**3), slice(1, 2)]}
    kept.extend([name, number, pair])
    freeze(root, isolated=True)


def test_a_shared_tuple_of_something_mutable_refuses(kept):
    pair = (1, [2])
    root = [pair]
    kept.append(pair)
    del pair
    assert refusal(root).id == id(kept[0])


def test_a_shared_bytearray_refuses(kept):
    root = [bytearray(b"x")]
    kept.append(root[0])
    assert refusal(root).id == id(kept[0])


def test_frozen_objects_may_be_shared(kept):
    shared = freeze([1])
    kept.append(shared)
    freeze([shared, Node(part=shared)], isolated=True)


def test_classes_functions_and_modules_may_be_shared(kept):
    class Local:
        table = [1]

        def method(self):
            return Local

    def function():
        return json

    kept.extend([Local, function, json, Local.table])
    root = [Local(), function, json, len, str.upper, Local]
    freeze(root, isolated=True)
    assert is_frozen(Local)


def test_what_a_closure_of_the_graph_alone_holds_is_inside():
    def build():
        root = Node(part=[1])
        root.callback = lambda: root.part
        return root

    root = freeze(build(), isolated=True)
    assert root.callback() == [1]


def test_what_a_closure_shares_with_another_is_outside(kept):
    def build():
        root = Node(part=[1])
        root.callback = lambda: root.part
        kept.append(lambda: root)
        return root

    assert refusal(build()).path == "root"


def test_bound_methods_and_enum_members_belong_to_the_graph():
    class Colour(enum.Enum):
        RED = 1

    root = Node(part=[1])
    root.bound = root.method
    root.colour = Colour.RED
    freeze(root, isolated=True)


def test_weak_references_from_outside_do_not_count(kept):
    root = [Node()]
    kept.append(weakref.ref(root[0]))
    freeze(root, isolated=True)
    assert kept[0]() is root[0]


def test_a_refused_graph_is_restored_whole(kept):
    root = [[], {}, Node(part=lambda: json)]
    kept.append(root[0])
    refusal(root)
    assert gc.is_tracked(root)
    assert root[2].part() is json
    root[2].part = None


def test_hooks_are_called_before_the_graph_is_judged(kept):
    class Letting:
        def __init__(self):
            self.part = []
            kept.append(self.part)

        def __pre_freeze__(self):
            kept.clear()

    freeze([Letting()], isolated=True)


def test_isolated_false_is_the_default(kept):
    kept.append([1])
    freeze(kept[0], isolated=False)
    assert is_frozen(kept[0])


def test_other_keywords_are_an_error():
    with pytest.raises(TypeError, match="isolate"):
        freeze([], isolate=True)
    with pytest.raises(TypeError):
        freeze(isolated=True)


def test_a_large_graph_is_judged_in_time(kept):
    root = [Node(part=[number], pair=(number, "x")) for number in range(100_000)]
    kept.append(root[77_777].part)
    assert refusal(root).path == "root[77777].part"
    kept.clear()
    set_freezable(root, 0)
    freeze(root, isolated=True)
