"""A frozen function keeps the globals and cells that it had, and no module freezes with it."""

import annotationlib
import asyncio
import builtins
import dataclasses
import gc
import importlib
import inspect
import pickle
import sys
import textwrap
import traceback
import types
import typing
import weakref
from concurrent import interpreters

import pytest

from immutable import (
    MutationError,
    NotFreezableError,
    SharedField,
    _stats,
    channel,
    freeze,
    frozen,
    is_frozen,
    unfreezable,
)

# ---- Globals ---------------------------------------------------------------


def test_the_globals_that_the_code_names_are_frozen_with_it(module):
    m = module("""
        LIMITS = [1, 10]
        UNUSED = []

        def within(number):
            return LIMITS[0] <= number <= LIMITS[1]
    """)
    freeze(m.within)
    assert m.within(5)
    assert is_frozen(m.LIMITS)
    assert not is_frozen(m.UNUSED)
    m.UNUSED.append(1)


def test_rebinding_a_global_later_is_not_seen(module):
    m = module("""
        limit = 3

        def small(number):
            return number < limit
    """)
    freeze(m.small)
    m.limit = 0
    assert m.small(2)
    del m.limit
    assert m.small(2)


def test_the_module_stays_mutable(module):
    m = module("""
        x = 1

        def get():
            return x
    """)
    freeze(m.get)
    m.y = 2
    m.x = []
    m.x.append(1)
    assert not is_frozen(vars(m))
    assert m.get() == 1


def test_globals_of_nested_code_are_captured(module):
    m = module("""
        a, b, c, d, e, f = [1], [2], [3], [4], [5], [6]

        def outer():
            def inner():
                return a
            class Inner:
                attribute = b
                def method(self):
                    return c
            return inner(), Inner.attribute, Inner().method(), (lambda: d)(), [e for _ in "x"], [*(f for _ in "x")]
    """)
    freeze(m.outer)
    for name in "abcdef":
        assert is_frozen(getattr(m, name)), name
        setattr(m, name, None)
    assert m.outer() == ([1], [2], [3], [4], [[5]], [[6]])


def test_a_function_called_by_a_function_is_captured(module):
    m = module("""
        factor = 2

        def double(number):
            return factor * number

        def quadruple(number):
            return double(double(number))
    """)
    freeze(m.quadruple)
    assert is_frozen(m.double)
    m.factor, m.double = 100, None
    assert m.quadruple(3) == 12


def test_builtins_are_not_captured(module):
    m = module("""
        def length(value):
            return len(list(value))
    """)
    freeze(m.length)
    assert m.length("abc") == 3
    assert "len" not in m.length.__globals__
    assert "list" not in m.length.__globals__


def test_a_global_that_hides_a_builtin_is_captured(module):
    m = module("""
        def len(value):
            return "hidden"

        def length(value):
            return len(value)
    """)
    freeze(m.length)
    del m.len
    assert m.length("abc") == "hidden"


def test_a_global_that_is_not_there_yet_stays_unknown(module):
    m = module("""
        def early():
            return late
    """)
    freeze(m.early)
    m.late = 1
    with pytest.raises(NameError, match="late"):
        m.early()


def test_names_looked_up_dynamically_are_not_captured(module):
    m = module("""
        hidden = 1

        def look():
            return globals()["hid" + "den"]
    """)
    freeze(m.look)
    with pytest.raises(KeyError):
        m.look()


def test_the_globals_of_a_frozen_function_are_its_frozen_namespace(module):
    m = module("""
        used, unused = [1], [2]

        def get():
            return used
    """)
    freeze(m.get)
    namespace = m.get.__globals__
    assert is_frozen(namespace)
    assert namespace["used"] is m.used
    assert "unused" not in namespace
    with pytest.raises(MutationError):
        namespace["used"] = []
    with pytest.raises(MutationError):
        namespace["more"] = []


def test_the_namespace_that_a_frozen_function_runs_with_is_its_interpreters(module, elsewhere):
    m = module("""
        def namespace():
            return globals()
    """)
    freeze(m.namespace)
    namespace = m.namespace()
    assert not is_frozen(namespace)
    assert not is_frozen((namespace,))
    for refusing in namespace, [namespace]:
        with pytest.raises(NotFreezableError):
            freeze(refusing)
    with pytest.raises(TypeError):
        SharedField(namespace)
    with pytest.raises(TypeError):
        channel()[0].send(namespace)
    other = elsewhere()
    other.run("assert namespace.__globals__ is not namespace()", namespace=m.namespace)
    try:
        received = other.interpreter.call(m.namespace)
    except interpreters.NotShareableError:
        pass
    else:
        assert received["__builtins__"] is not namespace["__builtins__"]
        assert received["__builtins__"]["len"] is len, "a copy, made as of any mutable dict"


def test_storing_a_global_raises_and_changes_nothing(module):
    m = module("""
        count = 0

        def bump():
            global count
            count += 1

        def forget():
            global count
            del count

        def introduce():
            global fresh
            fresh = 1
    """)
    for function in m.bump, m.forget, m.introduce:
        freeze(function)
        for _ in range(100):
            with pytest.raises(MutationError) as raised:
                function()
            assert raised.value.obj is function.__globals__
    assert m.count == 0
    assert not hasattr(m, "fresh")


def test_two_functions_that_share_a_global_share_it_frozen(module):
    m = module("""
        shared = []

        def left():
            return shared

        def right():
            return shared
    """)
    freeze(m.left, m.right)
    assert m.left() is m.right() is m.shared


# ---- Modules ---------------------------------------------------------------


def test_a_captured_module_keeps_working_and_stays_mutable(module):
    settings = module("level = 1", name="settings_made_by_test")
    m = module("""
        import settings_made_by_test as settings

        def level():
            return settings.level
    """)
    freeze(m.level)
    assert m.level() == 1
    settings.level = 2
    assert m.level() == 2
    settings.added = []
    settings.added.append(1)
    del settings.added


def test_a_write_to_a_module_through_a_frozen_function_reaches_the_module(module):
    settings = module("level = 1", name="settings_made_by_test")
    m = module("""
        import settings_made_by_test

        def set_level(value):
            settings_made_by_test.level = value
    """)
    freeze(m.set_level)
    m.set_level(5)
    assert settings.level == 5


def test_standard_modules_can_be_used(module):
    m = module("""
        import json
        import math
        import os.path

        def render(number):
            return json.dumps([math.floor(number), os.path.join("a", "b")])
    """)
    freeze(m.render)
    assert m.render(2.5) == '[2, "a/b"]'


