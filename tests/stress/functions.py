"""Frozen functions: called hot from many threads, while views are dropped, and tracers come and go."""

import functools
import gc
import itertools
import sys
import threading
import weakref

from scenario import maker, scenario

from immutable import MutationError, freeze

# ---- Functions and what they must answer -----------------------------------
#
# Each maker returns a function of one small number; `expected` computes the same with nothing frozen.


@maker(3)
def arithmetic(n):
    table = [n, n + 1, {"n": n}]

    def compute(x, step=[n]):
        total = 0
        for i in range(20):
            total += (x + i) * step[0] + table[0]
        return total + table[2]["n"]

    return compute


@maker(3)
def recursion(n):
    def fibonacci(x):
        return n if x < 2 else fibonacci(x - 1) + fibonacci(x - 2)

    return fibonacci


@maker(3)
def mutual_recursion(n):
    def even(x):
        return n if x == 0 else odd(x - 1)

    def odd(x):
        return -n if x == 0 else even(x - 1)

    return even


@maker(3)
def generators(n):
    def numbers(x):
        for i in range(x):
            received = yield i * n
            assert received is None

    def compute(x):
        return sum(numbers(x)) + sum(i for i in numbers(x) if i % 2) + len([*numbers(x)])

    return compute


@maker(3)
def coroutines(n):
    async def add(x):
        return x + n

    async def several(x):
        async for part in parts(x):
            x += await add(part)
        return x

    async def parts(x):
        for i in range(x % 5):
            yield i

    def run(x):
        coroutine = several(x)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("not finished")

    return run


@maker(3)
def classes_made_inside(n):
    def compute(x):
        class Local:
            y: int = n

            def __init__(self, x):
                self.x = x

            def value(self):
                return self.x + self.y, __class__ is Local, super().__eq__(self)

        made = Local(x)
        made.x += 1
        return made.value()

    return compute


class Shape:
    sides = 0

    def __init__(self, number):
        self.number = number

    @property
    def corners(self):
        return self.sides

    def area(self, scale=2):
        return self.number * scale + self.corners

    @classmethod
    def named(cls):
        return cls.__name__, cls.sides

    @staticmethod
    def unit():
        return 1

    def __add__(self, other):
        return self.area() + other.area()

    def __getattr__(self, name):
        if name.startswith("side_"):
            return int(name[5:]) * self.sides
        raise AttributeError(name)


class Square(Shape):
    sides = 4

    def area(self, scale=3):
        return super().area(scale) - 1


class Triangle(Shape):
    __slots__ = ("extra",)
    sides = 3


@maker(3)
def polymorphic_calls(n):
    shapes = [Shape(n), Square(n), Triangle(n), Square(n + 1)]

    def compute(x):
        total = []
        for shape in shapes:
            total.append(shape.area() + shape.area(scale=x) + shape.corners + shape.unit() + (shape + shapes[0]))
            total.append(shape.named())
            total.append(shape.side_7)
        return total

    return compute


@maker(3)
def exceptions(n):
    def fail(x):
        if x % 3 == 0:
            raise ValueError(n, x)
        if x % 3 == 1:
            return [][x]
        return x

    def compute(x):
        found = []
        for i in range(x, x + 3):
            try:
                found.append(fail(i))
            except ValueError as error:
                found.append(error.args)
            except LookupError as error:
                found.append(type(error).__name__)
            finally:
                found.append(n)
        try:
            raise ExceptionGroup("two", [KeyError(1), OSError(2)])
        except* KeyError as group:
            found.append(len(group.exceptions))
        except* OSError:
            found.append("os")
        return found

    return compute


@maker(3)
def decorated(n):
    def twice(function):
        @functools.wraps(function)
        def wrapper(*positional, **named):
            return [function(*positional, **named), function(*positional, **named)]

        return wrapper

    @twice
    def compute(x, *more, flag=n, **others):
        return x, more, flag, others, (lambda y: y + flag)(x)

    return lambda x: compute(x, x, key=x) + compute(x, flag=1)


