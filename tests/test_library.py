"""Containers, callables and classes of the standard library: frozen, used in another interpreter, and what refuses."""

import abc
import annotationlib
import argparse
import array
import ast
import codecs
import collections
import collections.abc
import contextlib
import contextvars
import copy
import dataclasses
import email
import email.header
import email.message
import enum
import functools
import gc
import http.cookiejar
import ipaddress
import itertools
import logging
import numbers
import pathlib
import pickle
import pkgutil
import statistics
import string
import textwrap
import threading
import traceback
import types
import typing
import uuid
import weakref
import xml.dom.minidom
from concurrent import interpreters

import pytest
import test_c_types
import test_ctypes
from graphs import frozen_now

from immutable import MutationError, NotFreezableError, _stats, freeze, is_frozen


@pytest.fixture(scope="module")
def other():
    interpreter = interpreters.create()
    yield interpreter
    interpreter.close()


def evaluate(interpreter, expression, **names):
    """What an expression gives in another interpreter, as text; the names are frozen objects that pass by reference."""
    interpreter.prepare_main(**names)
    inbox = interpreters.create_queue()
    interpreter.prepare_main(_inbox=inbox, _names=tuple(names))
    interpreter.exec(
        f"_inbox.put(repr(({expression})))\nfor _name in _names: del globals()[_name]\ndel _name, _names, _inbox"
    )
    return inbox.get_nowait()


def outcome(action, *arguments, **keywords):
    """The type of the exception that the action raises, or None."""
    try:
        action(*arguments, **keywords)
    except Exception as error:
        return type(error)


def refusal(value):
    with pytest.raises(NotFreezableError) as raised:
        freeze(value)
    assert not is_frozen(value)
    return raised.value


# ---- in another interpreter ------------------------------------------------------------------------------------------


class Shape:
    """A class that frozen collections may be keyed by."""

    def __init__(self, size):
        self.size = size

    def __repr__(self):
        return f"Shape({self.size})"

    @functools.cached_property
    def doubled(self):
        return self.size * 2


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list, compare=False)


@functools.total_ordering
class Version:
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return self.number == other.number

    def __lt__(self, other):
        return self.number < other.number

    __hash__ = None


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    RUN = enum.auto()


class Buffer(collections.UserList):
    def total(self):
        return sum(self.data)


Row = collections.namedtuple("Row", "key value", defaults=[()])


def describe(prefix, name, *, suffix="!"):
    return f"{prefix} {name}{suffix}"


@functools.singledispatch
def show(value):
    return f"object {value!r}"


@show.register
def _(value: int):
    return f"int {value}"


@show.register
def _(value: collections.abc.Mapping):
    return f"mapping of {len(value)}"


class Remote:
    def fetch(self, host, port):
        return f"{host}:{port}"

    local = functools.partialmethod(fetch, "localhost")


def bounded_deque():
    made = collections.deque(maxlen=3)
    made.extend([1, [2], "three", 4])
    return made


def long_deque():
    return collections.deque(range(500))


def moved_ordered_dict():
    made = collections.OrderedDict((n, [n]) for n in range(20))
    made.move_to_end(3)
    del made[5]
    made.note = "an attribute"
    return made


def cmp(a, b):
    return (a > b) - (a < b)


def slow_square(number):
    return number * number


def template_string():
    name = "World"
    return eval('t"Hello {name!r:>10}, {1 + 1}"', {"name": name})


def cookie():
    return http.cookiejar.Cookie(
        0, "name", "value", None, False, "localhost", True, False, "/", True, False, None, False, None, None, {}
    )


def cookie_jar():
    made = http.cookiejar.CookieJar()
    made.set_cookie(cookie())
    return made


def email_message():
    made = email.message.EmailMessage()
    made["Subject"] = "größe"
    made["To"] = "name@example.org"
    made.set_content("text\n")
    return made


MULTIPART = """From: a@example.org
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="--x"

----x
Content-Type: text/plain

one
----x
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: base64

dHdv
----x--
"""


def message_with_header():
    made = email.message.Message()
    made["Subject"] = email.header.Header("Gr\u00fc\u00dfe", "utf-8")
    return made


def traceback_exception():
    try:
        return {}["missing"]
    except KeyError as error:
        return traceback.TracebackException.from_exception(error)


def path_with_info():
    made = pathlib.Path(__file__)
    assert made.info.exists()
    return made


def context(variables=2):
    made = contextvars.Context()
    for number in range(variables):
        made.run(contextvars.ContextVar(f"number {number}").set, number)
    return made


def type_alias():
    namespace = {"__name__": __name__}
    exec("type Pair[T] = tuple[T, T]", namespace)
    return namespace["Pair"]


class Figure(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Figure):
    def area(self):
        return 4


Figure.register(int)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 3


class Mode(enum.StrEnum):
    FAST = enum.auto()
    SLOW = enum.auto()


class Bits(enum.IntFlag):
    ONE = 1
    FOUR = 4


