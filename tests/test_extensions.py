"""Extension modules that opt in: barrier, registration and reachability, from C, C++, Rust and the limited API."""

import ctypes
import gc
import platform
import subprocess
import weakref
from concurrent import interpreters
from pathlib import Path
from typing import NamedTuple

import pytest
from _immutable import _reason_not_to_count
from extensions import FOREIGN, compiled, gauge, load, tally
from graphs import frozen_now

import immutable
from immutable import MutationError, NotFreezableError, freeze, is_frozen


class Example(NamedTuple):
    """The types of one of the examples, by what they show."""

    path: str
    Changing: type
    count: str
    Shallow: type
    parts: tuple
    Holder: type


def examples(kind):
    if kind == "C":
        path = tally()
        module = load(path)
        return Example(path, module.Counter, "count", module.Point, ("x", "y"), module.Box)
    path = gauge()
    module = load(path)
    return Example(path, module.Gauge, "level", module.Span, ("start", "end"), module.Shell)


@pytest.fixture(params=["C", "Rust"])
def example(request):
    return examples(request.param)


class Plain:
    pass


# ---- Barrier and registration ------------------------------------------------


def test_a_registered_type_changes_until_an_instance_is_frozen(example):
    changing = example.Changing(["label"])
    changing.add(2)
    freeze(changing)
    assert is_frozen(changing.label)
    with pytest.raises(MutationError) as raised:
        changing.add(3)
    assert raised.value.obj is changing
    assert getattr(changing, example.count) == 2


def test_a_setter_asks_the_barrier():
    counter = load(tally()).Counter("before")
    counter.label = "mutable"
    freeze(counter)
    with pytest.raises(MutationError):
        counter.label = "frozen"
    assert counter.label == "mutable"


def test_an_instance_freezes_when_it_is_reached(example):
    changing = example.Changing("label")
    freeze({"key": [changing]})
    assert is_frozen(changing)


def test_a_python_subclass_of_a_registered_type_freezes(example):
    if not example.Changing.__flags__ & (1 << 10):  # Py_TPFLAGS_BASETYPE
        with pytest.raises(TypeError):
            type("Sub", (example.Changing,), {})
        return

    class Sub(example.Changing):
        pass

    sub = Sub("label")
    sub.more = [1]
    freeze(sub)
    assert is_frozen(sub.more)
    with pytest.raises(MutationError):
        sub.more = 2
    with pytest.raises(MutationError):
        sub.add(1)


# ---- Shallow immutables ------------------------------------------------------


def test_a_shallow_immutable_is_frozen_when_its_parts_are(example):
    assert is_frozen(example.Shallow(1, ("a", freeze([2]))))
    assert not is_frozen(example.Shallow(1, []))
    assert is_frozen((example.Shallow("a", "b"), example.Shallow(1, example.Shallow(2, 3))))


def test_a_shallow_immutable_freezes_like_other_objects(example):
    inner = []
    shallow = freeze(example.Shallow(inner, 2))
    assert is_frozen(inner)
    assert getattr(shallow, example.parts[0]) is inner


def test_a_class_written_in_python_cannot_be_a_shallow_immutable():
    with pytest.raises(TypeError, match="made in C"):
        from_c("PyImmutable_RegisterShallowImmutable")(Plain)


# ---- Reachability ------------------------------------------------------------


def test_a_reference_outside_the_collectors_view_is_frozen_with_its_owner(example):
    content = [[1]]
    holder = freeze(example.Holder(content))
    assert is_frozen(content)
    assert is_frozen(content[0])
    assert holder.content is content


def test_what_cannot_be_frozen_is_found_behind_such_a_reference(example):
    culprit = (n for n in ())
    holder = example.Holder([culprit])
    with pytest.raises(NotFreezableError) as raised:
        freeze([holder])
    assert raised.value.obj is culprit
    assert not is_frozen(holder)


def test_a_cycle_through_such_a_reference_is_one_component_and_is_reclaimed(example, without_collector):
    before = frozen_now()
    ring = []
    ring.append(example.Holder(ring))
    freeze(ring)
    during = frozen_now()
    assert during["components"] == before["components"] + 1
    del ring
    assert frozen_now() == before