@maker(3)
def matching(n):
    def compute(x):
        match [x % 4, n, {"x": x}]:
            case [0, number, _]:
                return number
            case [1, _, {"x": found, **rest}]:
                return found, rest
            case [number, *rest] if number == 2:
                return f"{rest!r:>40}{number}"
            case _:
                with open("/dev/null") as nothing:
                    return nothing.read(), x if x else (y := x, y)

    return compute


FUNCTION_MAKERS = (
    arithmetic,
    recursion,
    mutual_recursion,
    generators,
    coroutines,
    classes_made_inside,
    polymorphic_calls,
    exceptions,
    decorated,
    matching,
)

freeze(Shape, Square, Triangle)


def expected(make, n):
    """What a function gives for each small number, while it is mutable."""
    function = make(n)
    return [function(x) for x in range(12)]


# ---- Scenarios -------------------------------------------------------------


@scenario(weight=8)
def functions_called_by_threads(run):
    """Threads call, drop and refreeze functions, while others make the collector drop their views."""
    rng = run.random
    numbers = [rng.randint(1000, 10**6) for _ in range(2)]
    answers = {(make, n): expected(make, n) for make in FUNCTION_MAKERS for n in numbers}
    pool = {key: freeze(key[0](key[1])) for key in answers}

    def work(rng):
        for _ in range(rng.randint(5, 30)):
            run.step()
            key = rng.choice([*answers])
            function = pool[key]
            for _ in range(rng.choice((1, 3, 40))):
                x = rng.randrange(12)
                result = function(x)
                run.check(result == answers[key][x], "result", key[0].__name__, result, answers[key][x])
            match rng.randrange(6):
                case 0:
                    # Whoever runs the old one keeps it; a new one may get its address.
                    pool[key] = freeze(key[0](key[1]))
                case 1:
                    gc.collect()
                case 2:
                    pool[key] = key[0](key[1])
                case 3:
                    freeze(pool[key])
            del function

    run.in_threads(*[work] * run.threads)
    pool.clear()


@scenario
def functions_released_while_they_run(run):
    """The last reference to a function, its closure and its class goes while generators of it are under way."""
    rng = run.random

    def work(rng):
        for _ in range(rng.randint(3, 40)):
            run.step()
            number = rng.randint(1000, 10**9)
            holder = freeze(long_lived(number))
            weak = weakref.ref(holder[0])
            running = [holder[0](holder), holder[1].walk(holder)]
            for each in running:
                run.check(next(each) == number, "before")
            if rng.random() < 0.5:
                gc.collect()
                gc.collect()
            holder = None
            for each in running:
                run.check([*each] == [number, [number], number], "after")
            running.clear()
            each = None
            if rng.random() < 0.2:
                gc.collect()
                gc.collect()
                gc.collect()
                run.check(weak() is None, "the function is alive", weak())

    run.in_threads(*[work] * rng.randint(1, run.threads))


@maker(1000)
def long_lived(number):
    held = [number]

    def generate(holder):
        yield held[0]
        del holder
        yield number
        yield held
        yield (lambda: held[0])()

    class Walker:
        def walk(self, holder):
            yield held[0]
            del holder
            yield self.__class__.number
            yield held
            yield __class__.number

    Walker.number = number
    return [generate, Walker()]


@scenario
def functions_traced(run):
    """Tracing, profiling and monitoring come and go in one thread while others run the same functions."""
    rng = run.random
    n = rng.randint(1000, 10**6)
    pairs = [(freeze(make(n)), expected(make, n), make) for make in FUNCTION_MAKERS]
    stop = threading.Event()

    def work(rng):
        while not stop.is_set():
            run.step()
            function, answers, make = rng.choice(pairs)
            x = rng.randrange(12)
            result = function(x)
            run.check(result == answers[x], "result", make.__name__, result, answers[x])

    def observe(rng):
        for _ in range(rng.randint(10, 100)):
            function, answers, make = rng.choice(pairs)
            x = rng.randrange(12)
            seen = itertools.count()
            with rng.choice((tracing, profiling, monitoring))(seen, rng):
                result = function(x)
            run.check(result == answers[x], "observed result", make.__name__, result, answers[x])
            run.check(next(seen) > 0, "nothing was observed", make.__name__)
            del function
        stop.set()

    try:
        run.in_threads(observe, *[work] * (run.threads - 1))
    finally:
        stop.set()


