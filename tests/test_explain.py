"""`explain` and `is_freezable`: what a freeze would do, without a trace of having asked."""

import abc
import ast
import dataclasses
import enum
import fractions
import gc
import io
import json
import os
import pathlib
import subprocess
import sys
import types
import weakref

import pytest
from graphs import blueprints, build, frozen_now
from hypothesis import given, settings

import immutable
from immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    InterpreterLocal,
    NotFreezableError,
    explain,
    freeze,
    is_freezable,
    is_frozen,
    set_freezable,
)
from immutable.__main__ import main


class Node:
    def __init__(self, **parts):
        vars(self).update(parts)


def a_generator():
    return (number for number in [1])


def evaluated(path, root):
    return eval(path, {"root": root, "gc": gc})


# ---- What would be frozen --------------------------------------------------


def test_every_object_that_would_be_frozen_is_listed_with_its_path():
    root = {"a": [1.5, "x" * 1000], "b": Node(part=(2.5,))}
    report = explain(root)
    assert report.freezable
    paths = [found.path for found in report.objects]
    listed = [evaluated(path, root) for path in paths if path == "type(root['b'])" or "type(" not in path]
    expected = [root, "a", root["a"], 1.5, "x" * 1000, "b", root["b"], Node, root["b"].part, 2.5]
    assert {id(part) for part in (root, root["a"], root["b"], Node, root["b"].part)} <= {id(part) for part in listed}
    for part in expected:
        assert part in listed or isinstance(part, str)  # names in code are immortal, and frozen from the start


def assert_each_path_leads_to_the_type_told(report, root):
    led = 0
    for path, type_name, _ in report.objects:
        if "<" in path or "__globals__" in path or "__closure__" in path:
            continue  # not reachable by an expression, or made for the freeze
        cls = type(evaluated(path, root))
        if cls is types.MappingProxyType:
            cls = dict  # what vars() of a class shows
        assert type_name in (cls.__qualname__, f"{cls.__module__}.{cls.__qualname__}"), path
        led += 1
    assert led > 2


@pytest.mark.parametrize("make", [lambda: Node(part=[Node()]), lambda: [[], {}, {1}]])
def test_each_path_leads_to_an_object_of_the_type_that_is_told(make):
    root = make()
    assert_each_path_leads_to_the_type_told(explain(root), root)


def test_the_answer_for_a_fraction_is_complete(run_python):
    # In a process of its own: here, another test may have frozen the class, and then it is not listed.
    tests = pathlib.Path(__file__).parent
    run_python(
        """
        import sys; sys.path.insert(0, sys.argv[1])
        import test_explain; test_explain.check_the_answer_for_a_fraction()
        """,
        str(tests),
    )


def check_the_answer_for_a_fraction():
    root = fractions.Fraction(1, 3)
    report = explain(root)
    assert report.freezable
    assert_each_path_leads_to_the_type_told(report, root)
    gc.collect()
    assert number_frozen_by(root) == len(report.objects)
    paths = [found.path for found in report.objects]
    assert paths[:2] == ["root", "type(root)"]
    assert len(set(paths)) > len(paths) * 0.9
    assert any(found.type == "abc.ABCMeta" and "numbers.Rational" in found.short for found in report.objects)


def number_frozen_by(root):
    before = frozen_now()["frozen_objects"]
    freeze(root)
    return frozen_now()["frozen_objects"] - before


def examples():
    class Base(abc.ABC):
        @abc.abstractmethod
        def method(self): ...

    class Colour(enum.Enum):
        RED = 1
        GREEN = 2

    @dataclasses.dataclass
    class Point(Base):
        x: int
        y: list

        def method(self):
            return [self.x for _ in range(3)], Colour

    def counter(start):
        def count(step=1):
            nonlocal start
            return start + step

        return count

    instance = Node(a=1, b=[2])
    assert vars(instance)
    return {
        "containers": [{1: [2, (3, frozenset([4]))]}, {5, 6}, bytearray(b"x"), range(10**30)],
        "instance whose dict was asked for": instance,
        "the dict alone": vars(Node(a=[1])),
        "dataclass": Point(1, [2]),
        "enum": Colour.RED,
        "closure": counter(3),
        "lambda": lambda x, *, y=[1]: (lambda: x)() + y[0],
        "cycle": (ring := [], ring.append(ring))[0],
        "weak reference": [weakref.ref(instance), instance],
        "module": [json],
        "property": property(lambda self: json),
    }


@pytest.mark.parametrize("name", examples())
def test_as_many_objects_freeze_as_the_report_lists(name):
    root = examples()[name]
    report = explain(root)
    assert report.freezable
    assert sum(report.counts.values()) == len(report.objects)
    assert number_frozen_by(root) == len(report.objects)