def test_what_such_a_reference_holds_is_released_with_its_owner(example, without_collector):
    freeze(Plain)
    before = frozen_now()
    holder = example.Holder([Plain()])
    content = weakref.ref(holder.content[0])
    freeze(holder)
    assert content() is holder.content[0]
    del holder
    assert content() is None
    assert frozen_now() == before


def test_swapping_the_content_of_a_frozen_box_raises():
    box = load(tally()).Box([1])
    assert box.swap([2]) == [1]
    freeze(box)
    with pytest.raises(MutationError):
        box.swap([3])
    assert box.content == [2]


def cpp():
    return compiled(FOREIGN / "interface.cpp", compiler="g++", flags=("-std=c++17",))


TRAVERSE = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@TRAVERSE
def nothing(op, visit, arg):
    return 0


@TRAVERSE
def nothing_else(op, visit, arg):
    return 0


def from_c(name, *more):
    function = getattr(ctypes.pythonapi, name)
    function.argtypes = [ctypes.py_object, *more]
    return function


def test_registering_reachability_twice_is_allowed_with_the_same_function_only():
    register = from_c("PyImmutable_RegisterReachable", TRAVERSE)
    own = load(cpp()).make_type()
    assert register(own, nothing) == 0
    assert register(own, nothing) == 0
    with pytest.raises(ValueError, match="another"):
        register(own, nothing_else)


def test_registering_reachability_refuses_what_makes_no_sense():
    register = from_c("PyImmutable_RegisterReachable", TRAVERSE)
    with pytest.raises(TypeError, match="made in C"):
        register(Plain, nothing)
    with pytest.raises(MutationError) as raised:
        register(list, nothing)
    assert raised.value.obj is list
    with pytest.raises(ValueError, match="NULL"):
        register(load(cpp()).make_type(), TRAVERSE())


# ---- Lifetimes and interpreters ----------------------------------------------


def test_counts_are_exact(example, without_collector):
    before = frozen_now()
    root = freeze([example.Changing([]), example.Shallow([], {}), example.Holder([()])])
    for _ in range(100):
        copies = [*root]
        [getattr(copies[1], part) for part in example.parts]
    del copies
    assert frozen_now()["frozen_objects"] > before["frozen_objects"]
    del root
    assert frozen_now() == before


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the call is an ordinary one on other machines")
@pytest.mark.parametrize("interpreters", [1, 2])
def test_taking_a_reference_changes_no_register_but_the_vector_ones(run_python, interpreters):
    path = compiled(FOREIGN / "registers.c")
    run_python(
        """
        import ctypes
        import sys
        sys.path[:0] = sys.argv[2:]
        from _immutable import _set_reference_count
        from concurrent.interpreters import create
        from registers import sum, take
        from test_saturation import KINDS, MOST
        if int(sys.argv[1]) > 1:
            create().close()
        for make in KINDS:
            target = make()
            for odd in 0, 1:
                assert not take(target, odd)
            assert sum(target, *range(1, 9)) == 36 + 2 + 6 + 12 + 20 + 30 + 42 + 56 + 8
            count = sys.getrefcount(target)
            for odd in 0, 1:
                _set_reference_count(target, MOST)
                beyond = [target]
                assert not take(target, odd)
                assert sys._is_immortal(target)
                del beyond
                _set_reference_count(target, count)
        immortal = ctypes.c_uint32.from_address(id(None)).value
        assert sum(None, *range(1, 9)) == 36 + 2 + 6 + 12 + 20 + 30 + 42 + 56 + 8
        assert ctypes.c_uint32.from_address(id(None)).value == immortal
        """,
        str(interpreters),
        str(path.parent),
        str(Path(__file__).parent),
    )