# How to make a value, and an expression that uses it.
VALUES = {
    "syntax tree": (
        lambda: ast.parse("def double(number):\n    return 2 * number"),
        "(ast := __import__('ast')).unparse(value), ast.dump(value), isinstance(value, ast.Module), "
        "[node.__class__.__name__ for node in ast.walk(value)]",
    ),
    "syntax tree of an expression": (
        lambda: ast.parse("(1 + 2) * 3", mode="eval"),
        "eval(compile(value, 'tree', 'eval')), type(value).__name__, value.body.left.right.value",
    ),
    "deque": (
        bounded_deque,
        "value, value[1], len(value), 4 in value, value.copy(), value == value.copy(), value.maxlen",
    ),
    "deque, long": (
        long_deque,
        "sum(value), list(reversed(value))[:3], value.index(400), value.count(7), value * 2 != value",
    ),
    "defaultdict": (
        lambda: collections.defaultdict(list, a=[1]),
        "value['a'], dict(value), value | {'b': 2}, value.copy()",
    ),
    "OrderedDict": (
        moved_ordered_dict,
        "list(value), list(reversed(value.items()))[0], value.note, value.copy() == value, value | {1: 2}, "
        "value.pop(99, 5)",
    ),
    "OrderedDict, empty": (collections.OrderedDict, "value, list(value), bool(value)"),
    "Counter": (
        lambda: collections.Counter("abracadabra"),
        "value.most_common(2), value + value, value['z'], value.total()",
    ),
    "ChainMap": (
        lambda: collections.ChainMap({"a": 1}, {"a": 2, "b": 3}),
        "dict(value), value['b'], value.new_child({'c': 1})['c'], sorted(value)",
    ),
    "namedtuple": (lambda: Row(1, [2]), "value, value.value[0], value._replace(key=3), value._asdict()"),
    "UserDict": (lambda: collections.UserDict(a=[1]), "value, value['a'], 'b' in value, value | {'b': 1}"),
    "UserList": (lambda: Buffer([1, 2]), "value, value.total(), value + [3], value[0]"),
    "UserString": (lambda: collections.UserString("text"), "value, value.upper(), value + 's', value[1:]"),
    "SimpleNamespace": (lambda: types.SimpleNamespace(a=[1]), "value, value.a, value == type(value)(a=[1])"),
    "array": (
        lambda: array.array("d", [1.5, 2.5]),
        "value, sum(value), value[0], value + value, value.tobytes(), value[:1], value.count(1.5)",
    ),
    "array of text": (lambda: array.array("w", "größe"), "value, value.tounicode(), value == value[:]"),
    "partial": (lambda: functools.partial(describe, "Mr", suffix="?"), "value('X'), value('X', suffix=''), value.args"),
    "partial with a placeholder": (
        lambda: functools.partial(describe, functools.Placeholder, "X"),
        "value('Dr'), value.func('a', 'b')",
    ),
    "partialmethod": (Remote, "value.local(80), value.fetch('h', 1)"),
    "cmp_to_key": (lambda: functools.cmp_to_key(cmp), "sorted([3, 1, 2], key=value)"),
    "lru_cache": (
        lambda: functools.lru_cache(maxsize=2)(slow_square),
        "value(3), value(3), value(4), value(5), value(3)",
    ),
    "cache": (lambda: functools.cache(slow_square), "value(3), value(3), value.__wrapped__(2)"),
    "singledispatch": (
        lambda: show,
        "value(1), value('x'), value({}), value.dispatch(bool)(True), len(value.registry)",
    ),
    "total_ordering": (lambda: Version(1), "value >= value, value > value, value != value"),
    "cached_property": (lambda: Shape(3), "value.doubled, value.doubled, value"),
    "dataclass": (lambda: Point(1, [2]), "value, value.y, value <= value, hash(value) == hash(value)"),
    "Flag": (lambda: Access.READ | Access.RUN, "value, ~value, value & ~type(value).READ, value | type(value).WRITE"),
    "exception": (lambda: KeyError("key", [1]), "value, value.args, str(value), value.__traceback__, value.__cause__"),
    "OSError": (lambda: FileNotFoundError(2, "No such file", "name"), "value, value.errno, value.filename, str(value)"),
    "ExceptionGroup": (
        lambda: ExceptionGroup("several", [ValueError(1), TypeError([2])]),
        "value, value.exceptions, value.subgroup(lambda e: isinstance(e, ValueError))",
    ),
    "t-string": (template_string, "value.strings, value.values, value.interpolations[0].expression, list(value)"),
    "Namespace": (lambda: argparse.Namespace(a=[1]), "value, value.a, 'a' in value"),
    "LogRecord": (
        lambda: logging.LogRecord("name", logging.INFO, "path.py", 3, "%s is %d", ("x", 1), None),
        "value.getMessage(), value.levelname, value",
    ),
    "UUID": (lambda: uuid.UUID(int=5), "value, value.hex, hash(value) == hash(value), value.bytes[-1], value.urn"),
    "IPv4Address": (
        lambda: ipaddress.ip_address("192.0.2.1"),
        "value, value + 1, int(value), value.is_private, value.is_global, value.packed, value.reverse_pointer",
    ),
    "IPv6Network": (
        lambda: ipaddress.ip_network("2001:db8::/120"),
        "value, value.num_addresses, value.broadcast_address, value.hostmask, value[3], value.is_private, "
        "value.with_netmask",
    ),
    "PurePath": (
        lambda: pathlib.PurePosixPath("/a", "b.tar.gz"),
        "value, value.name, value.suffixes, value.parent, value.parts, value / 'c', hash(value) == hash(value), "
        "value == value, "
        "value < value / 'c', value.with_suffix('.x'), value.anchor, value.as_posix(), value.is_relative_to('/a')",
    ),
    "PureWindowsPath": (
        lambda: pathlib.PureWindowsPath("C:/A/b"),
        "value, value.drive, value == type(value)('c:/a/B'), value.root",
    ),
    "Path": (lambda: pathlib.Path("/"), "value, value.is_dir(), value.exists(), value.info.is_dir(), value.parents[:]"),
    "typing": (lambda: [typing.Optional[int], typing.Any, typing.Callable[[int], str]], "value"),  # noqa: UP045
    "Cookie": (cookie, "value.name, value.value, value.is_expired(), value"),
    "CookieJar": (
        cookie_jar,
        "[each.value for each in value], len(value), value",
    ),
    "class of a codec": (
        lambda: codecs.getwriter("utf-8"),
        "value(__import__('io').BytesIO()).write('text'), value.encode('text')",
    ),
    "ForwardRef": (
        lambda: annotationlib.ForwardRef("list[Unknown] | None"),
        "value, value.__forward_arg__, value.evaluate(locals={'Unknown': int}), "
        "value.evaluate(format=__import__('annotationlib').Format.FORWARDREF)",
    ),
    "string.Template": (
        lambda: string.Template("$a and ${b}"),
        "value.substitute(a=1, b=2), value.template, value.get_identifiers(), value.safe_substitute(a=1)",
    ),
    "NormalDist": (
        lambda: statistics.NormalDist(1.5, 0.5),
        "value, value.cdf(1), value + 1, value.quantiles(2), value == value, "
        "hash(value) == hash(value), value.variance",
    ),
    "EmailMessage": (
        email_message,
        "value['Subject'], value.get_content(), value.as_string(), value.get_content_type(), value.keys(), "
        "value['To'].addresses[0].username, bytes(value)",
    ),
    "Message with parts": (
        lambda: email.message_from_string(MULTIPART),
        "[part.get_payload(decode=True) for part in value.walk()], value.get_boundary(), "
        "value.as_string(), value['From']",
    ),
    "Header": (
        lambda: email.header.Header("Gr\u00fc\u00dfe", "utf-8", header_name="Subject"),
        "str(value), value.encode(), value == str(value)",
    ),
    "Message with a Header": (
        message_with_header,
        "str(value['Subject']), value['Subject'].encode(), value.as_string()",
    ),
    "document": (
        lambda: xml.dom.minidom.parseString("<page lang='en'><title/>text<!-- note --></page>"),
        "value.toxml(), value.documentElement.firstChild.attributes.items(), "
        "value.documentElement.getAttribute('lang'), "
        "[node.hasAttribute('lang') for node in value.getElementsByTagName('*')], value.cloneNode(True).toprettyxml()",
    ),
    "TracebackException": (
        traceback_exception,
        "list(value.format()), str(value), [frame.line for frame in value.stack], value.stack.format()",
    ),
    "Path with info": (
        path_with_info,
        "value.info.exists(), value.info.is_dir(), value.info.is_file(), value.info.is_symlink()",
    ),
    "weak reference": (
        lambda: (lambda shape: [shape, weakref.ref(shape), weakref.proxy(shape)])(Shape(2)),
        "value[1]() is value[0], value[2].size, value[1]().doubled",
    ),
    "WeakValueDictionary": (
        lambda: (lambda shape: [shape, weakref.WeakValueDictionary(a=shape)])(Shape(2)),
        "value[1]['a'].size, list(value[1]), len(value[1])",
    ),
    "local": (threading.local, "setattr(value, 'number', 1), value.number, vars(value)"),
    "Context": (
        context,
        # The order is that of addresses.
        "sorted((each.name, value[each]) for each in value), len(value), value.copy() == value, "
        "sorted(value.get(each) for each in value), "
        "sorted(value.copy().run(each.get) for each in value)",
    ),
    "Context, empty": (contextvars.Context, "len(value), list(value), value.copy().run(len, ())"),
    "Context, full": (
        lambda: context(100),
        "len(value), sorted(value.values())[:3], all(each in value for each in value), len(dict(value.items()))",
    ),
    "ContextVar": (lambda: contextvars.ContextVar("name", default=3), "value.get(), value.name"),
    "numbers": (
        lambda: [numbers.Real, numbers.Complex],
        "[isinstance(1.5, each) for each in value], [issubclass(int, each) for each in value], "
        "[isinstance('', each) for each in value]",
    ),
    "collections.abc": (
        lambda: [collections.abc.Mapping, collections.abc.Sized, collections.abc.Hashable],
        "[isinstance({}, each) for each in value], [issubclass(list, each) for each in value]",
    ),
    "generic alias": (
        lambda: [collections.abc.Callable[[int], str], dict[str, list[int]], int | None, typing.Literal["a", 1]],
        "value, [each.__args__ for each in value]",
    ),
    "TypeAliasType": (type_alias, "value.__name__, value.__value__, value.__type_params__"),
    "abstract class": (
        Square,
        "value.area(), isinstance(value, type(value).__base__), issubclass(int, type(value).__base__)",
    ),
    "Enum": (lambda: [Color.RED, Color], "value[0], value[0].value, list(value[1]), value[1](2), value[1]['RED']"),
    "IntEnum": (lambda: Level.HIGH, "value, value + 1, value > type(value).LOW, value | 4, f'{value:d}'"),
    "StrEnum": (lambda: Mode.FAST, "value, value.upper(), value == 'fast', type(value)('slow')"),
    "IntFlag": (lambda: Bits.ONE | Bits.FOUR, "value, value & 1, value | 2, ~value, value ^ 5, value + 1, list(value)"),
    "method": (lambda: Shape(3).__repr__, "value(), value.__self__.size, value.__func__.__name__"),
    "code": (lambda: (lambda x: x + 1).__code__, "value.co_argcount, value.co_varnames, list(value.co_lines())"),
    "MappingProxyType": (lambda: types.MappingProxyType({"a": [1]}), "value['a'], dict(value)"),
    "lock": (
        threading.Lock,
        "value.acquire(), value.locked(), value.acquire(blocking=False), value.release(), value.locked()",
    ),
    "RLock": (threading.RLock, "value.acquire(), value.acquire(), value.release(), value.release()"),
}


