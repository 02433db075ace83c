"""What else a program does while it has frozen objects: collects, forks, starts programs, traces, raises, ends."""

import contextlib
import gc
import os
import random
import subprocess
import sys
import sysconfig
import threading
import time
import weakref

import plans
from lifetimes import check_node, frozen_graph
from scenario import scenario, settled

from immutable import MutationError, freeze, is_frozen

UNDER_TSAN = "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or "")


@scenario
def collections_at_any_moment(run):
    """The collector runs all the time, in every thread, while graphs are frozen, put into cycles and dropped."""
    rng = run.random
    thresholds = gc.get_threshold()
    kept = [None] * 10

    def work(rng):
        for _ in range(rng.randint(5, 40)):
            run.step()
            planned, nodes = frozen_graph(run, rng, size=rng.choice((2, 10, 40)))
            cycle = [rng.choice(nodes), planned]
            cycle.append(cycle)
            kept[rng.randrange(len(kept))] = weakref.ref(plans.Names(cycle)), cycle
            match rng.randrange(6):
                case 0:
                    gc.collect(rng.randrange(3))
                case 1:
                    known = {id(each) for each in gc.get_objects()}
                    run.check(known.isdisjoint(map(id, nodes)), "the collector knows frozen objects")
                    del known
                case 2:
                    run.check(not any(map(gc.is_tracked, nodes)), "frozen objects are tracked")
                case 3:
                    for referrer in gc.get_referrers(nodes[0]):
                        # A tuple that another thread is about to freeze counts as frozen once its parts are.
                        is_found = type(referrer) is not tuple and is_frozen(referrer)
                        run.check(not is_found, "a frozen referrer is found", type(referrer))
                    referrer = None
                case 4:
                    gc.get_referents(*nodes)
            entry = kept[rng.randrange(len(kept))]
            if entry is not None:
                node, plan, itself = entry[1]
                check_node(run, node, plan)
                run.check(itself is entry[1], "a mutable cycle around a frozen node")
                del node, plan, itself
            del entry, nodes, cycle

    gc.set_threshold(rng.choice((1, 10, 100)), rng.choice((1, 10)), 0)
    try:
        run.in_threads(*[work] * run.threads)
    finally:
        gc.set_threshold(*thresholds)
        kept.clear()


@scenario
def permanent_generation(run):
    """`gc.freeze` and `gc.unfreeze`, which mean something else, do not disturb frozen objects, nor they them."""
    rng = run.random
    planned, nodes = frozen_graph(run, rng)
    mutable = [[nodes[0]], {"node": nodes[-1]}]
    mutable[0].append(mutable)
    try:
        for _ in range(rng.randint(1, 5)):
            run.step()
            later = plans.build(planned)
            gc.freeze()
            if nodes:
                nodes.pop(rng.randrange(len(nodes)))
            freeze(later)
            run.check(gc.get_freeze_count() > 0, "nothing is in the permanent generation")
            gc.collect()
            if rng.random() < 0.5:
                gc.unfreeze()
            for node in [*nodes, *later]:
                check_node(run, node, planned)
            del node, later
    finally:
        gc.unfreeze()
    run.check(gc.get_freeze_count() == 0, "something is in the permanent generation")


@scenario(weight=2)
def forked_children(run):
    """A child process sees the same graphs and counts, changes them alone, and releases its own copies."""
    rng = run.random
    before = settled()
    planned, nodes = frozen_graph(run, rng)
    weak = [weakref.ref(node) for node in nodes if isinstance(node, (plans.Node, plans.Slotted))]
    counts = [sys.getrefcount(nodes[number]) for number in range(len(nodes))]
    release = threading.Event()

    def idle(rng):
        mine = rng.sample(nodes, len(nodes) // 2)
        release.wait()
        mine.clear()

    # ThreadSanitizer supports no work in a child that was forked among threads.
    threads = [run.thread(idle) for _ in range(0 if UNDER_TSAN else rng.randrange(3))]
    for thread in threads:
        thread.start()
    for _ in range(2):
        run.step()
        with without_fork_warnings():
            child = os.fork()
        if child == 0:
            status = 1
            try:
                for node in nodes:
                    check_node(run, node, planned)
                node = None
                freeze(plans.build(planned))
                if not threads:
                    for number, count in enumerate(counts):
                        run.check(sys.getrefcount(nodes[number]) == count, "count in the child")
                    nodes.clear()
                    run.check(all(reference() is None for reference in weak), "alive in the child")
                    run.check(settled(before) == before, "frozen in the child", before, settled())
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        run.check(status == 0, "status of the child", status)
        for node in nodes:
            check_node(run, node, planned)
        node = None
    release.set()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def without_fork_warnings():
    """Forking among threads warns, rightly: the child here does not touch what they hold."""
    import warnings

    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        yield


END = """
import atexit, gc, random, sys, threading, time, weakref
sys.path.insert(0, {path!r})
import ledger, plans
from ledger import Finalized, Numbered
from immutable import InterpreterLocal, freeze

rng = random.Random({seed})
sys.setswitchinterval(1e-5)
graphs = []
for _ in range(rng.randint(1, 6)):
    planned = plans.plan(rng)
    graphs.append(freeze(plans.build(planned)))
rings = []
for number in range(20):
    first, second = rng.choice([Finalized, Numbered])(number), Finalized(number + 100)
    first.other, second.other = second, first
    rings.append(freeze(first))

def helper(n):
    return n and helper(n - 1)

freeze(helper)
assert helper(5) == 0
local = freeze([InterpreterLocal(()), helper])
local[0].set([graphs, local])
sys.modules["kept for ever"] = [graphs, rings, local]
keep = weakref.WeakValueDictionary(enumerate(rings))
weakref.finalize(rings[0], helper, 3)
if rng.random() < 0.5:
    atexit.register(rings.clear)
if rng.random() < 0.5:
    atexit.register(helper, 2)
if rng.random() < 0.3:
    sys.stdout.note = rings[:2]

def busy():
    mine = list(rings)
    while True:
        mine.append(rng.choice(mine).other)
        freeze([helper(2), {{}}])
        del mine[: len(mine) - 10]

for _ in range(rng.randrange(3)):
    threading.Thread(target=busy, daemon=True).start()
time.sleep(rng.random() / 50)
if rng.random() < 0.3:
    sys.exit(graphs and 7)
if rng.random() < 0.3:
    cycle = [graphs, rings]
    cycle.append(cycle)
    del graphs, rings
print("end")
"""


@scenario(weight=1)
def processes_that_end(run):
    """Programs end with frozen objects everywhere, and daemon threads that use them: no crash, no message."""
    for _ in range(2):
        run.step()
        program = END.format(path=os.path.dirname(os.path.abspath(__file__)), seed=run.random.getrandbits(32))
        done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True)
        expected = {0: "end\n", 7: ""}
        run.check(expected.get(done.returncode) == done.stdout, "end of a program", done)
        run.check(not done.stderr, "messages of a program", done.stderr)


