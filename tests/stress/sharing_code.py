"""Frozen functions and classes run in several interpreters at once, each with its own views, caches and tracers."""

import abc
import collections
import dataclasses
import datetime
import enum
import functools
import gc
import itertools
import re
import sys
import typing
from concurrent import interpreters

import functions
from crew import Crew, switching_often
from functions import FUNCTION_MAKERS, Shape, Square, Triangle, expected, monitoring, profiling, tracing
from scenario import maker, scenario

from immutable import MutationError, freeze, is_frozen

# ---- Functions -------------------------------------------------------------


def call_hot(run, pairs, rounds):
    """Worker: calls frozen functions in threads, and compares with what they gave where they were made."""

    def work(rng):
        for _ in range(rounds):
            run.step()
            name, function, answers = rng.choice(pairs)
            for _ in range(rng.choice((1, 30, 100))):
                x = rng.randrange(12)
                result = function(x)
                run.check(result == answers[x], "result", name, result, answers[x])
            if rng.random() < 0.05:
                gc.collect()

    with switching_often(run):
        run.in_threads(work, work)


@scenario(weight=8)
def functions_hot_everywhere(run):
    """One set of frozen functions runs in every interpreter, in two threads of each, while views are dropped."""
    n = run.random.randint(1000, 10**6)
    makers = run.random.sample(FUNCTION_MAKERS, run.random.randint(1, len(FUNCTION_MAKERS)))
    pairs = freeze([(make.__name__, make(n), expected(make, n)) for make in makers])
    with Crew(run) as crew:
        if run.random.random() < 0.5:
            owner = crew.members[0]
            pairs = crew.ask(owner, make_pairs, n)
            crew.replace(owner)
        crew.ask_all(call_hot, pairs, run.random.randint(3, 100))
    call_hot(run, pairs, 3)


def make_pairs(run, n):
    """Worker: frozen functions made here, with what they give."""
    return freeze([(make.__name__, make(n), expected(make, n)) for make in FUNCTION_MAKERS])


def observe_hot(run, pairs, rounds):
    """Worker: traces, profiles and monitors frozen functions in this interpreter."""
    for _ in range(rounds):
        run.step()
        name, function, answers = run.random.choice(pairs)
        x = run.random.randrange(12)
        seen = itertools.count()
        with run.random.choice((tracing, profiling, monitoring))(seen, run.random):
            result = function(x)
        run.check(result == answers[x], "observed result", name, result, answers[x])
        run.check(next(seen) > 0, "nothing was observed", name)


def call_unobserved(run, pairs, rounds):
    """Worker: calls frozen functions while another interpreter observes them: nothing of that shows here."""
    seen = []
    sys.monitoring.use_tool_id(monitoring.TOOL, "stress")
    sys.monitoring.register_callback(monitoring.TOOL, sys.monitoring.events.PY_START, lambda *event: seen.append(event))
    for _ in range(rounds):
        call_hot(run, pairs, 2)
    sys.monitoring.free_tool_id(monitoring.TOOL)
    run.check(not seen and sys.gettrace() is None, "the tracing of another interpreter shows", seen[:3])


@scenario(weight=3)
def functions_traced_in_one_interpreter(run):
    """Tracing, profiling and monitoring in one interpreter are not seen, and change nothing, in the others."""
    n = run.random.randint(1000, 10**6)
    pairs = freeze([(make.__name__, make(n), expected(make, n)) for make in FUNCTION_MAKERS])
    rounds = run.random.randint(5, 80)
    with Crew(run) as crew:
        observer = crew.members.pop()
        try:
            crew.ask_all(
                call_unobserved,
                pairs,
                rounds,
                beside=[lambda rng: crew.ask(observer, observe_hot, pairs, rounds, seed=rng.getrandbits(32))],
            )
        finally:
            crew.members.append(observer)


@maker(1000)
def raising(number):
    held = {"number": number}

    def inner(depth):
        if depth:
            return inner(depth - 1)
        raise LookupError(held["number"], held)

    def outer(depth):
        try:
            inner(depth)
        except LookupError as error:
            raise RuntimeError(held) from error

    return outer


