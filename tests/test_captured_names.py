"""Names that a frozen function has captured mean, in each interpreter, what C code there takes for its own."""

import base64
import collections.abc
import contextlib
import copy
import datetime
import decimal
import io
import os
import pickle
import pprint
import sqlite3
import string
import struct
import textwrap
import time
import zlib
from _csv import list_dialects
from _pydecimal import Decimal as PythonDecimal
from _pydecimal import DivisionByZero as PythonDivisionByZero
from csv import DictReader, DictWriter
from decimal import DivisionByZero, Inexact, localcontext
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from functools import Placeholder, partial, partialmethod
from sqlite3 import connect
from struct import error, unpack
from typing import Generic, TypeVar

import pytest

from immutable import channel, freeze

T = TypeVar("T")


def writing_and_reading():
    text = io.StringIO()
    writer = DictWriter(text, ["a", "b"])
    writer.writeheader()
    writer.writerow({"a": 1, "b": "x y"})
    return list(DictReader(io.StringIO(text.getvalue()))), "excel" in list_dialects()


def adapting():
    with contextlib.closing(connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES)) as connection:
        connection.execute("create table days (day date)")
        connection.execute("insert into days values (?)", (datetime.date(2020, 1, 2),))
        return connection.execute("select day from days").fetchall()


def signalling():
    with localcontext() as context:
        context.traps[Inexact] = True
        try:
            decimal.Decimal(1) / decimal.Decimal(3)
        except Inexact as raised:
            return type(raised) is decimal.Inexact, context.flags[Inexact], context.flags[DivisionByZero]


def signalling_in_python():
    try:
        return PythonDecimal(1) / PythonDecimal(0)
    except PythonDivisionByZero as raised:
        return type(raised).__name__, isinstance(raised, decimal.DivisionByZero)


def deriving():
    class Box(Generic[T]):
        def __init__(self, content):
            self.content = content

    return Box[int].__args__, Box[str]("x").content, Box.__parameters__ == (T,)


def excepting():
    try:
        unpack("i", b"")
    except error as raised:
        return type(raised) is struct.error, str(raised)


def raising():
    try:
        raise zlib.error("ours")
    except zlib.error as raised:
        return type(raised).__name__, raised.args


def leaving_a_place():
    return partial(divmod, Placeholder, 3)(10)


HALVE = partial(divmod, Placeholder, 2)


class Splitter:
    def split(self, number, by, how):
        return self.__class__.__name__, how(number, by)

    halve = partialmethod(split, Placeholder, 2)
    tenth = partialmethod(halve, Placeholder, divmod)


def filling_places():
    extended = HALVE(9), partial(HALVE, 9)(), partial(HALVE)(9)
    copied = copy.copy(HALVE)(9), copy.deepcopy(HALVE)(9), partial(copy.copy(HALVE), 9)()
    splitter = Splitter()
    bound = splitter.halve(9, divmod), splitter.tenth(9)
    return extended, copied, bound, partial(Splitter.split, splitter, Placeholder, 3)(9, divmod)


STRICT = [Inexact]


class Policy:
    traps = (Inexact,)


def signalling_from_data():
    context = decimal.Context(prec=4, traps=STRICT)
    with localcontext() as other:
        other.traps[Policy.traps[0]] = other.flags[STRICT[0]] = True
        return context.traps[Inexact], other.traps[Inexact], other.flags[Inexact], Policy.traps[0] in other.flags


def enumerating():
    made = [kind("Made", "a b") for kind in (Enum, Flag, IntEnum, IntFlag, StrEnum)]
    return [[member.name for member in kind] for kind in made], repr(made[0].a), (made[1].a | made[1].b).value


def printing():
    return pprint.PrettyPrinter(width=20).pformat({"a" * 10: list(range(10)), "b": ("c" * 10, {"d" * 10})})


def decoding():
    return base64.b64decode(b"aGVsbG8="), string.Template("$a").substitute(a=1)


FUNCTIONS = [
    writing_and_reading,
    adapting,
    signalling,
    signalling_in_python,
    deriving,
    excepting,
    raising,
    leaving_a_place,
    filling_places,
    signalling_from_data,
    enumerating,
    printing,
    decoding,
]


