"""A module that a freeze reaches stands, in each interpreter, for that interpreter's own module."""

import _csv
import copy
import gc
import importlib.util
import logging
import math
import os
import pickle
import sys
import textwrap
import types
import weakref
from concurrent import interpreters
from concurrent.futures import ThreadPoolExecutor

import pytest
from graphs import frozen_now

import immutable
from immutable import ImmutableModule, MutationError, NotFreezableError, freeze, is_frozen


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes modules that every interpreter can import, and imports one here."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name, **sources):
        sources |= sources.pop("files", {})
        for path, source in sources.items():
            file = tmp_path / f"{path}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
        getattr(sys, "mut_modules", {}).pop(name, None)


class Holder:
    def __init__(self, module):
        self.module = module


# ---- At home -----------------------------------------------------------------


def test_a_module_keeps_its_identity_and_is_an_immutable_module(module):
    m = module("x = 1")
    before = id(m)
    assert freeze(m) is m
    assert id(sys.modules[m.__name__]) == before
    assert type(m) is ImmutableModule
    assert isinstance(m, types.ModuleType)
    assert is_frozen(m)
    assert issubclass(ImmutableModule, types.ModuleType)
    assert ImmutableModule.__module__ == "immutable"


def test_calling_the_type_makes_an_ordinary_module():
    freeze(sys)
    made = type(sys)("made_by_test", "Documented.")
    assert type(made) is types.ModuleType
    assert (made.__name__, made.__doc__) == ("made_by_test", "Documented.")


def test_a_module_stays_mutable_where_it_belongs(module):
    m = freeze(module("x = 1"))
    m.x = 2
    m.y = []
    m.y.append(1)
    assert (m.x, m.y, vars(m)["x"]) == (2, [1], 2)
    del m.y
    with pytest.raises(AttributeError):
        del m.y
    vars(m)["z"] = 3
    assert m.z == 3
    assert "z" in dir(m)
    assert m.__dict__ is vars(m)
    with pytest.raises(AttributeError):
        m.__dict__ = {}


def test_annotations_of_a_frozen_module_can_be_set_and_read(module):
    m = freeze(module("x: int = 1"))
    assert m.__annotations__ == {"x": int}
    m.__annotations__ = {"y": str}
    assert m.__annotations__ == {"y": str}
    m.__annotate__ = lambda form: {"z": float}
    assert m.__annotations__ == {"z": float}


def test_the_class_of_a_frozen_module_cannot_be_changed(module):
    m = freeze(module("x = 1"))
    with pytest.raises(MutationError):
        m.__class__ = types.ModuleType
    with pytest.raises(MutationError):
        m.__init__("another")
    assert type(m) is ImmutableModule
    assert m.__name__ != "another"


def test_the_table_of_own_modules_holds_it(module):
    m = freeze(module("x = 1"))
    assert sys.mut_modules[m.__name__].__dict__ is m.__dict__
    sys.mut_modules[m.__name__].x = 5
    assert m.x == 5


def test_a_refused_freeze_leaves_a_module_as_it_was(module):
    m = module("x = 1", name="refused_made_by_test")
    with pytest.raises(NotFreezableError):
        freeze([m, (_ for _ in ())])
    assert type(m) is types.ModuleType
    assert not is_frozen(m)
    assert m.__name__ not in sys.mut_modules
    assert gc.is_tracked(m)


def test_module_getattr_and_dir_functions_are_asked(module):
    m = freeze(
        module("""
            def __getattr__(name):
                if name == "made":
                    return [name]
                raise AttributeError(name)

            def __dir__():
                return ["made"]
        """)
    )
    assert m.made == ["made"]
    assert dir(m) == ["made"]
    with pytest.raises(AttributeError):
        m.missing
    assert not hasattr(m, "missing")