@scenario
def exceptions_carry_frozen_objects(run):
    """Tracebacks, contexts, groups and notes hold frozen objects, and let go of them, in whichever thread."""
    caught = []

    def work(rng):
        for _ in range(rng.randint(10, 100)):
            run.step()
            value = freeze({"list": [plans.NUMBER_BASE + rng.randrange(100)], "ring": []})
            try:
                try:
                    fail_with(value, rng.randrange(4))
                except MutationError as error:
                    run.check(error.obj is value or error.obj is value["list"], "the object of the error", error.obj)
                    if rng.random() < 0.5:
                        raise RuntimeError(value) from error
                    raise
            except Exception as error:
                error.add_note(str(value))
                if rng.random() < 0.5:
                    caught.append(ExceptionGroup("group", [error, KeyError(value["list"])]))
            if len(caught) > 10:
                with contextlib.suppress(IndexError):
                    group = caught.pop(rng.randrange(len(caught)))
                    frames, each = 0, group.exceptions[0].__traceback__
                    while each is not None:
                        frames, each = frames + 1, each.tb_next
                    run.check(frames >= 1, "frames of a traceback")
                    group.exceptions[0].__traceback__ = None
                    del group
        del value

    run.in_threads(*[work] * run.threads)
    caught.clear()


def fail_with(value, depth):
    """Raises MutationError from some frames further down."""
    local = [value, depth]
    if depth:
        fail_with(value, depth - 1)
    if len(value["list"]) == 1 and value["list"][0] % 2:
        value["new"] = local
    value["list"].append(local)


@scenario
def interrupted_by_tracing(run):
    """A trace function freezes, drops and collects between any two lines of a program that uses what it freezes."""
    rng = run.random
    kept = []
    inner = random.Random(rng.getrandbits(64))

    def trace(frame, event, argument):
        del event, argument
        match inner.randrange(8):
            case 0:
                kept.append(freeze(plans.build(plans.plan(inner, size=4))))
            case 1:
                kept.clear()
            case 2:
                gc.collect(0)
            case 3 if "node" in frame.f_locals:
                kept.append(frame.f_locals["node"])
            case 4 if kept:
                kept.append(kept[-1])
        return trace

    def traced():
        planned, nodes = frozen_graph(run, rng, size=rng.choice((2, 8, 20)))
        while nodes:
            run.step()
            node = nodes.pop(rng.randrange(len(nodes)))
            number, parts = plans.number_and_parts(node)
            run.check(len(parts) == len(planned.edges[number]), "parts")
            for node in parts:
                check_node(run, node, planned)

    sys.settrace(trace)
    try:
        traced()
    finally:
        sys.settrace(None)
        kept.clear()


@scenario(weight=2)
def time_passes_in_other_threads(run):
    """Freezes and releases of large graphs in one thread, while others wait, sleep and are woken."""
    done = threading.Event()
    condition = threading.Condition()
    parcel = []

    def producer(rng):
        for _ in range(rng.randint(1, 10)):
            run.step()
            planned, nodes = frozen_graph(run, rng, size=rng.choice((10, 400, 2000)), shape=plans.rings)
            with condition:
                parcel.append((planned, rng.choice(nodes)))
                condition.notify()
            del nodes
        done.set()
        with condition:
            condition.notify_all()

    def consumer(rng):
        while True:
            with condition:
                condition.wait_for(lambda: parcel or done.is_set(), timeout=10)
                if not parcel:
                    if done.is_set():
                        return
                    continue
                planned, node = parcel.pop()
            for _ in range(rng.randint(1, 30)):
                run.step()
                check_node(run, node, planned)
                _, parts = plans.number_and_parts(node)
                node = rng.choice(parts or [node])
            del node, parts
            time.sleep(rng.random() / 1000)

    run.in_threads(producer, *[consumer] * max(run.threads - 1, 1))
    run.check(not parcel, "parcels left")
