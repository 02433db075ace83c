"""Every freezable type: frozen in place, and nothing that reads it can tell."""

import collections
import copy
import enum
import gc
import json
import pickle
import pprint
import sys
import types
from dataclasses import dataclass, field

import pytest

from immutable import MutationError, NotFreezableError, freeze, is_frozen


class Plain:
    """An instance with inline values."""

    def __init__(self, *values):
        self.first, self.rest = values[0], list(values[1:])

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None

    def method(self):
        return self.first


class Slotted:
    __slots__ = ("__weakref__", "first", "unset")

    def __init__(self, first):
        self.first = first

    def __eq__(self, other):
        return type(self) is type(other) and self.first == other.first

    __hash__ = None


class SlottedAndDict(Slotted):
    def __init__(self, first, extra):
        super().__init__(first)
        self.extra = extra


class ListWithName(list):
    def __init__(self, name, *items):
        super().__init__(items)
        self.name = name


class DictWithName(dict):
    name = "class attribute"


class Millimetres(int):
    def __repr__(self):
        return f"{int(self)} mm"


class Colour(enum.Enum):
    RED = [1, 2]
    BLUE = "b"


class Weekday(enum.IntEnum):
    MONDAY = 1
    SUNDAY = 7


class Permission(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


Point = collections.namedtuple("Point", "x y", defaults=[0])


@dataclass
class Record:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, order=True)
class FrozenRecord:
    name: str
    parts: tuple = ()


@dataclass(slots=True, kw_only=True)
class SlottedRecord:
    name: str
    tags: list = field(default_factory=list)


class Metaclass(type):
    def __len__(cls):
        return 3


class WithMetaclass(metaclass=Metaclass):
    attribute = [1]


class WithWrappers:
    kept = [1]

    @property
    def reading(self):
        "Documented."
        return self.kept

    @classmethod
    def of_class(cls):
        return cls.kept

    @staticmethod
    def of_nothing(x=1):
        return x


def a_function(a, b=(1,), *, c={2: 3}):
    "Documented."
    return a, b, c


def a_cell(value):
    def closure():
        return value

    return closure.__closure__[0]


def sparse_dict():
    made = dict.fromkeys(range(100))
    for key in range(90):
        del made[key]
    return made


def instance_dict():
    return vars(Plain(1, 2))


def with_overridden_attribute():
    made = Plain(1, 2)
    vars(made)  # its dict object exists, over the inline values
    made.added = {"x": [1]}
    return made


def with_own_dict():
    made = Plain(1)
    made.__dict__ = {"first": 1, "rest": [], 3: "not an identifier"}
    return made