@settings(max_examples=60)
@given(blueprints())
def test_the_report_on_any_graph_is_what_the_freeze_does(blueprint):
    explain(build(blueprint))  # functions that it calls may be frozen by now: their views are built at the first call
    root = build(blueprint)
    gc.collect()
    before = immutable._stats()
    report = explain(root)
    assert immutable._stats() == before
    assert is_freezable(root) is report.freezable
    assert report.freezable
    freeze(root)
    after = immutable._stats()
    assert after["frozen_objects"] - before["frozen_objects"] == len(report.objects)
    assert after["components"] - before["components"] == report.components


def test_counts_per_type_come_most_first():
    report = explain([[], [], {}])
    assert report.counts == {"list": 3, "dict": 1}
    assert list(report.counts) == ["list", "dict"]


def test_components_are_counted_and_the_largest_told():
    one, other = [], [[]]
    one.append(one)
    other[0].append(other)
    report = explain([one, other])
    assert (report.components, report.largest_component) == (2, 2)
    assert explain([1.5]).components == 0


def test_what_is_frozen_already_is_not_listed():
    assert len(explain(freeze([[1]])).objects) == 0
    assert len(explain([freeze([[1]])]).objects) == 1


def test_several_roots():
    report = explain([1.5], {2.5})
    assert report.counts == {"list": 1, "float": 2, "set": 1}
    with pytest.raises(TypeError):
        explain()


# ---- What else would happen ------------------------------------------------


def test_functions_that_would_be_detached_are_told_with_what_they_capture(module):
    m = module("""
        import json
        limits = [1]

        def inner():
            return limits

        def outer():
            return inner(), json, len
    """)
    report = explain([m.outer])
    assert {found.name: found.captures for found in report.detached} == {
        "outer": ("inner", "json"),
        "inner": ("limits",),
    }
    assert report.modules == ["json"]
    assert any(found.path == "root[0].__globals__['inner'].__globals__['limits']" for found in report.objects)


def test_the_name_of_a_module_is_told_since_it_freezes_with_the_proxy(run_python):
    printed = run_python("""
        import math, types
        from immutable import _stats, explain, freeze

        explain(1)
        for root in (types.ModuleType("made" + "here"), math.comb):
            report, before = explain(root), _stats()["frozen_objects"]
            freeze(root)
            assert len(report.objects) == _stats()["frozen_objects"] - before
            print([found.path for found in report.objects][-1])
    """)
    assert printed == "root.__name__\nroot.__self__.__name__\n"


def test_what_would_stay_mutable_is_told():
    import threading

    report = explain([threading.Lock(), sys])
    assert report.modules == ["sys"]
    assert report.proxies == []
    assert report.counts == {"_thread.lock": 1, "list": 1}


def test_hooks_are_told_and_not_called():
    class Hooked:
        def __pre_freeze__(self):
            raise AssertionError("was called")

    root = {"a": [Hooked()], "b": Hooked()}
    report = explain(root)
    assert sorted(hook.path for hook in report.hooks) == ["root['a'][0]", "root['b']"]
    assert report.freezable
    assert is_freezable(root)


# ---- Refusals --------------------------------------------------------------


def test_every_object_that_would_refuse_is_told_with_path_and_reason():
    shared = a_generator()
    root = {"a": [1, shared, Node(stream=io.StringIO())], "b": (shared, {"c": iter([])})}
    report = explain(root)
    assert not report.freezable
    assert {refusal.path for refusal in report.refusals} == {"root['a'][1]", "root['a'][2].stream", "root['b'][1]['c']"}
    for refusal in report.refusals:
        culprit = evaluated(refusal.path, root)
        with pytest.raises(NotFreezableError) as raised:
            freeze(culprit)
        assert raised.value.reason == refusal.reason
        assert refusal.type.endswith(type(culprit).__name__)
    listed = {found.path for found in report.objects}
    assert "root['a'][2]" in listed
    assert not listed & {refusal.path for refusal in report.refusals}


def test_refusals_by_policy_are_told():
    class Unwilling:
        __freezable__ = FREEZABLE_NO

    class Named:
        pass

    no, explicit = [], Named()
    set_freezable(no, FREEZABLE_NO)
    explicit.__freezable__ = FREEZABLE_EXPLICIT
    root = [no, explicit, Unwilling, [Unwilling()]]
    report = explain(root)
    assert {refusal.path for refusal in report.refusals} == {"root[0]", "root[1]", "root[2]", "root[3][0]"}
    assert explain(explicit).freezable