class tracing:
    """Counts the lines of a block in this thread."""

    def __init__(self, seen, rng):
        self.seen = seen
        self.opcodes = rng.random() < 0.3

    def __enter__(self):
        sys.settrace(self.trace)

    def trace(self, frame, event, argument):
        del event, argument
        frame.f_trace_opcodes = self.opcodes
        next(self.seen)
        return self.trace

    def __exit__(self, *exception):
        sys.settrace(None)


class profiling(tracing):
    """Counts the calls of a block in this thread."""

    def __enter__(self):
        sys.setprofile(lambda *event: next(self.seen))

    def __exit__(self, *exception):
        sys.setprofile(None)


class monitoring:
    """Counts monitoring events of all threads during a block."""

    TOOL = sys.monitoring.PROFILER_ID

    def __init__(self, seen, rng):
        self.seen = seen
        events = sys.monitoring.events
        self.events = rng.choice(
            (
                events.PY_START | events.PY_RETURN,
                events.LINE | events.PY_START,
                events.INSTRUCTION,
                events.BRANCH_LEFT | events.PY_RESUME | events.PY_START,
            )
        )

    def __enter__(self):
        sys.monitoring.use_tool_id(self.TOOL, "stress")
        every = sys.monitoring.events
        branches = every.BRANCH_LEFT, every.PY_RESUME
        for event in (every.PY_START, every.PY_RETURN, every.LINE, every.INSTRUCTION, *branches):
            sys.monitoring.register_callback(self.TOOL, event, self.note)
        sys.monitoring.set_events(self.TOOL, self.events)

    def note(self, *event):
        next(self.seen)

    def __exit__(self, *exception):
        sys.monitoring.set_events(self.TOOL, 0)
        sys.monitoring.clear_tool_id(self.TOOL)
        sys.monitoring.free_tool_id(self.TOOL)


@scenario
def classes_used_by_threads(run):
    """Instances of frozen classes are made, changed, frozen and dropped by threads, which subclass them meanwhile."""

    def work(rng):
        kept = []
        for _ in range(rng.randint(10, 150)):
            run.step()
            made = rng.choice((Shape, Square, Triangle))(rng.randint(1, 10**6))
            match rng.randrange(6):
                case 0:
                    made.number += 1
                    freeze(made)
                    try:
                        made.number += 1
                    except MutationError:
                        pass
                    else:
                        run.fail("a frozen instance was written", made)
                case 1:
                    Sub = subclass_of(type(made), rng.randint(300, 10**6))
                    run.check(Sub(3).named() == ("Sub", Sub.sides), "subclass", Sub.named())
                    run.check(Sub in type(made).__subclasses__(), "subclasses")
                    Sub.sides += 1
                    made = Sub(5)
                    run.check(made.side_2 == 2 * Sub.sides, "attribute of a subclass", made.side_2, Sub.sides)
                    if rng.random() < 0.5:
                        freeze(made)
                    del Sub
                case 2:
                    try:
                        type(made).sides = 7
                    except MutationError:
                        pass
                    else:
                        run.fail("a frozen class was written", type(made))
                case 3 if kept:
                    run.check(kept[-1] + made == kept[-1].area() + made.area(), "sum")
                case 4 if kept:
                    kept.pop(rng.randrange(len(kept)))
            kept.append(made)
        del kept, made
        gc.collect()

    run.in_threads(*[work] * run.threads)


@maker(Shape, 5)
def subclass_of(base, number):
    class Sub(base):
        sides = number

        def area(self, scale=1):
            return super().area(scale) + number

    return Sub
