"""Lazy imports (PEP 810) that a frozen object refers to: each interpreter imports for itself."""

import builtins
import sys
from concurrent import interpreters

import pytest

from immutable import explain, freeze, is_frozen

LAZY = """
    lazy import colorsys
    lazy from colorsys import rgb_to_yiq

    def convert():
        return colorsys.rgb_to_hsv(1, 0, 0), rgb_to_yiq(0, 0, 0)
"""
CONVERTED = ((0.0, 1.0, 1), (0.0, 0.0, 0.0))


@pytest.fixture
def lazy(module, monkeypatch):
    """A module with two lazy imports, which nobody has resolved."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    return module(LAZY)


def test_freezing_imports_nothing(run_python):
    run_python("""
        import sys
        from immutable import explain, freeze, is_freezable
        lazy import colorsys
        lazy from sndhdr_made_up import nothing

        def convert():
            return colorsys.rgb_to_hsv(1, 0, 0)

        def fail():
            return nothing

        assert is_freezable(convert) and explain(convert, fail)
        freeze(convert, fail, globals()["colorsys"])
        assert "colorsys" not in sys.modules
        assert convert() == (0.0, 1.0, 1)
        try:
            fail()
        except ModuleNotFoundError as error:
            assert error.name == "sndhdr_made_up"
        else:
            raise AssertionError("imported what does not exist")
    """)


def test_a_frozen_lazy_import_is_imported_by_each_interpreter_that_uses_it(lazy, elsewhere):
    entry = freeze({"module": vars(lazy)["colorsys"], "function": vars(lazy)["rgb_to_yiq"]})
    assert is_frozen(entry["module"])
    assert repr(entry["module"]) == "<lazy_import 'colorsys'>"
    elsewhere().run(
        """
        import sys
        assert "colorsys" not in sys.modules
        assert entry["module"].resolve() is sys.modules["colorsys"]
        assert entry["function"].resolve() is sys.modules["colorsys"].rgb_to_yiq
        """,
        entry=entry,
    )
    assert entry["module"].resolve() is sys.modules["colorsys"]
    assert lazy.convert() == CONVERTED


def test_the_module_of_a_frozen_lazy_import_goes_on_with_it(lazy):
    kept = freeze(vars(lazy)["colorsys"])
    assert vars(lazy)["colorsys"] is kept
    assert lazy.colorsys.rgb_to_hsv(1, 0, 0) == CONVERTED[0]
    assert vars(lazy)["colorsys"] is sys.modules["colorsys"]
    assert kept.resolve() is sys.modules["colorsys"]


def test_a_refused_freeze_leaves_a_lazy_import_as_it_was(run_python):
    run_python("""
        from immutable import NotFreezableError, explain, freeze, is_freezable, is_frozen

        asked = []

        def hook(name, *rest):
            asked.append(name)
            return __import__(name, *rest)

        space = {"__builtins__": {**vars(__builtins__), "__import__": hook}}
        exec("lazy import colorsys", space)

        def check(entry):
            graph = [entry, entry, (n for n in "x")]
            try:
                freeze(graph)
            except NotFreezableError:
                pass
            else:
                raise AssertionError("a generator was frozen")
            explain(graph)
            assert is_freezable(entry) and not is_frozen(entry)
            entry.resolve()
            assert asked == ["colorsys"]

        check(space["colorsys"])
    """)


def test_an_interpreter_links_with_its_own_import(lazy, elsewhere, monkeypatch):
    asked = []
    real = builtins.__import__

    def hook(name, *rest):
        asked.append(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", hook)
    convert = freeze(lazy.convert)
    other = elsewhere()
    other.run("assert convert()", convert=convert)
    assert asked == []
    assert convert() == CONVERTED
    assert "colorsys" in asked


def test_a_call_without_python_code_around_it_imports(lazy, elsewhere):
    convert = freeze(lazy.convert)
    other = elsewhere()
    other.run("""
        import builtins
        real, asked = builtins.__import__, []

        def hook(name, globals=None, *rest):
            asked.append((name, type(globals)))
            return real(name, globals, *rest)

        builtins.__import__ = hook
    """)
    assert other.interpreter.call(convert) == CONVERTED
    other.run('assert ("colorsys", dict) in asked, asked')


USES = {
    "collections.Counter('aab')": "assert x.most_common(1) == [('a', 2)] and (x + x)['a'] == 4 and repr(x | x)",
    "convert": "assert x()[0] == (0.0, 1.0, 1)",
    "Point(1)": "assert x.parts() == {'x': 1}",
    "typing.List[str]": "assert repr(x) == 'typing.List[str]'",
    "inspect.signature(convert)": "assert repr(x) == '<Signature ()>'",
}


@pytest.mark.parametrize("made", USES)
def test_an_object_whose_methods_import_lazily_outlives_its_interpreter(elsewhere, made):
    queue = interpreters.create_queue()
    home = elsewhere()
    home.run(
        f"""
        import collections, dataclasses, inspect, typing
        from immutable import freeze
        lazy import colorsys
        lazy from dataclasses import asdict

        def convert():
            return colorsys.rgb_to_hsv(1, 0, 0), 1

        @dataclasses.dataclass
        class Point:
            x: int

            def parts(self):
                return asdict(self)

        queue.put(freeze({made}))
        """,
        queue=queue,
    )
    made_there = queue.get()
    elsewhere().run(USES[made], x=made_there)
    home.close()
    elsewhere().run(USES[made], x=made_there)
    exec(USES[made], {"x": made_there})


def test_lazy_imports_are_reported_as_what_they_are(lazy):
    report = explain(lazy.convert)
    assert report.freezable
    assert report.counts["lazy_import"] == 2
    assert lazy.convert() == CONVERTED
