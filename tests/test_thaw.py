"""A frozen object is copied: as a whole and mutable by thaw(), and by the copy protocols as ever."""

import collections
import copy
import copyreg
import dataclasses
import enum
import math
import pickle
import types
from builtins import frozendict

import pytest

from immutable import InterpreterLocal, SharedField, channel, freeze, is_frozen, thaw


class Plain:
    def __init__(self, *values):
        self.values = list(values)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class SlottedWithDict(Slotted):
    def __init__(self, a, c):
        super().__init__(a)
        self.c = c


@dataclasses.dataclass
class Point:
    x: list
    y: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Fixed:
    parts: list


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


Pair = collections.namedtuple("Pair", "left right")


class ListWithName(list):
    pass


class DictWithName(dict):
    pass


class SetWithName(set):
    pass


class TupleWithName(tuple):
    pass


class FrozenSetWithName(frozenset):
    pass


def test_builtin_containers_become_mutable_all_the_way_down():
    original = {"list": [1, [2]], "set": {1}, "bytes": bytearray(b"ab"), "tuple": ([],), "dict": {"a": {}}}
    copied = thaw(freeze(original))
    assert copied == original
    copied["list"][1].append(3)
    copied["set"].add(2)
    copied["bytes"] += b"c"
    copied["tuple"][0].append(1)
    copied["dict"]["a"]["b"] = 1
    assert original == {"list": [1, [2]], "set": {1}, "bytes": bytearray(b"ab"), "tuple": ([],), "dict": {"a": {}}}
    assert not is_frozen(copied)
    assert is_frozen(original)


def test_what_cannot_change_is_shared():
    parts = (1, "a", b"b", None, ..., 1.5, range(3), (1, (2,)), frozenset({1}), frozendict(a=1), len, math.sqrt, int)
    freeze(parts)
    for part in parts:
        assert thaw(part) is part
    assert thaw(parts) is parts


def test_immutable_containers_of_mutable_parts_are_copied():
    inner = Plain(1)
    original = freeze((inner, frozenset({inner}), frozendict(key=inner)))
    copied = thaw(original)
    new = copied[0]
    assert new is not inner
    assert copied[1] == {new}
    assert copied[2] == {"key": new}
    new.values.append(2)
    assert inner.values == [1]


def test_cycles_and_shared_parts_are_kept():
    shared = ["shared"]
    original = {"a": shared, "b": (shared, shared), "node": Plain()}
    original["self"] = original
    original["node"].owner = original
    original["loop"] = loop = ([],)
    loop[0].append(loop)
    copied = thaw(freeze(original))
    assert copied["self"] is copied
    assert copied["node"].owner is copied
    assert copied["a"] is copied["b"][0] is copied["b"][1] is not shared
    assert copied["loop"][0][0] is copied["loop"]
    assert copied["loop"] is not loop


def test_instances_with_a_dict_slots_or_both():
    original = freeze([Plain(1, 2), Slotted([1]), SlottedWithDict([2], [3]), Point([4]), Fixed([5])])
    plain, slotted, both, point, fixed = thaw(original)
    assert type(plain) is Plain
    plain.values.append(3)
    plain.more = 1
    assert plain.values == [1, 2, 3]
    slotted.a.append(2)
    slotted.b = 1
    assert not hasattr(original[1], "b")
    both.c.append(4)
    both.a.append(5)
    assert (both.a, both.c) == ([2, 5], [3, 4])
    point.x.append(5)
    point.y = 7
    assert original[3] == Point([4])
    fixed.parts.append(6)
    assert original[4] == Fixed([5])


def test_subclasses_of_containers_keep_class_contents_and_attributes():
    originals = [
        ListWithName([[1]]),
        DictWithName(a=[1]),
        SetWithName({1}),
        TupleWithName(([1],)),
        FrozenSetWithName({1}),
    ]
    for original in originals:
        original.name = ["name"]
    for original, copied in zip(freeze(originals), thaw(originals), strict=True):
        assert type(copied) is type(original)
        assert copied == original
        assert copied is not original
        copied.name.append("new")
        assert original.name == ["name"]


def test_named_tuples():
    original = freeze(Pair([1], 2))
    copied = thaw(original)
    assert type(copied) is Pair
    copied.left.append(2)
    assert original == Pair([1], 2)


def test_enumerations_classes_functions_and_modules_stay_shared():
    def function():
        return Plain

    original = freeze({"member": Colour.RED, "flag": Rights.READ, "class": Plain, "function": function, "module": math})
    copied = thaw(original)
    assert copied is not original
    for name, value in original.items():
        assert copied[name] is value


def test_singletons_by_name_and_objects_that_copy_themselves_stay_shared():
    freeze(copied := [SENTINEL, SELF])
    assert thaw(copied)[0] is SENTINEL
    assert thaw(copied)[1] is SELF


class Sentinel:
    def __reduce__(self):
        return "SENTINEL"


class CopiesItself:
    def __deepcopy__(self, memo):
        return self


SENTINEL = Sentinel()
SELF = CopiesItself()


class CopiesWithMemo:
    def __init__(self, part):
        self.part = part

    def __deepcopy__(self, memo):
        return CopiesWithMemo(copy.deepcopy(self.part, memo))


