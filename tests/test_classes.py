"""Frozen classes and instances behave like their mutable selves, and stay as they are."""

import abc
import collections
import dataclasses
import enum
import functools
import gc
import threading
import typing
from dataclasses import dataclass, field

import pytest
from leaks import SMALLEST_BLOCK, malloc_bytes, sees_malloc

from immutable import MutationError, NotFreezableError, freeze, is_frozen

# ---- What freezes with what ------------------------------------------------


def test_freezing_an_instance_freezes_its_class_its_bases_and_its_metaclass():
    class Metaclass(type):
        pass

    class Base(metaclass=Metaclass):
        pass

    class Derived(Base):
        pass

    freeze(Derived())
    assert is_frozen(Derived)
    assert is_frozen(Base)
    assert is_frozen(Metaclass)
    for frozen in Derived, Base, Metaclass:
        with pytest.raises(MutationError):
            frozen.attribute = 1


def test_freezing_a_class_does_not_freeze_its_subclasses():
    class Base:
        pass

    class Derived(Base):
        pass

    freeze(Base)
    assert not is_frozen(Derived)
    Derived.attribute = 1
    Derived.items = []
    Derived().items.append(1)
    assert Base.__subclasses__() == [Derived]


def test_freezing_a_class_does_not_freeze_its_instances():
    class Counter:
        def __init__(self):
            self.count = 0

        def bump(self):
            self.count += 1
            return self.count

    before = Counter()
    freeze(Counter)
    after = Counter()
    for counter in before, after:
        assert not is_frozen(counter)
        assert [counter.bump() for _ in range(1000)][-1] == 1000
        counter.note = "mutable"
    assert gc.is_tracked(after)


def test_a_class_made_from_a_frozen_one_is_mutable():
    class Base:
        registry = {}

        def greet(self):
            return "base"

    freeze(Base)

    class Derived(Base):
        def greet(self):
            return "derived of " + super().greet()

    Derived.extra = 1
    thing = Derived()
    thing.attribute = 2
    assert thing.greet() == "derived of base"
    assert (thing.extra, thing.attribute) == (1, 2)
    assert Derived in Base.__subclasses__()
    assert isinstance(thing, Base)
    with pytest.raises(MutationError):
        Base.registry["new"] = 1
    del thing, Derived
    gc.collect()
    assert Base.__subclasses__() == []


def test_class_attributes_are_frozen_with_the_class():
    class Holder:
        items = [1, {"a": 2}]

    freeze(Holder)
    assert is_frozen(Holder.items[1])
    with pytest.raises(MutationError):
        Holder().items.append(2)


def test_an_instance_keeps_the_values_of_its_frozen_class():
    class Holder:
        level = 1

    holder = freeze(Holder())
    assert holder.level == 1
    with pytest.raises(MutationError):
        Holder.level = 2
    with pytest.raises(MutationError):
        holder.level = 2
    assert holder.level == Holder.level == 1
    assert "level" not in vars(holder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("__bases__", (dict,)),
        ("__name__", "Other"),
        ("__qualname__", "Other"),
        ("__module__", "other"),
        ("__doc__", "Other."),
        ("__abstractmethods__", frozenset({"x"})),
        ("__annotations__", {}),
        ("__type_params__", ()),
        ("method", None),
        ("new", None),
    ],
)
def test_no_attribute_of_a_frozen_class_can_be_set(name, value):
    class Parent:
        pass

    class Frozen(Parent):
        "Documented."

        def method(self):
            return 1

    before = dict(vars(freeze(Frozen)))
    for write in setattr, type.__setattr__:
        with pytest.raises(MutationError):
            write(Frozen, name, value)
    assert dict(vars(Frozen)) == before
    assert Frozen().method() == 1
    assert (Frozen.__name__, Frozen.__bases__) == ("Frozen", (Parent,))


def test_the_class_of_a_frozen_instance_cannot_be_changed():
    class One:
        pass

    class Other:
        pass

    one = freeze(One())
    with pytest.raises(MutationError):
        one.__class__ = Other
    assert type(one) is One
    mutable = Other()
    mutable.__class__ = One
    assert type(mutable) is One


# ---- Attribute access ------------------------------------------------------


