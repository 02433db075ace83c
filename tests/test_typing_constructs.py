"""Constructs of typing that one interpreter freezes are, in every other, what its own typing makes."""

import collections.abc
import pickle
import re
import textwrap
import typing
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, get_args, get_origin, get_protocol_members

import pytest

from immutable import channel, freeze

CONSTRUCTS = """
typing.Optional[int]
typing.Union[int, str]
int | None
typing.List[int]
list[int]
typing.Dict[str, typing.List[int]]
typing.Callable
typing.Callable[[int], str]
typing.Callable[..., str]
collections.abc.Callable[[int], str]
collections.abc.Callable[..., str]
collections.abc.Sequence[int]
typing.Sequence[int]
typing.Mapping[str, int]
typing.Iterable
typing.Tuple
typing.Literal
typing.Literal[1, "a"]
typing.Annotated[int, 3]
typing.ClassVar[int]
typing.Final[int]
typing.Required[int]
typing.NotRequired[int]
typing.ReadOnly[int]
typing.Type[int]
type[int]
typing.NoReturn
typing.Self
typing.LiteralString
typing.Concatenate[int, ...]
typing.TypeGuard[int]
typing.Unpack[tuple[int]]
typing.ForwardRef("int")
typing.Tuple[int, ...]
tuple[int, ...]
typing.Awaitable[int]
typing.Pattern[str]
re.Pattern[str]
typing.Optional[typing.Callable[[int], typing.Annotated[str, 1]]]
dict[str, collections.abc.Sequence[typing.Literal["x"]]]
""".strip().splitlines()

