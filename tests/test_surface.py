"""The names that a user can rely on, and where they can be used."""

import ast
import inspect
import subprocess
import sys
from concurrent import interpreters
from pathlib import Path

import pytest
from graphs import frozen_now

import immutable
from immutable import MutationError, NotFreezableError, freeze, is_frozen

SURFACE = {
    "FREEZABLE_EXPLICIT",
    "FREEZABLE_NO",
    "FREEZABLE_PROXY",
    "FREEZABLE_YES",
    "ChannelClosed",
    "Freezability",
    "FreezabilityOverride",
    "FreezabilityWarning",
    "InterpreterLocal",
    "MutationError",
    "NotFreezableError",
    "Receiver",
    "Sender",
    "SharedField",
    "channel",
    "explain",
    "explicitlyFreezable",
    "explicitly_freezable",
    "freezable",
    "freeze",
    "frozen",
    "get_freezable",
    "is_freezable",
    "is_frozen",
    "isfrozen",
    "register_freezable",
    "register_shallow_immutable",
    "require_mutable",
    "select",
    "set_freezable",
    "thaw",
    "unfreezable",
    "unset_freezable",
}


def test_the_package_has_every_name_of_its_surface_and_no_other():
    assert set(immutable.__all__) == SURFACE
    assert [name for name in sorted(SURFACE) if not hasattr(immutable, name)] == []


def test_every_public_function_and_class_says_what_it_does():
    undocumented = [
        name
        for name in sorted(SURFACE)
        if callable(getattr(immutable, name)) and not inspect.getdoc(getattr(immutable, name))
    ]
    assert undocumented == []


def test_the_type_stubs_name_the_same_things():
    package = Path(immutable.__file__).parent
    assert (package / "py.typed").exists()
    stubs = ast.parse((package / "__init__.pyi").read_text())
    named = set()
    for node in stubs.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                named.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                named.add(name)
    assert {name for name in named if not name.startswith("_")} == SURFACE


def test_isfrozen_is_is_frozen():
    assert immutable.isfrozen is immutable.is_frozen


def test_freeze_returns_its_first_argument():
    first, second = [1], [2]
    assert freeze(first, second) is first
    assert is_frozen(first)
    assert is_frozen(second)


def test_freeze_without_an_argument_is_an_error_of_use():
    with pytest.raises(TypeError) as raised:
        freeze()
    assert not isinstance(raised.value, NotFreezableError)


def test_freezing_again_is_allowed_and_does_nothing():
    value = freeze([1, [2]])
    assert freeze(value) is value
    assert is_frozen(value)


def test_an_ordinary_object_is_not_frozen():
    assert not is_frozen([])
    assert not is_frozen({})
    assert not is_frozen(object.__new__(type("C", (), {})))


def test_a_write_raises_mutation_error_that_names_the_object():
    value = freeze([1, 2, 3])
    with pytest.raises(MutationError) as raised:
        value.append(4)
    assert isinstance(raised.value, TypeError)
    assert raised.value.obj is value
    assert "list" in str(raised.value)


def test_a_refusal_names_the_object_the_path_and_the_reason():
    culprit = (number for number in [])
    root = {"a": [1, 2, 3, culprit]}
    with pytest.raises(NotFreezableError) as raised:
        freeze(root)
    error = raised.value
    assert isinstance(error, TypeError)
    assert error.obj is culprit
    assert error.path == "root['a'][3]"
    assert isinstance(error.reason, str)
    assert error.reason
    assert "generator" in str(error)
    assert error.path in str(error)


def test_mutation_error_and_not_freezable_error_are_different_things():
    assert not issubclass(MutationError, NotFreezableError)
    assert not issubclass(NotFreezableError, MutationError)


def test_is_frozen_marks_a_shallow_immutable_whose_parts_are_frozen():
    parts = freeze([1]), freeze({2})
    assert is_frozen((*parts, "text", 3.5))
    assert not is_frozen((*parts, []))
    assert is_frozen(frozenset([1, "a", (2, 3)]))
    assert is_frozen(slice(1, (2, 3), None))


def test_stats_count_what_is_frozen_now():
    assert set(immutable._stats()) == {"frozen_objects", "components", "record_bytes", "local_views"}
    before = frozen_now()
    value = freeze([[], {}])
    during = frozen_now()
    assert during["frozen_objects"] == before["frozen_objects"] + 3
    assert during["components"] == before["components"]
    del value
    assert frozen_now() == before


def test_a_cycle_is_one_component_with_a_record():
    before = frozen_now()
    ring = [[]]
    ring[0].append(ring)
    freeze(ring)
    during = frozen_now()
    assert during["frozen_objects"] == before["frozen_objects"] + 2
    assert during["components"] == before["components"] + 1
    assert during["record_bytes"] > before["record_bytes"]
    del ring
    assert frozen_now() == before