def test_instances_pass_between_interpreters_by_reference(example):
    before = frozen_now()
    root = freeze([example.Changing(["label"]), example.Holder({"a": 1})])
    interpreter = interpreters.create()
    interpreter.prepare_main(root=root, address=id(root[1]))
    interpreter.exec("""if True:
        assert id(root[1]) == address
        assert root[1].content == {"a": 1}
        try:
            root[0].add(1)
        except TypeError as error:
            assert type(error).__name__ == "MutationError", error
        else:
            raise AssertionError("a write went through")
    """)
    del root
    interpreter.exec("del root")
    interpreter.close()
    gc.collect()
    assert frozen_now() == before


def test_every_interpreter_registers_its_own_types():
    queue = interpreters.create_queue()
    interpreter = interpreters.create()
    interpreter.prepare_main(queue=queue, folder=str(tally().parent))
    interpreter.exec("""if True:
        import sys
        sys.path.insert(0, folder)
        import tally
        from immutable import freeze
        queue.put(freeze(tally.Box([tally.Counter("made elsewhere")])))
    """)
    box = queue.get()
    interpreter.close()
    assert is_frozen(box.content)
    with pytest.raises(MutationError):
        box.content[0].add(1)


# ---- Languages, headers, linkers ---------------------------------------------


@pytest.mark.parametrize("standard", ["c++11", "c++17", "c++23"])
def test_the_header_serves_cpp(standard):
    path = compiled(FOREIGN / "interface.cpp", compiler="g++", flags=(f"-std={standard}",))
    assert _reason_not_to_count(path) is None


def test_the_interface_works_from_cpp():
    interface = load(cpp())
    value = [[]]
    assert interface.use(value) is value
    assert is_frozen(value[0])
    with pytest.raises(MutationError):
        interface.use(value)
    with pytest.raises(TypeError):
        interface.register_type(Plain)


LIMITED = [f"-DPy_LIMITED_API=0x03{minor:02x}0000" for minor in (8, 10, 12, 15)]


@pytest.mark.parametrize("flag", LIMITED)
def test_the_limited_api_counts_by_calls(flag):
    path = compiled(FOREIGN / "uncounted.c", flags=(flag,))
    symbols = subprocess.run(["nm", "-D", "--undefined-only", path], capture_output=True, text=True, check=True).stdout
    assert "_Py_Dealloc" not in symbols
    assert "_PyImmutable" not in symbols
    assert _reason_not_to_count(path) is None


def test_the_example_builds_with_the_limited_api(run_python):
    path = tally(flags=("-DPy_LIMITED_API=0x030c0000",))
    assert (
        run_python(
            """
        import sys
        sys.path.insert(0, sys.argv[1])
        import tally
        from immutable import MutationError, foreign_extensions, freeze, is_frozen
        counter = freeze(tally.Counter([1]))
        try:
            counter.add(1)
        except MutationError:
            print("refused", counter.count)
        print(is_frozen(tally.Point(1, 2)), is_frozen(freeze(tally.Box([])).content), foreign_extensions())
        """,
            str(path.parent),
        )
        == "refused 0\nTrue True []\n"
    )


BUILDS = {
    "optimised": ("-O3",),
    "unused sections dropped": ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
    "link-time optimisation": ("-flto", "-Wl,--gc-sections"),
    "hidden": ("-fvisibility=hidden", "-Wl,-Bsymbolic"),
    "stripped": ("-s",),
    "gold": ("-fuse-ld=gold", "-Wl,--gc-sections"),
    "debugging": ("-O0", "-g"),
}


@pytest.mark.parametrize("flags", BUILDS.values(), ids=BUILDS)
def test_the_marker_survives_every_build(flags):
    path = compiled(FOREIGN / "uncounted.c", FOREIGN / "more.c", flags=flags)
    assert _reason_not_to_count(path) is None


def test_all_modules_of_the_standard_library_have_the_marker():
    import _ctypes

    modules = list(Path(_ctypes.__file__).parent.glob("*.so"))
    assert len(modules) > 50
    assert {path.name: reason for path in modules if (reason := _reason_not_to_count(path))} == {}


def test_neither_the_tests_nor_the_examples_are_foreign(example):
    assert immutable.foreign_extensions() == []
    assert _reason_not_to_count(example.path) is None