every_value = pytest.mark.parametrize("name", [*VALUES])


@every_value
def test_it_freezes_in_place_and_reads_as_before(name):
    make, expression = VALUES[name]
    before = repr(eval(expression, {"value": make()}))
    value = make()
    assert freeze(value) is value
    assert is_frozen(value)
    assert repr(eval(expression, {"value": value})) == before
    assert repr(eval(expression, {"value": value})) == before


@every_value
def test_another_interpreter_uses_it_and_drops_it(name, other):
    make, expression = VALUES[name]
    value = freeze(make())
    here = repr(eval(expression, {"value": value}))
    assert evaluate(other, "id(value)", value=value) == repr(id(value))
    assert evaluate(other, expression, value=value) == here
    assert repr(eval(expression, {"value": value})) == here


@every_value
def test_the_last_reference_may_be_dropped_elsewhere(name, other):
    make, expression = VALUES[name]
    other.prepare_main(holder=freeze([make()]))
    gc.collect()
    other.exec(f"value = holder[0]\ndel holder\n({expression})\ndel value\nimport gc; gc.collect()")


def test_a_view_of_a_frozen_array_is_read_only_and_not_counted(other):
    numbers = array.array("i", range(5))
    view = memoryview(numbers)
    assert "memory views" in refusal(numbers).reason
    freeze([numbers, view])
    views = [memoryview(numbers) for _ in range(3)] + [view[1:]]
    assert all(each.readonly for each in views)
    assert outcome(lambda: views[0].__setitem__(0, 1)) in (TypeError, MutationError)
    assert evaluate(other, "sum(memoryview(value))", value=numbers) == "10"
    for each in views:
        each.release()
    assert numbers.tolist() == [0, 1, 2, 3, 4]


PICKLED = [
    "deque",
    "defaultdict",
    "OrderedDict",
    "Counter",
    "UserDict",
    "array",
    "UUID",
    "PurePath",
    "Namespace",
]


@pytest.mark.parametrize("name", PICKLED)
def test_copies_are_mutable_or_equal(name):
    value = freeze(VALUES[name][0]())
    for duplicate in copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)):
        assert duplicate == value
        if hasattr(value, "clear"):
            duplicate.clear()
            assert len(duplicate) == 0
            assert len(value) > 0


# ---- exceptions ------------------------------------------------------------------------------------------------------


class Failure(Exception):
    __slots__ = ("detail",)

    def __init__(self, message, detail):
        super().__init__(message)
        self.detail = detail
        self.note = [message]


@dataclasses.dataclass(order=True)
class Booking:
    name: str
    seats: list = dataclasses.field(default_factory=list, compare=False, metadata={"unit": "seat"})
    rate: int | None = 5
    limit: typing.ClassVar[int] = 3
    code: str = dataclasses.field(default="", init=False, doc="filled in later")
    start: dataclasses.InitVar[int] = 7

    def __post_init__(self, start):
        self.code = f"{self.name}{start}"


def test_dataclasses_are_inspected_copied_and_derived_from_in_every_interpreter(other):
    source = """
        import dataclasses
        from dataclasses import MISSING

        fields = dataclasses.fields(booking)
        assert [each.name for each in fields] == ["name", "seats", "rate", "code"], fields
        assert [each.default is MISSING for each in fields] == [True, True, False, False]
        assert [each.default_factory is MISSING for each in fields] == [True, False, True, True]
        assert fields[1].metadata == {"unit": "seat"} and fields[3].doc == "filled in later"
        assert dataclasses.is_dataclass(booking)
        assert dataclasses.asdict(booking) == {"name": "a", "seats": [1], "rate": 5, "code": "a7"}
        assert dataclasses.astuple(booking) == ("a", [1], 5, "a7")
        changed = dataclasses.replace(booking, rate=None, start=1)
        assert (changed.rate, changed.seats, changed.code) == (None, [1], "a1")
        try:
            dataclasses.replace(booking, code="b")
        except TypeError:
            pass
        else:
            raise AssertionError("a field without init was replaced")

        @dataclasses.dataclass(order=True)
        class Derived(type(booking)):
            rate: int = 6
            more: int = 1

        one, two = Derived("b"), Derived("b", [2], more=2, start=8)
        assert (one.rate, one.seats, one.more, one.code, two.code) == (6, [], 1, "b7", "b8")
        assert one < two and two.seats == [2] and Derived("c").seats is not one.seats
        assert dataclasses.asdict(one) == {"name": "b", "seats": [], "rate": 6, "code": "b7", "more": 1}
        assert dataclasses.replace(two, start=9).more == 2
        try:
            Derived()
        except TypeError as error:
            assert "name" in str(error)
        else:
            raise AssertionError("a field without default was left out")
    """
    booking = freeze(Booking("a", [1]))
    other.prepare_main(booking=booking)
    other.exec(textwrap.dedent(source))
    exec(textwrap.dedent(source), {"booking": booking})