@pytest.mark.filterwarnings("ignore:The default date:DeprecationWarning")
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_function_gives_the_same_in_an_interpreter_that_has_imported_nothing(function, elsewhere):
    expected = function()
    freeze(function)
    assert function() == expected
    there = elsewhere()
    there.run("import warnings; warnings.simplefilter('ignore')")
    there.run("assert function() == expected, function()", function=function, expected=freeze(expected))


def is_a_mapping(value):
    return isinstance(value, collections.abc.Mapping), isinstance(value, Mapping), issubclass(type(value), Mapping)


Mapping = collections.abc.Mapping


def test_a_captured_abstract_class_knows_what_was_registered_where_it_is_asked(elsewhere):
    freeze(is_a_mapping)
    there = elsewhere()
    there.run(
        """
        import collections.abc

        class Registered: pass

        class Derived(Registered): pass

        class Sized:
            def __len__(self): return 0

        assert is_a_mapping(Registered()) == is_a_mapping([]) == (False,) * 3
        collections.abc.MutableMapping.register(Registered)
        assert is_a_mapping(Registered()) == is_a_mapping(Derived()) == is_a_mapping({}) == (True,) * 3
        assert is_a_mapping([]) == is_a_mapping(Sized()) == (False,) * 3
        """,
        is_a_mapping=is_a_mapping,
    )
    elsewhere().run(
        "class Registered: pass\nassert is_a_mapping(Registered()) == (False,) * 3", is_a_mapping=is_a_mapping
    )


METHODS = [dict.__repr__, str.join, list.append, int.__add__, object.__init__, dict.__init__, bytes.decode]


def test_methods_of_c_are_the_keys_that_they_are_at_home(elsewhere):
    table = freeze({method: method.__qualname__ for method in METHODS})
    assert len(table) == len(METHODS)
    assert dict.__repr__ != list.__repr__
    assert dict.__repr__ != str.join
    assert dict.__repr__ != "dict.__repr__"
    with pytest.raises(TypeError):
        dict.__repr__ < list.__repr__  # noqa: B015
    elsewhere().run(
        """
        for method in (dict.__repr__, str.join, list.append, int.__add__, object.__init__, dict.__init__, bytes.decode):
            assert table[method] == method.__qualname__
            assert {method: 1}[next(key for key in table if key == method)] == 1
        assert list.__repr__ not in table and list.__init__ not in table and list.extend not in table
        """,
        table=table,
    )


PICKLED = [time.localtime(0), os.stat("/"), os.times(), datetime.UTC, decimal.Decimal(1), struct.error("x")]


@pytest.mark.parametrize("value", PICKLED, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dumps", ["dumps", "_dumps"], ids=["pickler in C", "pickler in Python"])
def test_values_are_pickled_anywhere(value, protocol, dumps, elsewhere):
    sender, receiver = channel()
    value = freeze(copy.copy(value))
    elsewhere().run(
        textwrap.dedent("""
            import pickle
            data = getattr(pickle, dumps)(value, protocol)
            again = pickle.loads(data)
            assert type(again) is value.__class__ and repr(again) == repr(value)
            sender.send(data)
        """),
        dumps=dumps,
        value=value,
        protocol=protocol,
        sender=sender,
    )
    assert repr(pickle.loads(receiver.recv())) == repr(value)


def test_a_class_of_a_program_is_pickled_only_where_its_name_leads_to_it(elsewhere):
    sender, receiver = channel()
    home, there = elsewhere(), elsewhere()
    (home.path / "a_program.py").write_text("class Thing: pass")
    home.run("import a_program\nfrom immutable import freeze\nsender.send(freeze(a_program.Thing))", sender=sender)
    there.run(
        """
        import a_program, pickle
        thing = receiver.recv()
        assert thing.__module__ == a_program.Thing.__module__ and thing is not a_program.Thing
        for dumps in pickle.dumps, pickle._dumps:
            try:
                dumps(thing)
            except pickle.PicklingError:
                pass
            else:
                raise AssertionError("pickled")
        """,
        receiver=receiver,
    )