def test_a_frozen_module_can_be_imported_from_reloaded_and_imported_again(package):
    m = package("again_made_by_test", again_made_by_test="x = 1\n_y = 2\n")
    freeze(m)
    namespace = {}
    exec("from again_made_by_test import *\nimport again_made_by_test as same", namespace)
    assert namespace["x"] == 1
    assert "_y" not in namespace
    assert namespace["same"] is m
    m.x = 5
    assert importlib.reload(m) is m
    assert m.x == 1
    del sys.modules["again_made_by_test"]
    other = importlib.import_module("again_made_by_test")
    assert other is not m
    assert type(other) is types.ModuleType
    m.x = 7
    assert other.x == 1
    freeze(other)
    other.x = 8
    assert (m.x, other.x) == (7, 8)


def test_a_frozen_module_is_pickled_and_copied_by_name(module):
    m = freeze(module("x = 1"))
    assert pickle.loads(pickle.dumps(m)) is m
    assert copy.copy(m) is m
    assert copy.deepcopy(freeze({"module": m}))["module"] is m


def test_a_frozen_module_can_be_referenced_weakly_before_and_after(module):
    m = module("x = 1", name="weakly_made_by_test")
    before = weakref.ref(m)
    freeze(m)
    after = weakref.ref(m)
    assert before() is after() is m
    del sys.modules["weakly_made_by_test"]
    sys.mut_modules.pop("weakly_made_by_test")
    del m
    gc.collect()
    assert before() is after() is None


def test_a_frozen_module_is_reclaimed():
    made = types.ModuleType("reclaimed_made_by_test")
    watch = weakref.ref(made)

    class Value:
        pass

    made.value = Value()
    value = weakref.ref(made.value)
    freeze(made)
    del made
    assert watch() is None
    assert value() is None


@pytest.mark.parametrize("reached", [False, True])
def test_the_name_of_a_frozen_module_goes_with_it(reached):
    before = frozen_now()
    for number in range(5):
        name = f"named_made_by_test_{number}"
        made = types.ModuleType(name)
        freeze([made, name] if reached else [made])
        assert is_frozen(name)
        assert sys.getrefcount(name) < 10
        del name
        assert made.__name__ == f"named_made_by_test_{number}"
        del made
    assert frozen_now() == before


def test_names_of_modules_go_with_the_interpreter_that_froze_them(elsewhere):
    source = """
        import importlib
        from immutable import freeze
        held = freeze({name: importlib.import_module(name) for name in ("_csv", "json", "_struct")})
    """

    def left():
        other = elsewhere()
        other.run(source)
        other.close()
        gc.collect()
        return frozen_now()

    left()  # types of C modules that are shared for good
    assert left() == left()


def test_specialised_code_goes_on_with_a_module_that_was_frozen(module):
    m = module("x = 1\ndef f():\n    return 2")

    def read():
        return m.x, m.f()

    for _ in range(100):
        assert read() == (1, 2)
    freeze(m)
    for i in range(100):
        m.x = i
        assert read() == (i, 2)
    m.added = 1
    del m.x
    with pytest.raises(AttributeError):
        read()


def test_a_module_whose_class_is_written_in_python_keeps_its_class(module):
    m = module("x = 1")

    class Counting(types.ModuleType):
        @property
        def double(self):
            return 2 * self.x

        def __getattribute__(self, name):
            if name == "seen":
                return "here"
            return super().__getattribute__(name)

        def __setattr__(self, name, value):
            super().__setattr__(name, value + 1 if name == "x" else value)

    m.__class__ = Counting

    def read():
        return m.x, m.double, m.seen

    for _ in range(50):
        assert read() == (1, 2, "here")
    freeze(m)
    for _ in range(50):
        assert read() == (1, 2, "here")
    m.x = 4
    assert read() == (5, 10, "here")
    assert type(m) is ImmutableModule
    assert type(sys.mut_modules[m.__name__]) is Counting


def test_a_module_whose_class_is_written_in_python_is_reclaimed(module):
    class Named(types.ModuleType):
        pass

    m = module("x = [1]")
    name = m.__name__
    m.__class__ = Named
    assert freeze(m).x == [1]
    watches = [weakref.ref(each) for each in (m, sys.mut_modules[name], Named)]
    del m, Named, sys.modules[name], sys.mut_modules[name]
    gc.collect()
    assert [watch() for watch in watches] == [None] * 3


def test_a_module_with_slots_of_its_own_refuses(module):
    class Crowded(types.ModuleType):
        __slots__ = ("slot",)

    with pytest.raises(NotFreezableError, match="slots"):
        freeze([Crowded("crowded_made_by_test")])