def test_a_deepcopy_method_shares_parts_with_the_rest():
    shared = [1]
    first, second = thaw(freeze([CopiesWithMemo(shared), shared]))
    assert first.part is second is not shared


def test_the_pickle_protocol_is_used():
    class Odd:
        def __init__(self, value):
            self.value = value

        def __getstate__(self):
            return [self.value]

        def __setstate__(self, state):
            self.value = state[0] + ["set"]

    assert thaw(freeze(Odd([1]))).value == [1, "set"]

    class Registered:
        def __init__(self, value):
            self.value = value

    copyreg.pickle(Registered, lambda obj: (Registered, (obj.value,)))
    try:
        original = freeze(Registered([1]))
        assert thaw(original).value == [1]
        assert thaw(original).value is not original.value
    finally:
        del copyreg.dispatch_table[Registered]


def test_bound_methods_are_bound_to_the_copy():
    class Counter:
        def __init__(self):
            self.n = 0

        def increment(self):
            self.n += 1
            return self.n

    original = freeze(Counter())
    counter, method = thaw(freeze([original, original.increment]))
    assert method() == method.__self__.n == counter.n == 1
    assert original.n == 0


def test_mapping_proxies():
    proxied = freeze(types.MappingProxyType({"a": [1]}))
    copied = thaw(proxied)
    assert type(copied) is types.MappingProxyType
    copied["a"].append(2)
    assert proxied["a"] == [1]


def test_what_the_runtime_made_for_several_interpreters_stays_shared():
    sender, receiver = channel()
    local, field = InterpreterLocal(list), SharedField(1)
    copied = thaw(freeze([sender, receiver, local, field]))
    assert [x is y for x, y in zip(copied, (sender, receiver, local, field), strict=True)] == [True] * 4


class Serving:
    """An object that uses what may change in frozen objects."""

    def __init__(self):
        self.cache = InterpreterLocal(None)
        self.hits = SharedField(0)
        self.ends = channel()


class Picklable(Serving):
    def __getstate__(self):
        return {"answer": 42}

    def __setstate__(self, state):
        self.__init__()
        self.answer = state["answer"]


def test_copies_share_what_the_runtime_made_for_several_interpreters():
    original = freeze(Serving())
    for copied in copy.copy(original), copy.deepcopy(original), thaw(original):
        assert copied.cache is original.cache
        assert copied.hits is original.hits
        assert all(one is other for one, other in zip(copied.ends, original.ends, strict=True))
    assert copy.copy(original.hits) is copy.deepcopy(original.hits) is original.hits


def test_pickles_leave_out_what_the_runtime_made_for_several_interpreters():
    for part in (InterpreterLocal(None), SharedField(1), *channel()):
        with pytest.raises(TypeError, match=r"cannot pickle 'immutable.* __getstate__"):
            pickle.dumps(part)
    assert pickle.loads(pickle.dumps(freeze(Picklable()))).answer == 42


def test_mutable_objects_are_copied_too():
    frozen = freeze([1])
    mutable = [frozen, [2]]
    copied = thaw(mutable)
    copied[0].append(2)
    copied[1].append(3)
    assert mutable == [[1], [2]]


def test_what_cannot_be_copied_is_refused():
    with pytest.raises(TypeError, match="generator"):
        thaw([(x for x in ())])
    with pytest.raises(TypeError):
        thaw()
    with pytest.raises(TypeError):
        thaw(obj=1)


def test_deep_nesting_does_not_overflow_the_stack():
    nested = []
    for _ in range(200_000):
        nested = [nested]
    copied = thaw(freeze(nested))
    depth = 0
    while copied:
        assert not is_frozen(copied)
        (copied,) = copied
        depth += 1
    assert depth == 200_000
    chain = None
    for _ in range(20_000):
        link = Plain()
        link.next = chain
        chain = link
    copied = thaw(freeze(chain))
    while copied:
        copied = copied.next


# ---- The copy protocols --------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: [1, [2]],
        lambda: {"a": [1]},
        lambda: {1, 2},
        lambda: bytearray(b"ab"),
        lambda: Plain(1),
        lambda: SlottedWithDict([1], [2]),
        lambda: Point([1]),
        lambda: ListWithName([1]),
        lambda: DictWithName(a=1),
        lambda: types.SimpleNamespace(a=[1]),
    ],
)
def test_copies_and_pickles_of_frozen_objects_are_mutable_and_equal(make):
    original, twin = freeze(make()), make()
    for copied in (
        copy.copy(original),
        copy.deepcopy(original),
        thaw(original),
        *(pickle.loads(pickle.dumps(original, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)),
    ):
        assert type(copied) is type(twin)
        assert getattr(copied, "__dict__", copied) == getattr(twin, "__dict__", twin)
        assert not is_frozen(copied)
        if hasattr(copied, "__dict__"):
            copied.added = 1
        else:
            copied.clear()


def test_pickles_are_the_same_as_of_mutable_objects():
    value = {"a": [1, (2, Plain(3))], "b": Colour.RED}
    before = pickle.dumps(value)
    assert pickle.dumps(freeze(value)) == before


def test_copy_replace():
    original = freeze(Point([1], 2))
    replaced = copy.replace(original, y=3)
    replaced.y = 4
    assert (replaced, original) == (Point([1], 4), Point([1], 2))
