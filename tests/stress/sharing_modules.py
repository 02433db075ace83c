"""Modules in several interpreters at once: proxies, functions of C modules, modules that all share."""

import _csv
import contextlib
import gc
import importlib
import itertools
import math
import os
import py_compile
import sys
import tempfile
import time
import types
import weakref
from concurrent import interpreters

from crew import Crew, switching_often
from scenario import maker, scenario, settled

from immutable import ImmutableModule, channel, freeze, is_frozen, share_module

PROXIED = ("json", "math", "string", "_csv", "urllib.parse", "collections.abc", "os")
"""Modules that each interpreter imports for itself: of Python and of C, with state and without."""


class Holder:
    def __init__(self, **parts):
        self.__dict__.update(parts)


def reader_of(module):
    """A function with a module in a cell."""

    def read():
        def marks():
            yield module.stress_mark

        return next(marks()), module

    return read


def use(run, proxies, functions, rounds):
    """Worker: reaches its own modules through proxies, writes to them, and lets go of what it has of them."""
    # The same for every worker of one interpreter, which may have left it behind.
    mark = f"of interpreter {interpreters.get_current().id}"
    # Before there are threads: the names in a module are compared below.
    for name in PROXIED:
        getattr(proxies, name.replace(".", "_")).stress_mark = mark

    def work(rng):
        for _ in range(rounds):
            run.step()
            name = rng.choice(PROXIED)
            proxy = getattr(proxies, name.replace(".", "_"))
            run.check(isinstance(proxy, types.ModuleType), "type of a proxy", type(proxy))
            own = importlib.import_module(name)
            run.check(vars(proxy) is vars(own), "namespace", name)
            match rng.randrange(8):
                case 0:
                    proxy.stress_mark = mark
                    run.check(own.stress_mark == mark, "written attribute", name)
                case 1:
                    found, module = proxies.readers[name]()
                    run.check(found == own.stress_mark == mark, "attribute of another interpreter", name, found)
                    run.check(vars(module) is vars(own), "module in a cell", name)
                case 2:
                    run.check(weakref.ref(proxy)() is proxy, "weak reference", name)
                case 3:
                    containers = [{"module": proxy, "self": []} for _ in range(10)]
                    for container in containers:
                        container["self"].append(container)
                case 4:
                    gc.collect()
                case 5:
                    run.check(proxy.__name__ == own.__name__ and dir(proxy) == dir(own), "name", name)
                case _:
                    function, argument, answer = rng.choice(functions)
                    for _ in range(rng.choice((1, 40))):
                        run.check(function(argument) == answer, "result of a C function", function)

    with switching_often(run):
        run.in_threads(work, work)


def make_proxies(run):
    """Worker: modules of this interpreter, and functions of C modules, with what these return."""
    modules = {name: importlib.import_module(name) for name in PROXIED}
    proxies = Holder(**{name.replace(".", "_"): module for name, module in modules.items()})
    proxies.readers = {name: reader_of(module) for name, module in modules.items()}
    functions = [(math.sqrt, 16.0, 4.0), (math.factorial, 5, 120), (_csv.field_size_limit, 131072, 131072)]
    return freeze((proxies, functions))


@maker()
def proxies_made_here():
    """Functions of C modules stay in their module, and so stay frozen once they are."""
    return make_proxies(None)


@scenario(weight=6)
def modules_reached_through_data(run):
    """Every interpreter uses its own modules through one frozen object, while interpreters come and go."""
    proxies, functions = make_proxies(run)
    with Crew(run) as crew:
        if run.random.random() < 0.5:
            owner = crew.members[0]
            proxies, functions = crew.ask(owner, make_proxies)
            if run.random.random() < 0.5:
                crew.replace(owner)
        rounds = run.random.randint(5, 150)
        for _ in range(run.random.randint(1, 3)):
            crew.ask_all(use, proxies, functions, rounds, beside=[lambda rng: use(run, proxies, functions, rounds)])
            if run.random.random() < 0.5:
                crew.replace(run.random.choice(crew.members))


def drop_all(run, receiver):
    """Worker: receives modules that nobody else holds, and lets go of them."""
    for module in receiver:
        run.step()
        run.check(is_frozen(module), "a module that was sent is not frozen")
        del module
        if run.random.random() < 0.1:
            gc.collect()


@scenario(weight=3)
def modules_given_up_elsewhere(run):
    """Modules that only another interpreter holds are released where they belong."""
    count = run.random.randint(1, 300)
    released = []
    sender, receiver = channel()

    class Watched:
        def __del__(self):
            released.append(None)

    def send(rng):
        for _ in range(count):
            module = types.ModuleType("made_by_stress")
            module.watched = Watched()
            sender.send(freeze(module))
            del module
        sender.close()

    with Crew(run) as crew:
        crew.ask_all(drop_all, receiver, beside=[send])
    deadline = time.monotonic() + 60
    while len(released) < count:
        run.check(time.monotonic() < deadline, "modules were not released", len(released), count)
        time.sleep(0.001)


SHARED_SOURCE = "class Thing:\n    pass\n\ndef double(x):\n    return 2 * x\n"
_names = (f"shared_by_stress_{number}" for number in itertools.count())


@contextlib.contextmanager
def module_to_share():
    """A folder with a new module, compiled: who compiles it has one string less. Yields its name and place."""
    name = next(_names)
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, f"{name}.py")
        with open(path, "w") as file:
            file.write(SHARED_SOURCE)
        py_compile.compile(path, doraise=True)
        yield name, place


def share_alone(run, name, place):
    """Worker: shares a module that nobody else uses."""
    sys.path.insert(0, place)
    share_module(importlib.import_module(name))


_left = {}


def left_by_sharing(run):
    """What one shared module leaves for good, found by sharing one in peace: the module, what it reaches, its name."""
    if not _left:
        before = settled()
        with module_to_share() as (name, place), Crew(run, 1) as crew:
            crew.ask(crew.members[0], share_alone, name, place)
        after = settled()
        _left.update({key: after[key] - before[key] for key in after})
        run.stays(_left)
    return _left


def share_and_use(run, name, place):
    """Worker: imports a module that every interpreter shares meanwhile: one is first, in the end all have the same."""
    if place not in sys.path:
        sys.path.insert(0, place)
    sharing = run.random.randrange(20)
    for round in range(20):
        run.step()
        module = importlib.import_module(name)
        if round == sharing or run.random.random() < 0.2:
            with contextlib.suppress(ValueError):  # another one was first
                share_module(module)
            module = importlib.import_module(name)
        run.check(module.double(21) == 42, "result of a shared function")
        run.check(type(module.Thing()) is module.Thing, "class of a shared module")
        if run.random.random() < 0.2:
            sys.modules.pop(name, None)


def address_of(run, name):
    """Worker: where the module is that this interpreter imports."""
    module = importlib.import_module(name)
    run.check(type(module) is ImmutableModule, "type of a shared module", type(module))
    return id(module)


@scenario(weight=2)
def modules_shared_at_once(run):
    """Several interpreters import, remove and share a module at once. What is shared stays for good, and no more."""
    left = left_by_sharing(run)
    with module_to_share() as (name, place), Crew(run) as crew:
        crew.ask_all(share_and_use, name, place)
        if run.random.random() < 0.5:
            crew.replace(crew.members[0])
        module = importlib.import_module(name)
        run.check(share_module(module) is module, "sharing again", module)
        addresses = crew.ask_all(address_of, name)
        run.check(set(addresses) == {id(module)}, "addresses of a shared module", addresses, id(module))
        sys.modules.pop(name)
    run.stays(left)