# Fresh values of every type, by a name that the test report shows.
VALUES = {
    "None": lambda: None,
    "NotImplemented": lambda: NotImplemented,
    "Ellipsis": lambda: ...,
    "bool": lambda: True,
    "int, small": lambda: 5,
    "int, large": lambda: 10**40,
    "float": lambda: 2.5e300,
    "complex": lambda: complex(1, -2),
    "str, empty": lambda: "",
    "str, ascii": lambda: "".join(["plain", " text"]),
    "str, wide": lambda: "".join(["größer ", "\N{SNOWMAN}", "\N{GRINNING FACE}"]),
    "bytes": lambda: bytes([1, 2, 3, 0]),
    "bytearray": lambda: bytearray(b"bytes that change"),
    "bytearray, consumed": lambda: bytearray(b"xx rest").removeprefix(b"xx"),
    "tuple, empty": lambda: (),
    "tuple": lambda: (1, [2], "three"),
    "tuple, nested": lambda: ((1, (2, (3, []))),),
    "list, empty": list,
    "list": lambda: [1, "two", [3.0], None],
    "list, over-allocated": lambda: [i for i in range(1000) if i % 3],
    "dict, empty": dict,
    "dict, string keys": lambda: {"a": 1, "b": [2]},
    "dict, general keys": lambda: {1: "one", (2, 3): [4], None: {}},
    "dict, sparse": sparse_dict,
    "dict, of an instance": instance_dict,
    "set, empty": set,
    "set": lambda: {1, "two", (3, 4), frozenset([5])},
    "set, large": lambda: set(range(0, 10_000, 7)),
    "frozenset": lambda: frozenset([1, "two", (3,)]),
    "frozendict": lambda: frozendict({"a": [1], 2: "b"}),  # noqa: F821
    "range": lambda: range(10**20, 10**20 + 99, 7),
    "slice": lambda: slice(1, [2], "three"),
    "memoryview of bytes": lambda: memoryview(b"abcdef")[1:4],
    "memoryview of bytearray": lambda: memoryview(bytearray(b"abcdefgh")).cast("H"),
    "instance": lambda: Plain(1, 2, 3),
    "instance with a dict object": with_overridden_attribute,
    "instance with a dict of its own": with_own_dict,
    "instance with slots": lambda: Slotted([1]),
    "instance with slots and dict": lambda: SlottedAndDict([1], {2: 3}),
    "instance of a list subclass": lambda: ListWithName("n", 1, [2]),
    "instance of a dict subclass": lambda: DictWithName(a=[1]),
    "instance of an int subclass": lambda: Millimetres(12),
    "class": lambda: Plain,
    "class with a metaclass": lambda: WithMetaclass,
    "class made on the fly": lambda: type("Made", (Plain,), {"items": [1, 2]}),
    "function": lambda: a_function,
    "lambda": lambda: lambda x, y=[1]: (x, y),
    "bound method": lambda: Plain(1).method,
    "bound method of a class": lambda: WithWrappers.of_class,
    "bound method of a builtin": lambda: [1, 2].count,
    "property": lambda: vars(WithWrappers)["reading"],
    "classmethod": lambda: vars(WithWrappers)["of_class"],
    "staticmethod": lambda: vars(WithWrappers)["of_nothing"],
    "cell": lambda: a_cell([1]),
    "cell, empty": lambda: types.CellType(),
    "code": lambda: a_function.__code__,
    "generic alias": lambda: dict[str, list[Plain]],
    "union": lambda: int | list[str] | None,
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1, b=[2]),
    "mappingproxy": lambda: types.MappingProxyType({"a": [1]}),
    "mappingproxy of a class": lambda: vars(Plain),
    "dataclass": lambda: Record("r", ["x"]),
    "dataclass, frozen": lambda: FrozenRecord("r", (1, [2])),
    "dataclass, slots": lambda: SlottedRecord(name="r", tags=["x"]),
    "named tuple": lambda: Point([1]),
    "enum member": lambda: Colour.RED,
    "enum class": lambda: Colour,
    "int enum member": lambda: Weekday.SUNDAY,
    "flag member": lambda: Permission.READ | Permission.WRITE,
}

BUILTIN_CONTAINERS = {
    "bytearray": bytearray.clear,
    "list": list.clear,
    "dict, string keys": dict.clear,
    "dict, general keys": dict.clear,
    "dict, sparse": dict.clear,
    "dict, of an instance": dict.clear,
    "set": set.clear,
    "set, large": set.clear,
}

# An attribute to write, by instance.
INSTANCES = {
    "instance": "first",
    "instance with a dict object": "added",
    "instance with a dict of its own": "first",
    "instance with slots": "first",
    "instance with slots and dict": "first",
    "SimpleNamespace": "a",
    "dataclass": "name",
    "dataclass, slots": "tags",
}

every_type = pytest.mark.parametrize("name", VALUES)