def test_an_exception_with_a_traceback_refuses_and_says_what_to_do():
    error = None
    try:
        raise ValueError([1])
    except ValueError as caught:
        error = caught
    assert "with_traceback(None)" in refusal(error).reason
    freeze(error.with_traceback(None))
    assert is_frozen(error.args[0])


@pytest.mark.parametrize(
    "make", [lambda: ValueError([1]), lambda: Failure("text", [2]), lambda: SystemExit(ValueError)]
)
def test_raising_a_frozen_exception_raises_a_new_one_with_the_same_state(make):
    frozen = freeze(make())
    for _ in range(2):
        with pytest.raises(type(frozen)) as raised:
            raise frozen from KeyError("cause")
        error = raised.value
        assert error is not frozen
        assert not is_frozen(error)
        assert error.args == frozen.args
        assert vars(error) == vars(frozen)
        assert getattr(error, "detail", None) == getattr(frozen, "detail", None)
        assert error.__traceback__ is not None
        assert isinstance(error.__cause__, KeyError)
        error.add_note("a note")
        del error, raised
    assert frozen.__traceback__ is frozen.__cause__ is frozen.__context__ is None
    assert not hasattr(frozen, "__notes__")
    assert is_frozen(frozen)


def test_notes_of_a_frozen_exception_are_the_new_ones_too():
    frozen = ValueError("text")
    frozen.add_note("first")
    freeze(frozen)
    with pytest.raises(ValueError, match=r"^text") as raised:
        raise frozen
    raised.value.add_note("second")
    assert (raised.value.__notes__, frozen.__notes__) == (["first", "second"], ["first"])


def test_a_frozen_exception_thrown_into_a_generator_or_raised_by_c_code_is_a_new_one():
    frozen = freeze(ValueError([1]))

    def generator():
        try:
            yield
        except ValueError as error:
            yield error

    running = generator()
    next(running)
    caught = running.throw(frozen)
    assert caught is not frozen
    assert caught.args == frozen.args

    class Raises:
        def __getitem__(self, index):
            raise frozen

    with pytest.raises(ValueError, match="1") as raised:
        list(Raises())
    assert raised.value is not frozen
    assert frozen.__traceback__ is None


def test_a_frozen_exception_is_a_context_and_a_cause_as_it_is():
    frozen = freeze(ValueError())
    with pytest.raises(KeyError) as raised:
        raise KeyError from frozen
    assert raised.value.__cause__ is frozen

    def raise_another():
        try:
            raise frozen
        except ValueError:
            raise KeyError from None

    with pytest.raises(KeyError) as raised:
        raise_another()
    assert isinstance(raised.value.__context__, ValueError)
    assert frozen.__context__ is None


def test_frozen_functions_raise_with_tracebacks_of_their_interpreter(module, other):
    made = module("""
        ERROR = LookupError("not there", [1])
        def find():
            raise ERROR
        def found():
            try:
                find()
            except LookupError as error:
                return error.args, error.__traceback__ is not None, error is ERROR
    """)
    freeze(made.found)
    expected = (("not there", [1]), True, False)
    assert made.found() == made.found() == expected
    assert evaluate(other, "found()", found=made.found) == repr(expected)


# ---- caches ----------------------------------------------------------------------------------------------------------


def test_a_frozen_lru_cache_keeps_what_it_had_and_what_it_is_given():
    calls = []

    @functools.lru_cache(maxsize=2)
    def square(number):
        return [number * number]

    first = square(1)
    freeze(square)
    assert square(1) is first
    assert not is_frozen(first)
    assert square.cache_info()[:2] == (2, 1) or square.cache_info().hits == 1
    assert [square(2), square(3)] == [[4], [9]]
    assert square.cache_info().currsize == 2
    assert square(3) is square(3)
    square.cache_clear()
    assert square.cache_info() == (0, 0, 2, 0)
    assert square(1) is not first
    assert calls == []


def test_each_interpreter_has_its_own_cache(other):
    cached = freeze(functools.lru_cache(maxsize=None)(slow_square))
    assert [cached(2), cached(2)] == [4, 4]
    assert cached.cache_info().hits == 1
    text = evaluate(other, "(value(2), value(3), value(3), value.cache_info()[:2], value.cache_clear())", value=cached)
    assert text == "(4, 9, 9, (1, 2), None)"
    assert cached.cache_info()[:2] == (1, 1)


def test_a_recursive_cached_function_freezes_and_is_reclaimed():
    def family():
        @functools.lru_cache
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        return fibonacci

    fibonacci = freeze(family())
    assert fibonacci(60) == 1548008755920
    gone = weakref.ref(fibonacci)
    del fibonacci
    for _ in range(3):
        gc.collect()
    assert gone() is None


def test_a_failed_freeze_leaves_the_cache_as_it_was():
    @functools.lru_cache
    def numbers(n):
        return list(range(n))

    kept = [numbers(n) for n in range(4)]
    numbers.resource = (n for n in ())
    refusal(numbers)
    assert [numbers(n) is kept[n] for n in range(4)] == [True] * 4
    assert numbers.cache_info()[:2] == (4, 4)
    del numbers.resource
    freeze(numbers)
    assert [numbers(n) is kept[n] for n in range(4)] == [True] * 4


@pytest.mark.parametrize("times", [1, 2])
def test_a_frozen_cache_goes_with_the_interpreter_that_made_it(times):
    # Its C module holds types which hold the module.
    source = """
        import functools
        from immutable import freeze
        class Stack[T]:
            @functools.lru_cache
            def top(self) -> T: ...
        Stack().top()
        freeze(Stack, functools.lru_cache(len))
    """

    def left():
        for _ in range(times):
            interpreter = interpreters.create()
            interpreter.exec(textwrap.dedent(source))
            interpreter.close()
        gc.collect()
        return frozen_now()

    left()  # types of C modules that are shared for good
    assert left() == left()


def test_a_cached_property_of_a_frozen_instance_is_computed_for_each_reader():
    early, late = Shape([1]), Shape([2])
    kept = early.doubled
    freeze(early, late)
    assert early.doubled is kept
    assert late.doubled == [2, 2]
    assert late.doubled is not late.doubled
    assert vars(late) == {"size": [2]}


def test_the_parts_of_dead_objects_are_dropped_where_they_are(other):
    cached = freeze(functools.cache(slow_square))
    evaluate(other, "value(2)", value=cached)
    before = _stats()["frozen_objects"]
    del cached
    for _ in range(3):
        gc.collect()
    assert _stats()["frozen_objects"] < before
    other.exec("import gc\nfor _ in range(3): gc.collect()")


# ---- abstract base classes -------------------------------------------------------------------------------------------


def make_abstract():
    class Drawable(abc.ABC):
        @abc.abstractmethod
        def draw(self):
            return "nothing"

    class Solid(Drawable):
        pass

    class Circle(Solid):
        def draw(self):
            return "circle"

    class Square:
        pass

    class Line:
        pass

    Solid.register(Square)
    return Drawable, Solid, Circle, Square, Line


