"""A refusal anywhere leaves every object as it was, and says which object, where, and what to do."""

import asyncio
import gc
import io
import itertools
import random
import socket
import sys
import tempfile
import threading
import types
import weakref

import pytest

from immutable import NotFreezableError, freeze, is_frozen


def a_generator():
    return (number for number in [1])


def a_frame():
    return sys._getframe()


def a_traceback():
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__


def a_coroutine():
    async def nothing():
        pass

    coroutine = nothing()
    coroutine.close()
    return coroutine


def an_async_generator():
    async def nothing():
        yield

    return nothing()


# Things with a state of their own, which no freeze can keep still.
REFUSING = {
    "generator": a_generator,
    "coroutine": a_coroutine,
    "async generator": an_async_generator,
    "frame": a_frame,
    "traceback": a_traceback,
    "list iterator": lambda: iter([1]),
    "dict iterator": lambda: iter({1: 2}),
    "set iterator": lambda: iter({1}),
    "map": lambda: map(str, [1]),
    "zip": lambda: zip([1], [2], strict=True),
    "enumerate": lambda: enumerate([1]),
    "reversed": lambda: reversed([1]),
    "itertools.chain": lambda: itertools.chain([1]),
    "text file": lambda: open("/dev/null"),  # noqa: SIM115
    "raw file": lambda: open("/dev/null", "rb", buffering=0),  # noqa: SIM115
    "socket": lambda: socket.socket(),
    "random.Random": lambda: random.Random(1),
}

every_refusal = pytest.mark.parametrize("name", REFUSING)


@pytest.fixture
def refusing(name):
    made = REFUSING[name]()
    yield made
    if hasattr(made, "close") and name != "coroutine":
        closing = made.close()
        if closing is not None:
            closing.close()


class Node:
    def __init__(self, **parts):
        vars(self).update(parts)


class Slotted:
    __slots__ = ("__weakref__", "part")

    def __init__(self, part):
        self.part = part


def a_graph(last):
    """One of everything, cycles and shared parts, and, at the very end, last."""
    shared = [1, 2]
    node = Node(shared=shared, table={"a": shared, (1, shared and 2): [3]})
    node.me = node
    slotted = Slotted([node])
    node.slotted = slotted
    loose = {"node": node, "pair": (shared, [node]), "names": {"x", ("y", 1)}, "buffer": bytearray(b"abc")}
    ring = [[[]]]
    ring[0][0].append(ring)

    def function(default=shared):
        return loose, default

    return [node, slotted, loose, ring, function, node.__init__, [[[[last]]]]]


def reachable(root):
    """Everything below root that has a state of its own, root included, modules left out."""
    found, stack = {}, [root]
    while stack:
        each = stack.pop()
        if id(each) in found or isinstance(each, (types.ModuleType, types.FrameType)) or each is sys.modules:
            continue
        if isinstance(each, dict) and "__builtins__" in each:
            continue
        found[id(each)] = each
        stack.extend(gc.get_referents(each))
    return list(found.values())


def reference_counts(objects):
    return [sys.getrefcount(each) for each in objects]


@every_refusal
def test_the_object_itself_refuses(name, refusing):
    with pytest.raises(NotFreezableError) as raised:
        freeze(refusing)
    assert raised.value.obj is refusing
    assert raised.value.path == "root"
    assert not is_frozen(refusing)


@every_refusal
def test_a_refusal_leaves_every_object_as_it_was(name, refusing, without_collector):
    root = a_graph(refusing)
    objects = reachable(root)
    frozen = [is_frozen(each) for each in objects]
    tracked = [gc.is_tracked(each) for each in objects]
    counts = reference_counts(objects)
    for _ in range(3):
        with pytest.raises(NotFreezableError) as raised:
            freeze(root)
        assert raised.value.obj is refusing
        del raised
        assert reference_counts(objects) == counts
        assert [is_frozen(each) for each in objects] == frozen
        assert [gc.is_tracked(each) for each in objects] == tracked


