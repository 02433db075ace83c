"""Random object graphs that can be checked against plain data at any time, by anybody who holds a part of one.

A plan says what kind each node is and which nodes it refers to. `build` makes the objects. Each node carries its number
(NUMBER_BASE and up, so that it is an object of its own and no cached small integer), so whoever holds any node can tell
which one it is, and follow every edge to a node that must have the number planned: memory that was released too early
does not pass.
"""

import dataclasses
import types
import weakref

from immutable import freeze

NUMBER_BASE = 1_000_000


class Node:
    """Parts are attributes: they live in inline values."""


class Slotted:
    __slots__ = ("__weakref__", "number", "part0", "part1", "part2", "part3")


class Names(list):
    """A list with room for attributes and weak references."""


class Hashable(frozenset):
    """A frozenset that can be weakly referenced, with a number of its own."""


class Reference(weakref.ref):
    """A weak reference with a number of its own; strong while it is frozen."""


class OnTheFly(type):
    """Metaclass of the classes made for one graph."""


ATTRIBUTES = ("part0", "part1", "part2", "part3")

MADE_LAST = (
    "list",
    "dict",
    "names",
    "node",
    "node with a dict",
    "slotted",
    "namespace",
    "cell",
    "class",
    "instance of a class",
)
"""Kinds whose parts are given to them after they are made, so that any node may be one."""

CODE = ("function", "closure", "class with methods")
"""Kinds with code of their own; their parts, too, come after they are made."""

MADE_FIRST = ("tuple", "frozenset", "frozendict", "bound method", "slice", "mapping proxy", "weak reference")
"""Kinds that are made with their parts, which therefore have lower numbers."""