def test_the_dict_of_a_frozen_instance_reads_as_before():
    class Thing:
        def __init__(self):
            self.a, self.b = 1, [2]

    made, fresh = Thing(), Thing()
    vars(made)
    for thing in made, fresh:
        freeze(thing)
        assert vars(thing) == thing.__dict__ == {"a": 1, "b": [2]}
        assert is_frozen(vars(thing))
        with pytest.raises(MutationError):
            vars(thing)["a"] = 2
        with pytest.raises(MutationError):
            thing.__dict__ = {}
        assert thing.a == 1


def test_slots_read_and_refuse_writes():
    class Slotted:
        __slots__ = ("a", "b")

    class Derived(Slotted):
        __slots__ = ("c",)

    thing = Derived()
    thing.a, thing.c = 1, [2]
    freeze(thing)
    assert (thing.a, thing.c) == (1, [2])
    with pytest.raises(AttributeError):
        thing.b
    for write in (
        lambda: setattr(thing, "a", 2),
        lambda: setattr(thing, "b", 2),
        lambda: delattr(thing, "c"),
        lambda: Slotted.a.__set__(thing, 2),
        lambda: Slotted.a.__delete__(thing),
    ):
        with pytest.raises(MutationError):
            write()
    assert thing.a == 1


def test_properties_compute_and_their_setters_are_stopped():
    class Celsius:
        def __init__(self, degrees):
            self.degrees = degrees

        @property
        def fahrenheit(self):
            return self.degrees * 9 / 5 + 32

        @fahrenheit.setter
        def fahrenheit(self, value):
            self.degrees = (value - 32) * 5 / 9

        @fahrenheit.deleter
        def fahrenheit(self):
            del self.degrees

    water = freeze(Celsius(100))
    assert water.fahrenheit == 212
    with pytest.raises(MutationError):
        water.fahrenheit = 32
    with pytest.raises(MutationError):
        del water.fahrenheit
    assert water.degrees == 100


def test_descriptors_keep_working():
    class Logged:
        def __set_name__(self, owner, name):
            self.name = "_" + name

        def __get__(self, instance, owner=None):
            return self if instance is None else getattr(instance, self.name, "unset")

        def __set__(self, instance, value):
            setattr(instance, self.name, value)

    class Reading:
        value = Logged()

    reading, empty = Reading(), Reading()
    reading.value = 3
    freeze(reading, empty)
    assert (reading.value, empty.value) == (3, "unset")
    assert is_frozen(Reading.value)
    for thing in reading, empty:
        with pytest.raises(MutationError):
            thing.value = 4
    fresh = Reading()
    fresh.value = 5
    assert fresh.value == 5


def test_getattr_and_getattribute_keep_working():
    class Lenient:
        known = 1

        def __getattr__(self, name):
            return f"no {name}"

    class Shouting:
        def __init__(self):
            self.word = "hello"

        def __getattribute__(self, name):
            value = object.__getattribute__(self, name)
            return value.upper() if isinstance(value, str) else value

    lenient, shouting = freeze(Lenient(), Shouting()), freeze(Shouting())
    assert (lenient.known, lenient.unknown) == (1, "no unknown")
    assert shouting.word == "HELLO"


def test_special_methods_of_a_frozen_class_work():
    class Vector:
        def __init__(self, *items):
            self.items = list(items)

        def __add__(self, other):
            return type(self)(*map(sum, zip(self.items, other.items, strict=True)))

        def __eq__(self, other):
            return self.items == other.items

        def __hash__(self):
            return hash(tuple(self.items))

        def __len__(self):
            return len(self.items)

        def __getitem__(self, index):
            return self.items[index]

        def __iter__(self):
            return iter(self.items)

        def __contains__(self, item):
            return item in self.items

        def __call__(self, factor):
            return [factor * item for item in self.items]

        def __enter__(self):
            return self.items

        def __exit__(self, *exception):
            return False

        def __repr__(self):
            return f"Vector{tuple(self.items)}"

    vector = freeze(Vector(1, 2))
    assert vector + vector == Vector(2, 4)
    assert not is_frozen(vector + vector)
    assert (len(vector), vector[1], list(vector), 2 in vector) == (2, 2, [1, 2], True)
    assert vector(3) == [3, 6]
    assert {vector: 1}[Vector(1, 2)] == 1
    assert repr(vector) == "Vector(1, 2)"
    with vector as items:
        assert items == [1, 2]


def test_an_in_place_operator_of_a_frozen_instance_is_stopped():
    class Bag:
        def __init__(self):
            self.items = []

        def __iadd__(self, item):
            self.items.append(item)
            return self

    bag = freeze(Bag())
    with pytest.raises(MutationError):
        bag += 1
    assert bag.items == []