def test_refusals_that_are_known_only_when_all_was_seen_are_told():
    exported, other = bytearray(b"x"), bytearray(b"y")
    views = [memoryview(exported), memoryview(other)]
    report = explain({"a": exported, "b": [other]})
    assert {refusal.path for refusal in report.refusals} == {"root['a']", "root['b'][0]"}
    assert all(view.obj for view in views)


def test_the_root_itself_may_refuse():
    report = explain(a_generator())
    assert [refusal.path for refusal in report.refusals] == ["root"]
    assert len(report.objects) == 0


@pytest.mark.parametrize("value", [[a_generator()], io.StringIO(), {"a": iter([])}, [sys, [a_generator()]]])
def test_is_freezable_says_no_where_freeze_refuses(value):
    assert is_freezable(value) is False
    with pytest.raises(NotFreezableError):
        freeze(value)


@pytest.mark.parametrize("value", [[], {"a": [1]}, Node(a=Node()), lambda: 1, Node, sys, 3, freeze([1])])
def test_is_freezable_says_yes_where_freeze_succeeds(value):
    assert is_freezable(value) is True
    freeze(value)


# ---- No trace --------------------------------------------------------------


def state_of(objects):
    """What could betray that somebody looked."""
    return [
        (
            gc.is_tracked(op),
            weakref.getweakrefcount(op),
            sys.getrefcount(op),
            [id(part) for part in gc.get_referents(op)],
        )
        for op in objects
    ]


def test_explaining_leaves_no_trace(module):
    m = module("""
        import json
        table = {"a": [1]}

        def f(x, y=[1]):
            return lambda: (table, json, x)

        class C:
            attribute: int = 1
            def method(self):
                return f
    """)
    instance = m.C()
    instance.a = [weakref.ref(m.C)]
    root = {"instance": instance, "f": m.f, "stream": a_generator()}
    instance.root = root
    assert m.C.__annotations__
    objects = [
        root,
        instance,
        instance.a,
        instance.a[0],
        m.f,
        m.f.__code__,
        m.C,
        m.C.method,
        m.C.method.__code__,
        m.table,
    ]
    gc.collect()
    globals_, closure, code = m.f.__globals__, m.f.__closure__, m.f.__code__
    state_of(objects)
    before, stats = state_of(objects), frozen_now()
    for _ in range(3):
        report = explain(root)
        is_freezable(root)
    text = str(report)
    del report
    gc.collect()
    assert text
    assert state_of(objects) == before
    assert frozen_now() == stats
    assert (m.f.__globals__, m.f.__closure__, m.f.__code__) == (globals_, closure, code)
    assert not is_frozen(root)
    root["stream"] = None
    m.table["b"] = instance.b = 1
    assert is_frozen(freeze(root))


def test_a_report_keeps_nothing_alive():
    root = Node(part=Node())
    gone = weakref.ref(root)
    report = explain(root)
    del root
    assert gone() is None
    assert report.objects[0].path == "root"


def test_explaining_runs_no_code_of_the_program():
    class Loud:
        ran = InterpreterLocal(None)

        def __getattribute__(self, name):
            raise AssertionError(name)

        def __repr__(self):
            raise AssertionError("repr")

        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("eq")

    root = {"a": [Loud()], "b": Loud()}
    report = explain(root)
    assert "Loud" in str(report)
    assert report.to_dot()


# ---- Its forms -------------------------------------------------------------


def a_report():
    class Hooked:
        def __pre_freeze__(self):
            pass

    ring = []
    ring.append(ring)
    return explain({"hooked": Hooked(), "stream": a_generator(), "ring": ring, 'quoted "name"\n': [json]})


def test_a_report_prints_as_lines_for_a_terminal():
    text = str(a_report())
    assert "would refuse" in text
    assert "root['stream']: generator object: " in text
    assert "root['hooked']: " in text
    assert "json" in text
    assert all(line == line.rstrip() and line.isprintable() for line in text.splitlines())
    assert str(explain([[]])).startswith("freeze() would freeze 2 objects")
    assert "refusals" in repr(a_report())


def test_a_report_goes_through_json():
    report = a_report()
    told = json.loads(json.dumps(report.to_dict()))
    assert told == report.to_dict()
    assert told["freezable"] is False
    assert told["counts"] == report.counts
    assert told["components"] == {"cycles": report.components, "largest": report.largest_component}
    assert [found["path"] for found in told["objects"]] == [found.path for found in report.objects]
    assert told["refusals"][0]["path"] == "root['stream']"
    assert told["modules"] == ["json"]


def test_a_report_as_a_graph_has_a_node_for_each_object_and_an_edge_for_each_reference():
    root = [1.5, [2.5]]
    dot = explain(root).to_dot()
    lines = dot.splitlines()
    assert lines[0] == "digraph immutable {"
    assert lines[-1] == "}"
    assert sum("label=" in line for line in lines) == 4
    assert sum("->" in line for line in lines) == 3
    assert "color=red" in a_report().to_dot()
    for line in a_report().to_dot().splitlines():
        if "label=" in line:
            ast.literal_eval(line.partition("label=")[2].partition(", tooltip=")[0])