def test_a_nameless_module_freezes_and_works_at_home(elsewhere):
    nameless = types.ModuleType.__new__(types.ModuleType)
    nameless.x = 1
    holder = freeze(Holder(nameless))
    assert holder.module.x == 1
    elsewhere().run(
        """
        try:
            holder.module.x
        except ImportError as error:
            assert "name" in str(error)
        else:
            raise AssertionError
        """,
        holder=holder,
    )


# ---- In another interpreter ----------------------------------------------------


def test_a_module_reached_through_data_is_the_own_one_of_each_interpreter(package, elsewhere):
    m = package("own_made_by_test", own_made_by_test="level = 1\ndef get():\n    return level\n")
    holder = freeze(Holder(m))
    m.level = 10
    other = elsewhere()
    other.run(
        """
        import sys, types
        from immutable import ImmutableModule
        proxy = holder.module
        assert type(proxy) is ImmutableModule and isinstance(proxy, types.ModuleType)
        assert "own_made_by_test" not in sys.modules
        assert proxy.level == 1
        own = sys.modules["own_made_by_test"]
        assert sys.mut_modules["own_made_by_test"] is own and own is not proxy
        proxy.level = 2
        assert own.level == 2 == proxy.get()
        own.extra = []
        assert proxy.extra is own.extra
        del proxy.extra
        assert not hasattr(own, "extra")
        assert vars(proxy) is vars(own) is proxy.__dict__
        assert dir(proxy) == dir(own)
        assert proxy.__name__ == "own_made_by_test" and "own_made_by_test" in repr(proxy)
        proxy.__annotations__ = {"level": int}
        assert own.__annotations__ == {"level": int}
        """,
        holder=holder,
    )
    assert m.level == 10
    assert m.get() == 10


def test_the_namespace_of_another_interpreter_cannot_be_reached(package, elsewhere):
    m = package("hidden_made_by_test", hidden_made_by_test="place = 'file'\n")
    m.place = "home"
    elsewhere().run(
        """
        import types
        Module = types.ModuleType
        assert Module.__getattribute__(proxy, "place") == "file"
        assert Module.__dict__["__dict__"].__get__(proxy)["place"] == "file"
        assert object.__getattribute__(proxy, "__dict__")["place"] == "file"
        try:
            assert object.__getattribute__(proxy, "place") == "file"
        except AttributeError:
            pass
        assert Module.__dir__(proxy) and "file" in repr(Module.__dict__["__annotations__"].__get__(proxy)) + "file"
        for write in (lambda: Module.__init__(proxy, "x"), lambda: object.__setattr__(proxy, "place", 1)):
            try:
                write()
            except (TypeError, AttributeError):
                pass
            else:
                raise AssertionError
        assert proxy.place == "file" and vars(proxy)["place"] == "file"
        namespace = {"__builtins__": builtins}
        exec("result = len('abc')", namespace)
        assert namespace["result"] == 3
        """,
        proxy=freeze(m),
        builtins=freeze(sys.modules["builtins"]),
    )
    assert m.place == "home"


def test_a_proxy_among_the_own_modules_leads_nowhere(package, elsewhere):
    one = package("one_made_by_test", one_made_by_test="x = 1\n")
    other = package("other_made_by_test", other_made_by_test="x = 2\n")
    elsewhere().run(
        """
        import sys
        assert (one.x, other.x) == (1, 2)

        def leads_nowhere(read):
            try:
                read()
            except ImportError as error:
                return "no own one" in str(error)

        def both():
            for proxy in one, other:
                for reach in lambda: proxy.x, lambda: setattr(proxy, "x", 3), lambda: vars(proxy):
                    yield leads_nowhere(reach)

        sys.mut_modules["one_made_by_test"] = one
        assert leads_nowhere(lambda: one.x) and other.x == 2
        sys.mut_modules["one_made_by_test"], sys.mut_modules["other_made_by_test"] = other, one
        assert all(both())
        del sys.mut_modules["one_made_by_test"], sys.mut_modules["other_made_by_test"]
        assert (one.x, other.x) == (1, 2)
        """,
        one=freeze(one),
        other=freeze(other),
    )