# Questions about two constructs, the answers to which are the same whoever made them.
QUESTIONS = """
import collections.abc, copy, pickle, re, typing

def annotated(construct):
    return type("Annotated", (), {"__annotations__": {"x": construct}})

QUESTIONS = {
    "==": lambda a, b: (a == b, b == a, a != b),
    "hash": lambda a, b: (hash(a) == hash(b), {a: 1}.get(b), b in {a}),
    "repr": lambda a, b: repr(a) == repr(b),
    "get_args": lambda a, b: typing.get_args(a) == typing.get_args(b),
    "get_origin": lambda a, b: typing.get_origin(a) is typing.get_origin(b),
    "|": lambda a, b: (a | None) == (b | None),
    "as an argument": lambda a, b: list[a] == list[b],
    "Optional": lambda a, b: typing.Optional[a] == typing.Optional[b],
    "get_type_hints": lambda a, b: typing.get_type_hints(annotated(a)) == typing.get_type_hints(annotated(b)),
    "pickle": lambda a, b: pickle.loads(pickle.dumps(a)) == b,
    "pickle in Python": lambda a, b: pickle.loads(pickle._dumps(a)) == b,
    "deepcopy": lambda a, b: copy.deepcopy(a) == b,
    "isinstance": lambda a, b: isinstance(3, a) == isinstance(3, b),
}

def answer(question, *constructs):
    try:
        return question(*constructs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


@pytest.mark.parametrize("source", CONSTRUCTS)
def test_a_construct_is_what_the_running_interpreter_makes(source, elsewhere):
    names = {"typing": typing, "collections": collections, "re": re}
    construct = freeze(eval(source, names))
    there = elsewhere()
    there.run(QUESTIONS)
    there.run(
        """
        own = eval(made_by)
        for name, question in QUESTIONS.items():
            expected = answer(question, own, own)
            assert answer(question, construct, own) == expected, (name, answer(question, construct, own), expected)
        """,
        construct=construct,
        made_by=source,
    )
    assert freeze({construct: 1})[eval(source, names)] == 1


def test_a_table_of_constructs_is_searched_anywhere(elsewhere):
    table = freeze({eval(source): source for source in CONSTRUCTS})
    there = elsewhere()
    there.run(
        """
        import collections.abc, re, typing
        for key, source in table.items():
            assert table[key] == table[eval(source)], source
        """,
        table=table,
    )


class Plugin(typing.Protocol):
    def run(self) -> None: ...


@typing.runtime_checkable
class Runs(typing.Protocol):
    def run(self) -> None: ...


T = typing.TypeVar("T")


class Box(typing.Generic[T]):  # noqa: UP046
    content: T

    def __init__(self, content: T):
        self.content = content


class Point(typing.NamedTuple):
    x: int
    y: int = 2


def deriving():
    class Checked(typing.Protocol[T]):
        def run(self) -> T: ...

    class Both(Box[T], typing.Generic[T]):
        pass

    class Options(typing.TypedDict, total=False):
        name: str

    class Pair(typing.NamedTuple):
        a: int

    class Unknown(typing.Any):
        pass

    return (
        typing.get_protocol_members(Checked),
        Both[int].__args__,
        Both(1).content,
        Options.__optional_keys__,
        Pair(1),
        Unknown.__mro__[1] is typing.Any,
        typing.is_typeddict(Options),
        typing.is_protocol(Checked),
    )


def deriving_by_names():
    class Checked(Protocol[T]):
        def run(self) -> T: ...

    class Options(TypedDict, total=False):
        name: str

    class Pair(NamedTuple):
        a: int

    return (
        get_protocol_members(Checked),
        Options.__optional_keys__,
        Pair(1),
        get_args(typing.Callable[[int], Any]) == typing.get_args(typing.Callable[[int], typing.Any]),
        get_origin(Literal[1]) is typing.Literal,
        issubclass(Checked, typing.Protocol),
    )


@pytest.mark.parametrize("function", [deriving, deriving_by_names])
def test_classes_are_derived_from_those_of_typing_anywhere(function, elsewhere):
    expected = repr(function())
    freeze(function)
    assert repr(function()) == expected
    elsewhere().run("assert repr(function()) == expected, function()", function=function, expected=expected)


def test_frozen_classes_of_typing_are_used_anywhere(elsewhere):
    freeze(Plugin, Runs, Box, Point)
    elsewhere().run(
        """
        import typing

        class Runner:
            def run(self): pass

        assert isinstance(Runner(), Runs) and not isinstance(3, Runs)
        try:
            isinstance(Runner(), Plugin)
        except TypeError as error:
            assert "runtime_checkable" in str(error)
        else:
            raise AssertionError("not checkable")
        assert typing.is_protocol(Plugin) and typing.get_protocol_members(Plugin) == {"run"}

        class Derived(Plugin): pass
        Derived().run()
        assert isinstance(Derived(), Runs) and not typing.is_protocol(Derived)
        assert Box[int]("x").content == "x" and typing.get_args(Box[int]) == (int,)
        assert typing.get_origin(Box[int]) is Box

        class Inner(Box[str]): pass
        assert Inner(1).content == 1 and Inner.__orig_bases__ == (Box[str],)
        assert Point(1) == (1, 2) and Point(1)._replace(y=3).y == 3
        """,
        Plugin=Plugin,
        Runs=Runs,
        Box=Box,
        Point=Point,
    )


@pytest.mark.parametrize("function", [typing.get_type_hints, re.escape, textwrap.dedent], ids=lambda f: f.__name__)
def test_functions_of_the_library_are_pickled_anywhere(function, elsewhere):
    sender, receiver = channel()
    elsewhere().run(
        """
        import pickle
        data = pickle.dumps(function)
        for pickled in data, pickle._dumps(function):
            assert pickle.loads(pickled).__name__ == function.__name__
        sender.send(data)
        """,
        function=freeze(function),
        sender=sender,
    )
    assert pickle.loads(receiver.recv()) is function


type Rows[*Columns] = tuple[*Columns]
type Calls[**P] = list[P]
type Sized[T] = list[T]


@pytest.mark.parametrize("alias", [Rows, Calls, Sized], ids=str)
def test_parameters_of_one_interpreter_make_aliases_in_another(alias, elsewhere):
    sender, receiver = channel()
    elsewhere().run(
        """
        from typing import TypeAliasType
        again = TypeAliasType("Again", alias.__value__, type_params=alias.__type_params__)
        sender.send((repr(again.__parameters__), repr(alias.__parameters__), repr(again[int].__value__)))
        """,
        alias=freeze(alias),
        sender=sender,
    )
    again = typing.TypeAliasType("Again", alias.__value__, type_params=alias.__type_params__)
    assert receiver.recv() == (repr(again.__parameters__), repr(alias.__parameters__), repr(again[int].__value__))