def test_a_lazily_imported_module_can_be_used(module):
    module("value = 1", name="imported_lazily_by_test")
    m = module("""
        lazy import imported_lazily_by_test
        lazy from imported_lazily_by_test import value

        def read():
            return imported_lazily_by_test.value, value
    """)
    freeze(m.read)
    assert m.read() == (1, 1)
    sys.modules["imported_lazily_by_test"].value = 2
    assert m.read()[0] == 2


def test_importing_inside_a_frozen_function_works(module):
    module("VALUE = [1]", name="imported_late_by_test")
    m = module("""
        def fetch():
            import imported_late_by_test
            from imported_late_by_test import VALUE as value
            return imported_late_by_test, value
    """)
    freeze(m.fetch)
    imported, value = m.fetch()
    assert imported is sys.modules["imported_late_by_test"]
    assert value is imported.VALUE
    assert not is_frozen(value)


# ---- Cells -----------------------------------------------------------------


def make_counter():
    count = 0

    def bump():
        nonlocal count
        count += 1
        return count

    def current():
        return count

    return bump, current


def test_cells_are_copied_so_later_writes_are_not_seen():
    bump, current = make_counter()
    bump()
    freeze(current)
    assert bump() == 2
    assert current() == 1


def test_a_nonlocal_write_raises_and_changes_nothing():
    bump, current = make_counter()
    bump()
    freeze(bump)
    for _ in range(100):
        with pytest.raises(MutationError):
            bump()
    assert current() == 1


def test_what_a_cell_holds_is_frozen():
    held = []

    def get():
        return held

    freeze(get)
    assert is_frozen(held)
    assert get() is held
    with pytest.raises(MutationError):
        get().append(1)


def test_an_unset_cell_stays_unset():
    def outer():
        def get():
            return late

        freeze(get)
        late = 1
        return get, late

    get, _ = outer()
    with pytest.raises(NameError):
        get()


def test_a_frozen_function_makes_inner_functions_that_count(module):
    m = module("""
        def make_counter():
            count = 0
            def bump():
                nonlocal count
                count += 1
                return count
            return bump
    """)
    freeze(m.make_counter)
    bump, other = m.make_counter(), m.make_counter()
    assert [bump(), bump(), bump()] == [1, 2, 3]
    assert other() == 1
    assert not is_frozen(bump)
    bump.note = "mutable"


# ---- Recursion -------------------------------------------------------------


def test_recursion_through_a_global(module):
    m = module("""
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)
    """)
    factorial = freeze(m.factorial)
    m.factorial = None
    assert factorial(20) == 2432902008176640000


def test_recursion_through_a_cell():
    def outer():
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        return fibonacci

    assert freeze(outer())(15) == 610


def test_mutual_recursion(module):
    m = module("""
        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != 0 and even(n - 1)
    """)
    even = freeze(m.even)
    assert is_frozen(m.odd)
    del m.even, m.odd
    assert even(100)
    assert not even(101)


# ---- Arguments and attributes ----------------------------------------------


def test_defaults_are_frozen(module):
    m = module("""
        def collect(item, items=[0], *, table={"a": []}):
            return [*items, item], table
    """)
    freeze(m.collect)
    assert m.collect(1) == ([0, 1], {"a": []})
    assert m.collect(1, [], table=2) == ([1], 2)
    assert is_frozen(m.collect.__defaults__)
    assert is_frozen(m.collect.__kwdefaults__)


def test_writing_to_a_mutable_default_raises(module):
    m = module("""
        def remember(item, items=[]):
            items.append(item)
    """)
    freeze(m.remember)
    with pytest.raises(MutationError):
        m.remember(1)
    fresh = []
    m.remember(1, fresh)
    assert fresh == [1]


@pytest.mark.parametrize(
    "name",
    ["__code__", "__defaults__", "__kwdefaults__", "__dict__", "__doc__", "__name__", "__qualname__", "__module__"],
)
def test_attributes_of_a_frozen_function_cannot_be_set(name):
    def function(a, b=1, *, c=2):
        return a, b, c

    before = getattr(function, name)
    freeze(function)
    with pytest.raises(MutationError):
        setattr(function, name, before)
    assert getattr(function, name) == before
    assert function(0) == (0, 1, 2)


def test_a_frozen_function_takes_no_new_attributes():
    def function():
        pass

    function.note = ["kept"]
    freeze(function)
    assert function.note == ["kept"]
    assert is_frozen(function.note)
    for write in (lambda: setattr(function, "more", 1), lambda: delattr(function, "note")):
        with pytest.raises(MutationError):
            write()
    with pytest.raises(MutationError):
        vars(function)["more"] = 1


def test_a_frozen_function_still_describes_itself(module):
    m = module("""
        def documented(a: int, b=[1], *rest, key=None, **others) -> str:
            "What it does."
    """)
    signature = inspect.signature(m.documented)
    freeze(m.documented)
    assert m.documented.__name__ == "documented"
    assert m.documented.__doc__ == "What it does."
    assert m.documented.__module__ == m.__name__
    assert inspect.signature(m.documented) == signature
    assert m.documented.__code__.co_name == "documented"


def test_a_frozen_function_is_pickled_by_name(module):
    m = module("def function(): pass")
    freeze(m.function)
    assert pickle.loads(pickle.dumps(m.function)) is m.function


# ---- Annotations -----------------------------------------------------------


def test_annotations_do_not_extend_the_reach(module):
    m = module("""
        class Mentioned:
            pass

        def function(a: Mentioned) -> list[Mentioned]:
            return [a]
    """)
    freeze(m.function)
    assert not is_frozen(m.Mentioned)
    assert m.function.__annotations__ == {"a": m.Mentioned, "return": list[m.Mentioned]}
    assert not is_frozen(m.Mentioned)
    m.Mentioned.still = "mutable"


def test_annotations_that_were_read_before_do_not_extend_the_reach(module):
    m = module("""
        class Mentioned:
            pass

        def function(a: Mentioned):
            return a
    """)
    assert m.function.__annotations__ == {"a": m.Mentioned}
    freeze(m.function)
    assert not is_frozen(m.Mentioned)
    assert m.function.__annotations__ == {"a": m.Mentioned}


# ---- Decorators ------------------------------------------------------------


def test_a_wrapped_function_works(module):
    m = module("""
        import functools

        def twice(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs), function(*args, **kwargs)
            return wrapper

        @twice
        def add(a, b=1):
            "Adds."
            return a + b
    """)
    freeze(m.add)
    assert m.add(1, b=2) == (3, 3)
    assert m.add.__doc__ == "Adds."
    assert is_frozen(m.add.__wrapped__)
    assert m.add.__wrapped__(1) == 2
    assert not is_frozen(m.twice)


