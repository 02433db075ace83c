"""Random object graphs, and a slow model of what freezing and dropping do to them.

A graph is described by plain data (a Blueprint), so that hypothesis can shrink
it, and the same blueprint can be built twice: once to freeze, once to compare.
"""

import gc
import sys
import types
from dataclasses import dataclass

from hypothesis import strategies as st

from immutable import _stats

# These have no methods: a function reaches its module, and from there everything.


class Instance:
    pass


class Slotted:
    __slots__ = ("__weakref__", "first", "second")


class Names(list):
    pass


@dataclass(frozen=True)
class Blueprint:
    """kinds[i] is the kind of node i, edges[i] the nodes that it refers to.

    A node of an immutable kind refers only to nodes before it, as it must when
    it is made; the other kinds to any node, so cycles and self-references
    occur, through immutable kinds too.
    """

    kinds: tuple[str, ...]
    edges: tuple[tuple[int, ...], ...]


IMMUTABLE_KINDS = ("tuple", "frozenset", "frozendict", "bound method", "slice")
MUTABLE_KINDS = ("list", "dict", "set", "instance", "slotted", "names", "namespace", "cell", "class", "made instance")
KINDS = st.sampled_from(IMMUTABLE_KINDS + MUTABLE_KINDS)  # one: hypothesis keeps each that it has met


@st.composite
def blueprints(draw, max_nodes=24):
    kinds = draw(st.lists(KINDS, min_size=1, max_size=max_nodes))
    edges = []
    for number, kind in enumerate(kinds):
        limit = number if kind in IMMUTABLE_KINDS else len(kinds)
        edges.append(tuple(draw(st.lists(st.integers(0, limit - 1), max_size=4))) if limit else ())
    return Blueprint(tuple(kinds), tuple(edges))


def _made_immutable(kind, parts):
    match kind:
        case "tuple":
            return (1, *parts)
        case "frozenset":
            return frozenset(part for part in parts if _hashable(part))
        case "frozendict":
            return frozendict(enumerate(parts))  # noqa: F821
        case "bound method":
            return types.MethodType(Instance, [*parts])
        case "slice":
            return slice(None, tuple(parts), "step")
    raise AssertionError(kind)


def _hashable(part):
    return isinstance(part, (Instance, Slotted, type)) or type(type(part)) is OnTheFly


class OnTheFly(type):
    """Metaclass of the classes made for one graph."""


def _made_mutable(kind):
    match kind:
        case "list":
            return []
        case "dict":
            return {}
        case "set":
            return set()
        case "instance":
            made = Instance()
            made.parts = []
            return made
        case "slotted":
            return Slotted()
        case "names":
            return Names()
        case "namespace":
            return types.SimpleNamespace()
        case "cell":
            return types.CellType()
        case "class":
            return OnTheFly("Made", (), {})
        case "made instance":
            return OnTheFly("MadeWithInstance", (), {})()
    raise AssertionError(kind)


def _fill(kind, node, parts):
    match kind:
        case "list" | "names":
            node.extend(parts)
        case "dict":
            for number, part in enumerate(parts):
                node[part if _hashable(part) and number % 2 else number] = part
        case "set":
            node.update(part for part in parts if _hashable(part))
        case "instance":
            node.parts.extend(parts)
        case "slotted":
            for name, part in zip(("first", "second"), parts, strict=False):
                setattr(node, name, part)
        case "namespace" | "class" | "made instance":
            for name, part in zip(("a", "b", "c", "d"), parts, strict=False):
                setattr(node, name, part)
        case "cell":
            node.cell_contents = tuple(parts)
        case _:
            return


def build(blueprint):
    """The nodes of a graph, in the order of the blueprint."""
    nodes = []
    for kind, targets in zip(blueprint.kinds, blueprint.edges, strict=True):
        if kind in IMMUTABLE_KINDS:
            nodes.append(_made_immutable(kind, [nodes[target] for target in targets]))
        else:
            nodes.append(_made_mutable(kind))
    for kind, node, targets in zip(blueprint.kinds, nodes, blueprint.edges, strict=True):
        _fill(kind, node, [nodes[target] for target in targets])
    return nodes


def frozen_now():
    """How much is frozen in this process; local views come and go with calls and collections.

    The interpreter's cache of attribute lookups holds the names, frozen ones
    too, until other lookups push them out: so it is emptied first.
    """
    sys._clear_internal_caches()
    return {name: number for name, number in _stats().items() if name != "local_views"}


# ---- The model -------------------------------------------------------------

HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def closure(roots):
    """Every object that can be reached, by id; builtin types are not entered."""
    found, stack = {}, list(roots)
    while stack:
        each = stack.pop()
        if id(each) in found or (isinstance(each, type) and not each.__flags__ & HEAP_TYPE):
            continue
        found[id(each)] = each
        stack.extend(gc.get_referents(each))
    return found


def shape(roots):
    """A description of a graph in which identity is a number in order of discovery.

    Two graphs with the same shape are equal in structure, sharing and cycles.
    """
    numbers, rows, queue = {}, [], []

    def number(each):
        if id(each) not in numbers:
            numbers[id(each)] = len(numbers)
            queue.append(each)
        return numbers[id(each)]

    def parts(each):
        match each:
            case type():
                return {k: v for k, v in vars(each).items() if not k.startswith("__")} if _on_the_fly(each) else {}
            case types.CellType():
                return each.cell_contents
            case types.MethodType():
                return each.__self__
            case types.SimpleNamespace() | Instance():
                return dict(vars(each))
            case Slotted():
                return {name: getattr(each, name) for name in ("first", "second") if hasattr(each, name)}
            case slice():
                return (each.start, each.stop, each.step)
            case _ if _on_the_fly(type(each)):
                return (type(each), dict(vars(each)))
            case _:
                return each

    def describe(each):
        if isinstance(each, (str, int, float, type(None))):
            return each
        return ("node", number(each))

    def row(each):
        kind, value = type(each).__name__, parts(each)
        match value:
            case dict() | frozendict():  # noqa: F821
                return kind, [(describe(key), describe(item)) for key, item in value.items()]
            case set() | frozenset():
                # Iteration order depends on addresses; the model compares sizes.
                return kind, len(value)
            case list() | tuple():
                return kind, [describe(item) for item in value]
            case _:
                return kind, repr(type(value))

    for root in roots:
        number(root)
    for each in queue:
        rows.append(row(each))
    return rows


def _on_the_fly(each):
    return type(each) is OnTheFly


def components(objects):
    """The strongly connected components of a graph given as {id: object}, as sets of ids.

    Two objects are in one component if each reaches the other: the definition,
    computed as it stands.
    """
    edges = {key: {id(part) for part in gc.get_referents(each)} & objects.keys() for key, each in objects.items()}
    reached = {}
    for key in objects:
        seen, stack = set(), [*edges[key]]
        while stack:
            following = stack.pop()
            if following not in seen:
                seen.add(following)
                stack.extend(edges[following])
        reached[key] = seen
    return {key: {other for other in reached[key] if key in reached[other]} for key in objects}


def internal_references(objects):
    """How many references to each object come from its own component, by id."""
    together = components(objects)
    count = dict.fromkeys(objects, 0)
    for key, each in objects.items():
        for part in gc.get_referents(each):
            if id(part) in together[key]:
                count[id(part)] += 1
    return count


def reference_counts(objects):
    return [sys.getrefcount(each) for each in objects]