def catch(run, function, number, rounds):
    """Worker: exceptions from shared code have tracebacks of this interpreter, and let go of everything."""
    for _ in range(rounds):
        run.step()
        depth = run.random.randrange(6)
        try:
            function(depth)
        except RuntimeError as error:
            run.check(error.args[0] == {"number": number} and is_frozen(error.args[0]), "argument", error.args)
            frames, each = [], error.__cause__.__traceback__
            while each is not None:
                frames.append(each.tb_frame.f_code.co_name)
                each = each.tb_next
            run.check(frames == ["outer"] + ["inner"] * (depth + 1), "frames", frames)
            run.check(error.__cause__.args[1] is error.args[0], "arguments of the cause", error.__cause__.args)
            if run.random.random() < 0.3:
                each = [error]
                each.append(each)
        else:
            run.fail("nothing was raised")
    gc.collect()


@scenario
def exceptions_through_shared_code(run):
    """Frozen functions raise and catch in every interpreter at once; their exceptions are local."""
    number = run.random.randint(1000, 10**6)
    function = freeze(raising(number))
    with Crew(run) as crew:
        crew.ask_all(catch, function, number, run.random.randint(10, 1000))


# ---- Classes ---------------------------------------------------------------

NAMES = tuple(f"attribute{n}" for n in range(40))


class Bag:
    """Instances get attributes that the class does not know of."""

    known = 1

    def __init__(self, known=2):
        if known % 2:
            self.own = known

    def total(self):
        return sum(value for value in vars(self).values() if type(value) is int) + self.known


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


freeze(Bag, Point)