def test_a_frozen_abstract_class_knows_its_subclasses_and_what_was_registered():
    drawable, solid, circle, square, line = make_abstract()
    assert isinstance(square(), drawable)
    assert not isinstance(line(), drawable)
    freeze(drawable, solid, circle, square, line)
    for _ in range(2):
        assert isinstance(circle(), drawable)
        assert isinstance(square(), solid)
        assert isinstance(square(), drawable)
        assert not isinstance(line(), drawable)
        assert issubclass(square, drawable)
    assert outcome(drawable) is TypeError
    assert drawable.__abstractmethods__ == {"draw"}


@pytest.mark.parametrize("order", ["together", "abstract first", "abstract last"])
def test_another_interpreter_knows_them_too(order, other):
    drawable, solid, circle, square, line = make_abstract()
    if order == "together":
        freeze(drawable, solid, circle, square, line)
    elif order == "abstract first":
        freeze(drawable)
        freeze(solid)
        freeze(circle, square, line)
    else:
        freeze(square, line)
        freeze(solid, circle)
    text = evaluate(
        other,
        """[
            [issubclass(c, abstract) for c in (circle, square, line, int)] + [isinstance(circle(), abstract)]
            for abstract in (drawable, solid) for _ in "ab"
        ]""",
        drawable=drawable,
        solid=solid,
        circle=circle,
        square=square,
        line=line,
    )
    assert eval(text) == [[True, True, False, False, True]] * 4


def test_what_was_registered_with_the_registered_counts_too(other):
    class Outer(abc.ABC):  # noqa: B024
        pass

    class Inner(abc.ABC):  # noqa: B024
        pass

    class Plain:
        pass

    Outer.register(Inner)
    Inner.register(Plain)
    freeze(Outer)
    freeze(Plain)
    freeze(Inner)
    assert evaluate(other, "issubclass(plain, outer)", plain=Plain, outer=Outer) == "True"


def test_registering_with_a_frozen_abstract_class_holds_in_that_interpreter(other):
    drawable, *_, line = make_abstract()
    freeze(drawable, line)
    assert not issubclass(line, drawable)
    assert (
        evaluate(other, "drawable.register(line) and issubclass(line, drawable)", drawable=drawable, line=line)
        == "True"
    )
    assert not issubclass(line, drawable)
    drawable.register(line)
    assert issubclass(line, drawable)


def test_a_class_at_the_address_of_a_dead_registered_one_is_not_taken_for_it():
    _, solid, *_ = make_abstract()
    freeze(solid)
    gc.collect()
    for _ in range(50):
        stranger = type("Stranger", (), {})
        freeze(stranger)
        assert not issubclass(stranger, solid)


def test_abstract_collections_work_when_frozen(other):
    class Names(collections.abc.Sequence):
        def __init__(self, *names):
            self.names = names

        def __getitem__(self, index):
            return self.names[index]

        def __len__(self):
            return len(self.names)

    names = freeze(Names("a", "b"))
    expression = """(list(value), list(reversed(value)), value.index("b"), "a" in value, value.count("a"),
        isinstance(value, base), isinstance([], base), isinstance({}, base), isinstance("", base))"""
    expected = (["a", "b"], ["b", "a"], 1, True, 1, True, True, False, True)
    names_here = {"value": names, "base": collections.abc.Sequence}
    assert eval(expression, names_here) == expected
    assert evaluate(other, expression, value=names, base=collections.abc.Sequence) == repr(expected)


# ---- locks and values of threads -------------------------------------------------------------------------------------


def test_a_frozen_lock_excludes_threads_of_all_interpreters(other):
    lock = freeze({"lock": threading.Lock()})["lock"]
    with lock:
        assert evaluate(other, "lock.locked(), lock.acquire(blocking=False)", lock=lock) == "(True, False)"
    assert not lock.locked()
    assert evaluate(other, "lock.acquire(blocking=False)", lock=lock) == "True"
    assert lock.locked()
    lock.release()


def test_a_frozen_lock_hands_over_between_interpreters():
    lock = freeze(threading.Lock())
    lock.acquire()
    other = interpreters.create()
    other.prepare_main(lock=lock)
    waiting = threading.Thread(target=other.exec, args=("with lock: pass",))
    waiting.start()
    lock.release()
    waiting.join(timeout=60)
    assert not waiting.is_alive()
    other.close()


class Settings(threading.local):
    def __init__(self, level):
        self.level = [level]


def test_values_of_threads_stay_mutable_and_their_own():
    local = threading.local()
    local.value = ["first"]
    freeze(local)
    assert local.value == ["first"]
    assert not is_frozen(local.value)
    local.value.append("second")
    local.other = 1
    seen = []

    def run():
        seen.append(hasattr(local, "value"))
        local.value = "in the thread"
        seen.append(local.value)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False, "in the thread"]
    assert (local.value, local.other) == (["first", "second"], 1)
    del local.other
    assert not hasattr(local, "other")
    assert vars(local) == {"value": ["first", "second"]}


def test_each_interpreter_has_its_own_values_of_threads(other):
    local = threading.local()
    local.value = 1
    freeze(local)
    interpreter = "[hasattr(local, 'value'), setattr(local, 'value', 2), local.value]"
    assert evaluate(other, interpreter, local=local) == "[False, None, 2]"
    assert local.value == 1


def test_values_of_threads_are_initialised_in_each_interpreter(other):
    settings = freeze(Settings(3))
    settings.level.append(4)
    assert settings.level == [3, 4]
    assert evaluate(other, "(settings.level, settings.level.append(5), settings.level)", settings=settings) in (
        "([3, 5], None, [3, 5])",
    )
    assert settings.level == [3, 4]


def test_values_of_a_thread_that_ends_are_dropped():
    local = freeze(threading.local())
    kept = []

    def run():
        local.value = Shape(1)
        kept.append(weakref.ref(local.value))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    gc.collect()
    assert kept[0]() is None


# ---- several interpreters at once ------------------------------------------------------------------------------------


def test_interpreters_use_frozen_library_objects_at_the_same_time(everywhere_at_once):
    drawable, solid, circle, square, line = make_abstract()
    cached = functools.lru_cache(maxsize=3)(slow_square)
    local = threading.local()
    shared = freeze(
        {
            "classes": (drawable, solid, circle, square, line),
            "cached": cached,
            "local": local,
            "queue": collections.deque(range(100)),
            "numbers": array.array("i", range(100)),
            "table": collections.OrderedDict((n, n) for n in range(100)),
            "show": show,
            "error": ValueError([1]),
        }
    )
    source = """if True:
        drawable, solid, circle, square, line = shared["classes"]
        for number in range(300):
            assert isinstance(circle(), drawable) and isinstance(square(), drawable)
            assert not isinstance(line(), drawable) and not issubclass(int, solid)
            made = type("Made", (solid,), {})
            assert issubclass(made, drawable)
            mine = type("Mine", (), {})
            solid.register(mine)
            assert issubclass(mine, drawable)
            assert shared["cached"](number % 5) == (number % 5) ** 2
            shared["local"].value = number
            assert shared["local"].value == number
            assert shared["queue"][number % 100] == shared["numbers"][number % 100] == number % 100
            assert sum(shared["table"].values()) == 4950
            assert shared["show"]({}) == "mapping of 0" and shared["show"](True) == "int True"
            try:
                raise shared["error"]
            except ValueError as error:
                assert error.__traceback__ is not None and error is not shared["error"]
    """
    everywhere_at_once(source, shared)