def test_memory_comes_from_an_allocator_that_any_interpreter_may_return_it_to(run_python):
    name = run_python("import _testinternalcapi; print(_testinternalcapi.pymem_getallocatorsname())").strip()
    assert name.removesuffix("_debug") == "mimalloc"


# ---- register_freezable ----------------------------------------------------


def test_a_registered_policy_decides_for_instances_of_a_type():
    class Refusing:
        pass

    class OnlyByName:
        pass

    immutable.register_freezable(Refusing, immutable.FREEZABLE_NO)
    immutable.register_freezable(OnlyByName, immutable.FREEZABLE_EXPLICIT)

    refusing = Refusing()
    with pytest.raises(NotFreezableError) as raised:
        freeze(refusing)
    assert raised.value.obj is refusing
    assert raised.value.path == "root"

    reached = OnlyByName()
    with pytest.raises(NotFreezableError) as raised:
        freeze([reached])
    assert raised.value.obj is reached
    assert not is_frozen(reached)
    freeze(reached)
    assert is_frozen(reached)


def test_a_type_can_be_registered_back_to_freezable():
    class Changing:
        pass

    immutable.register_freezable(Changing, immutable.FREEZABLE_NO)
    with pytest.raises(NotFreezableError):
        freeze(Changing())
    immutable.register_freezable(Changing)
    assert is_frozen(freeze(Changing()))


def test_a_c_type_that_refuses_can_be_registered(run_python):
    assert "refused\nfrozen True\n" in run_python("""
        import itertools
        from immutable import NotFreezableError, freeze, is_frozen, register_freezable
        try:
            freeze(itertools.count(1))
        except NotFreezableError:
            print("refused")
        register_freezable(itertools.count)
        print("frozen", is_frozen(freeze(itertools.count(1))))
    """)


def test_register_freezable_takes_a_type_and_a_policy():
    with pytest.raises(TypeError):
        immutable.register_freezable("not a type")
    with pytest.raises((TypeError, ValueError)):
        immutable.register_freezable(type("C", (), {}), 99)


# ---- InterpreterLocal ------------------------------------------------------


def test_an_interpreter_local_holds_a_value_that_may_change():
    local = immutable.InterpreterLocal(0)
    assert local.get() == 0
    local.set([1])
    local.get().append(2)
    assert local.get() == [1, 2]
    local.reset()
    assert local.get() == 0


def test_an_interpreter_local_makes_its_value_on_first_use():
    def empty():
        return []

    local = immutable.InterpreterLocal(freeze(empty))
    first = local.get()
    first.append(1)
    assert local.get() is first


def test_a_frozen_interpreter_local_still_takes_values():
    class Cached:
        def __init__(self):
            self.cache = immutable.InterpreterLocal(None)

    cached = freeze(Cached())
    cached.cache.set({"a": 1})
    assert cached.cache.get() == {"a": 1}
    with pytest.raises(MutationError):
        cached.cache = None


# ---- Where it works --------------------------------------------------------

IN_AN_INTERPRETER = """
import _immutable, immutable
value = immutable.freeze({"a": [1, 2]})
assert immutable.is_frozen(value["a"])
try:
    value["a"].append(3)
except immutable.MutationError:
    pass
else:
    raise AssertionError("a write went through")
try:
    immutable.freeze([iter([])])
except immutable.NotFreezableError as error:
    assert error.path == "root[0]", error.path
else:
    raise AssertionError("an iterator was frozen")
"""


def test_it_works_in_every_subinterpreter():
    several = [interpreters.create() for _ in range(4)]
    for interpreter in several:
        interpreter.exec(IN_AN_INTERPRETER)
    for interpreter in several:
        interpreter.close()


@pytest.mark.parametrize("config", ["isolated", "legacy"])
def test_it_works_in_an_interpreter_of_either_kind(config):
    import _interpreters

    interpreter = _interpreters.create(config)
    try:
        assert _interpreters.exec(interpreter, IN_AN_INTERPRETER) is None
    finally:
        _interpreters.destroy(interpreter)


def test_exceptions_of_a_subinterpreter_are_type_errors_there():
    interpreter = interpreters.create()
    interpreter.exec("""if True:
        import immutable
        assert issubclass(immutable.MutationError, TypeError)
        assert issubclass(immutable.NotFreezableError, TypeError)
        try:
            immutable.freeze([]).append(1)
        except TypeError as error:
            assert type(error) is immutable.MutationError
            assert error.obj == []
    """)
    interpreter.close()


def test_it_works_in_a_virtual_environment(tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    subprocess.run([environment / "bin" / "python", "-c", IN_AN_INTERPRETER], check=True)