def make_instances(run, bag, point, rounds):
    """Worker: instances of shared classes, each with attributes of its own."""
    rng = run.random
    kept = []
    for _ in range(rounds):
        run.step()
        made = bag(rng.randrange(4))
        names = rng.sample(NAMES, rng.randrange(len(NAMES)))
        for number, name in enumerate(names):
            setattr(made, name, number + 1000)
        for name in names[: len(names) // 3]:
            delattr(made, name)
        kinds = {name: 1000 + number for number, name in enumerate(names) if number >= len(names) // 3}
        found = {name: value for name, value in vars(made).items() if name != "own"}
        run.check(found == kinds, "attributes", found, kinds)
        run.check(made.total() == sum(kinds.values()) + getattr(made, "own", 0) + 1, "total", made.total())
        for name in rng.sample(NAMES, 3):
            run.check(getattr(made, name, None) == kinds.get(name), "attribute", name)
        corner = point(made, rng.random())
        run.check(corner.x is made, "slot")
        if rng.random() < 0.3:
            freeze(corner)
            run.check(
                found == {name: value for name, value in vars(made).items() if name != "own"}, "frozen attributes"
            )
            try:
                made.attribute0 = 1
            except MutationError:
                pass
            else:
                run.fail("a frozen instance was written")
        kept.append((made, kinds))
        if len(kept) > 50:
            old, kinds = kept.pop(rng.randrange(len(kept)))
            run.check(all(getattr(old, name) == value for name, value in kinds.items()), "old instance", kinds)
        try:
            bag.known = 7
        except MutationError:
            pass
        else:
            run.fail("a frozen class was written")


@scenario(weight=6)
def instances_made_everywhere(run):
    """Instances of one frozen class are made in every interpreter at once, with attributes in differing order."""
    with Crew(run) as crew:
        crew.ask_all(make_instances, Bag, Point, run.random.randint(10, 1500))


def subclass(run, base, rounds):
    """Worker: subclasses of a shared class, seen here and nowhere else."""
    rng = run.random
    kept = []
    for _ in range(rounds):
        run.step()
        number = rng.randint(1000, 10**6)
        Sub = functions.subclass_of(base, number)
        Sub.mark = run.seed
        kept.append(Sub)
        own = {each.mark for each in base.__subclasses__() if each.__name__ == "Sub"}
        run.check(own == {run.seed}, "subclasses of other interpreters", own)
        made = Sub(3)
        for _ in range(20):
            run.check(made.side_2 == 2 * number and made.named() == ("Sub", number), "subclass", made.named())
        Sub.sides = number + 1
        run.check(made.corners == number + 1, "changed subclass", made.corners)
        if rng.random() < 0.3:
            freeze(made)
        if len(kept) > 5:
            kept.pop(rng.randrange(len(kept)))
        del Sub, made
    kept.clear()
    gc.collect()
    run.check(not [each for each in base.__subclasses__() if each.__name__ == "Sub"], "subclasses that are gone")


@scenario(weight=3)
def subclasses_made_everywhere(run):
    """A frozen class has other subclasses in each interpreter."""
    with Crew(run) as crew:
        crew.ask_all(subclass, run.random.choice((Shape, Square)), run.random.randint(5, 150))


def collide(run, shared, rounds):
    """Worker: makes local classes, functions and globals whose versions are likely to equal those of shared ones."""
    rng = run.random
    local = []
    for number in range(rounds):
        run.step()
        namespace = {"number": number, "helper": len}
        exec(COLLIDING, namespace)
        local.append((namespace["Local"](number), namespace["work"], number, namespace))
        for _ in range(rng.randint(1, 60)):
            each, answer = rng.choice(shared)
            run.check(each.area() + each.corners == answer, "shared instance", each.area(), answer)
            made, function, expected_number, own = rng.choice(local)
            run.check(made.area() + made.corners == 3 * expected_number, "local instance", made.area(), expected_number)
            run.check(function(made) == 4 * expected_number + 2, "local function", function(made), expected_number)
            # One call site for both: its cache must tell them apart.
            mixed = [(each, answer), (made, 3 * expected_number)]
            for one, value in mixed * rng.randrange(4):
                run.check(one.area() + one.corners == value, "mixed call site", one, value)
        if rng.random() < 0.3:
            made, _, expected_number, own = rng.choice(local)
            type(made).corners = expected_number  # a new version of the local class
            own["helper"] = rng.choice((len, list.__len__))
        if len(local) > 8:
            local.pop(rng.randrange(len(local)))


COLLIDING = """
class Local:
    corners = number
    def __init__(self, number):
        self.number = number
    def area(self):
        return self.number * 2

def work(made):
    return made.area() + made.number + number + helper([1, 2])
"""


@scenario(weight=6)
def versions_that_collide(run):
    """Caches keyed by versions of types, keys and functions tell shared objects from local ones of the same number."""
    rng = run.random
    made = [rng.choice((Shape, Square, Triangle))(rng.randint(1, 10**6)) for _ in range(6)]
    shared = freeze([(each, each.area() + each.corners) for each in made])
    with Crew(run) as crew:
        if rng.random() < 0.5:
            shared = freeze([*shared, *crew.ask(rng.choice(crew.members), make_shapes, 6)])
        crew.ask_all(collide, shared, rng.randint(3, 200))


def make_shapes(run, number):
    """Worker: frozen instances of classes made here, with what they answer."""
    made = []
    for _ in range(number):
        Sub = functions.subclass_of(run.random.choice((Shape, Square)), run.random.randint(1000, 10**6))
        made.append(Sub(run.random.randint(1, 1000)))
    return freeze([(each, each.area() + each.corners) for each in made])


def churn(run, shared, rounds):
    """Worker: uses classes and functions that others release, so that new ones may get their addresses."""
    rng = run.random
    for _ in range(rounds):
        run.step()
        match rng.randrange(3):
            case 0:
                number = rng.randint(1000, 10**6)
                Sub = functions.subclass_of(Shape, number)
                shared.put(freeze((Sub(2), functions.arithmetic(number), number)))
                del Sub
            case 1 | 2:
                try:
                    made, function, number = shared.get_nowait()
                except interpreters.QueueEmpty:
                    continue
                for _ in range(rng.choice((2, 40))):
                    run.check(made.named() == ("Sub", number), "class", made.named(), number)
                    run.check(made.area(3) == 6 + 2 * number, "method", made.area(3), number)
                    run.check(function(0) == functions.arithmetic(number)(0), "function", number)
                if rng.random() < 0.3:
                    shared.put((made, function, number))
                del made, function


@scenario(weight=6)
def addresses_used_again(run):
    """Classes and functions are released while interpreters have caches about them; new ones take their place."""
    shared = interpreters.create_queue()
    with Crew(run) as crew:
        crew.ask_all(churn, shared, run.random.randint(10, 1000))
    while not shared.empty():
        shared.get_nowait()


# ---- The library -----------------------------------------------------------


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    RUN = enum.auto()


class Sized(abc.ABC):
    @abc.abstractmethod
    def size(self): ...

    @classmethod
    def __subclasshook__(cls, other):
        return hasattr(other, "size") or NotImplemented


class Boxed(Sized):
    def size(self):
        return 3


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(order=True)
class Record:
    name: str
    tags: list = dataclasses.field(default_factory=list, compare=False)
    limit: int | None = 5


class Stack[T]:
    def __init__(self, *items: T):
        self.items = items

    def top(self) -> T:
        return self.items[-1]


@functools.singledispatch
def described(value):
    return "object"


@described.register
def _(value: int):
    return "int"


class Lazy:
    def __init__(self, number):
        self.number = number

    @functools.cached_property
    def cached(self):
        return self.number * 2

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def remembered(self, number):
        return number + 1


def use_library(run, things, rounds):
    """Worker: what the library keeps about frozen classes is local or read-only."""
    rng = run.random
    for _ in range(rounds):
        run.step()
        match rng.randrange(8):
            case 0:
                colour = things["Colour"]
                run.check(
                    colour(2) is colour.BLUE is colour["BLUE"] and list(colour) == [colour.RED, colour.BLUE], "enum"
                )
            case 1:
                access = things["Access"]
                both = access.READ | access.RUN
                run.check(
                    both is access.READ | access.RUN and access.WRITE not in both and len(both) == 2, "flag", both
                )
                run.check(~both == access.WRITE and access(both.value) == both, "flag", both)
            case 2:
                sized, boxed = things["Sized"], things["Boxed"]

                class Local:
                    def size(self): ...

                run.check(isinstance(boxed(), sized) and issubclass(Local, sized) and not issubclass(int, sized), "ABC")
                try:
                    sized()
                except TypeError:
                    pass
                else:
                    run.fail("an abstract class was instantiated")
            case 3:
                pair = things["Pair"](1, right=[2])
                run.check(
                    pair._replace(left=3) == (3, [2]) and pair._asdict() == {"left": 1, "right": [2]}, "named tuple"
                )
            case 4:
                record = things["Record"]
                one, other = record("a", ["x"]), record("b")
                other.tags.append(1)
                run.check(
                    one < other and dataclasses.asdict(other)["tags"] == [1] and record("c").tags == [], "dataclass"
                )
                run.check(dataclasses.replace(one, limit=None).limit is None and "limit=5" in repr(one), "dataclass")
            case 5:
                stack = things["Stack"]
                run.check(stack(1, 2).top() == 2 and typing.get_origin(stack[int]) is stack, "generic class")
            case 6:
                pattern, when = things.get("pattern"), things.get("when")
                if pattern is not None:
                    run.check(pattern.sub("-", "abc12def3") == "abc-def-", "re")
                if when is not None:
                    run.check(
                        when.isoformat().endswith("+02:00") and when.utctimetuple().tm_hour == 10, "datetime", when
                    )
            case 7:
                described, lazy = things.get("described"), things["Lazy"]
                if described is not None:
                    run.check((described(1), described("")) == ("int", "object"), "singledispatch")
                made = lazy(rng.randrange(100))
                run.check(made.cached == 2 * made.number == made.cached, "cached property")
                run.check(made.remembered(3) == 4 == made.remembered(3), "lru_cache")


@maker()
def library():
    """The classes above, and those objects of the library that freeze; frozen."""
    things = {each.__name__: each for each in (Colour, Access, Sized, Boxed, Pair, Record, Stack, Lazy)}
    zone = datetime.timezone(datetime.timedelta(hours=2))
    optional = {
        "pattern": re.compile(r"\d+"),
        "when": datetime.datetime(2026, 1, 2, 12, tzinfo=zone),
        "described": described,
    }
    for name, value in optional.items():
        try:
            things[name] = freeze(value)
        except TypeError:
            continue
    return freeze(things)


@scenario(weight=3)
def library_classes_everywhere(run):
    """Enums, flags, ABCs, named tuples, dataclasses, generics, caches, patterns and times work everywhere at once."""
    things = library()
    with Crew(run) as crew:
        crew.ask_all(use_library, things, run.random.randint(20, 1000))
    use_library(run, things, 10)


def use_own_library(run, rounds):
    """Worker: freezes the library classes of this interpreter, and uses them."""
    use_library(run, library(), rounds)


@scenario(weight=1)
def library_classes_of_interpreters_that_end(run):
    """Library classes that an interpreter froze, with what they reach in its modules, go with it."""
    with Crew(run, run.random.randint(1, run.interpreters)) as crew:
        crew.ask_all(use_own_library, run.random.randint(1, 20))