WEAKLY_REFERENCEABLE = (
    "names",
    "node",
    "node with a dict",
    "slotted",
    "class",
    "instance of a class",
    "function",
    "closure",
    "class with methods",
    "frozenset",
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """kinds[i] is the kind of node i, edges[i] the nodes that it refers to, in order."""

    kinds: tuple[str, ...]
    edges: tuple[tuple[int, ...], ...]

    def __len__(self):
        return len(self.kinds)

    def reached(self, held):
        """The nodes that can be reached from those held, these included."""
        found, stack = set(held), list(held)
        while stack:
            for part in self.edges[stack.pop()]:
                if part not in found:
                    found.add(part)
                    stack.append(part)
        return found


# ---- Shapes ----------------------------------------------------------------


def scattered(rng, size):
    return [[rng.randrange(size) for _ in range(rng.randrange(5))] for _ in range(size)]


def tree(rng, size):
    edges = [[] for _ in range(size)]
    for n in range(size - 1):
        # Towards higher numbers, so that node size-1 is the root and kinds made first may be anywhere.
        parent = rng.randrange(n + 1, size)
        edges[parent].append(n)
    return edges


def acyclic(rng, size):
    return [[rng.randrange(n) for _ in range(rng.randrange(5))] if n else [] for n in range(size)]


def ring(rng, size):
    del rng
    return [[(n + 1) % size] for n in range(size)]


def rings(rng, size):
    """Many components, each with an edge to an earlier one."""
    edges, start = [], 0
    while start < size:
        length = min(rng.randint(1, 8), size - start)
        for n in range(length):
            edges.append([start + (n + 1) % length])
        if start:
            edges[-1].append(rng.randrange(start))
        start += length
    return edges


def dense(rng, size):
    size = min(size, 60)
    return [rng.sample(range(size), size) for _ in range(size)]


def chain(rng, size):
    del rng
    return [[n - 1] if n else [] for n in range(size)]


SHAPES = (scattered, scattered, tree, acyclic, ring, rings, dense, chain)
SIZES = (1, 2, 3, 5, 8, 13, 21, 40, 40, 80, 80, 400)
MOST_PARTS = {"list": 10**9, "names": 10**9, "dict": 10**9, "tuple": 10**9, "frozendict": 10**9}
"""How many parts a node of a kind has room for: 4 where this does not say."""


def plan(rng, *, size=None, shape=None, code=True):
    """A random plan; `code` says whether functions may be in it."""
    edges = (shape or rng.choice(SHAPES))(rng, size or rng.choice(SIZES))
    kinds = []
    for n, targets in enumerate(edges):
        fitting = [*MADE_LAST, *(CODE if code else ())]
        if all(target < n for target in targets):
            fitting += MADE_FIRST[:-1]
            if len(targets) == 1 and kinds[targets[0]] in WEAKLY_REFERENCEABLE:
                fitting += ["weak reference"] * 3
        kind = rng.choice(fitting)
        if len(targets) > MOST_PARTS.get(kind, 4):
            kind = "list"
        kinds.append(kind)
    for n, kind in enumerate(kinds):
        if kind == "frozenset":
            # Equal parts would be one: so each is there once, and has a hash by identity.
            edges[n] = [target for target in dict.fromkeys(edges[n]) if kinds[target] in ("node", "slotted", "class")]
    return Plan(tuple(kinds), tuple(map(tuple, edges)))


# ---- Objects ---------------------------------------------------------------


def build(planned):
    """The nodes of a plan, mutable, in the order of their numbers."""
    nodes = []
    for number, (kind, targets) in enumerate(zip(planned.kinds, planned.edges, strict=True)):
        if kind in MADE_FIRST:
            nodes.append(_with_parts(kind, NUMBER_BASE + number, [nodes[target] for target in targets]))
        else:
            nodes.append(_without_parts(kind, NUMBER_BASE + number))
    for kind, node, targets in zip(planned.kinds, nodes, planned.edges, strict=True):
        if kind not in MADE_FIRST:
            _fill(kind, node, [nodes[target] for target in targets])
    return nodes


def _with_parts(kind, number, parts):
    match kind:
        case "tuple":
            return (number, *parts)
        case "frozenset":
            made = Hashable(parts)
            made.number = number
            return made
        case "frozendict":
            return frozendict({"number": number, **{f"key {n}": part for n, part in enumerate(parts)}})  # noqa: F821
        case "bound method":
            return types.MethodType(Node, [number, *parts])
        case "slice":
            return slice(number, tuple(parts), "step")
        case "mapping proxy":
            return types.MappingProxyType({"number": number, **dict(enumerate(parts))})
        case "weak reference":
            made = Reference(*parts)
            made.number = number
            return made
    raise AssertionError(kind)


def _without_parts(kind, number):
    match kind:
        case "list":
            return [number]
        case "names":
            return Names([number])
        case "dict":
            return {"number": number}
        case "cell":
            return types.CellType([number])
        case "class":
            return OnTheFly("Made", (), {"number": number})
        case "function":
            return _function(number)
        case "closure":
            return _closure(number)
        case "class with methods":
            return _class_with_methods(number)
    made = {
        "node": Node,
        "node with a dict": Node,
        "slotted": Slotted,
        "namespace": types.SimpleNamespace,
        "instance of a class": OnTheFly("MadeWithInstance", (), {}),
    }[kind]()
    if kind == "node with a dict":
        vars(made)["in the dict"] = True
    made.number = number
    return made


def _fill(kind, node, parts):
    match kind:
        case "list" | "names":
            node.extend(parts)
        case "dict":
            node.update(enumerate(parts))
        case "cell":
            node.cell_contents.extend(parts)
        case "function":
            node.__defaults__[0].extend(parts)
        case "closure":
            node()[1].extend(parts)
        case _:
            for name, part in zip(ATTRIBUTES, parts, strict=False):
                setattr(node, name, part)


def _function(number):
    def read(holder=[]):
        return holder

    read.__defaults__ = ([number],)
    return read


def _closure(number):
    holder = []

    def read():
        return number, holder

    return read


def _class_with_methods(number):
    made_by = [number]

    class WithMethods:
        def get(self):
            return made_by[0], self, __class__

        @property
        def reading(self):
            return self.get()[0]

        @classmethod
        def of(cls):
            return cls.number

        @staticmethod
        def known():
            return made_by

    WithMethods.number = number
    return WithMethods


def number_and_parts(node):
    """What a node says of itself: its number in the plan, and the nodes that it refers to, in order.

    Nothing is called that is frozen: a call would make a local view, which may keep a function alive for a while. And
    only builtin types are asked for: the node may come from another interpreter, whose Node is not the one here.
    """
    match node:
        case weakref.ReferenceType():
            number, parts = node.number, [node()]
        case frozenset():
            number, parts = node.number, sorted(node, key=lambda part: part.number)
        case list() | tuple():
            number, *parts = node
        case dict() | frozendict() | types.MappingProxyType():  # noqa: F821
            number, *parts = node.values()
        case types.FunctionType(__defaults__=None):
            of = dict(zip(node.__code__.co_freevars, node.__closure__, strict=True))
            number, parts = of["number"].cell_contents, list(of["holder"].cell_contents)
        case types.FunctionType():
            number, *parts = node.__defaults__[0]
        case types.MethodType():
            number, *parts = node.__self__
        case types.CellType():
            number, *parts = node.cell_contents
        case slice():
            number, parts = node.start, list(node.stop)
        case _:
            number, parts = node.number, [getattr(node, name) for name in ATTRIBUTES if hasattr(node, name)]
    return number - NUMBER_BASE, parts


def number_of(node):
    """The number of a node in its plan."""
    return number_and_parts(node)[0]


def mistake_in(node, planned):
    """What is wrong with a node and with its parts' numbers, or None."""
    number, parts = number_and_parts(node)
    if not 0 <= number < len(planned):
        return f"a node has number {number} of {len(planned)}"
    expected = planned.edges[number]
    if planned.kinds[number] == "frozenset":
        expected = tuple(sorted(expected))
    found = tuple(map(number_of, parts))
    if found != expected:
        return f"node {number}, a {planned.kinds[number]}, leads to {found} and not to {expected}"
    return None


def writes(node):
    """Writes to try on a node, as functions without arguments: all of them change a mutable one."""
    match node:
        case tuple() | frozendict() | types.MappingProxyType() | types.MethodType() | slice():  # noqa: F821
            return []
        case list():
            return [lambda: node.append(1), node.clear, lambda: node.__setitem__(0, 1), node.reverse]
        case dict():
            return [lambda: node.__setitem__("new", 1), node.clear, node.popitem, lambda: node.update(new=1)]
        case types.CellType():
            return [lambda: setattr(node, "cell_contents", 1)]
        case types.FunctionType():
            return [lambda: setattr(node, "__defaults__", ()), lambda: setattr(node, "new", 1)]
    return [lambda: setattr(node, "number", 1), lambda: delattr(node, "number")]


def example_of_every_kind():
    """A plan with a node of each kind: frozen once, so that later graphs share with the program only what is frozen."""
    kinds = ("node", *MADE_LAST, *CODE, *MADE_FIRST)
    edges = [[] if kind == "frozenset" else [0] for kind in kinds]
    return Plan(kinds, tuple(map(tuple, edges)))


freeze(Node, Slotted, Names, Hashable, Reference, OnTheFly, Plan)