# ---- what refuses ----------------------------------------------------------------------------------------------------


def start_thread():
    return threading.Thread(target=print)


def instance_of(dotted, *arguments):
    def make():
        module, _, name = dotted.rpartition(".")
        namespace = {}
        exec(f"import {module} as module", namespace)
        return getattr(namespace["module"], name)(*arguments)

    return make


# How to make an object, and a statement that shows that its module works.
STATEFUL = {
    "Logger": (
        lambda: logging.getLogger("tests.library"),
        "import logging; logging.getLogger('tests.new').setLevel(10)",
    ),
    "root logger": (logging.getLogger, "import logging; logging.getLogger().setLevel(logging.WARNING)"),
    "Handler": (
        logging.NullHandler,
        "import logging as l; h = l.NullHandler(); r = l.getLogger('tests.h'); r.addHandler(h); r.removeHandler(h)",
    ),
    "LoggerAdapter": (
        lambda: logging.LoggerAdapter(logging.getLogger("a")),
        "import logging; logging.addLevelName(7, 'SEVEN')",
    ),
    "logging.getLogger": (lambda: logging.getLogger, "import logging; logging.getLogger('tests.other').info('x')"),
    "Thread": (start_thread, "import threading; t = threading.Thread(target=str); t.start(); t.join()"),
    "Thread class": (
        lambda: threading.Thread,
        "import threading; assert threading.current_thread() in threading.enumerate()",
    ),
    "Event": (threading.Event, "import threading; threading.Event().set()"),
    "Condition": (threading.Condition, "import threading; c = threading.Condition()\nwith c: c.notify()"),
    "Semaphore": (threading.Semaphore, "import threading; threading.Semaphore().acquire()"),
    "Barrier": (instance_of("threading.Barrier", 1), "import threading; threading.Barrier(1).wait()"),
    "Timer": (instance_of("threading.Timer", 1, print), "import threading; threading.Timer(1, print)"),
    "Queue": (instance_of("queue.Queue"), "import queue; q = queue.Queue(); q.put(1); q.get()"),
    "SimpleQueue": (instance_of("queue.SimpleQueue"), "import queue; q = queue.SimpleQueue(); q.put(1); q.get()"),
    "event loop": (instance_of("asyncio.new_event_loop"), "import asyncio; asyncio.run(asyncio.sleep(0))"),
    "asyncio.Queue": (instance_of("asyncio.Queue"), "import asyncio; asyncio.run(asyncio.sleep(0))"),
    "asyncio.Lock": (instance_of("asyncio.Lock"), "import asyncio; asyncio.Lock()"),
    "asyncio.run": (lambda: __import__("asyncio").run, "import asyncio; asyncio.run(asyncio.sleep(0))"),
    "Future": (instance_of("concurrent.futures.Future"), "import concurrent.futures as f; f.Future().set_result(1)"),
    "executor": (
        instance_of("concurrent.futures.ThreadPoolExecutor", 1),
        "import concurrent.futures as f\nwith f.ThreadPoolExecutor(1) as e: e.submit(str).result()",
    ),
    "Popen class": (lambda: __import__("subprocess").Popen, "import subprocess; subprocess.run(['true'], check=True)"),
    "subprocess.run": (lambda: __import__("subprocess").run, "import subprocess; subprocess.run(['true'], check=True)"),
    "TemporaryDirectory": (
        instance_of("tempfile.TemporaryDirectory"),
        "import tempfile\nwith tempfile.TemporaryDirectory(): pass",
    ),
    "tempfile.mkdtemp": (lambda: __import__("tempfile").mkdtemp, "import tempfile, os; os.rmdir(tempfile.mkdtemp())"),
    "ExitStack": (contextlib.ExitStack, "import contextlib\nwith contextlib.ExitStack() as s: s.callback(str)"),
    "AsyncExitStack": (contextlib.AsyncExitStack, "import contextlib; contextlib.AsyncExitStack()"),
    "catch_warnings": (
        instance_of("warnings.catch_warnings"),
        "import warnings\nwith warnings.catch_warnings(): warnings.simplefilter('ignore'); warnings.warn('x')",
    ),
    "ModuleSpec": (lambda: abc.__spec__, "import importlib; importlib.reload(importlib.import_module('colorsys'))"),
    "finder": (lambda: __import__("sys").meta_path[-1], "import importlib.util; importlib.util.find_spec('this')"),
    "scheduler": (instance_of("sched.scheduler"), "import sched; sched.scheduler().run()"),
    "selector": (instance_of("selectors.DefaultSelector"), "import selectors; selectors.DefaultSelector().close()"),
    "StringIO": (instance_of("io.StringIO"), "import io; io.StringIO().write('x')"),
    "BytesIO": (instance_of("io.BytesIO"), "import io; io.BytesIO().write(b'x')"),
    "socket": (instance_of("socket.socket"), "import socket; socket.socket().close()"),
    "Random": (instance_of("random.Random", 1), "import random; random.Random(1).random()"),
    "random.random": (lambda: __import__("random").random, "import random; random.seed(1); random.random()"),
    "incremental decoder": (
        lambda: __import__("codecs").getincrementaldecoder("utf-8")(),
        "import codecs; codecs.getincrementaldecoder('utf-8')().decode(b'x')",
    ),
    "TestCase": (instance_of("unittest.TestCase"), "import unittest; unittest.TestCase().assertTrue(1)"),
    "Mock": (instance_of("unittest.mock.Mock"), "from unittest.mock import Mock; Mock().call()"),
    "HTTPConnection": (
        instance_of("http.client.HTTPConnection", "localhost"),
        "import http.client as h; h.HTTPConnection('x')",
    ),
    "TCPServer class": (lambda: __import__("socketserver").TCPServer, "import socketserver"),
    "generator": (lambda: (n for n in ()), "list(n for n in ())"),
    "count": (instance_of("itertools.count"), "import itertools; next(itertools.count())"),
    "FileInput": (
        instance_of("fileinput.FileInput", [__file__]),
        "import fileinput; next(fileinput.FileInput([fileinput.__file__]))",
    ),
    "TopologicalSorter": (
        instance_of("graphlib.TopologicalSorter", {1: [2]}),
        "import graphlib; assert list(graphlib.TopologicalSorter({1: [2]}).static_order()) == [2, 1]",
    ),
    "HTMLParser": (
        instance_of("html.parser.HTMLParser"),
        "import html.parser; html.parser.HTMLParser().feed('<p>')",
    ),
    "OptionParser": (instance_of("optparse.OptionParser"), "import optparse; optparse.OptionParser().parse_args([])"),
    "HelpFormatter": (instance_of("optparse.IndentedHelpFormatter"), "import optparse; optparse.TitledHelpFormatter()"),
    "dircmp": (
        instance_of("filecmp.dircmp", ".", "."),
        "import filecmp; filecmp.dircmp('.', '.').common",
    ),
    "SequenceMatcher": (
        instance_of("difflib.SequenceMatcher", None, "abc", "abd"),
        "import difflib; difflib.SequenceMatcher(None, 'abc', 'abd').ratio()",
    ),
    "HtmlDiff": (instance_of("difflib.HtmlDiff"), "import difflib; difflib.HtmlDiff().make_table(['a'], ['b'])"),
    "Profile": (instance_of("profile.Profile"), "import profile; profile.Profile().runcall(str)"),
    "Trace": (instance_of("trace.Trace"), "import trace; trace.Trace(trace=False).runfunc(str)"),
    "mailbox": (
        lambda: __import__("mailbox").Maildir,
        "import mailbox; mailbox.MaildirMessage('a: b')",
    ),
    "Compile": (instance_of("codeop.Compile"), "import codeop; codeop.Compile()('1', 'name', 'eval')"),
    "redirect_stdout": (
        instance_of("contextlib.redirect_stdout", None),
        "import contextlib, sys\nwith contextlib.redirect_stdout(sys.stdout): pass",
    ),
    "chdir": (instance_of("contextlib.chdir", "."), "import contextlib\nwith contextlib.chdir('.'): pass"),
    "Generator of e-mail": (
        instance_of("email.generator.Generator", None),
        "import email, io; email.generator.Generator(io.StringIO()).flatten(email.message_from_string('a: b'))",
    ),
    "ContentHandler": (
        instance_of("xml.sax.handler.ContentHandler"),
        "import xml.sax.handler; xml.sax.parseString('<a/>', xml.sax.handler.ContentHandler())",
    ),
    "XMLReader": (instance_of("xml.sax.xmlreader.XMLReader"), "import xml.sax; xml.sax.make_parser()"),
    "C14NWriterTarget": (
        instance_of("xml.etree.ElementTree.C14NWriterTarget", print),
        "import xml.etree.ElementTree as e; e.canonicalize('<a/>')",
    ),
    "finalize": (
        lambda: weakref.finalize(Shape, print),
        "import weakref\nclass C: pass\nc = C(); weakref.finalize(c, str).detach()",
    ),
    "ast.unparse": (lambda: ast.unparse, "import ast; ast.unparse(ast.parse('1'))"),
    "Completer": (
        instance_of("rlcompleter.Completer", {}),
        "import rlcompleter; rlcompleter.Completer({}).complete('a', 0)",
    ),
    "Untokenizer": (instance_of("tokenize.Untokenizer"), "import tokenize; tokenize.untokenize([(1, 'a')])"),
    "Pickler in Python": (
        lambda: pickle._Pickler(types.SimpleNamespace(write=len)),
        "import io, pickle; pickle._Pickler(io.BytesIO()).dump(1)",
    ),
    "Interpreter": (interpreters.get_main, "from concurrent import interpreters; interpreters.get_current()"),
}