def test_import_reload_and_star_import_of_a_proxy_reach_the_own_module(package, elsewhere):
    m = package("reach_made_by_test", reach_made_by_test="x = 1\n")
    elsewhere().run(
        """
        import importlib, sys
        proxy.x = 2
        namespace = {}
        exec("from reach_made_by_test import *", namespace)
        assert namespace["x"] == 2
        assert importlib.reload(proxy) is sys.modules["reach_made_by_test"]
        assert proxy.x == 1
        own = sys.modules.pop("reach_made_by_test")
        assert proxy.x == 1
        own.x = 3
        assert proxy.x == 3
        del sys.mut_modules["reach_made_by_test"]
        assert proxy.x == 1 and sys.mut_modules["reach_made_by_test"] is not own
        import pickle
        assert pickle.loads(pickle.dumps(proxy)) is sys.modules["reach_made_by_test"]
        """,
        proxy=freeze(m),
    )


def test_a_module_getattr_function_of_the_own_module_is_asked(package, elsewhere):
    m = package(
        "asked_made_by_test",
        asked_made_by_test="""
            import sys
            where = id(sys.modules)
            def __getattr__(name):
                if name.startswith("make_"):
                    return name, where
                raise AttributeError(name)
        """,
    )
    assert m.make_it == ("make_it", id(sys.modules))
    elsewhere().run(
        """
        import sys
        assert proxy.make_it == ("make_it", id(sys.modules))
        assert not hasattr(proxy, "missing")
        """,
        proxy=freeze(m),
    )


def test_packages_and_submodules(package, elsewhere):
    package(
        "tree_made_by_test.branch.leaf",
        files={
            "tree_made_by_test/__init__": "",
            "tree_made_by_test/branch/__init__": "colour = 'brown'",
            "tree_made_by_test/branch/leaf": "colour = 'green'\ndef get():\n    return colour\n",
            "tree_made_by_test/other": "raise ValueError('broken')",
            "tree_made_by_test/importing": "import not_there_made_by_test",
        },
    )
    tree = sys.modules["tree_made_by_test"]
    namespace = {"tree_made_by_test": tree, "__name__": "tests"}
    exec("def get():\n    return tree_made_by_test.branch.leaf.get()", namespace)
    get = freeze(namespace["get"])
    sys.modules["tree_made_by_test.branch.leaf"].colour = "red"
    assert get() == "red"
    elsewhere().run("assert get() == 'green'", get=get)
    elsewhere().run(
        """
        import sys
        assert tree.branch.colour == "brown"
        assert tree.branch is sys.modules["tree_made_by_test.branch"]
        assert leaf.get() == "green" and tree.branch.leaf is sys.modules["tree_made_by_test.branch.leaf"]
        assert not hasattr(tree, "root") and not hasattr(leaf, "more")
        for name, expected in ("other", ValueError), ("importing", ModuleNotFoundError):
            try:
                getattr(tree, name)
            except expected:
                pass
            else:
                raise AssertionError(name)
        """,
        tree=freeze(tree),
        leaf=freeze(sys.modules["tree_made_by_test.branch.leaf"]),
    )


def test_a_module_that_cannot_be_imported_says_so(module, elsewhere):
    m = module("x = 1", name="only_here_made_by_test")
    elsewhere().run(
        """
        try:
            proxy.x
        except ImportError as error:
            assert "only_here_made_by_test" in str(error)
        else:
            raise AssertionError
        """,
        proxy=freeze(m),
    )


def test_the_proxy_itself_in_sys_modules_is_no_own_module(module, elsewhere):
    m = module("x = 1", name="misplaced_made_by_test")
    other = elsewhere()
    other.run(
        """
        import sys
        sys.modules["misplaced_made_by_test"] = proxy
        try:
            proxy.x
        except ImportError as error:
            assert "misplaced_made_by_test" in str(error)
        else:
            raise AssertionError
        """,
        proxy=freeze(m),
    )
    other.close()
    assert m.x == 1  # the end of the other interpreter has not cleared this namespace