# ---- Inheritance -----------------------------------------------------------


def test_super_and_multiple_inheritance_work():
    class Root:
        def names(self):
            return ["root"]

    class Left(Root):
        def names(self):
            return ["left", *super().names()]

    class Right(Root):
        def names(self):
            return ["right", *super().names()]

    class Both(Left, Right):
        def names(self):
            return ["both", *super().names()]

        @classmethod
        def make(cls):
            return cls()

    both = freeze(Both())
    assert both.names() == ["both", "left", "right", "root"]
    assert Both.make().names() == both.names()
    assert Both.__mro__ == (Both, Left, Right, Root, object)


def test_init_subclass_of_a_frozen_class_is_called():
    class Plugin:
        def __init_subclass__(cls, *, name, **kwargs):
            super().__init_subclass__(**kwargs)
            cls.name = name

    freeze(Plugin)

    class Concrete(Plugin, name="concrete"):
        pass

    assert Concrete.name == "concrete"


def test_metaclasses_keep_working():
    class Counting(type):
        def __call__(cls, *args):
            made = super().__call__(*args)
            made.number = len(cls)
            return made

        def __len__(cls):
            return 7

        @property
        def shout(cls):
            return cls.__name__.upper()

    class Thing(metaclass=Counting):
        pass

    freeze(Thing)
    assert Thing().number == len(Thing) == 7
    assert Thing.shout == "THING"


def test_subclasses_of_builtin_types_freeze_whole():
    class Names(list):
        pass

    class Table(dict):
        def __missing__(self, key):
            return f"no {key}"

    class Tags(set):
        pass

    class Number(int):
        pass

    class Text(str):
        pass

    class Pair(tuple):
        pass

    class Buffer(bytearray):
        pass

    for value, write in [
        (Names([1]), lambda it: it.append(2)),
        (Table(a=1), lambda it: it.update(b=2)),
        (Tags([1]), lambda it: it.add(2)),
        (Buffer(b"a"), lambda it: it.append(2)),
        (Number(1), lambda it: setattr(it, "note", 2)),
        (Text("a"), lambda it: setattr(it, "note", 2)),
        (Pair([1]), lambda it: setattr(it, "note", 2)),
    ]:
        value.note = [1]
        before = repr(value)
        freeze(value)
        assert is_frozen(value.note)
        with pytest.raises(MutationError):
            write(value)
        with pytest.raises(MutationError):
            value.note = 2
        assert repr(value) == before
    assert freeze(Table())["x"] == "no x"


def test_exception_classes_can_be_frozen_and_raised():
    class Problem(ValueError):
        def __init__(self, code):
            super().__init__(f"problem {code}")
            self.code = code

    freeze(Problem)
    with pytest.raises(Problem, match="problem 3") as raised:
        raise Problem(3)
    assert raised.value.code == 3
    assert raised.value.__traceback__ is not None


# ---- Dataclasses, named tuples, enums --------------------------------------


@dataclass
class Plain:
    name: str
    tags: list[str] = field(default_factory=list)
    hidden: int = field(default=0, repr=False, compare=False)


@dataclass(slots=True)
class Slotted:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(kw_only=True, order=True, unsafe_hash=True)
class Keyword:
    name: str
    size: int = 1


@dataclass
class Derived(Plain):
    more: dict = field(default_factory=dict)

    def __post_init__(self):
        self.more = {**self.more, "made": True}


@pytest.mark.parametrize("kind", [Plain, Slotted, Frozen, Keyword, Derived])
def test_dataclasses_work_frozen(kind):
    value, equal, other = kind(name="a"), kind(name="a"), kind(name="b")
    before = repr(value)
    freeze(value)
    assert is_frozen(kind)
    assert repr(value) == before
    assert value == equal
    assert equal == value
    assert value != other
    assert dataclasses.asdict(value) == dataclasses.asdict(equal)
    assert [f.name for f in dataclasses.fields(value)] == [f.name for f in dataclasses.fields(equal)]
    with pytest.raises((MutationError, dataclasses.FrozenInstanceError)):
        value.name = "changed"
    with pytest.raises(MutationError):
        object.__setattr__(value, "name", "changed")
    changed = dataclasses.replace(value, name="changed")
    assert (changed.name, value.name) == ("changed", "a")
    assert not is_frozen(changed)
    match value:
        case kind(name=name):
            assert name == "a"