class Holder:
    """Refers to what the program needs."""

    def __init__(self, held):
        self.held = held


@pytest.mark.parametrize("name", STATEFUL)
def test_what_must_go_on_working_refuses_with_advice(name, module):
    make, works = STATEFUL[name]
    held = make()
    error = refusal(Holder(held))
    assert len(error.reason) > 30
    assert error.path.startswith("root.held")
    made = module("def use():\n    return held", name="holds_something_stateful")
    made.held = held
    if isinstance(held, logging.Logger):
        assert freeze(made.use)() is held  # by name
    else:
        refusal(made.use)
    namespace = {"__name__": "statement"}
    exec(works, namespace)
    for end in ("close", "shutdown", "cleanup", "detach"):
        if not isinstance(held, type | interpreters.Interpreter) and hasattr(held, end):
            getattr(held, end)()
            break


def test_instances_of_derived_classes_refuse_as_their_bases_do():
    class Worker(threading.Thread):
        pass

    assert "thread" in refusal(Worker()).reason
    assert not is_frozen(Worker)
    assert not is_frozen(threading.Thread)
    refusal(Worker)


def test_a_class_whose_instances_refuse_is_of_use_in_frozen_functions(run_python):
    run_python("""if True:
        from difflib import SequenceMatcher
        from graphlib import TopologicalSorter
        from html.parser import HTMLParser
        from immutable import NotFreezableError, freeze

        class Texts(HTMLParser):
            def handle_data(self, data):
                self.text = data

        @freeze
        def use(pages):
            parser = Texts()
            parser.feed(pages)
            order = list(TopologicalSorter({1: [2]}).static_order())
            return parser.text, order, SequenceMatcher(None, "a", "a").ratio()

        assert use("<p>text</p>") == ("text", [2, 1], 1.0)
        try:
            freeze(Texts())
        except NotFreezableError as error:
            assert "make it where it is used" in error.reason
        else:
            raise AssertionError
    """)


def test_code_that_names_the_module_freezes(module, other):
    made = module("""
        import threading
        import logging
        import queue
        def work():
            done = queue.Queue()
            thread = threading.Thread(target=done.put, args=(logging.getLevelName(10),))
            thread.start()
            thread.join()
            return done.get()
    """)
    freeze(made.work)
    assert made.work() == "DEBUG"
    assert evaluate(other, "work()", work=made.work) == "'DEBUG'"


def test_exceptions_of_these_modules_are_caught_by_frozen_functions(module):
    made = module("""
        import queue
        from queue import Empty
        def take():
            try:
                queue.Queue().get_nowait()
            except Empty:
                return "empty"
    """)
    freeze(made.take)
    assert made.take() == "empty"


def test_a_frozen_log_record_leaves_the_levels_mutable():
    freeze(logging.LogRecord("name", 10, "path", 1, "message", (), None))
    logging.addLevelName(17, "SEVENTEEN")
    assert logging.getLevelName(17) == "SEVENTEEN"


def test_writing_the_default_of_a_frozen_defaultdict_raises_before_the_factory_runs():
    made = []
    table = freeze(collections.defaultdict(list, {"a": 1}))
    assert outcome(lambda: table["b"]) is MutationError
    assert made == []
    assert "b" not in table


# ---- what is promised ------------------------------------------------------------------------------------------------