HOLDERS = [lambda: threading.Thread(target=print), asyncio.new_event_loop, tempfile.NamedTemporaryFile]


@pytest.mark.parametrize("make", HOLDERS)
def test_an_instance_that_holds_such_a_thing_refuses_because_of_it(make):
    holder = make()
    with pytest.raises(NotFreezableError) as raised:
        freeze(holder)
    assert eval(raised.value.path, {"root": holder, "gc": gc}) is raised.value.obj
    assert not is_frozen(holder)
    if hasattr(holder, "close"):
        holder.close()


def test_after_a_refusal_everything_can_be_written():
    root = a_graph(a_generator())
    with pytest.raises(NotFreezableError):
        freeze(root)
    node, slotted, loose, ring, function, _, _ = root
    root.append(1)
    node.new = 1
    node.shared.append(3)
    vars(node)["newer"] = 2
    slotted.part = None
    loose["new"] = 1
    loose["names"].add("z")
    loose["buffer"][0] = 0
    ring.clear()
    function.note = 1
    function.__defaults__ = ()
    Node.attribute = 1
    del Node.attribute


def test_after_a_refusal_the_collector_still_reclaims():
    root = a_graph(a_generator())
    with pytest.raises(NotFreezableError):
        freeze(root)
    gone = weakref.ref(root[0])
    gc.collect()
    assert gone() is not None
    del root
    gc.collect()
    assert gone() is None


def test_after_a_refusal_the_collector_counts_the_same_objects():
    root = a_graph(a_generator())
    gc.collect()
    before = {id(each) for each in gc.get_objects()} & {id(each) for each in reachable(root)}
    with pytest.raises(NotFreezableError):
        freeze(root)
    after = {id(each) for each in gc.get_objects()} & {id(each) for each in reachable(root)}
    assert after == before


def test_a_refused_graph_freezes_once_the_culprit_is_gone():
    root = a_graph(a_generator())
    with pytest.raises(NotFreezableError):
        freeze(root)
    root.pop()
    freeze(root)
    assert all(is_frozen(each) for each in root)


def test_one_refusing_root_leaves_the_others_mutable():
    good, bad = [1], [a_generator()]
    with pytest.raises(NotFreezableError):
        freeze(good, bad)
    with pytest.raises(NotFreezableError):
        freeze(bad, good)
    good.append(2)
    assert not is_frozen(good)


def test_parts_that_were_frozen_before_stay_frozen():
    part = freeze([1])
    root = [part, a_generator()]
    with pytest.raises(NotFreezableError):
        freeze(root)
    assert is_frozen(part)
    assert not is_frozen(root)


# ---- The path --------------------------------------------------------------


def in_a_default(culprit):
    def function(first, second=(1, culprit)):
        return first

    return function


def in_a_keyword_default(culprit):
    def function(*, key=culprit):
        return key

    return function


def in_a_closure(culprit):
    other = [1]

    def function():
        return other, culprit

    return function


def in_a_class(culprit):
    return type("Holder", (), {"attribute": [culprit]})


def in_a_base(culprit):
    return type("Derived", (in_a_class(culprit),), {})


