from typing import Annotated, Literal, NamedTuple, Protocol, runtime_checkable

import typing_extensions
from typing_extensions import TypedDict


@runtime_checkable
class Named(Protocol):
    name: str


class Movie(TypedDict, total=False):
    title: str


class Pair(NamedTuple):
    a: int
    b: int


class Person:
    name = "Ada"


OBJECTS = {
    "Protocol": (lambda: Named, lambda protocol: isinstance(Person(), protocol)),
    "TypedDict": (lambda: Movie, lambda movie: movie(title="a") == {"title": "a"}),
    "NamedTuple": (lambda: Pair, lambda pair: pair(1, 2).b == 2),
    "Annotated": (lambda: Annotated[int, ["note"]], lambda found: found.__metadata__ == (["note"],)),
    "Literal": (lambda: Literal["a", 1], lambda found: found == Literal["a", 1]),
    "deprecated": (lambda: typing_extensions.deprecated("old")(lambda: 1), lambda old: old() == 1),
}
