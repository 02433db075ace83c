"""Graphs of all shapes: frozen, walked, copied, handed from thread to thread, dropped in any order."""

import collections
import contextlib
import copy
import gc
import queue
import random
import sys
import threading
import time
import types
import weakref

import plans
from plans import NUMBER_BASE, WEAKLY_REFERENCEABLE, mistake_in, number_and_parts, number_of
from scenario import scenario

from immutable import MutationError, _stats, freeze, is_frozen


@contextlib.contextmanager
def collector(enabled):
    """Switches the cycle collector on or off for a block."""
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was else gc.disable)()


def check_node(run, node, planned):
    mistake = mistake_in(node, planned)
    run.check(mistake is None, mistake)


def frozen_graph(run, rng, **shape):
    """A frozen graph and its plan. The roots to freeze are picked at random; the rest is frozen after them."""
    planned = plans.plan(rng, **shape)
    nodes = plans.build(planned)
    roots = rng.sample(range(len(nodes)), rng.randint(1, min(len(nodes), 3)))
    freeze(*(nodes[root] for root in roots))
    reached = planned.reached(roots)
    for number, node in enumerate(nodes):
        kind = planned.kinds[number]
        run.check(is_frozen(node) or number not in reached, "reached and not frozen", kind, number)
        if kind in ("list", "dict", "node", "slotted", "class", "names"):
            # What is immutable by nature may be frozen without having been reached: all its parts are.
            run.check(not is_frozen(node) or number in reached, "frozen and not reached", kind, number)
    freeze(nodes)
    return planned, nodes[:]


@scenario
def graphs_dropped_in_any_order(run):
    """Exactly what nothing reaches any more is gone, at once, after each drop; with the collector on or off."""
    rng = run.random
    with collector(rng.random() < 0.5):
        for _ in range(rng.randint(1, 8)):
            run.step()
            planned, nodes = frozen_graph(run, rng)
            weak = {
                number: weakref.ref(node)
                for number, node in enumerate(nodes)
                if planned.kinds[number] in WEAKLY_REFERENCEABLE
            }
            held = dict(enumerate(nodes))
            del nodes
            node = None
            order = list(held)
            rng.shuffle(order)
            for number in order[:: 1 if len(order) < 100 else 20]:
                run.step()
                check_node(run, held.pop(number), planned)
                alive = planned.reached(held)
                for other, reference in weak.items():
                    run.check((reference() is not None) == (other in alive), "alive", other, reference())
            held.clear()
            del node
            run.check(all(reference() is None for reference in weak.values()), "alive at the end", planned)


@scenario
def counts_are_those_from_outside(run):
    """`sys.getrefcount` follows every reference taken and dropped, exactly."""
    rng = run.random
    for _ in range(rng.randint(1, 8)):
        planned, nodes = frozen_graph(run, rng)
        # Nothing else runs, so each count moves only by what this function does.
        counts = [sys.getrefcount(nodes[number]) for number in range(len(nodes))]
        more = []
        for _ in range(rng.randint(1, 60)):
            run.step()
            number = rng.randrange(len(nodes))
            match rng.randrange(5):
                case 0:
                    more.append([(nodes[number],) * rng.randint(1, 1000)])
                case 1:
                    more.append({"key": nodes[number], "list": [nodes[number]] * 3})
                case 2:
                    more.extend([nodes[number]] * rng.randint(1, 100))
                case 3 if more:
                    del more[rng.randrange(len(more)) :]
                case _:
                    _, parts = number_and_parts(nodes[number])
                    more.extend(parts)
                    del parts
        del more
        for number, count in enumerate(counts):
            run.check(sys.getrefcount(nodes[number]) == count, "count drifted", number, planned)


class Walker:
    """One thread's share of a graph: it takes, copies, passes on and drops references to nodes at random."""

    def __init__(self, run, planned, inbox, outboxes):
        self.run, self.planned, self.inbox, self.outboxes = run, planned, inbox, outboxes
        self.held = []

    def walk(self, rng, steps):
        for _ in range(steps):
            self.run.step()
            self._take_one_in()
            if self.held:
                self.once(rng)
            while len(self.held) > 200:
                self.held.pop(rng.randrange(len(self.held)))
        self.held.clear()

    def _take_one_in(self):
        with contextlib.suppress(queue.Empty):
            self.held.append(self.inbox.get_nowait() if self.held else self.inbox.get(timeout=0.001))

    def once(self, rng):
        place = rng.randrange(len(self.held))
        node = self.held[place]
        match rng.randrange(10):
            case 0 | 1 | 2:
                # One step along the graph: often a reference to a member taken from zero.
                _, parts = number_and_parts(node)
                if parts:
                    self.held.append(rng.choice(parts))
            case 3 | 4:
                self.held[place] = self.held[-1]
                self.held.pop()
            case 5:
                rng.choice(self.outboxes).put(node)
            case 6:
                mistake = mistake_in(node, self.planned)
                self.run.check(mistake is None, mistake)
            case 7:
                self.held.extend([node] * rng.randint(1, 20))
            case 8:
                self._copy(node)
            case 9:
                for write in plans.writes(node):
                    try:
                        write()
                    except MutationError:
                        pass
                    else:
                        self.run.fail("a frozen node was written", type(node), number_of(node))

    def _copy(self, node):
        if type(node) not in (list, dict, types.SimpleNamespace):
            return
        copied = copy.copy(node)
        self.run.check(not is_frozen(copied), "a copy is frozen", type(node))
        self.run.check(number_of(copied) == number_of(node), "a copy differs", node)