def test_methods_of_every_kind_work(module):
    m = module("""
        factor = 2

        class Scaled:
            unit = 10

            def __init__(self, value):
                self.value = value

            def scaled(self):
                return self.value * factor

            @classmethod
            def of_unit(cls):
                return cls(cls.unit)

            @staticmethod
            def factor():
                return factor

            @property
            def half(self):
                return self.value / 2

            @half.setter
            def half(self, value):
                self.value = value * 2
    """)
    scaled = freeze(m.Scaled(3))
    m.factor = None
    assert scaled.scaled() == 6
    assert scaled.half == 1.5
    assert m.Scaled.factor() == 2
    made = m.Scaled.of_unit()
    made.half = 50
    assert made.value == 100
    with pytest.raises(MutationError):
        scaled.half = 1
    assert scaled.value == 3


# ---- Other kinds of functions ----------------------------------------------


def test_a_frozen_generator_function_makes_generators(module):
    m = module("""
        step = 2

        def count(limit):
            number = 0
            while number < limit:
                received = yield number
                number += received or step
    """)
    freeze(m.count)
    m.step = 100
    assert list(m.count(7)) == [0, 2, 4, 6]
    generator = m.count(7)
    next(generator)
    assert generator.send(5) == 5
    assert not is_frozen(generator)


def test_a_frozen_coroutine_function_can_be_awaited(module):
    m = module("""
        import asyncio

        delay = 0

        async def numbers():
            for number in range(3):
                await asyncio.sleep(delay)
                yield number

        async def total():
            return sum([number async for number in numbers()])
    """)
    freeze(m.total)
    m.numbers = None
    assert asyncio.run(m.total()) == 3


@pytest.mark.parametrize("kind", [asyncio.Future, asyncio.futures._PyFuture], ids=["in C", "in Python"])
def test_a_future_with_a_frozen_exception_raises_one_like_it(kind):
    error = freeze(LookupError("none", 3))

    async def main():
        future = kind(loop=asyncio.get_running_loop())
        future.set_exception(error)
        assert future.exception() is error
        for _ in range(2):
            with pytest.raises(LookupError) as raised:
                await future
            assert raised.value is not error
            assert raised.value.args == ("none", 3)
        with pytest.raises(LookupError):
            future.result()

    asyncio.run(main())
    assert error.__traceback__ is None


def test_a_frozen_lambda_works():
    offset = [10]
    add = freeze(lambda a, b=offset: a + b[0])
    assert add(1) == 11
    assert is_frozen(offset)


def test_comprehensions_in_a_frozen_function_work(module):
    m = module("""
        base = 10

        def tables(limit):
            squares = [base + n * n for n in range(limit)]
            by_name = {f"n{n}": [base * n for _ in range(2)] for n in range(limit)}
            return squares, by_name, {n % 2 for n in squares}, sum(n + base for n in range(limit))
    """)
    freeze(m.tables)
    m.base = None
    assert m.tables(3) == ([10, 11, 14], {"n0": [0, 0], "n1": [10, 10], "n2": [20, 20]}, {0, 1}, 33)


def test_a_class_made_by_a_frozen_function_is_mutable(module):
    m = module("""
        def make():
            class Made:
                items = []
                def add(self, item):
                    self.items.append(item)
                    return self.items
            return Made
    """)
    freeze(m.make)
    made = m.make()
    assert made().add(1) == [1]
    made.more = 2
    assert not is_frozen(made)


def test_exceptions_from_a_frozen_function_have_ordinary_tracebacks(module):
    m = module("""
        def divide(a, b):
            try:
                return a / b
            except ZeroDivisionError as error:
                raise ValueError("no division") from error
            finally:
                del a
    """)
    freeze(m.divide)
    with pytest.raises(ValueError, match="no division") as raised:
        m.divide(1, 0)
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert frames[-1].name == "divide"
    assert frames[-1].lineno == 6
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_frozen_function_gets_fast_and_stays_right(module):
    m = module("""
        weights = {"a": 2, "b": 3}

        class Holder:
            def __init__(self, value):
                self.value = value

        holder = Holder([1, 2, 3])

        def work(text):
            total = 0
            for letter in text:
                total += weights[letter] * len(holder.value) + holder.value[0]
            return total
    """)
    mutable = [m.work("abba") for _ in range(5)]
    freeze(m.work)
    assert [m.work("abba") for _ in range(5000)] == mutable * 1000


def test_a_function_that_ran_hot_before_is_frozen_right(module):
    m = module("""
        limit = 1

        def get():
            return limit
    """)
    for _ in range(5000):
        m.get()
    freeze(m.get)
    for _ in range(5000):
        m.limit = object()
        assert m.get() == 1


def test_the_collector_reclaims_functions_made_by_a_frozen_function(module):
    m = module("""
        items = [1]

        def make():
            def inner():
                return items
            inner.me = inner
            return inner
    """)
    freeze(m.make)
    gone = weakref.ref(m.make())
    del m.make
    complaints = []
    previous, sys.unraisablehook = sys.unraisablehook, complaints.append
    try:
        for _ in range(4):
            gc.collect()
    finally:
        sys.unraisablehook = previous
    assert gone() is None
    assert complaints == []


# ---- Debuggers and profilers -----------------------------------------------


def test_tracing_sees_the_lines_of_a_frozen_function(module):
    m = module("""
        def trace_me(a):
            b = a + 1
            return b
    """)
    freeze(m.trace_me)
    lines = []

    def tracer(frame, event, argument):
        if frame.f_code.co_name == "trace_me" and event == "line":
            lines.append((frame.f_lineno, dict(frame.f_locals)))
        return tracer

    previous = sys.gettrace()
    sys.settrace(tracer)
    try:
        m.trace_me(1)
    finally:
        sys.settrace(previous)
    assert lines == [(3, {"a": 1}), (4, {"a": 1, "b": 2})]
    assert m.trace_me(1) == 2


def test_monitoring_sees_the_calls_of_a_frozen_function(module):
    m = module("""
        def inner():
            return 1

        def outer():
            return inner() + inner()
    """)
    freeze(m.outer)
    started = []
    monitoring, tool = sys.monitoring, sys.monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(
            tool, monitoring.events.PY_START, lambda code, offset: started.append(code.co_name)
        )
        monitoring.set_events(tool, monitoring.events.PY_START)
        m.outer()
        monitoring.set_events(tool, 0)
    finally:
        monitoring.free_tool_id(tool)
    assert [name for name in started if name in ("inner", "outer")] == ["outer", "inner", "inner"]
    assert m.outer() == 2


# ---- A freeze that fails ---------------------------------------------------