# Where a culprit may hide, and how it is reached from the root.
PLACES = {
    "list": lambda culprit: [0, [culprit]],
    "tuple": lambda culprit: (0, (1, culprit)),
    "dict value": lambda culprit: {"a": {3: culprit}},
    "dict value, odd keys": lambda culprit: {"it's": {(1, "x"): {None: {2.5: culprit}}}},
    "dict key": lambda culprit: {"a": {culprit: 1}},
    "set": lambda culprit: [{1, culprit}],
    "frozenset": lambda culprit: frozenset([culprit]),
    "frozendict": lambda culprit: frozendict(a=culprit),  # noqa: F821
    "attribute": lambda culprit: Node(part=Node(part=culprit)),
    "attribute, odd name": lambda culprit: Node(**{"not an identifier": culprit}),
    "attribute, keyword": lambda culprit: Node(**{"class": culprit}),
    "slot": lambda culprit: Slotted(Slotted(culprit)),
    "namespace": lambda culprit: types.SimpleNamespace(a=culprit),
    "slice": lambda culprit: slice(None, culprit),
    "mappingproxy": lambda culprit: types.MappingProxyType({"a": culprit}),
    "cell": lambda culprit: types.CellType([culprit]),
    "default": in_a_default,
    "keyword default": in_a_keyword_default,
    "closure": in_a_closure,
    "class attribute": in_a_class,
    "class attribute of a base": in_a_base,
    "class of an instance": lambda culprit: [in_a_class(culprit)()],
    "bound method": lambda culprit: Node(part=culprit).__init__,
    "property": lambda culprit: property(in_a_closure(culprit)),
    "staticmethod": lambda culprit: staticmethod(in_a_default(culprit)),
    "mixed": lambda culprit: {"a": [1, 2, Node(x=(3, {"b": culprit}))]},
}


@pytest.mark.parametrize("place", PLACES)
def test_the_path_leads_from_the_root_to_the_culprit(place):
    culprit = a_generator()
    root = PLACES[place](culprit)
    with pytest.raises(NotFreezableError) as raised:
        freeze(root)
    assert raised.value.obj is culprit
    assert eval(raised.value.path, {"root": root, "gc": gc}) is culprit


def test_the_path_reads_like_the_code_that_a_user_would_write():
    culprit = a_generator()
    for root, path in [
        ({"a": [0, 1, 2, Node(x=culprit)]}, "root['a'][3].x"),
        ([Slotted(culprit)], "root[0].part"),
    ]:
        with pytest.raises(NotFreezableError) as raised:
            freeze(root)
        assert raised.value.path == path


def test_the_path_leads_through_captured_globals(module):
    m = module("""
        stream = (number for number in [1])

        def inner():
            return stream

        def outer():
            return inner()
    """)
    with pytest.raises(NotFreezableError) as raised:
        freeze([m.outer])
    assert raised.value.obj is m.stream
    assert eval(raised.value.path, {"root": [m.outer], "gc": gc}) is m.stream


def test_the_path_of_a_later_root_starts_at_that_root():
    culprit = a_generator()
    root = {"a": culprit}
    with pytest.raises(NotFreezableError) as raised:
        freeze([1], root)
    assert raised.value.obj is culprit
    assert "['a']" in raised.value.path


def test_the_path_into_a_long_list_is_found_too():
    culprit = a_generator()
    root = [[] for _ in range(10_000)]
    root[7_777].append(culprit)
    with pytest.raises(NotFreezableError) as raised:
        freeze(root)
    assert raised.value.path == "root[7777][0]"


def test_a_refusal_deep_down_is_an_error_and_not_a_crash():
    root = nest = []
    for _ in range(100_000):
        nest.append([])
        nest = nest[0]
    nest.append(a_generator())
    with pytest.raises(NotFreezableError) as raised:
        freeze(root)
    assert raised.value.obj is nest[0]
    assert raised.value.path.startswith("root[0][0]")
    nest.append(1)


# ---- The message -----------------------------------------------------------


@every_refusal
def test_the_message_names_the_type_and_says_what_to_do(name, refusing):
    with pytest.raises(NotFreezableError) as raised:
        freeze({"a": refusing})
    message = str(raised.value)
    assert type(refusing).__name__ in message
    assert "root['a']" in message
    assert raised.value.reason in message
    advice = "freeze ", "keep ", "InterpreterLocal", "register_freezable"
    assert any(words in raised.value.reason for words in advice)


def test_a_refusal_in_the_middle_of_a_hot_loop_does_not_disturb_it():
    culprit = io.StringIO("text")
    table = {"count": 0, "culprit": culprit}
    for _ in range(500):
        table["count"] += 1
        with pytest.raises(NotFreezableError):
            freeze(table)
    assert table["count"] == 500
