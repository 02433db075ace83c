"""Sentinels of modules are one object in all interpreters, and frozen dataclasses are understood by all of them."""

import dataclasses
import importlib
import sys
import types

import pytest

from immutable import freeze, is_frozen


@dataclasses.dataclass
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("first", ["there", "here"])
def test_another_interpreter_takes_a_frozen_dataclass_apart(elsewhere, first):
    there = elsewhere()
    if first == "there":
        there.run("import dataclasses")
    freeze(Point)
    there.run(
        """
        import dataclasses
        point = Point(1, [2])
        assert dataclasses.asdict(point) == {"x": 1, "tags": [2]}
        assert dataclasses.astuple(point) == (1, [2])
        assert [field.name for field in dataclasses.fields(Point)] == ["x", "tags"]
        assert dataclasses.fields(Point)[0].default is dataclasses.MISSING
        assert dataclasses.replace(point, x=3) == Point(3, [2])
        @dataclasses.dataclass
        class Point3(Point):
            z: int = 0
        assert Point3(1, [], 2) == Point3(x=1, tags=[], z=2)
        """,
        Point=Point,
    )


SOURCE = """
MISSING = sentinel("MISSING")
def absent(value=MISSING):
    return value is MISSING
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A module with a sentinel, imported here, which every interpreter can import."""
    (tmp_path / "a_library.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("a_library")
    del sys.modules["a_library"]


def test_a_sentinel_of_a_module_is_one_object_in_all_interpreters(elsewhere, library):
    freeze(library.absent)
    elsewhere().run(
        """
        import a_library
        assert id(a_library.MISSING) == identity
        assert absent(a_library.MISSING) and absent()
        """,
        absent=library.absent,
        identity=id(library.MISSING),
    )


def test_a_module_that_runs_again_makes_a_sentinel_of_its_own(library):
    again = types.ModuleType("a_library")
    exec(SOURCE, vars(again))
    assert again.MISSING is not library.MISSING
    assert not again.absent(library.MISSING)


def test_sentinels_made_in_functions_and_classes_are_not_shared():
    def make():
        return sentinel("made")  # noqa: F821

    class Namespace:
        INSIDE = sentinel("INSIDE")  # noqa: F821

    made = make()
    assert made is not make()
    assert not is_frozen(made)
    assert not is_frozen(Namespace.INSIDE)
    made.__module__ = "elsewhere"
    assert made.__module__ == "elsewhere"


def test_sentinels_stay_mutable_in_a_program_with_one_interpreter_that_freezes_nothing(run_python):
    run_python(
        """
        MISSING = sentinel("MISSING")
        MISSING.__module__ = "here"
        assert MISSING.__module__ == "here"
        """
    )


def test_sentinels_made_before_there_was_a_second_interpreter_are_shared(run_python):
    run_python(
        """
        import dataclasses
        from concurrent import interpreters
        other = interpreters.create()
        other.prepare_main(identity=id(dataclasses.MISSING))
        other.exec("import dataclasses; assert id(dataclasses.MISSING) == identity")
        """
    )