def outcome(function, *arguments):
    """What a call returns, or the type and text of what it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error), str(error)


def reading(value):
    """What the language can read from a value, in a form that can be compared."""
    return {
        "repr": repr(value),
        "str": str(value),
        "format": outcome(format, value),
        "bool": outcome(bool, value),
        "type": type(value),
        "id": id(value),
        "len": outcome(len, value),
        "hash": outcome(hash, value),
        "items": outcome(lambda: [repr(item) for item in value]),
        "reversed": outcome(lambda: [repr(item) for item in reversed(value)]),
        "bytes": outcome(lambda: value.tobytes()),
        "slice": outcome(lambda: [repr(item) for item in value[:2]]),
        "names": outcome(dir, value),
        "instance dict": outcome(lambda: sorted(map(repr, vars(value)))),
        "documentation": outcome(lambda: value.__doc__),
        "equal to itself": value == value,
        "size is known": sys.getsizeof(value) > 0,
    }


@every_type
def test_freeze_works_in_place_and_is_seen(name):
    value = VALUES[name]()
    assert freeze(value) is value
    assert is_frozen(value)


@every_type
def test_reading_gives_the_same_as_before(name):
    value = VALUES[name]()
    before = reading(value)
    freeze(value)
    assert reading(value) == before


@every_type
def test_a_frozen_value_equals_a_mutable_one(name):
    frozen, mutable = VALUES[name](), VALUES[name]()
    equal = frozen == mutable
    freeze(frozen)
    assert (frozen == mutable) == equal
    assert (mutable == frozen) == equal


@every_type
def test_everything_that_it_reaches_is_frozen_too(name):
    value = freeze(VALUES[name]())
    seen, stack = set(), [value]
    while stack:
        reached = stack.pop()
        if id(reached) in seen or isinstance(reached, (type, types.FunctionType, types.ModuleType)):
            continue
        seen.add(id(reached))
        assert is_frozen(reached), reached
        stack.extend(gc.get_referents(reached))


@every_type
def test_frozen_objects_have_left_the_cyclic_collector(name):
    assert not gc.is_tracked(freeze(VALUES[name]()))


@every_type
def test_pickling_works_as_before(name):
    def round_trip(protocol):
        return reading(pickle.loads(pickle.dumps(value, protocol))) | {"id": None}

    value = VALUES[name]()
    before = [outcome(round_trip, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)]
    freeze(value)
    after = [outcome(round_trip, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)]
    assert describe(after) == describe(before)


def describe(outcomes):
    """Addresses in representations differ from copy to copy."""
    return [
        {key: result[key] for key in ("type", "len", "bytes", "names", "instance dict", "bool")}
        if isinstance(result, dict)
        else result
        for result in outcomes
    ]


def test_json_and_formatting_see_no_difference():
    value = {"name": "größer", "items": [1, 2.5, None, True], "nested": {"empty": [], "pair": (1, 2)}}
    before = (
        json.dumps(value),
        json.dumps(value, indent=1, sort_keys=True),
        f"{value} {value!r:>300}",
        pprint.pformat(value),
    )
    freeze(value)
    after = (
        json.dumps(value),
        json.dumps(value, indent=1, sort_keys=True),
        f"{value} {value!r:>300}",
        pprint.pformat(value),
    )
    assert after == before


@pytest.mark.parametrize("name", BUILTIN_CONTAINERS)
def test_copies_of_a_frozen_container_are_mutable(name):
    value = freeze(VALUES[name]())
    for duplicate in copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)):
        assert duplicate == value
        assert not is_frozen(duplicate)
        BUILTIN_CONTAINERS[name](duplicate)
        assert len(duplicate) == 0
    assert len(value) > 0


@pytest.mark.parametrize("name", INSTANCES)
def test_copies_of_a_frozen_instance_are_mutable(name):
    value = freeze(VALUES[name]())
    for duplicate in copy.copy(value), copy.deepcopy(value):
        assert duplicate == value
        setattr(duplicate, INSTANCES[name], "changed")
        assert getattr(duplicate, INSTANCES[name]) == "changed"
        assert duplicate != value


def test_a_shallow_copy_shares_the_frozen_parts():
    value = freeze([[1]])
    duplicate = copy.copy(value)
    assert duplicate[0] is value[0]
    with pytest.raises(MutationError):
        duplicate[0].append(2)


def test_a_deep_copy_is_mutable_all_the_way_down():
    value = freeze({"a": [Plain(1, 2)], "b": (bytearray(b"x"), {3})})
    duplicate = copy.deepcopy(value)
    assert duplicate == value
    duplicate["a"][0].rest.append(3)
    duplicate["b"][0].append(0)
    duplicate["b"][1].add(4)
    assert duplicate != value
    assert value == {"a": [Plain(1, 2)], "b": (bytearray(b"x"), {3})}


def test_operators_give_new_mutable_results():
    numbers, table, names = freeze([1, 2]), freeze({"a": 1}), freeze({1, 2})
    buffer = freeze(bytearray(b"ab"))
    for result in numbers.__add__([3]), numbers * 2, numbers[:], numbers.copy(), sorted(numbers):
        assert not is_frozen(result)
        result.append(0)
    for result in table | {"b": 2}, {"b": 2} | table, table.copy(), dict(table):
        assert not is_frozen(result)
        result["c"] = 3
    for result in names | {3}, names - {1}, names.union([4]), names.copy(), names ^ {1}:
        assert not is_frozen(result)
        result.add(9)
    for result in buffer + b"c", buffer * 2, buffer[:], buffer.upper():
        assert not is_frozen(result)
        result.append(0)
    assert (numbers, table, names, buffer) == ([1, 2], {"a": 1}, {1, 2}, b"ab")


def test_views_and_iterators_of_frozen_containers_work():
    table = freeze({"a": 1, "b": [2]})
    assert list(table) == ["a", "b"]
    assert list(table.items()) == [("a", 1), ("b", [2])]
    assert list(reversed(table.keys())) == ["b", "a"]
    assert list(zip(freeze([1, 2]), freeze((3, 4)), strict=True)) == [(1, 3), (2, 4)]
    assert [*freeze({1})] == [1]
    assert {**table} == table
    first, *rest = freeze([1, 2, 3])
    assert (first, rest) == (1, [2, 3])
    assert f"{freeze([1])}" == "[1]"
    match table:
        case {"a": int(n), **others}:
            assert (n, others) == (1, {"b": [2]})


def test_freezing_an_unhashable_does_not_make_it_hashable():
    for value in [1], {1: 2}, {3}, bytearray(b"x"), Plain(1), Record("r"):
        freeze(value)
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)


def test_hashes_stay_what_they_were():
    text, data, pair = "".join(["a", "bc"]), bytes([1, 2]), (1.5, "x")
    fresh = [hash("abc"), hash(b"\x01\x02"), hash((1.5, "x"))]
    freeze(text, data, pair)
    assert [hash(text), hash(data), hash(pair)] == fresh
    assert {"abc": 1}[text] == 1


def test_a_memoryview_freezes_what_it_views():
    buffer = bytearray(b"abc")
    view = freeze(memoryview(buffer))
    assert is_frozen(buffer)
    with pytest.raises(MutationError):
        buffer[0] = 0
    with pytest.raises(TypeError):
        view[0] = 0
    assert view.tobytes() == b"abc"


@pytest.mark.parametrize("last", ["outside", "inside"])
def test_views_that_cannot_write_may_stay_outside(last):
    whole = memoryview(b"header body")
    parts = {"header": whole[:6], "body": whole[7:]}
    freeze(parts)
    assert is_frozen(parts["body"])
    assert not is_frozen(whole)
    more = whole[3:6]
    whole.release()
    with pytest.raises(MutationError):
        parts["body"].release()
    if last == "outside":
        del parts
        gc.collect()
        assert bytes(more) == b"der"
    else:
        more.release()
        assert bytes(parts["header"]) + bytes(parts["body"]) == b"headerbody"


@pytest.mark.parametrize("outside", [lambda view: view, lambda view: view.toreadonly(), lambda view: view[1:]])
def test_a_view_outside_of_what_can_be_written_refuses(outside):
    view = memoryview(bytearray(b"abc"))
    kept = outside(view)
    inside = view[:2]
    view = kept
    with pytest.raises(NotFreezableError, match="release its memory views first"):
        freeze(inside)
    assert view.obj == b"abc"


def test_a_mappingproxy_freezes_its_mapping():
    mapping = {"a": 1}
    proxy = freeze(types.MappingProxyType(mapping))
    with pytest.raises(MutationError):
        mapping["a"] = 2
    assert proxy["a"] == 1


def test_a_bound_method_freezes_its_instance():
    owner = Plain(1)
    method = freeze(owner.method)
    assert is_frozen(owner)
    assert method() == 1
    with pytest.raises(MutationError):
        owner.first = 2


def test_a_cell_keeps_its_content():
    cell = freeze(a_cell([1]))
    assert cell.cell_contents == [1]
    with pytest.raises(MutationError):
        cell.cell_contents = 2
    with pytest.raises(MutationError):
        del cell.cell_contents


def test_aliases_and_unions_work_when_frozen():
    alias, union = freeze(list[int]), freeze(int | str)
    assert alias.__origin__ is list
    assert alias.__args__ == (int,)
    assert alias("ab") == ["a", "b"]
    assert alias == list[int]
    assert hash(alias) == hash(list[int])
    assert isinstance(3, union)
    assert union | None == int | str | None


def test_sharing_within_a_graph_is_kept():
    shared = [1]
    value = freeze({"a": shared, "b": (shared, shared)})
    assert value["a"] is value["b"][0] is value["b"][1] is shared


def test_several_roots_may_share_parts():
    shared = [1]
    left, right = [shared], {"shared": shared}
    freeze(left, right)
    assert is_frozen(left)
    assert is_frozen(right)
    assert left[0] is right["shared"]


def test_the_same_root_may_be_named_twice():
    value = [1]
    freeze(value, value)
    assert is_frozen(value)


def test_a_frozen_part_may_be_in_a_mutable_whole():
    part = freeze([1])
    whole = {"part": part}
    whole["more"] = 2
    assert not is_frozen(whole)
    freeze(whole)
    assert is_frozen(whole)
    assert whole["part"] is part