@scenario(weight=8)
def members_handed_between_threads(run):
    """Several threads hold, copy, pass on and drop members of one graph; the last one out releases it."""
    rng = run.random
    with collector(rng.random() < 0.7):
        planned, nodes = frozen_graph(run, rng, code=rng.random() < 0.5)
        inboxes = [queue.SimpleQueue() for _ in range(run.threads)]
        weak = [
            weakref.ref(node) for node, kind in zip(nodes, planned.kinds, strict=True) if kind in WEAKLY_REFERENCEABLE
        ]
        # All roots that the graph has go to somebody, but perhaps to one thread only.
        for number in rng.sample(range(len(nodes)), rng.randint(1, len(nodes))):
            rng.choice(inboxes).put(nodes[number])
        del nodes
        steps = rng.choice((20, 200, 1000))
        walkers = [Walker(run, planned, inbox, inboxes) for inbox in inboxes]
        run.in_threads(*(lambda rng, walker=walker: walker.walk(rng, steps) for walker in walkers))
        inboxes.clear()
        walkers.clear()
        run.check(all(reference() is None for reference in weak), "alive after the threads", planned)


@scenario
def graphs_frozen_onto_each_other_by_threads(run):
    """Threads freeze graphs that refer to what others have frozen, are freezing next, or are dropping."""
    pool = [None] * 20

    def work(rng):
        for _ in range(rng.randint(5, 40)):
            run.step()
            planned = plans.plan(rng, size=rng.choice((1, 3, 10, 40)))
            nodes = plans.build(planned)
            borrowed = [entry for entry in rng.sample(pool, 3) if entry is not None]
            # A mutable list that two threads share and then freeze, each with a graph of its own around it.
            shared = [nodes[0], *(node for _, node in borrowed)]
            holder = freeze([shared, nodes])
            run.check(is_frozen(shared), "a shared part is not frozen")
            for number in range(len(nodes)):
                check_node(run, nodes[number], planned)
            for other, node in borrowed:
                check_node(run, node, other)
            place = rng.randrange(len(pool))
            pool[place] = (planned, holder[1][rng.randrange(len(planned))]) if rng.random() < 0.7 else None

    run.in_threads(*[work] * run.threads)
    pool.clear()


@scenario
def one_mutable_graph_frozen_by_several_threads(run):
    """Threads that freeze different roots of one mutable graph at the same time agree about the result."""
    rng = run.random
    for _ in range(rng.randint(1, 5)):
        planned = plans.plan(rng, size=rng.choice((10, 100, 1000)))
        nodes = plans.build(planned)
        started = threading.Barrier(run.threads)

        def work(rng, nodes=nodes, planned=planned, started=started):
            mine = rng.sample(range(len(nodes)), min(len(nodes), 10))
            started.wait()
            for number in mine:
                run.step()
                freeze(nodes[number])
                run.check(is_frozen(nodes[number]), "not frozen", planned.kinds[number])
                check_node(run, nodes[number], planned)

        run.in_threads(*[work] * run.threads)
        freeze(nodes)
        del nodes, work