def test_a_failed_freeze_leaves_the_function_as_it_was(module):
    m = module("""
        stream = (number for number in [1, 2])
        count = 0

        def take():
            global count
            count += 1
            return next(stream)
    """)
    namespace, code = m.take.__globals__, m.take.__code__
    with pytest.raises(NotFreezableError) as raised:
        freeze(m.take)
    assert raised.value.obj is m.stream
    assert not is_frozen(m.take)
    assert m.take.__globals__ is namespace is vars(m)
    assert m.take.__code__ is code
    assert m.take() == 1
    m.count = 10
    assert m.take() == 2
    assert m.count == 11
    m.take.note = "mutable"


def test_a_failed_freeze_leaves_cells_shared():
    def outer():
        count, stream = 0, iter([1])

        def bump():
            nonlocal count
            count += 1
            return count, stream

        def current():
            return count

        return bump, current

    bump, current = outer()
    with pytest.raises(NotFreezableError):
        freeze(bump)
    bump()
    bump()
    assert current() == 2
    cells = bump.__closure__
    assert current.__closure__[0] is cells[0]
    assert all(isinstance(cell, types.CellType) and not is_frozen(cell) for cell in cells)


def test_a_function_made_from_frozen_code_leaves_nothing_behind_when_both_are_gone(run_python):
    # The interpreter caches code by version. A debug build asserts that the cache refers to living code.
    run_python("""
        import gc
        from immutable import freeze

        for _ in range(50):
            namespace = {}
            exec("def make():\\n    def inner():\\n        return 1\\n    return inner", namespace)
            make = namespace.pop("make")
            freeze(make())
            again = make()
            assert again() == 1
            del again
            for _ in range(3):
                gc.collect()
            del make
            gc.collect()
    """)


def test_functions_are_made_from_frozen_code_again_and_again():
    def make():
        def inner(value):
            return [value for _ in range(2)]

        return inner

    freeze(make())
    for number in range(20):
        assert make()(number) == [number, number]
        for _ in range(3):
            gc.collect()  # drops the copy of the code that was not used since the one before


# ---- Every kind of function, in any interpreter ----

KINDS = """
    import asyncio
    import functools

    TABLE = {"one": [1]}

    def with_defaults(a, b=[2], *rest, c={3: "three"}, **named):
        return a, b, rest, c, named

    def annotated(a: int, *, b: "list[Unheard]" = None) -> str:
        return f"{a} {b}"

    def make_adder(step):
        steps = [step]
        def add(number):
            return number + steps[0]
        return add

    adder = make_adder(3)

    def counting():
        count = 0
        def step():
            nonlocal count
            count += 1
            return count
        return step(), step(), count

    def factorial(number):
        return 1 if number < 2 else number * factorial(number - 1)

    def is_even(number):
        return number == 0 or is_odd(number - 1)

    def is_odd(number):
        return number != 0 and is_even(number - 1)

    def doubled(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) * 2
        return wrapper

    @doubled
    def wrapped(number):
        return number + 1

    @functools.lru_cache
    def cached(number):
        return 0 if number == 0 else 1 + cached(number - 1)

    partial = functools.partial(with_defaults, 1, c=None)

    @functools.singledispatch
    def single(value):
        return "something"

    @single.register
    def _(value: int):
        return "a number"

    @single.register(list)
    def _(value):
        return "a list"

    async def answer(number):
        await asyncio.sleep(0)
        return number

    async def coroutine():
        return [await answer(number) for number in range(3)] + [number async for number in agenerator()]

    async def agenerator():
        for number in TABLE["one"]:
            yield number

    def generator(limit):
        received = []
        for number in range(limit):
            received.append((yield number))
        return received

    def delegating():
        return (yield from generator(2))

    comprehend = lambda numbers: ({n: n * f for n in numbers for f in TABLE["one"]}, [*map(lambda n: n + 1, numbers)])
"""