def test_objects_of_a_report_are_a_sequence():
    report = explain([[i] for i in range((10.0).__int__())])
    assert len(report.objects) == 11
    assert report.objects[-1].path == "root[9]"
    assert [found.path for found in report.objects[1:3]] == ["root[0]", "root[1]"]
    with pytest.raises(IndexError):
        report.objects[11]


def test_a_deep_graph_and_a_wide_one_are_explained_in_time():
    deep = []
    for _ in range(20_000):
        deep = [deep]
    report = explain(deep)
    assert report.objects[-1].path == "root" + "[0]" * 20_000
    wide = [[number] for number in range(100_000)]
    report = explain(wide)
    assert report.objects[-1].path.startswith("root[99")


# ---- The command -----------------------------------------------------------


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "immutable", "explain", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_command_explains_an_object_by_name():
    done = command("string:ascii_lowercase")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("freeze() would freeze")


def test_the_command_fails_where_freeze_would_refuse():
    done = command("--objects", "sys:stdout")
    assert done.returncode == 1, done.stderr
    assert "root: _io.TextIOWrapper object: " in done.stdout


def test_the_command_has_json_and_dot():
    done = command("--json", "fractions:Fraction(1, 3)")
    assert json.loads(done.stdout)["objects"][0] == {
        "path": "root",
        "type": "fractions.Fraction",
        "short": "<Fraction object>",
    }
    assert command("--dot", "json:dumps").stdout.startswith("digraph")


@pytest.mark.parametrize("target", ["no_such_module:x", "json:nothing", "json:("])
def test_the_command_says_what_it_does_not_find(target):
    done = command(target)
    assert done.returncode == 2
    assert target.partition(":")[0] in done.stderr
    assert "Traceback" not in done.stderr


PRINTING = {
    "explain": ["explain", "--objects", "fractions:Fraction"],
    "explain as JSON": ["explain", "--json", "fractions:Fraction"],
    "explain as a graph": ["explain", "--dot", "fractions:Fraction"],
    "check": ["check", "fractions"],
    "check, with what refuses": ["check", "threading"],
}


@pytest.fixture
def unread():
    """A pipe that nobody reads from any more."""
    readable, writable = os.pipe()
    os.close(readable)
    with open(writable, "wb") as file:
        yield file


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def to_nobody(request, unread):
    """Runs the command line, and returns its status and what it printed to stderr."""

    def run(*arguments):
        command = [sys.executable, "-m", "immutable", *arguments]
        environment = os.environ | {"PYTHONUNBUFFERED": request.param}
        done = subprocess.run(command, env=environment, stdout=unread, stderr=subprocess.PIPE, text=True, timeout=120)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_the_command_line_ends_quietly_once_nobody_reads_what_it_prints(arguments, to_nobody):
    assert to_nobody(*arguments) == (1, "")


def test_help_that_nobody_reads_is_quiet_too(to_nobody):
    assert to_nobody("--help")[1] == ""  # argparse takes an error of its own for nothing


def test_the_command_line_keeps_its_own_status_if_it_prints_nothing(to_nobody):
    status, errors = to_nobody("explain", "no_such_module:x")
    assert status == 2
    assert errors.startswith("no_such_module:x: ")


def test_a_head_of_a_long_report_comes_alone():
    command = [sys.executable, "-m", "immutable", "explain", "--json", "argparse:ArgumentParser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"{\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_program_may_call_the_command_line_with_a_stdout_of_its_own(capsys):
    assert main(["explain", "string:ascii_lowercase"]) == 0
    assert capsys.readouterr().out.startswith("freeze() would freeze")


def test_the_command_line_lists_its_commands():
    done = subprocess.run([sys.executable, "-m", "immutable", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "explain" in done.stdout


def test_paths_name_the_object_given_that_leads_there():
    given = [1.5], {2.5: 3}, iter([])
    report = explain(*given)
    assert [found.path for found in report.objects][:2] == ["roots[0]", "roots[1]"]
    assert "roots[0][0]" in [found.path for found in report.objects]
    assert [refusal.path for refusal in report.refusals] == ["roots[2]"]
    with pytest.raises(NotFreezableError) as caught:
        freeze([1], [2, iter([])])
    assert caught.value.path == "roots[1][1]"
    same = [iter([])]
    with pytest.raises(NotFreezableError) as caught:
        freeze(same, same)
    assert caught.value.path == "roots[0][0]"