def test_modules_pass_through_queues_and_channels(elsewhere):
    import json

    freeze(json)
    sender, receiver = immutable.channel()
    queue = interpreters.create_queue()
    sender.send(json)
    queue.put(json)
    elsewhere().run(
        """
        import json
        first, second = receiver.recv(), queue.get()
        assert first is second and first is not json
        assert first.dumps is json.dumps
        """,
        receiver=receiver,
        queue=queue,
    )


def test_weak_references_to_a_module_from_two_interpreters(elsewhere):
    import json

    freeze(json)
    here = weakref.ref(json)
    elsewhere().run(
        """
        import weakref
        for _ in range(3):
            assert weakref.ref(proxy)() is proxy
        """,
        proxy=json,
    )
    assert here() is json


def test_a_module_frozen_in_a_subinterpreter_is_the_own_one_here(package, elsewhere):
    m = package("below_made_by_test", below_made_by_test="level = 1\n")
    queue = interpreters.create_queue()
    other = elsewhere()
    other.run(
        """
        import below_made_by_test
        from immutable import freeze
        below_made_by_test.level = 5
        def get():
            return below_made_by_test.level
        class Holder:
            def __init__(self, module):
                self.module = module
        queue.put(freeze((below_made_by_test, get, {"module": below_made_by_test})))
        assert get() == 5
        """,
        queue=queue,
    )
    proxy, get, data = queue.get()
    m.level = 2
    assert get() == proxy.level == data["module"].level == 2
    proxy.level = 3
    assert m.level == 3
    other.close()
    assert get() == proxy.level == 3
    assert "below_made_by_test" in repr(proxy)
    del proxy, get, data
    gc.collect()


def test_the_last_reference_to_a_module_may_be_given_up_elsewhere(elsewhere):
    made = types.ModuleType("given_up_made_by_test")
    made.held = held = []
    queue = interpreters.create_queue()
    queue.put(freeze(Holder(made)))
    del made
    count = sys.getrefcount(held)
    other = elsewhere()
    other.run("holder = queue.get(); del holder; import gc; gc.collect()", queue=queue)
    for _ in range(1000):
        if sys.getrefcount(held) == count - 1:
            break
    assert sys.getrefcount(held) == count - 1


MAKE_SHARED = """
import _csv, json, math, threading
from concurrent import interpreters
from immutable import freeze

me = str(interpreters.get_current().id)
json.mark = me
_csv.field_size_limit(int(me))

def mark():
    return json.mark

def limit():
    return _csv.field_size_limit()

class Reader:
    def read(self):
        return json.mark

data = {"json": json, "sqrt": math.sqrt, "limit": _csv.field_size_limit, "lock": threading.Lock(), "mark": mark}
queue.put(freeze((data, limit, Reader())))
"""

USE_SHARED = """
import gc
for data, limit, reader in items:
    for _ in range(50):
        assert data["json"].mark == me == data["mark"]() == reader.read(), (data["json"].mark, me)
        assert vars(data["json"]) is vars(json)
        assert data["sqrt"](16.0) == 4.0
        assert data["limit"]() == int(me) == limit(), data["limit"]()
        with data["lock"]:
            pass
    data["json"].mark = me
    gc.collect()
"""


@pytest.mark.parametrize("first", [2**16 - 5, 2**16 - 1, 2**16, 2**17 - 5, 2**32 - 5])
def test_modules_belong_to_interpreters_of_any_number(run_python, first):
    # An owner's mark has 16 bits; an interpreter whose number is greater keeps a list.
    run_python(
        f"""
        from concurrent import interpreters
        from concurrent.futures import ThreadPoolExecutor
        from _immutable import _number_interpreters_from
        from immutable import freeze
        MAKE, USE = {MAKE_SHARED!r}, {USE_SHARED!r}

        def at_once(crew, source):
            with ThreadPoolExecutor(len(crew)) as threads:
                list(threads.map(lambda each: each.exec(source), crew))

        low = interpreters.create()
        _number_interpreters_from({first})
        crew = [low, *(interpreters.create() for _ in range(6))]
        assert [each.id for each in crew] == [1, *range({first}, {first} + 6)]
        queue = interpreters.create_queue()
        for each in crew:
            each.prepare_main(queue=queue)
        at_once(crew, MAKE)
        exec(MAKE)
        items = freeze([queue.get() for _ in range(len(crew) + 1)])
        for each in crew:
            each.prepare_main(items=items)
        at_once(crew, USE)
        exec(USE)
        for each in (crew.pop(0), crew.pop(1), crew.pop(1)):
            each.close()
        at_once(crew, USE)
        exec(USE)
        crew.append(interpreters.create())
        crew[-1].prepare_main(queue=queue, items=items)
        crew[-1].exec(MAKE + USE)
        del items, data, limit, reader
        at_once(crew, "del items, data, limit, reader; gc.collect()")
        queue.get()
        for each in crew:
            each.close()
        """
    )