def test_a_dataclass_made_after_its_class_was_frozen_is_mutable():
    @dataclass
    class Late:
        items: list = field(default_factory=list)

    freeze(Late)
    late = Late()
    late.items.append(1)
    late.items = [2]
    assert Late().items == []
    assert late == Late([2])


def test_ordered_and_hashed_dataclasses_work():
    small, large = freeze(Keyword(name="a")), freeze(Keyword(name="b"))
    assert small < large
    assert sorted([large, small]) == [small, large]
    assert {small: 1}[Keyword(name="a")] == 1


def test_named_tuples_work_frozen():
    Point = collections.namedtuple("Point", "x y", defaults=[[0]])

    class Labelled(typing.NamedTuple):
        label: str
        items: list = []

        def shout(self):
            return self.label.upper()

    point, labelled = freeze(Point(1), Labelled("a")), freeze(Labelled("a", [1]))
    assert (point.x, point.y) == (1, [0])
    assert is_frozen(point.y)
    assert point._replace(x=2) == (2, [0])
    assert point._asdict() == {"x": 1, "y": [0]}
    assert Point._make([3, 4]) == (3, 4)
    assert labelled.shout() == "A"
    assert repr(labelled) == "Labelled(label='a', items=[1])"
    with pytest.raises(AttributeError):
        point.x = 2


class Colour(enum.Enum):
    RED = 1
    BLUE = [2]
    CRIMSON = 1  # noqa: PIE796 - an alias

    def describe(self):
        return f"{self.name} is {self.value}"


class Weekday(enum.IntEnum):
    MONDAY = 1
    SUNDAY = 7