@scenario(weight=1)
def huge_components(run):
    """A ring, a chain, or a dense component of many members, held by one member and dropped by some thread."""
    rng = run.random
    size = rng.choice((10_000, 100_000, 300_000))
    before = _stats()
    match rng.choice(("ring of lists", "ring of nodes", "chain", "dense", "many rings")):
        case "ring of lists":
            root = first = []
            for _ in range(size):
                root = [root]
            first.append(root)
            components = 1
        case "ring of nodes":
            root = first = plans.Slotted()
            for _ in range(size):
                node = plans.Slotted()
                node.part0 = root
                root = node
            first.part0 = root
            components = 1
            del node
        case "chain":
            root = first = ()
            for n in range(size):
                root = (root,) if n % 2 else {0: root}
            components = 0
        case "dense":
            root = [[] for _ in range(300)]
            for node in root:
                node.extend(root)
            first = root[0]
            components = 1
            size = 300
            del node
        case "many rings":
            root = first = []
            for _ in range(size // 3):
                ring = [root, []]
                ring[1].append(ring)
                root = ring
            components = size // 3
            size = 2 * components
            del ring
    run.step()
    freeze(root)
    stats = _stats()
    run.check(stats["frozen_objects"] - before["frozen_objects"] >= size, "frozen objects", before, stats)
    run.check(stats["components"] - before["components"] == components, "components", before, stats)
    held = [rng.choice((first, root))]
    del root, first

    def drop(rng):
        del rng
        held.pop()

    run.step()
    run.in_threads(drop)


class Box:
    """Holds a reference; compared and hashed by identity."""

    def __init__(self, content):
        self.content = content


freeze(Box)


@scenario
def containers_share_frozen_parts(run):
    """Standard containers, iterators and in-place operators count frozen items as they do others."""

    def work(rng):
        items = [freeze(Box([NUMBER_BASE + n])) for n in range(50)]
        counts = [sys.getrefcount(items[n]) for n in range(50)]
        kept = collections.deque(maxlen=30)
        for _ in range(rng.randint(10, 200)):
            run.step()
            some = rng.sample(items, 5)
            match rng.randrange(12):
                case 0:
                    kept.append(list(zip(some, reversed(some), strict=True)))
                case 1:
                    kept.append({item: [item] for item in some})
                case 2:
                    kept.append(set(some) | {rng.choice(items)})
                case 3:
                    kept.append([*some] * rng.randint(0, 5))
                case 4:
                    kept.append(tuple(some) * rng.randint(0, 5))
                case 5:
                    first, *rest = some
                    first, rest = rest, first
                    kept.append((first, rest))
                case 6:
                    some += some[rng.randrange(5) :]
                    some.sort(key=id)
                    kept.append(some)
                case 7:
                    kept.append(item for item in some)
                    for item in kept[-1]:
                        if item is some[rng.randrange(5)]:
                            break
                    del item
                case 8:
                    kept.append(dict.fromkeys(some))
                    kept[-1].pop(some[0])
                case 9:
                    iterator = iter(some)
                    next(iterator)
                    kept.append(iterator)
                    del iterator
                case 10:
                    kept.append(functionless(*some, last=some[0]))
                case 11:
                    kept.clear()
            del some
            first = rest = None
        kept.clear()
        for n, count in enumerate(counts):
            run.check(sys.getrefcount(items[n]) == count, "count drifted", n, count, sys.getrefcount(items[n]))
            run.check(items[n].content == [NUMBER_BASE + n], "content", items[n].content)

    run.in_threads(*[work] * run.threads)


def functionless(*positional, **named):
    """What a call keeps of its arguments."""
    return positional, named, locals()


@scenario
def threads_that_come_and_go(run):
    """Many short threads, each with frozen objects in its locals, its thread-local storage and its exception state."""
    rng = run.random
    storage = threading.local()
    common = [freeze([Box(n + NUMBER_BASE), [n]]) for n in range(10)]

    def work(rng):
        run.step()
        storage.own = freeze({"box": Box([rng.random()]), "common": rng.choice(common)})
        storage.cycle = [storage.own]
        storage.cycle.append(storage.cycle)
        freeze(storage.cycle)
        try:
            raise LookupError(storage.own, storage.cycle)
        except LookupError as error:
            run.check(error.args[1][0] is storage.own, "thread-local value", error)
            if rng.random() < 0.5:
                time.sleep(rng.random() / 1000)
            if rng.random() < 0.5:
                del storage.own

    waiting = []
    for _ in range(rng.randint(5, 60)):
        thread = run.thread(work)
        thread.start()
        waiting.append(thread)
        if len(waiting) > run.threads:
            waiting.pop(rng.randrange(len(waiting))).join()
    for thread in waiting:
        thread.join()


@scenario
def strings_and_numbers_are_shared(run):
    """Strings and numbers that several graphs and the interned table share keep their values and their counts."""

    def work(rng):
        kept = []
        for _ in range(rng.randint(10, 100)):
            run.step()
            text = "".join(random.Random(rng.randrange(20)).choices("abcdefgh", k=9))
            match rng.randrange(7):
                case 0:
                    kept.append(freeze([sys.intern(text), text]))
                case 1:
                    value = freeze(Box(text * 2))
                    more = value.content
                    more += text  # appends in place only if nobody else can see the string
                    run.check((value.content, more) == (text * 2, text * 3), "string appended in place", value.content)
                case 2:
                    kept.append(freeze({text: 1, sys.intern(text + "x"): text}))
                case 3:
                    made = type("Made", (), {text: 1})()
                    setattr(made, text, text)
                    kept.append(freeze(made))
                    del made
                case 4:
                    number = freeze(10**30 + rng.randrange(5))
                    more = number
                    more += 1
                    run.check(more - number == 1, "number changed in place", number)
                    kept.append(number)
                case 5:
                    real = freeze([rng.random()])
                    more = real[0]
                    more *= 2.0
                    run.check(more == real[0] * 2, "float changed in place", real)
                case 6 if kept:
                    kept.pop(rng.randrange(len(kept)))
            run.check(sys.intern(text) == text, "interned", text)

    run.in_threads(*[work] * run.threads)