CALLS = {
    "default arguments": "with_defaults(1), with_defaults(1, 2, 3, c=4, d=5)",
    "annotations": "annotated(1, b=[2])",
    "closure": "adder(4)",
    "nonlocal": "counting()",
    "recursion": "factorial(10)",
    "mutual recursion": "is_even(10), is_odd(10)",
    "wraps": "wrapped(1), wrapped.__wrapped__(1), wrapped.__name__",
    "lru_cache": "cached(20), cached(20)",
    "partial": "partial(), partial(5)",
    "singledispatch": "single(1), single([]), single('text'), single(True)",
    "async def": "asyncio.run(coroutine())",
    "async generator": "asyncio.run(anext(agenerator()))",
    "generator": "list(generator(3)), list(delegating())",
    "lambda and comprehension": "comprehend([1, 2])",
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_function_of_every_kind_works_in_any_interpreter(module, elsewhere, kind):
    m = module(KINDS)
    expected = repr(eval(CALLS[kind], dict(vars(m))))
    functions = {name: value for name, value in vars(m).items() if callable(value) and name != "_"}
    freeze(list(functions.values()))
    assert repr(eval(CALLS[kind], {"asyncio": asyncio, **functions})) == expected
    other = elsewhere()
    for _ in range(2):  # the first call links
        other.run(
            f"import asyncio; told = repr(({CALLS[kind]})); assert told == expected, told",
            expected=expected,
            **functions,
        )
    assert repr(eval(CALLS[kind], {"asyncio": asyncio, **functions})) == expected


# ---- Every part of a function ----------------------------------------------


def test_annotations_are_evaluated_when_they_are_asked_for_and_not_before(module):
    m = module("""
        def function(a: Later, *, b: list[Later] = None) -> Later:
            return a
    """)
    freeze(m.function)
    with pytest.raises(NameError):
        inspect.get_annotations(m.function)
    m.Later = int
    assert inspect.get_annotations(m.function) == {"a": int, "b": list[int], "return": int}
    m.Later = str  # the freeze has not captured it, and evaluates again
    assert inspect.get_annotations(m.function)["a"] in (int, str)
    m.Later = []
    assert not is_frozen(m.Later)


def test_annotations_as_strings_stay_strings(module):
    m = module("""
        from __future__ import annotations

        def function(a: Never, b: "quoted") -> None:
            pass
    """)
    freeze(m.function)
    assert inspect.get_annotations(m.function) == {"a": "Never", "b": "'quoted'", "return": "None"}


ANNOTATED = """
    from typing import Annotated, Optional

    class Known:
        pass

    def function(a: Known, b: "Known", c: Annotated[Optional[Known], "note"] = None, *rest: int) -> list[Known]:
        pass

    def generic[T: Known](a: T, b: dict[str, T]) -> T:
        pass

    class Holder:
        attribute: Known
        quoted: "list[Known]"

        def method(self, a: Known, b: "Known") -> Known:
            pass

    def make():
        class Local:
            pass

        def closure(a: Local, b: Known) -> int:
            pass

        return closure

    closure = make()
"""

UNKNOWN = """
    class Known:
        pass

    def function(a: Known, b: Unknown, c: dict[Known, Unknown.part]) -> Unknown | None:
        pass

    class Holder:
        attribute: Known
        other: list[Unknown]
"""

QUESTIONS = {
    "VALUE": lambda f: annotationlib.get_annotations(f, format=annotationlib.Format.VALUE),
    "FORWARDREF": lambda f: annotationlib.get_annotations(f, format=annotationlib.Format.FORWARDREF),
    "STRING": lambda f: annotationlib.get_annotations(f, format=annotationlib.Format.STRING),
    "evaluated": lambda f: inspect.get_annotations(f, eval_str=True),
    "hints": lambda f: typing.get_type_hints(f),
    "hints with extras": lambda f: typing.get_type_hints(f, include_extras=True),
    "hints as references": lambda f: typing.get_type_hints(f, format=annotationlib.Format.FORWARDREF),
    "hints as text": lambda f: typing.get_type_hints(f, format=annotationlib.Format.STRING),
    "references evaluated": lambda f: {
        name: value.evaluate() if isinstance(value, annotationlib.ForwardRef) else value
        for name, value in annotationlib.get_annotations(f, format=annotationlib.Format.FORWARDREF).items()
    },
    "signature": lambda f: str(inspect.signature(f, annotation_format=annotationlib.Format.STRING)),
    "signature evaluated": lambda f: inspect.signature(f, eval_str=True),
    "called": lambda f: annotationlib.call_annotate_function(f.__annotate__, annotationlib.Format.FORWARDREF, owner=f),
}

ANNOTATED_PARTS = {
    "function": lambda m: m.function,
    "generic": lambda m: m.generic,
    "class": lambda m: m.Holder,
    "method": lambda m: m.Holder.method,
    "closure": lambda m: m.closure,
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("part", ANNOTATED_PARTS)
def test_annotations_are_told_in_every_way_as_before(module, part, question):
    m = module(ANNOTATED)
    part, question = ANNOTATED_PARTS[part](m), QUESTIONS[question]
    before = question(part)
    freeze(part)
    assert question(part) == before
    assert not is_frozen(vars(m))


@pytest.mark.parametrize("part", ["function", "class"])
@pytest.mark.parametrize("question", ["FORWARDREF", "STRING", "hints as text", "called"])
def test_annotations_of_unknown_names_are_told_as_before(module, part, question):
    m = module(UNKNOWN)
    part, question = ANNOTATED_PARTS[part](m), QUESTIONS[question]
    before = repr(question(part))  # references compare their cells, of which a frozen class has its own
    freeze(part)
    told = question(part)
    assert repr(told) == before
    assert told.get("a", m.Known) in (m.Known, "Known")
    for reference in told.values():
        if isinstance(reference, annotationlib.ForwardRef):
            with pytest.raises(NameError):
                reference.evaluate()
    m.Unknown = types.SimpleNamespace(part=int)
    for reference in told.values():
        if isinstance(reference, annotationlib.ForwardRef) and reference.__forward_arg__ == "Unknown":
            assert reference.evaluate() is m.Unknown


def test_annotations_that_are_all_strings_are_evaluated_in_the_module(module):
    m = module("""
        from __future__ import annotations

        class Known:
            pass

        def function(a: Known, b: list[Known]) -> None:
            pass
    """)
    freeze(m.function)
    assert typing.get_type_hints(m.function) == {"a": m.Known, "b": list[m.Known], "return": type(None)}
    assert inspect.get_annotations(m.function, eval_str=True) == {"a": m.Known, "b": list[m.Known], "return": None}
    assert not is_frozen(m.Known)


def test_a_wrapper_tells_the_annotations_of_what_it_wraps(module):
    m = module("""
        import functools

        class Known:
            pass

        def plain(a: "Known") -> Known:
            pass

        @functools.wraps(plain)
        def wrapper(*args):
            return plain(*args)

        partial = functools.partial(plain)
    """)
    freeze([m.wrapper, m.partial])
    assert typing.get_type_hints(m.wrapper) == {"a": m.Known, "return": m.Known}
    assert inspect.get_annotations(m.wrapper, eval_str=True) == {"a": m.Known, "return": m.Known}
    assert inspect.signature(m.partial, eval_str=True).return_annotation is m.Known


def test_annotations_are_those_of_the_calling_interpreter(elsewhere, monkeypatch):
    other = elsewhere()
    (other.path / "annotated_by_test.py").write_text(textwrap.dedent(ANNOTATED))
    monkeypatch.syspath_prepend(str(other.path))
    m = importlib.import_module("annotated_by_test")
    try:
        freeze([m.function, m.Holder])
        other.run(
            """
            import annotationlib, builtins, inspect, sys, typing

            assert "annotated_by_test" not in sys.modules
            told = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
            Known = sys.modules["annotated_by_test"].Known
            assert told["a"] is Known and told["return"] == list[Known], told
            assert function.__annotations__["a"] is Known
            assert annotationlib.get_annotations(function, format=annotationlib.Format.STRING)["a"] == "Known"
            assert typing.get_type_hints(function)["b"] is Known
            assert inspect.get_annotations(function, eval_str=True)["b"] is Known
            signature = inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
            assert signature.parameters["a"].annotation is Known
            for format in (annotationlib.Format.VALUE, annotationlib.Format.FORWARDREF):
                assert annotationlib.get_annotations(Holder, format=format)["attribute"] is Known
                assert annotationlib.get_annotations(Holder.method, format=format)["a"] is Known
            assert typing.get_type_hints(Holder)["quoted"] == list[Known]
            """,
            function=m.function,
            Holder=m.Holder,
        )
    finally:
        del sys.modules["annotated_by_test"]


def test_annotations_of_a_module_that_is_not_to_be_had_stay_references(module, elsewhere):
    m = module(ANNOTATED)
    freeze(m.function)
    elsewhere().run(
        """
        import annotationlib

        told = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
        assert isinstance(told["a"], annotationlib.ForwardRef), told
        assert told["a"].__forward_arg__ == "Known"
        try:
            annotationlib.get_annotations(function)
        except NameError as error:
            assert error.name == "Known"
        else:
            raise AssertionError("there is no Known")
        """,
        function=m.function,
    )


def test_the_builtins_of_a_frozen_function_are_those_of_the_calling_interpreter(module, elsewhere):
    m = module("""
        def function():
            return len([])
    """)
    freeze(m.function)
    assert m.function.__builtins__ is vars(builtins)
    with pytest.raises(AttributeError):
        m.function.__builtins__ = {}
    elsewhere().run("import builtins; assert function.__builtins__ is vars(builtins)", function=m.function)


def run_with_builtins(source, **own):
    namespace = {"__builtins__": own}
    exec(textwrap.dedent(source), namespace)
    return types.SimpleNamespace(**namespace)


def test_builtins_of_its_own_stay_those_of_a_function(elsewhere):
    opened = []
    m = run_with_builtins(
        """
        def measure():
            return len(())

        def open_it():
            return open, opened

        def import_it():
            import sys

        def define_it():
            class C:
                pass
        """,
        len=lambda sized: "mine",
        unused=[],
        opened=opened,
    )
    with pytest.raises(NotFreezableError) as raised:
        freeze(run_with_builtins("def use():\n    return lines", lines=iter([])).use)
    assert raised.value.path == "root.__builtins__['lines']"
    freeze(m.measure, m.open_it, m.import_it, m.define_it)
    assert m.measure() == "mine"
    assert is_frozen(opened)
    assert is_frozen(m.measure.__builtins__)
    assert set(m.measure.__builtins__) == {"len"}
    for function, error, what in (
        (m.open_it, NameError, "open"),
        (m.import_it, ImportError, "__import__"),
        (m.define_it, NameError, "__build_class__"),
    ):
        with pytest.raises(error, match=what):
            function()
    elsewhere().run("assert measure() == 'mine'", measure=m.measure)


def test_a_builtin_among_builtins_of_its_own_is_that_of_the_calling_interpreter(elsewhere):
    m = run_with_builtins(
        """
        def function():
            import math
            def inner():
                return len("abc")
            return math, inner
        """,
        len=len,
        __import__=__import__,
    )
    freeze(m.function)
    elsewhere().run(
        """
        import math
        found, inner = function()
        assert found is math and inner() == 3
        builtins = inner.__globals__["__builtins__"]
        assert set(builtins) == {"len", "__import__"}
        try:
            builtins["open"] = open
        except TypeError:
            pass
        else:
            raise AssertionError
        """,
        function=m.function,
    )


def test_builtins_that_are_no_dict_refuse():
    class Odd(dict):
        pass

    function = types.FunctionType((lambda: len).__code__, {"__builtins__": Odd(len=len)})
    with pytest.raises(NotFreezableError, match="__builtins__"):
        freeze(function)


def test_source_is_evaluated_in_the_namespace_of_a_frozen_function(module):
    m = module("""
        limits = [1, 2]

        def get(other: "list[limits]"):
            return limits
    """)
    freeze(m.get)
    namespace = m.get.__globals__
    for source in "len(limits)", compile("len(limits)", "<source>", "eval"):
        assert eval(source, namespace) == 2
    names = {}
    exec("length = len(limits)", namespace, names)
    assert names == {"length": 2}
    with pytest.raises(MutationError):
        exec("length = len(limits)", namespace)
    assert "__builtins__" not in namespace


def test_annotations_of_inner_functions_do_not_extend_the_reach(module):
    m = module("""
        class Mentioned:
            pass

        def outer():
            def inner(a: Mentioned) -> Mentioned:
                return a
            class Inner:
                attribute: Mentioned
            return inner, Inner
    """)
    freeze(m.outer)
    assert not is_frozen(m.Mentioned)
    inner, _ = m.outer()
    assert inner(3) == 3


def annotated_locally():
    @unfreezable
    class Local:
        pass

    def function(x: Local, y: int) -> list[Local]:
        pass

    return function, Local


def test_annotations_with_local_classes_do_not_extend_the_reach(elsewhere):
    function, local = annotated_locally()
    freeze(function)
    assert not is_frozen(local)
    for _ in range(2):
        assert function.__annotations__ == {"x": local, "y": int, "return": list[local]}
        assert inspect.signature(function).parameters["x"].annotation is local
        gc.collect()  # a view that is not used goes
        gc.collect()
    elsewhere().run(
        """
        from annotationlib import Format, ForwardRef, get_annotations
        try:
            function.__annotations__
        except NameError as error:
            assert "'Local'" in str(error)
        else:
            raise AssertionError
        assert isinstance(get_annotations(function, format=Format.FORWARDREF)["x"], ForwardRef)
        assert get_annotations(function, format=Format.STRING) == {"x": "Local", "y": "int", "return": "list[Local]"}
        """,
        function=function,
    )


def make_annotated_pair():
    class Local:
        pass

    def function(x: Local):
        pass

    return function, Local


@pytest.mark.parametrize("first", ["function", "class", "before"])
def test_annotations_refer_to_local_classes_that_are_frozen_too(elsewhere, first):
    function, local = make_annotated_pair()
    freeze(*{"function": (function, local), "class": (local, function), "before": (local,)}[first])
    freeze(function)
    elsewhere().run("assert function.__annotations__ == {'x': local}", function=function, local=local)


def make_annotated_class():
    class Node:
        parent: Node

        def child(self) -> Node:
            pass

    return Node


def test_a_local_class_that_its_own_annotations_mention_is_reclaimed(without_collector):
    node = freeze(make_annotated_class())
    assert node.__annotations__ == {"parent": node}
    assert node.child.__annotations__ == {"return": node}
    died = weakref.ref(node)
    during = _stats()["frozen_objects"]
    del node
    gc.collect()
    gc.collect()  # the views that have told its annotations
    assert died() is None
    assert _stats()["frozen_objects"] < during


def test_annotations_keep_no_local_class_alive_but_what_else_they_name(elsewhere):
    def make():
        class Local:
            pass

        alias = list[int]

        def function(x: Local, y: alias):
            return 1

        Local.method = function  # a cycle
        return function, Local, weakref.ref(alias)

    function, local, alias = make()
    freeze(function)
    assert function.__annotations__ == {"x": local, "y": list[int]}
    died = weakref.ref(local)
    del local
    for _ in range(3):
        gc.collect()
    assert died() is None
    assert alias() is not None
    with pytest.raises(NameError):
        _ = function.__annotations__
    del function
    gc.collect()
    assert alias() is None

    function, _, alias = make()
    other = elsewhere()
    other.run("", function=freeze(function))
    del function, _
    gc.collect()
    assert alias() is not None
    other.run("del function; import gc; gc.collect()")
    gc.collect()
    assert alias() is None


def test_annotations_of_a_method_leave_the_namespace_of_its_class_alone(elsewhere):
    class Owner:
        Alias = int

        def method(self, x: int, y: float):
            pass

        def by_alias(self, x: Alias):
            pass

    freeze(Owner.method, Owner.by_alias)
    assert not is_frozen(Owner)
    Owner.later = 1
    assert Owner.by_alias.__annotations__ == {"x": int}
    elsewhere().run("assert method.__annotations__ == {'x': int, 'y': float}", method=Owner.method)


def test_bounds_and_defaults_of_type_parameters_do_not_extend_the_reach(module):
    m = module("""
        class Order:
            pass

        def function[T: Order, U: (Order, int), V = Order, *W = (Order,), **P = [Order]](x: T) -> T:
            return x

        class Generic[T: Order, V = Order]:
            x: T

        type Alias = list[Order]

        def early[T: Later]():
            pass
    """)
    freeze(m.function, m.Generic, m.Alias, m.early)
    assert not is_frozen(m.Order)
    t, u, v, w, p = m.function.__type_params__
    assert t.__bound__ is v.__default__ is m.Order
    assert (u.__constraints__, w.__default__, p.__default__) == ((m.Order, int), (m.Order,), [m.Order])
    assert m.function.__annotations__ == {"x": t, "return": t}
    assert m.Generic.__type_params__[0].__bound__ is m.Order
    assert m.Generic.__annotations__ == {"x": m.Generic.__type_params__[0]}
    assert m.Alias.__value__ == list[m.Order]
    (later,) = m.early.__type_params__
    with pytest.raises(NameError):
        _ = later.__bound__
    m.Later = int
    assert later.__bound__ is int


def test_type_parameters_freeze_with_the_function(module):
    m = module("""
        class Bound:
            pass

        def function[T: Bound, *Ts, **P](a: T, *rest: *Ts) -> T:
            return a

        class Generic[T]:
            def method[S](self, a: S) -> tuple[T, S]:
                return a
    """)
    parameters = m.function.__type_params__
    freeze([m.function, m.Generic])
    assert m.function.__type_params__ is parameters
    assert [parameter.__name__ for parameter in parameters] == ["T", "Ts", "P"]
    assert all(is_frozen(parameter) for parameter in parameters)
    assert parameters[0].__bound__ is m.Bound
    assert m.function(1, 2) == 1
    assert m.Generic[int]().method("a") == "a"
    assert m.Generic.method.__type_params__[0].__name__ == "S"
    with pytest.raises(MutationError):
        m.function.__type_params__ = ()


def test_defaults_of_every_kind_are_frozen_and_used(module):
    m = module("""
        table = {"a": 1}

        def function(a=[1], b=lambda x, y=[2]: (x, y), *, c=table, d=(3, [4])):
            return a, b(5), c, d
    """)
    freeze(m.function)
    a, (_, y), c, d = m.function()
    assert all(is_frozen(part) for part in (a, y, c, d, d[1], m.table))
    assert m.function([9], c=None)[0] == [9]
    for name, value in {"__defaults__": (), "__kwdefaults__": {}}.items():
        with pytest.raises(MutationError):
            setattr(m.function, name, value)
        with pytest.raises(MutationError):
            delattr(m.function, name)
    with pytest.raises(MutationError):
        m.function.__kwdefaults__["c"] = 1


def test_names_in_deeply_nested_code_are_captured(module):
    m = module("""
        one, two, three, four, five = [1], [2], [3], [4], [5]

        def function():
            class Outer:
                value = one
                class Inner:
                    value = two
                    def method(self):
                        return [(lambda: three)() for _ in range(1)], {x: four for x in "a"}
            async def later():
                return five
            return Outer.value, Outer.Inner.value, Outer.Inner().method(), later
    """)
    names = "one", "two", "three", "four", "five"
    freeze(m.function)
    values = {name: getattr(m, name) for name in names}
    assert all(is_frozen(value) for value in values.values())
    for name in names:
        setattr(m, name, None)
    first, second, (third, fourth), later = m.function()
    assert (first, second, third[0], fourth["a"]) == ([1], [2], [3], [4])
    assert asyncio.run(later()) == [5]


def test_cells_that_functions_share_hold_the_same_frozen_value_afterwards():
    def build():
        shared = [1]
        return (lambda: shared), (lambda: shared)

    one, other = build()
    freeze([one, other])
    assert one() is other()
    assert is_frozen(one())


def test_deleting_a_global_or_a_nonlocal_raises_and_changes_nothing(module):
    m = module("""
        number = 1

        def forget():
            global number
            del number

        def outer():
            number = 2
            def forget():
                nonlocal number
                del number
            return forget, lambda: number
    """)
    forget, read = m.outer()
    freeze([m.forget, forget])
    for function in (m.forget, forget):
        with pytest.raises(MutationError):
            function()
    assert m.number == 1
    assert read() == 2


def test_dynamic_attributes_and_wrapped_of_a_function_freeze(module):
    m = module("""
        import functools

        def original():
            return 1

        @functools.wraps(original)
        def wrapper():
            return original()

        wrapper.registry = {"a": [1]}
    """)
    freeze(m.wrapper)
    assert is_frozen(m.wrapper.registry["a"])
    assert m.wrapper.__wrapped__ is m.original
    assert is_frozen(m.original)
    assert inspect.unwrap(m.wrapper) is m.original
    with pytest.raises(MutationError):
        del m.wrapper.__wrapped__


def test_a_failed_freeze_leaves_every_part_of_a_function_as_it_was(module):
    m = module("""
        stream = (n for n in [])
        table = [1]

        def outer():
            cell = [2]
            def function[T](a: T = [3], *, b=[4]) -> T:
                "Doc."
                return table, cell, stream
            function.extra = {}
            return function
    """)
    function = m.outer()
    names = [
        "__code__",
        "__globals__",
        "__closure__",
        "__defaults__",
        "__kwdefaults__",
        "__dict__",
        "__doc__",
        "__name__",
        "__qualname__",
        "__module__",
        "__type_params__",
        "__annotate__",
        "__builtins__",
    ]
    before = {name: getattr(function, name) for name in names}
    contents = [cell.cell_contents for cell in function.__closure__]
    with pytest.raises(NotFreezableError):
        freeze([function])
    assert all(getattr(function, name) is value for name, value in before.items())
    assert [cell.cell_contents for cell in function.__closure__] == contents
    assert not is_frozen(function)
    function.extra["a"] = 1
    function.__defaults__ = (5,)
    m.table.append(2)
    assert function()[0] == [1, 2]


# ---- Specialised calls -----------------------------------------------------

ENOUGH_TO_SPECIALISE = 50


def local_views():
    return _stats()["local_views"]


def test_a_function_that_is_called_by_specialised_code_alone_keeps_its_view(module):
    m = module("""
        def increment(number):
            return number + 1

        def call(times):
            for number in range(times):
                assert increment(number) == number + 1
    """)
    freeze(m.increment)
    m.call(ENOUGH_TO_SPECIALISE)
    for _ in range(2):  # drops the views of other tests
        gc.collect()
        m.call(1)
    views = local_views()
    for _ in range(3):
        gc.collect()
        m.call(1)
    assert local_views() == views
    gc.collect()
    gc.collect()
    assert local_views() == views - 1
    m.call(1)
    assert local_views() == views


def test_a_specialised_call_site_tells_functions_apart(module):
    m = module("""
        def call(function, number):
            return function(number)

        def make(offset):
            def add(number):
                return number + offset
            return add
    """)
    # More functions than the table of the latest calls has places.
    frozen = [freeze(m.make(offset)) for offset in range(1500)]
    for _ in range(3):
        for offset, function in enumerate(frozen):
            assert m.call(function, 1) == 1 + offset
    mutable = m.make(7)
    for _ in range(ENOUGH_TO_SPECIALISE):
        assert m.call(mutable, 1) == 8
        assert m.call(frozen[3], 1) == 4


def test_a_specialised_call_site_asks_for_the_number_of_arguments(module):
    m = module("""
        def join(first, second="b", *rest):
            return first + second + "".join(rest)

        def only(first, second):
            return first + second
    """)
    freeze((m.join, m.only))
    for _ in range(ENOUGH_TO_SPECIALISE):
        assert m.join("a") == "ab"
        assert m.join("a", "c", "d") == "acd"
        assert m.only("a", "c") == "ac"
    for wrong in [("a",), ("a", "b", "c")]:
        for _ in range(ENOUGH_TO_SPECIALISE):
            with pytest.raises(TypeError, match="only"):
                m.only(*wrong)
    for _ in range(ENOUGH_TO_SPECIALISE):
        with pytest.raises(TypeError, match="only"):
            m.only("a")


def test_a_method_outlives_the_last_reference_to_its_object_and_class(module):
    m = module("""
        def make(number):
            class Own:
                def __init__(self):
                    self.number = number

                def forget(self):
                    value = self.number
                    self = None
                    return value, [value]

            return Own()
    """)
    for number in range(1000, 1000 + ENOUGH_TO_SPECIALISE):
        # The class, its function and the instance are held by this call alone.
        assert freeze(m.make(number)).forget() == (number, [number])
        gc.collect(0)


def test_a_global_of_a_frozen_function_may_outlive_the_function(module):
    m = module("""
        WORDS = ["one", "two"]

        def words():
            return WORDS

        def later():
            found = WORDS
            yield found
            yield found
    """)
    freeze((m.words, m.later))
    for _ in range(ENOUGH_TO_SPECIALISE):
        found = m.words()
        steps = m.later()
        assert next(steps) is found
    counts, held = [], []
    for _ in range(10):
        held.append(m.words())
        counts.append(sys.getrefcount(found))
    assert counts[9] == counts[4] + 5
    del m.words, m.later, m.WORDS, held
    gc.collect()
    gc.collect()
    assert next(steps) is found
    steps.close()
    del steps
    gc.collect()
    gc.collect()
    assert found == ["one", "two"]


def test_recursion_gives_back_what_it_took(module):
    m = module("""
        def fibonacci(number):
            return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)
    """)
    function = freeze(m.fibonacci)
    assert function(12) == 144
    before = sys.getrefcount(function)
    assert function(15) == 610
    assert sys.getrefcount(function) == before


def test_what_the_library_generates_from_annotations_works_elsewhere(elsewhere):
    @dataclasses.dataclass
    class Point:
        x: int

    class Movie(typing.TypedDict):
        year: int

    freeze(Point, Movie)
    there = elsewhere()
    there.run(
        """if True:
        import annotationlib, inspect, pydoc, typing
        assert Point.__doc__.endswith("Point(x: int)")
        assert str(inspect.signature(Point)) == "(x: int) -> None"
        assert "class Point" in pydoc.render_doc(Point)
        assert Point.__init__.__annotations__ == {"x": int, "return": None}
        assert annotationlib.get_annotations(Point.__init__, format=annotationlib.Format.STRING)["x"] == "int"
        assert Movie.__annotations__ == typing.get_type_hints(Movie) == {"year": int}
        """,
        Point=Point,
        Movie=Movie,
    )


def test_a_method_of_a_class_that_is_not_made_yet_refuses():
    with pytest.raises(NotFreezableError, match="its class is not made yet"):

        class Made:
            @frozen
            def method(self):
                return super().__hash__()

    @frozen
    class Whole:
        def method(self):
            return __class__

    assert Whole().method() is Whole


def test_annotations_of_what_a_frozen_function_defines_are_found(module):
    m = module("""
        import dataclasses
        from decimal import Decimal
        from typing import ClassVar

        def make():
            @dataclasses.dataclass
            class Made:
                a: Decimal = 1
                b: ClassVar[int] = 2

            def inner(c: Decimal):
                pass

            return repr(Made()), Made.__annotations__["a"], inner.__annotations__["c"]
    """)
    before = m.make()
    freeze(m.make)
    assert m.make() == before
    assert before[0].endswith("Made(a=1)")


@pytest.mark.parametrize("failure", ["KeyboardInterrupt", "MemoryError", "RuntimeError"])
def test_the_import_for_annotations_may_fail_but_not_be_interrupted(elsewhere, monkeypatch, failure):
    source = """
        import sys
        from decimal import Decimal

        if hasattr(sys, "failure_of_test"):
            raise sys.failure_of_test

        def make():
            def inner(a: Decimal):
                pass
            return inner
    """
    there = elsewhere()
    (there.path / "failing_made_by_test.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(there.path))
    m = importlib.import_module("failing_made_by_test")
    try:
        there.run(f"import sys; sys.failure_of_test = {failure}")
        there.run(
            """
            try:
                inner = make()
            except (KeyboardInterrupt, MemoryError) as error:
                outcome = type(error)
            else:
                outcome = RuntimeError
                try:
                    inner.__annotations__
                except NameError as error:
                    assert error.name == "Decimal"
                else:
                    raise AssertionError
            assert outcome is sys.failure_of_test
            """,
            make=freeze(m.make),
        )
    finally:
        del sys.modules["failing_made_by_test"]


def test_constructs_of_typing_work_elsewhere(elsewhere):
    from typing import Annotated, ClassVar, Concatenate, Final, Literal

    def work():
        return [repr(t) for t in (Final[int], ClassVar[str], Annotated[int, 5], Concatenate[int, ...], Literal["a"])]

    freeze(work)
    there = elsewhere()
    there.run("assert work() == told", work=work, told=freeze(work()))