def test_the_number_of_an_interpreter_is_never_given_twice(run_python):
    run_python("""
        from concurrent import interpreters
        from _immutable import _number_interpreters_from
        interpreters.create()
        for number in (0, 1):
            try:
                _number_interpreters_from(number)
            except ValueError:
                continue
            raise AssertionError(number)
        _number_interpreters_from(2)
        assert interpreters.create().id == 2
    """)


# ---- Functions of C modules ------------------------------------------------------


def test_a_c_function_reached_through_data_runs_with_the_own_module(elsewhere):
    data = freeze({"dialects": _csv.list_dialects, "register": _csv.register_dialect, "sqrt": math.sqrt})
    before = _csv.list_dialects()
    elsewhere().run(
        """
        import _csv
        for _ in range(50):
            assert data["sqrt"](16) == 4
        data["register"]("made_by_test", delimiter="|")
        assert "made_by_test" in _csv.list_dialects()
        for _ in range(50):
            assert data["dialects"]() == _csv.list_dialects()
        """,
        data=data,
    )
    assert _csv.list_dialects() == before == data["dialects"]()


def test_every_calling_convention(elsewhere):
    import _operator
    import _struct
    import binascii

    calls = freeze(
        [
            (math.sqrt, (16.0,), {}),  # one argument
            (math.gcd, (12, 18), {}),  # any number
            (math.isclose, (1.0, 1.0), {"rel_tol": 0.1}),  # keywords
            (_struct.pack, ("<i", 1), {}),
            (_operator.add, (1, 2), {}),
            (binascii.hexlify, (b"a",), {"sep": "-"}),
            (math.fsum, ([1, 2],), {}),
            (_struct._clearcache, (), {}),  # no argument
        ]
    )
    for function, args, kwargs in calls:
        results = [function(*args, **kwargs) for _ in range(30)]
        assert all(result == results[0] for result in results)
    elsewhere().run(
        """
        for function, args, kwargs in calls:
            results = [function(*args, **kwargs) for _ in range(30)]
            assert all(result == results[0] for result in results)
        try:
            calls[0][0]()
        except TypeError:
            pass
        else:
            raise AssertionError
        """,
        calls=calls,
    )


def test_a_c_function_that_takes_a_tuple(elsewhere):
    _testcapi = pytest.importorskip("_testcapi", reason="this build has no tests of the C API")
    freeze([_testcapi.meth_varargs, _testcapi.meth_varargs_keywords])
    for _ in range(30):
        assert _testcapi.meth_varargs(1)[1] == (1,)
        assert _testcapi.meth_varargs_keywords(1, a=2)[1:] == ((1,), {"a": 2})


def test_a_frozen_c_function_describes_itself_as_before():
    import inspect

    function = freeze([math.sqrt])[0]
    assert isinstance(function, types.BuiltinFunctionType)
    assert inspect.isbuiltin(function)
    assert repr(function) == "<built-in function sqrt>"
    assert (function.__name__, function.__module__, function.__self__) == ("sqrt", "math", math)
    assert str(inspect.signature(function)) == "(x, /)"
    assert inspect.getdoc(function) == "Return the square root of x."
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
    assert function == math.sqrt
    assert hash(function) == hash(math.sqrt)


def test_functions_of_builtins_are_what_they_were():
    freeze([len, print, sum])
    assert type(len) is types.BuiltinFunctionType