# Each class, function or construct of the standard library that is promised to freeze and to be of use in any
# interpreter, and the values, here or in the other two files, that make the round trip for it. The values are instances
# of what has a dotted name.
PROMISED = {
    "fractions.Fraction": ["Fraction"],
    "decimal.Decimal": ["Decimal", "Decimal subclass"],
    "datetime.date": ["date", "datetime"],
    "datetime.time": ["time", "time with a zone"],
    "datetime.datetime": [
        "datetime with a zone",
        "datetime with a zone in Python",
        "datetime with a zone of the database",
        "datetime subclass",
    ],
    "datetime.timedelta": ["timedelta", "no time"],
    "datetime.tzinfo": ["timezone", "UTC", "ZoneInfo"],
    "zoneinfo.ZoneInfo": ["ZoneInfo"],
    "re.Pattern": ["Pattern", "bytes Pattern"],
    "re.Match": ["Match"],
    "enum.Enum": ["IntEnum", "StrEnum"],
    "enum.Flag": ["Flag", "IntFlag"],
    "classes of enum": ["Enum"],
    "dataclasses": ["dataclass"],
    "constructs of typing": ["typing", "generic alias"],
    "typing.TypeAliasType": ["TypeAliasType"],
    "annotationlib.ForwardRef": ["ForwardRef"],
    "constructs of collections_abc": ["collections.abc", "generic alias"],
    "abstract classes": ["abstract class", "collections.abc", "numbers"],
    "numbers": ["numbers"],
    "collections.deque": ["deque", "deque, long"],
    "collections.defaultdict": ["defaultdict"],
    "collections.OrderedDict": ["OrderedDict", "OrderedDict, empty"],
    "collections.Counter": ["Counter"],
    "collections.ChainMap": ["ChainMap"],
    "collections.UserDict": ["UserDict"],
    "collections.UserList": ["UserList"],
    "collections.UserString": ["UserString"],
    "namedtuple": ["namedtuple"],
    "uuid.UUID": ["UUID"],
    "ipaddress.IPv4Address": ["IPv4Address"],
    "ipaddress.IPv6Network": ["IPv6Network"],
    "pathlib.PurePath": ["PurePath", "PureWindowsPath", "Path"],
    "pathlib.Path": ["Path", "Path with info"],
    "array.array": ["array", "array of text"],
    "struct.Struct": ["Struct"],
    "functools.partial": ["partial", "partial with a placeholder"],
    "partialmethod": ["partialmethod"],
    "lru_cache": ["lru_cache", "cache"],
    "cached_property": ["cached_property"],
    "singledispatch": ["singledispatch"],
    "total_ordering": ["total_ordering"],
    "cmp_to_key": ["cmp_to_key"],
    "operator.itemgetter": ["itemgetter"],
    "operator.attrgetter": ["attrgetter"],
    "operator.methodcaller": ["methodcaller"],
    "types.SimpleNamespace": ["SimpleNamespace"],
    "types.MappingProxyType": ["MappingProxyType"],
    "types.MethodType": ["method"],
    "types.CodeType": ["code"],
    "generic aliases": ["generic alias"],
    "string.Template": ["string.Template"],
    "string.templatelib.Template": ["t-string"],
    "statistics.NormalDist": ["NormalDist"],
    "traceback.TracebackException": ["TracebackException"],
    "xml.dom.minidom.Document": ["document"],
    "xml.etree.ElementTree.Element": ["Element"],
    "email.header.Header": ["Header"],
    "email.message.Message": ["Message with parts", "Message with a Header"],
    "email.message.EmailMessage": ["EmailMessage"],
    "http.cookiejar.CookieJar": ["CookieJar"],
    "argparse.Namespace": ["Namespace"],
    "logging.LogRecord": ["LogRecord"],
    "weakref": ["weak reference", "WeakValueDictionary"],
    "threading locks": ["lock", "RLock"],
    "threading.local": ["local"],
    "builtins.BaseException": ["exception", "OSError", "ExceptionGroup"],
    "ast.AST": ["syntax tree", "syntax tree of an expression"],
    "contextvars.Context": ["Context", "Context, empty", "Context, full"],
    "contextvars.ContextVar": ["ContextVar"],
    "ctypes.Structure": ["structure", "nested structure", "big-endian structure", "anonymous field, attribute"],
    "ctypes.Union": ["union"],
    "ctypes.Array": ["array of structures", "string buffer", "wide string buffer"],
    "ctypes._SimpleCData": ["integer", "float", "long double", "char", "bool"],
}

# What refuses, and what its reason names.
REFUSED = {
    "random.Random": (instance_of("random.Random", 1), "InterpreterLocal"),
    "random.SystemRandom": (instance_of("random.SystemRandom"), "InterpreterLocal"),
    "decimal.Context": (instance_of("decimal.Context"), "decimal.getcontext()"),
    "decimal.Context of the thread": (instance_of("decimal.getcontext"), "decimal.getcontext()"),
    "ctypes._Pointer": (instance_of("ctypes.c_char_p", b"text"), "freeze what it points to"),
    "ctypes._CFuncPtr": (lambda: test_ctypes.CALLBACK(abs), "`import ctypes`"),
    "ctypes.CDLL": (instance_of("ctypes.CDLL", None), "`import ctypes`"),
}


@pytest.mark.parametrize("name", PROMISED)
def test_everything_that_is_promised_makes_the_round_trip(name):
    made = {**test_c_types.VALUES, **test_ctypes.VALUES, **VALUES}
    values = [made[each][0]() for each in PROMISED[name]]
    assert values
    if "." in name:
        cls = pkgutil.resolve_name(name)
        assert [value for value in values if not isinstance(value, cls)] == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_one_interpreters_or_memory_refuses_and_names_the_way_out(name):
    make, names = REFUSED[name]
    assert names in refusal([make()]).reason


def test_no_iterator_of_itertools_is_without_state():
    arguments = {
        "batched": ([1], 1),
        "combinations": ([1], 1),
        "combinations_with_replacement": ([1], 1),
        "compress": ([1], [1]),
        "count": (),
        "dropwhile": (bool, [1]),
        "filterfalse": (bool, [1]),
        "islice": ([1], 1),
        "starmap": (max, [(1, 2)]),
        "takewhile": (bool, [1]),
    }
    classes = [each for name, each in vars(itertools).items() if isinstance(each, type) and not name.startswith("_")]
    assert len(classes) > 15
    for cls in classes:
        assert "freeze what it iterates over" in refusal(cls(*arguments.get(cls.__name__, ([1],)))).reason


def test_a_context_in_which_code_runs_refuses_and_a_frozen_one_is_not_entered():
    running = context()
    assert "context.copy()" in running.run(refusal, running).reason
    freeze(running)
    with pytest.raises(MutationError):
        running.run(len, ())
    variable = next(iter(running))
    value, duplicate = running[variable], running.copy()
    duplicate.run(variable.set, "new")
    assert (duplicate[variable], running[variable]) == ("new", value)


def test_an_empty_context_outlives_the_interpreter_that_froze_it():
    maker = interpreters.create()
    inbox = interpreters.create_queue()
    maker.prepare_main(inbox=inbox)
    maker.exec("import contextvars; from immutable import freeze; inbox.put(freeze(contextvars.Context()))")
    received = inbox.get_nowait()
    maker.close()
    gc.collect()
    assert (len(received), list(received), received == contextvars.Context()) == (0, [], True)
    assert received.copy().run(len, ()) == 0


def test_what_a_subclass_of_a_frozen_abstract_class_has_registered_counts_elsewhere(run_python):
    # In a process of its own: of these classes, only the two are frozen.
    run_python("""
        import collections.abc, numbers
        from concurrent import interpreters
        from immutable import freeze, is_frozen

        freeze([numbers.Real, collections.abc.Mapping])
        assert not is_frozen(numbers.Integral)
        other = interpreters.create()
        other.prepare_main(real=numbers.Real, mapping=collections.abc.Mapping)
        other.exec("assert issubclass(int, real) and isinstance(True, real) and not issubclass(complex, real)")
        other.exec("assert issubclass(dict, mapping) and isinstance({}, mapping) and not issubclass(list, mapping)")
        other.close()
    """)