class Permission(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Word(enum.StrEnum):
    YES = "yes"


def test_freezing_an_enum_member_freezes_its_enum():
    freeze(Colour.RED)
    assert is_frozen(Colour)
    assert is_frozen(Colour.BLUE)
    assert Colour(1) is Colour["RED"] is Colour.CRIMSON is Colour.RED
    assert Colour([2]) is Colour.BLUE
    assert list(Colour) == [Colour.RED, Colour.BLUE]
    assert Colour.BLUE.describe() == "BLUE is [2]"
    assert (repr(Colour.RED), str(Colour.RED)) == ("<Colour.RED: 1>", "Colour.RED")
    assert {Colour.RED: 1}[Colour.RED] == 1
    assert Colour.RED in Colour
    with pytest.raises(ValueError, match="not a valid Colour"):
        Colour(3)
    with pytest.raises(AttributeError):
        Colour.RED.value = 2
    with pytest.raises(MutationError):
        Colour.GREEN = 3
    with pytest.raises(MutationError):
        Colour.BLUE.value.append(3)


def test_enums_with_a_value_type_work_frozen():
    freeze(Weekday.SUNDAY, Word.YES)
    assert Weekday.SUNDAY + 1 == 8
    assert Weekday(7) is Weekday.SUNDAY
    assert f"{Word.YES}!" == "yes!"


class Rights(enum.Flag):
    R = 4
    W = 2
    X = 1


class Lenient(enum.Flag, boundary=enum.CONFORM):
    R = 4
    W = 2
    X = 1
    ALL = 7


class Kept(enum.Flag, boundary=enum.KEEP):
    A = 1
    B = 2


def test_values_that_stand_for_a_member_of_a_frozen_flag_give_that_member():
    freeze(Lenient, Rights, Kept)
    assert Lenient(15) is Lenient(31) is Lenient.ALL
    assert Lenient(8 | 4) is Lenient.R
    assert Rights(-4) is Rights.R
    assert Rights(-1) is Rights(7) is Rights.R | Rights.W | Rights.X
    assert ~~Kept.A is Kept.A
    assert Kept(9) is Kept(9)


def test_composite_members_of_a_frozen_flag_are_equal_everywhere(elsewhere):
    mutable = enum.Flag("Mutable", "A B")
    assert type(mutable.A).__eq__ is object.__eq__  # at its speed
    both = freeze(Rights.R | Rights.W)
    known = freeze({both: "both", Rights.R: "one"})
    there = elsewhere()
    there.run(
        """
        R, W, X = type(both)
        assert both == R | W and not both != R | W and R | W == both and hash(both) == hash(R | W)
        assert both != R | X and both != R and R != both and both != 6 and both != mutable
        assert both in {R | W} and known[R | W] == "both" and known[R] == "one" and (R | X) not in known
        assert (R | W) is (R | W) and both & R is R and R in both and R | W in both and [*both] == [R, W]
        assert type(both)(both) is both and type(both)(both.value) == both
        """,
        both=both,
        known=known,
        mutable=freeze(mutable.A),
    )


def test_flags_combine_when_frozen():
    freeze(Permission.READ)
    assert Permission(3) == Permission.READ | Permission.WRITE
    assert Permission.READ in Permission(3)
    assert list(Permission(3)) == [Permission.READ, Permission.WRITE]
    assert ~Permission.READ is Permission.WRITE
    assert Permission(0) == Permission.READ & Permission.WRITE


def test_new_enums_can_be_made_after_one_was_frozen():
    freeze(Colour.RED)
    Later = enum.Enum("Later", "ONE TWO")
    assert Later.ONE.value == 1
    assert not is_frozen(Later)


# ---- Abstract classes, generics, protocols ---------------------------------


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


def test_abstract_classes_work_frozen():
    square = freeze(Square(3))
    assert is_frozen(Shape)
    assert square.area() == 9
    assert isinstance(square, Shape)
    assert issubclass(Square, Shape)
    assert not isinstance(3, Shape)
    with pytest.raises(TypeError, match="abstract"):
        Shape()

    class Circle(Shape):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Circle()
    assert issubclass(Circle, Shape)


class Box[T]:
    def __init__(self, *items: T):
        self.items = list(items)

    def first(self) -> T:
        return self.items[0]


class OldBox(typing.Generic[typing.TypeVar("T")]):  # noqa: UP046 - the old way works too
    def __init__(self, item):
        self.item = item


class HasArea(typing.Protocol):
    def area(self) -> float: ...


def test_generic_classes_work_frozen():
    box = freeze(Box[int](1, 2))
    assert is_frozen(Box)
    assert box.first() == 1
    assert Box[str].__args__ == (str,)
    assert not is_frozen(Box[str]("a"))
    assert [p.__name__ for p in Box.__type_params__] == ["T"]
    assert freeze(OldBox("a")).item == "a"


def test_protocols_work_frozen():
    class Fitting(HasArea):
        def area(self):
            return 1.5

    assert freeze(Fitting()).area() == 1.5


@sees_malloc
def test_a_frozen_abstract_class_forgets_subclasses_that_are_gone():
    def memory_after(subclasses):
        for _ in range(subclasses):

            class Fitting(HasArea):
                pass

            freeze(Fitting)
        del Fitting
        gc.collect()
        return malloc_bytes()

    freeze(HasArea)
    before = memory_after(100)
    assert memory_after(3000) - before < 3000 * SMALLEST_BLOCK / 2


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_registered_with_an_abstract_subclass_counts_as_long_as_that_lives(gone, elsewhere):
    class Above(abc.ABC):  # noqa: B024 - only its subclasses matter
        pass

    freeze(Above)

    class Below(Above):
        pass

    Below.register(bytes)
    freeze(Below)
    for _ in range(100):  # most are gone when the last one comes

        class Another(Above):
            pass

        Another.register(bytearray)
        freeze(Another)
    there = elsewhere()
    there.run("assert issubclass(bytes, Above) and issubclass(bytearray, Above)", Above=Above)
    del Another
    if gone:
        del Below
    gc.collect()
    there = elsewhere()
    there.run(
        "assert issubclass(bytes, Above) is not gone and not issubclass(bytearray, Above)", Above=Above, gone=gone
    )
    assert issubclass(bytes, Above) is not gone


def test_typing_constructs_work_frozen(module):
    m = module("""
        from typing import Annotated, Callable, ClassVar, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict
        from typing import ParamSpec, TypeVar, runtime_checkable

        T = TypeVar("T")
        P = ParamSpec("P")
        UserId = NewType("UserId", int)
        type Tree[Leaf] = Leaf | list[Tree[Leaf]]
        Mode = Literal["r", "w"]
        Marked = Annotated[int, "positive"]
        Handler = Callable[[int], str]

        class Movie(TypedDict, total=False):
            title: str
            year: int

        class Point(NamedTuple):
            x: int
            y: int = 0

        @runtime_checkable
        class Named(Protocol):
            name: str

        class Stack(Generic[T]):
            limit: ClassVar[int] = 3

            def __init__(self, *items):
                self.items = list(items)

        class User:
            name = "Ada"
    """)
    names = [name for name in vars(m) if not name.startswith("_")]
    before = {name: repr(vars(m)[name]) for name in names}
    freeze([m.UserId, m.Tree, m.Mode, m.Marked, m.Handler, m.Movie, m.Point, m.Named, m.Stack, m.User, m.T, m.P])
    assert {name: repr(vars(m)[name]) for name in names} == before
    assert m.UserId(5) == 5
    assert m.Movie(title="M", year=1931) == {"title": "M", "year": 1931}
    assert m.Movie.__optional_keys__ == {"title", "year"}
    assert m.Point(1)._replace(y=2) == (1, 2)
    assert isinstance(m.User(), m.Named)
    assert not isinstance(3, m.Named)
    assert m.Stack[int](1, 2).items == [1, 2]
    assert m.Stack[int] == m.Stack[int] != m.Stack[str]
    assert m.Tree[int].__value__ == (m.Tree.__type_params__[0] | list[m.Tree[m.Tree.__type_params__[0]]])
    assert typing.get_args(m.Mode) == ("r", "w")
    assert typing.get_type_hints(m.Movie) == {"title": str, "year": int}


def test_annotations_of_a_frozen_class_do_not_extend_the_reach(module):
    m = module("""
        class Mentioned:
            pass

        class Holder:
            attribute: Mentioned

            def method(self, other: Mentioned) -> Mentioned:
                return other
    """)
    freeze(m.Holder)
    assert not is_frozen(m.Mentioned)
    assert m.Holder.__annotations__ == {"attribute": m.Mentioned}
    assert m.Holder.method.__annotations__["other"] is m.Mentioned
    assert not is_frozen(m.Mentioned)


# ---- What stays mutable inside a frozen object ------------------------------


def test_locks_and_thread_locals_inside_a_frozen_object_keep_working():
    class Guarded:
        def __init__(self):
            self.lock, self.reentrant, self.local = threading.Lock(), threading.RLock(), threading.local()

        def use(self):
            with self.lock, self.reentrant, self.reentrant:
                self.local.items = [1]
                self.local.items.append(2)
                return self.lock.locked(), self.local.items

    guarded = freeze(Guarded())
    assert guarded.use() == (True, [1, 2])
    assert not guarded.lock.locked()
    with pytest.raises(MutationError):
        guarded.lock = None


def test_cached_methods_of_a_frozen_class_keep_their_cache():
    class Slow:
        @functools.lru_cache  # noqa: B019 - the test drops the class
        def work(self, number):
            return [number]

    slow = freeze(Slow())
    assert slow.work(1) is slow.work(1)
    assert slow.work.cache_info().hits == 1
    slow.work.cache_clear()  # else the cache keeps its instance for good: GUIDE.md, Limits


# ---- Together with the rest of the language --------------------------------


def test_attribute_access_stays_right_when_it_is_hot():
    class Thing:
        level = 1

        def __init__(self):
            self.value = 2

        def method(self):
            return self.value + self.level

    def total(thing):
        return thing.method() + thing.value + Thing.level

    thing = Thing()
    for _ in range(2000):
        assert total(thing) == 6
    freeze(thing)
    for _ in range(2000):
        assert total(thing) == 6
    mutable = Thing()
    for n in range(2000):
        mutable.value = n
        assert total(mutable) == 2 * n + 2


def test_a_hot_attribute_write_is_stopped_when_the_object_freezes():
    class Inline:
        def __init__(self):
            self.value = 0

    class Slot:
        __slots__ = ("value",)

        def __init__(self):
            self.value = 0

    def write(thing, value):
        thing.value = value

    for kind in Inline, Slot:
        thing = kind()
        for n in range(2000):
            write(thing, n)
        freeze(thing)
        for _ in range(2000):
            with pytest.raises(MutationError):
                write(thing, -1)
        assert thing.value == 1999


def test_a_class_whose_attribute_refuses_is_not_frozen():
    class Holder:
        stream = iter([])

        def method(self):
            return 1

    with pytest.raises(NotFreezableError):
        freeze(Holder())
    assert not is_frozen(Holder)
    Holder.stream = None
    assert is_frozen(freeze(Holder()))


def test_matching_on_frozen_instances():
    match freeze(Plain("a", ["x"])):
        case Plain(name="a", tags=[only]):
            assert only == "x"
        case _:
            raise AssertionError("no case matched")