def test_a_captured_c_function_is_the_own_one(module, elsewhere):
    m = module("""
        from math import sqrt, hypot

        def distance(x, y):
            return sqrt(x * x + y * y), hypot(x, y)
    """)
    freeze(m.distance)
    for _ in range(100):
        assert m.distance(3, 4) == (5, 5)
    elsewhere().run(
        """
        for _ in range(100):
            assert distance(3, 4) == (5, 5)
        """,
        distance=m.distance,
    )


def test_a_frozen_c_function_is_reclaimed():
    spec = importlib.util.find_spec("_csv")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    function = made.field_size_limit
    watch, module = weakref.ref(freeze([function])[0]), weakref.ref(made)
    assert function() == 131072
    del function, made.field_size_limit
    assert watch() is None
    function = weakref.ref(made.list_dialects)
    freeze([made.list_dialects])
    assert function()() == []
    del made
    gc.collect()
    assert module() is not None  # its functions refer to it, and no collector sees that cycle: it is left to the end


# ---- Use --------------------------------------------------------------------------


def test_a_frozen_function_logs_in_every_interpreter(module, elsewhere, caplog):
    m = module("""
        import logging

        def work(number):
            logging.getLogger("made_by_test").warning("worked on %s", number)
            return number + 1
    """)
    freeze(m.work)
    assert m.work(1) == 2
    assert "worked on 1" in caplog.text
    elsewhere().run(
        """
        import io, logging
        stream = io.StringIO()
        logging.basicConfig(stream=stream, format="%(message)s")
        assert work(2) == 3
        assert stream.getvalue() == "worked on 2\\n", stream.getvalue()
        """,
        work=m.work,
    )
    logging.getLogger("made_by_test").propagate = True  # loggers stay mutable


@pytest.mark.parametrize(
    "make", [lambda: logging.getLogger("refused"), logging.StreamHandler, lambda: logging.Logger.manager]
)
def test_a_logger_in_data_is_refused_with_the_way_out(make):
    part = make()
    with pytest.raises(NotFreezableError, match="getLogger") as raised:
        freeze({"part": part})
    assert raised.value.path == "root['part']"
    assert not is_frozen(logging.Logger)
    logging.getLogger("refused").debug("not refused")


def test_the_table_of_own_modules_cannot_be_frozen():
    with pytest.raises(NotFreezableError, match="mut_modules"):
        freeze(sys.mut_modules)


def test_importing_inside_a_frozen_function_imports_into_the_calling_interpreter(package, elsewhere):
    package("late_made_by_test", late_made_by_test="import sys\nwhere = id(sys.modules)\n")
    namespace = {"__name__": "tests"}
    exec(
        textwrap.dedent("""
            def work():
                import sys
                known = "late_made_by_test" in sys.modules
                import late_made_by_test
                from late_made_by_test import where
                return known, late_made_by_test.where == where == id(sys.modules), id(late_made_by_test)
        """),
        namespace,
    )
    work = freeze(namespace["work"])
    assert work() == (True, True, id(sys.modules["late_made_by_test"]))
    elsewhere().run(
        """
        import sys
        known, own, address = work()
        assert not known and own
        assert address == id(sys.modules["late_made_by_test"])
        """,
        work=work,
    )


@pytest.mark.parametrize("name", ["_thread", "_functools", "math"])
def test_nothing_of_an_interpreter_is_left_in_a_module_that_outlives_it(elsewhere, name):
    # `_thread` and `_functools` have types that all interpreters share, and whose methods need the module to the last.
    queue = interpreters.create_queue()
    there = elsewhere()
    there.run(
        f"""
        import {name}, types
        from immutable import freeze
        queue.put(freeze(next(f for f in vars({name}).values() if isinstance(f, types.BuiltinFunctionType))))
        """,
        queue=queue,
    )
    function = queue.get()
    module = function.__self__
    there.close()
    assert gc.get_referents(module) == []
    del function, module
    gc.collect()


def test_an_interpreter_that_froze_functions_of_c_modules_leaves_nothing_frozen(elsewhere):
    def run_and_close():
        there = elsewhere()
        there.run("import gc, sys; from immutable import freeze; freeze([abs, sys.intern]); gc.collect()")
        there.close()
        gc.collect()
        return immutable._stats()["frozen_objects"]

    run_and_close()
    before = run_and_close()
    assert [run_and_close() for _ in range(3)] == [before] * 3


