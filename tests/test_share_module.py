"""share_module() makes one module of what every interpreter would otherwise import for itself."""

import gc
import importlib
import inspect
import linecache
import sys
import textwrap
import threading
import types
from concurrent import interpreters

import pytest

from immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    ImmutableModule,
    MutationError,
    NotFreezableError,
    _stats,
    freeze,
    is_frozen,
    require_mutable,
    set_freezable,
    share_module,
    unset_freezable,
)

NAMES = iter(f"shared_made_by_test_{n}" for n in range(100_000))
"""What is shared stays shared: each test shares under a name of its own."""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module, or with `__init__` a package, and imports it; `{name}` in a source is its name, a new one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def make(source="", **submodules):
        name = next(NAMES)
        names.append(name)
        text = textwrap.dedent(source).replace("{name}", name)
        if submodules:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "__init__.py").write_text(text)
            for submodule, source in submodules.items():
                (folder / f"{submodule}.py").write_text(textwrap.dedent(source).replace("{name}", name))
        else:
            (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield make
    for name in list(sys.modules):
        if name.split(".")[0] in names:
            del sys.modules[name]


SHAPES = """
    import enum
    import math

    __version__ = "1.0"
    TABLE = {"a": [1]}

    class Shape:
        sides = [0]

        def area(self):
            return 0

    class Square(Shape):
        def __init__(self, side):
            self.side = side

        def area(self):
            return self.side**2

    class Broken(Exception):
        pass

    class Colour(enum.Enum):
        RED = 1

    def circle(radius):
        return math.pi * radius**2

    def fail():
        raise Broken("broken")

    def __getattr__(name):
        if name == "computed":
            return [name]
        raise AttributeError(name)
"""


def test_a_shared_module_is_frozen_as_a_whole(write):
    m = write(SHAPES)
    assert share_module(m) is m
    assert sys.modules[m.__name__] is m
    assert type(m) is ImmutableModule
    for part in (m, vars(m), m.TABLE, m.Shape, m.Shape.sides, m.circle):
        assert is_frozen(part)
    assert m.Square(3).area() == 9
    assert round(m.circle(1)) == 3
    assert m.computed == ["computed"]
    assert not hasattr(m, "missing")
    for write_it in (
        lambda: setattr(m, "TABLE", 1),
        lambda: delattr(m, "TABLE"),
        lambda: m.TABLE.update(b=1),
        lambda: vars(m).update(b=1),
        lambda: setattr(m.Shape, "sides", 1),
        lambda: setattr(m, "__class__", types.ModuleType),
        lambda: setattr(m, "__annotations__", {}),
        lambda: importlib.reload(m),
    ):
        with pytest.raises(MutationError):
            write_it()
    m.Square(1).side = 5
    assert m.__annotations__ == {}


def test_every_interpreter_imports_the_very_module(write, elsewhere):
    m = write(SHAPES)
    present = elsewhere()
    share_module(m)
    for other in (present, elsewhere()):
        other.run(
            f"""
            import sys
            import {m.__name__} as m
            from {m.__name__} import Shape, Square, Broken, Colour
            assert id(m) == address and sys.modules[m.__name__] is m
            assert type(square) is Square and isinstance(square, Shape) and square.area() == 9
            assert colour is Colour.RED and m.Colour(1) is colour
            try:
                m.fail()
            except Broken:
                pass
            match square:
                case Square(side=3):
                    pass
                case _:
                    raise AssertionError
            assert m.computed == ["computed"] and m.TABLE == {{"a": [1]}}
            for _ in range(100):
                assert m.__version__ == "1.0"
            """,
            address=id(m),
            square=freeze(m.Square(3)),
            colour=freeze(m.Colour.RED),
        )


def test_an_object_made_elsewhere_is_of_the_same_class(write, elsewhere):
    m = share_module(write(SHAPES))
    queue = interpreters.create_queue()
    elsewhere().run(
        f"from immutable import freeze; import {m.__name__} as m; queue.put(freeze(m.Square(4)))", queue=queue
    )
    square = queue.get()
    assert type(square) is m.Square
    assert square.area() == 16


def test_an_interpreter_that_imported_it_before_gets_it_with_the_next_import(write, elsewhere):
    m = write(SHAPES)
    other = elsewhere()
    other.run(f"import {m.__name__} as older\nolder.mine = 1\nOld = older.Shape")
    other.run(f"def again():\n    import {m.__name__} as m\n    return m\nassert again() is older")
    share_module(m)
    other.run(
        f"""
        import sys, importlib
        assert again() is not older and id(again()) == address
        assert sys.modules[{m.__name__!r}] is again() is importlib.import_module({m.__name__!r})
        older.mine += 1
        assert older.mine == 2 and Old is older.Shape is not again().Shape
        """,
        address=id(m),
    )


def test_importlib_finds_it_too(write, elsewhere):
    m = write(SHAPES)
    other = elsewhere()
    other.run(f"import {m.__name__} as older")
    share_module(m)
    other.run(f"import importlib; assert id(importlib.import_module({m.__name__!r})) == address", address=id(m))


def test_importing_again_after_removal_finds_it(write, elsewhere):
    m = share_module(write(SHAPES))
    del sys.modules[m.__name__]
    assert importlib.import_module(m.__name__) is m
    elsewhere().run(
        f"""
        import sys
        import {m.__name__} as m
        del sys.modules[m.__name__]
        import {m.__name__} as again
        assert again is m
        """
    )


def test_packages_and_submodules(write, elsewhere):
    package = write(
        "from . import sub\nvalue = [1]\n", sub="from . import other\nx = [1]\n", other="y = 1\n", late="z=1"
    )
    name = package.__name__
    share_module(sys.modules[f"{name}.sub"])
    share_module(package)
    assert is_frozen(package.sub.x)
    package.other.y = 2  # a submodule that was not shared stays mutable
    late = importlib.import_module(f"{name}.late")
    assert package.late is late
    late.z = 2
    with pytest.raises(MutationError):
        package.late = late.z
    elsewhere().run(
        f"""
        import {name}.sub, {name}.other, {name}.late
        from {name} import late
        import {name} as package
        assert id(package) == addresses[0] and id(package.sub) == addresses[1]
        assert package.sub is sys.modules[package.__name__ + ".sub"]
        assert package.other.y == 1 == package.late.z and late is package.late
        package.other.y = 5
        assert package.sub.other.y == 5
        """,
        addresses=(id(package), id(package.sub)),
    )
    assert package.other.y == 2


def test_a_submodule_that_was_imported_before_is_replaced_in_its_package(write, elsewhere):
    package = write("", sub="x = [1]\n")
    name = package.__name__
    sub = importlib.import_module(f"{name}.sub")
    other = elsewhere()
    other.run(f"import {name}.sub")
    share_module(sub)
    other.run(f"import {name}.sub; assert id({name}.sub) == address; {name}.free = 1", address=id(sub))
    package.free = 1


def test_a_module_may_share_itself_at_its_end(write, elsewhere):
    m = write("""
        import sys
        from immutable import share_module

        class Thing:
            pass

        share_module(sys.modules[__name__])
    """)
    assert type(m) is ImmutableModule
    elsewhere().run(f"import {m.__name__} as m; assert id(m.Thing) == address", address=id(m.Thing))


def test_a_module_made_by_hand_can_be_imported_everywhere(elsewhere):
    m = types.ModuleType(next(NAMES), "Made by hand.")
    m.limits = {"cpu": 4}
    share_module(m)
    source = f"import {m.__name__} as m; assert id(m) == address and m.limits == {{'cpu': 4}}"
    source += " and m.__doc__ == 'Made by hand.'"
    elsewhere().run(source, address=id(m))
    exec(source, {"address": id(m)})


def test_a_module_that_was_a_proxy_before_can_be_shared(write, elsewhere):
    m = write(SHAPES)
    namespace = {"m": m}
    exec("def table():\n    return m.TABLE", namespace)
    table = freeze(namespace["table"])
    other = elsewhere()
    other.run("assert table() == {'a': [1]}; table().update(b=[2])", table=table)
    share_module(m)
    assert table() is m.TABLE
    assert is_frozen(m.TABLE)
    elsewhere().run(
        f"import {m.__name__} as m; assert table() is m.TABLE and id(m) == address", table=table, address=id(m)
    )


def test_what_cannot_be_frozen_is_named_and_nothing_changes(write, elsewhere):
    m = write("""
        lazy import wave
        items = [1]
        settings = {"inputs": [(line for line in ())]}

        def f():
            return items
    """)
    before = dict(vars(m))
    with pytest.raises(NotFreezableError) as raised:
        share_module(m)
    assert raised.value.path == "root.settings['inputs'][0]"
    assert raised.value.obj is m.settings["inputs"][0]
    assert vars(m) == before
    assert m.__spec__.loader is m.__loader__
    assert type(m) is types.ModuleType
    assert not is_frozen(m.items)
    m.items.append(2)
    assert m.f() == [1, 2]
    elsewhere().run(f"import {m.__name__} as m; assert id(m) != address; m.x = 1", address=id(m))
    m.settings = None
    share_module(m)


def test_a_module_that_must_not_be_frozen_is_not_shared(write):
    m = write("x = [1]")
    with require_mutable(m), pytest.raises(NotFreezableError) as raised:
        share_module(m)
    assert raised.value.obj is m
    set_freezable(m, FREEZABLE_NO)
    with pytest.raises(NotFreezableError, match="FREEZABLE_NO"):
        share_module(m)
    unset_freezable(m)
    m.__freezable__ = FREEZABLE_NO
    for _ in range(2):
        with pytest.raises(NotFreezableError, match="FREEZABLE_NO"):
            share_module(m)
        freeze([m])  # a proxy from now on
    assert not is_frozen(m.x)
    m.__freezable__ = FREEZABLE_EXPLICIT
    share_module(m)
    assert is_frozen(m.x)


def test_strings_are_evaluated_in_a_shared_module(write, elsewhere):
    m = write("""
        class A:
            items: "list[A]"

        def f(x: "list[A]") -> "A":
            pass
    """)
    share_module(m)
    check = """if True:
        import inspect, typing
        assert typing.get_type_hints(m.f) == {"x": list[m.A], "return": m.A}
        assert typing.get_type_hints(m.A) == {"items": list[m.A]}
        assert inspect.signature(m.f, eval_str=True).return_annotation is m.A
        assert eval("A", vars(m)) is m.A and eval("len([A])", vars(m)) == 1
    """
    exec(check)
    elsewhere().run(f"import {m.__name__} as m\n" + textwrap.dedent(check))


def test_state_that_must_stay_mutable_has_its_places(write, elsewhere):
    m = share_module(
        write("""
            from immutable import InterpreterLocal, SharedField
            cache = InterpreterLocal(dict)
            hits = SharedField(0)

            def lookup(key):
                while not hits.compare_and_swap(seen := hits.get(), seen + 1):
                    pass
                return cache.get().setdefault(key, len(cache.get()))
        """)
    )
    assert [m.lookup(key) for key in "aba"] == [0, 1, 0]
    elsewhere().run(f"import {m.__name__} as m; assert m.lookup('b') == 0 and len(m.cache.get()) == 1")
    assert m.hits.get() == 4


def test_errors_of_use(write):
    with pytest.raises(TypeError):
        share_module("sys")
    for name in ("__main__", "builtins", "sys", "_immutable"):
        with pytest.raises(ValueError, match="own"):
            share_module(sys.modules[name])
    m = share_module(write("x = 1"))
    assert share_module(m) is m
    with pytest.raises(ValueError, match="already"):
        share_module(types.ModuleType(m.__name__))
    with pytest.raises(NotFreezableError, match="made in C"):
        share_module(importlib.import_module("math"))


def test_lazy_imports_are_settled(write):
    m = write("""
        lazy import json
        lazy from math import pi

        def dump(value):
            return json.dumps(value)
    """)
    share_module(m)
    assert m.dump([1]) == "[1]"
    assert m.pi > 3


def test_the_specification_serves_every_interpreter(write, elsewhere):
    m = share_module(write("def f():\n    return 1\n"))
    assert m.__spec__.name == m.__name__
    assert m.__spec__.origin == m.__file__
    assert "def f" in inspect.getsource(m.f)
    assert m.__spec__.loader.get_source(m.__name__).startswith("def f")
    assert repr(m) == f"<module {m.__name__!r} from {m.__file__!r}>"
    linecache.clearcache()
    elsewhere().run(
        f"""
        import importlib.util, inspect
        import {m.__name__} as m
        assert "def f" in inspect.getsource(m.f)
        assert m.__spec__.loader.get_source(m.__name__).startswith("def f")
        assert importlib.util.find_spec(m.__name__).origin == m.__file__
        """
    )


def test_resources_of_a_shared_package(write, elsewhere):
    import importlib.resources

    package = share_module(write("", sub=""))
    assert [path.name for path in importlib.resources.files(package).iterdir() if path.name == "sub.py"] == ["sub.py"]
    elsewhere().run(
        f"""
        import importlib.resources, pkgutil
        import {package.__name__} as package
        assert (importlib.resources.files(package) / "sub.py").is_file()
        assert [each.name for each in pkgutil.iter_modules(package.__path__)] == ["sub"]
        """
    )


def test_it_outlives_the_interpreter_that_shared_it(write, elsewhere):
    m = write(SHAPES)
    name, file = m.__name__, m.__file__
    del sys.modules[name], m
    other = elsewhere()
    other.run(
        f"import {name} as m; from immutable import share_module; share_module(m); assert m.Square(2).area() == 4"
    )
    m = importlib.import_module(name)
    assert type(m) is ImmutableModule
    other.close()
    assert m.Square(3).area() == 9
    assert m.__file__ == file
    assert round(m.circle(1)) == 3
    elsewhere().run(f"import {name} as m; assert m.Square(3).area() == 9 and id(m) == address", address=id(m))


def test_of_several_interpreters_that_share_at_once_one_wins(tmp_path):
    name = next(NAMES)
    (tmp_path / f"{name}.py").write_text("class Thing:\n    pass\n")
    source = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import {name} as m
        from immutable import share_module
        try:
            share_module(m)
        except ValueError:
            pass
        else:
            queue.put(id(m))
    """)
    queue = interpreters.create_queue()
    workers = [interpreters.create() for _ in range(4)]
    for worker in workers:
        worker.prepare_main(queue=queue)
    threads = [threading.Thread(target=worker.exec, args=(source,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = queue.get(timeout=10)
    while not queue.empty():  # who imported it only then got the shared one, which it may share again
        assert queue.get() == winner
    for worker in workers:
        worker.exec(f"import {name} as m; assert id(m) == {winner}")
        worker.close()


def test_code_is_specialised_for_one_module_by_several_interpreters_at_once(write, everywhere_at_once):
    m = write("x = 1")
    share_module(m)
    source = f"""if 1:
        import {m.__name__} as m
        for _ in range(300):
            scope = {{"m": m}}
            exec("def read(): return m.x, m.__dict__", scope)
            for _ in range(20):
                assert scope["read"]()[0] == 1
    """
    everywhere_at_once(source, freeze(object()))


@pytest.mark.parametrize("name", ["", 5, None])
def test_a_module_without_a_name_is_not_shared(name):
    m = types.ModuleType("named")
    m.__name__ = name
    with pytest.raises(ValueError, match="has a name"):
        share_module(m)
    assert not is_frozen(vars(m))


def test_a_module_whose_tables_the_interpreter_writes_is_not_shared(run_python):
    run_python("""
        import re
        from immutable import NotFreezableError, share_module

        try:
            share_module(re)
        except NotFreezableError as error:
            assert error.obj in (re._cache, re._cache2) and "re._cache" in error.reason
        else:
            raise AssertionError("shared")
        assert re.compile("some pattern").match("some pattern")
    """)


def statistics():
    gc.collect()
    return {name: _stats()[name] for name in ("frozen_objects", "components", "record_bytes")}


def test_what_shared_modules_keep_is_the_same_for_each():
    """They live for the process, and nothing else of the share does; tools for leaks cannot tell the two apart."""
    kept = []
    for _ in range(50):
        before = statistics()
        m = types.ModuleType(next(NAMES))
        exec(textwrap.dedent(SHAPES), vars(m))
        share_module(m)
        kept.append({name: number - before[name] for name, number in statistics().items()})
    # The first ones may freeze what all have in common.
    assert kept[10:] == [kept[-1]] * 40
    assert 20 < kept[-1]["frozen_objects"] < 200


def test_a_module_that_is_refused_leaves_nothing_behind():
    name = next(NAMES)
    for run in range(60):
        if run == 10:
            before = statistics()
        m = types.ModuleType(name)
        exec(textwrap.dedent(SHAPES), vars(m))
        m.last = (line for line in ())
        with pytest.raises(NotFreezableError):
            share_module(m)
    del m
    assert statistics() == before