def test_the_name_of_a_frozen_function_of_a_c_module_is_an_ordinary_frozen_string(run_python):
    run_python(
        """
        import sys
        from immutable import freeze
        name = abs.__module__
        before = sys.getrefcount(name)
        freeze(abs)
        assert sys.getrefcount(name) - before in (0, 1)  # sys.mut_modules refers to it
        """
    )


# ---- In cells ------------------------------------------------------------------


CELLS = """
    def make():
        import {name} as own, math, _csv
        from collections import abc
        from math import sqrt

        def function(value):
            own.level += 1
            return own.level, math.sqrt(value), sqrt(value), _csv.list_dialects()

        def inner():
            def innermost():
                return own.level
            return [innermost() for _ in range(2)]

        def generate():
            for _ in range(3):
                yield own.level

        async def wait():
            return own.level

        class Class:
            def method(self):
                return own.level

            @property
            def level(self):
                return own.level

        def write(value):
            own.written = [value]
            return own.written

        def passed():
            return own

        return function, inner, generate, wait, Class, write, passed, abc
"""

USE_CELLS = """
import {name} as here, _csv
from collections.abc import Mapping
function, inner, generate, wait, Class, write, passed, abc = made
here.level = start = {level}
if "{level}" not in _csv.list_dialects():
    _csv.register_dialect("{level}")
for number in range({times}):
    level, root, again, dialects = function(16)
    assert (level, root, again) == (start + number + 1, 4.0, 4.0), level
    assert dialects == _csv.list_dialects()
    assert {{"0", "1000", "2000", "3000"}}.intersection(dialects) == {{"{level}"}}
    assert inner() == [level] * 2
    assert list(generate()) == [level] * 3
    try:
        wait().send(None)
    except StopIteration as stop:
        assert stop.value == level
    assert Class().method() == Class().level == level
    assert write(number) == [number] == here.written
    assert here.written is vars(passed())["written"]
    assert passed().level == here.level == level
    assert abc.Mapping is Mapping
"""


def test_a_module_in_a_cell_is_the_own_one_of_each_interpreter_that_calls(package, module, elsewhere):
    name = "cells_made_by_test"
    package(name, **{name: "level = 0\n"})
    made = module(CELLS.format(name=name)).make()
    freeze(made)
    sources = [USE_CELLS.format(name=name, level=1000 * n, times=200) for n in range(4)]
    _csv.register_dialect("0")
    try:
        with ThreadPoolExecutor() as threads:
            others = [threads.submit(elsewhere().run, source, made=made) for source in sources[1:]]
            exec(sources[0], {"made": made})
            for other in others:
                other.result()
    finally:
        _csv.unregister_dialect("0")
    assert sys.modules[name].level == 200


@pytest.mark.parametrize(
    "method", ["__call__", "__getitem__", "__len__", "__iter__", "__eq__", "__bool__", "__add__", "__await__"]
)
def test_a_module_with_operators_refuses_and_keeps_them(method, monkeypatch):
    class Special(types.ModuleType):
        pass

    setattr(Special, method, lambda self, *given: 5)
    m = Special("special_made_by_a_test")
    m.x = 1
    monkeypatch.setitem(sys.modules, m.__name__, m)

    def uses():
        return m.x

    with pytest.raises(NotFreezableError, match="operators"):
        freeze(uses)
    assert type(m) is Special
    assert uses() == 1


def test_a_module_shows_itself_and_its_names_as_its_class_does(monkeypatch):
    class Shown(types.ModuleType):
        def __repr__(self):
            return "mine"

        def __dir__(self):
            return ["b", "a"]

    m = Shown("shown_made_by_a_test")
    monkeypatch.setitem(sys.modules, m.__name__, m)
    freeze([m])
    assert (repr(m), str(m), dir(m)) == ("mine", "mine", ["a", "b"])
    assert "path" in dir(freeze([sys, os])[1])
    assert repr(os).startswith("<module 'os'")
