"""Freezes that fail, for one reason or another, and must leave every object as it was."""

import gc
import io
import sys

import _immutable
import plans
from scenario import scenario

from immutable import FREEZABLE_NO, NotFreezableError, freeze, is_frozen, register_freezable


class Refusing:
    """Refuses to be frozen."""


register_freezable(Refusing, FREEZABLE_NO)


def refusing(rng):
    """Something that cannot be frozen."""
    match rng.randrange(4):
        case 0:
            return Refusing()
        case 1:
            return (n for n in [1])
        case 2:
            return iter([1])
        case 3:
            return io.StringIO("no")


class State:
    """What a failed freeze must not change about a mutable graph."""

    def __init__(self, planned, nodes):
        self.planned, self.nodes = planned, nodes
        self.frozen = [is_frozen(node) for node in nodes]  # first: it marks what is immutable by nature
        self.tracked = [gc.is_tracked(node) for node in nodes]
        self.counts = [0] * len(nodes)
        for number in range(len(nodes)):
            self.counts[number] = sys.getrefcount(nodes[number])

    def check(self, run, *, counts=True):
        for number, node in enumerate(self.nodes):
            kind = self.planned.kinds[number]
            run.check(is_frozen(node) == self.frozen[number], "frozen by a failed freeze", kind)
            run.check(gc.is_tracked(node) == self.tracked[number], "tracked", kind)
        del node
        for number, count in enumerate(self.counts if counts else ()):
            now = sys.getrefcount(self.nodes[number])
            run.check(now == count, "reference count", self.planned.kinds[number], count, now)

    def check_writable(self, run):
        for number, node in enumerate(self.nodes):
            if self.frozen[number]:
                continue
            match node:
                case list():
                    node.append(node.pop())
                case dict():
                    node["number"] = node["number"]
                case type() | plans.Node() | plans.Slotted():
                    node.number = node.number
                case _:
                    continue
            mistake = plans.mistake_in(node, self.planned)
            run.check(mistake is None, mistake)


def with_a_refusing_part(rng, planned, nodes):
    """Puts something that cannot be frozen behind one node, and returns the node's number and what was put there."""
    places = [n for n, kind in enumerate(planned.kinds) if kind in ("list", "names", "dict", "node", "class")]
    if not places:
        return None
    place, culprit = rng.choice(places), refusing(rng)
    match nodes[place]:
        case list() as node:
            node.append(culprit)
        case dict() as node:
            node["culprit"] = culprit
        case node:
            node.culprit = culprit
    return place, culprit


def without_the_refusing_part(place, node):
    """Undoes `with_a_refusing_part`."""
    match node:
        case list():
            node.pop()
        case dict():
            del node["culprit"]
        case _:
            del node.culprit


@scenario
def refused_freezes_change_nothing(run):
    """Something inside refuses: everything stays mutable, tracked and counted, and freezes once it is removed."""
    rng = run.random
    for _ in range(rng.randint(1, 12)):
        run.step()
        planned = plans.plan(rng)
        nodes = plans.build(planned)
        put = with_a_refusing_part(rng, planned, nodes)
        if put is None:
            continue
        place, culprit = put
        del put
        state = State(planned, nodes)
        culprits = sys.getrefcount(culprit)
        for _ in range(rng.randint(1, 3)):
            try:
                freeze(rng.choice([nodes, (nodes, nodes[place]), nodes[place]]))
            except NotFreezableError as error:
                run.check(error.obj is culprit, "the object that refused", error.obj, culprit)
            else:
                run.fail("nothing refused", planned.kinds[place], culprit)
            state.check(run)
            run.check(sys.getrefcount(culprit) == culprits, "reference count of the culprit")
        without_the_refusing_part(place, nodes[place])
        state.check_writable(run)
        gc.collect()
        freeze(nodes)
        for node in nodes:
            run.check(is_frozen(node), "not frozen in the end", node)
            mistake = plans.mistake_in(node, planned)
            run.check(mistake is None, mistake)
        del node, culprit, state, nodes


@scenario
def refused_freezes_among_threads(run):
    """Threads use, change and try to freeze the same graph, in which something refuses."""
    rng = run.random
    for _ in range(rng.randint(1, 3)):
        planned = plans.plan(rng, size=rng.choice((10, 80, 400)))
        nodes = plans.build(planned)
        put = with_a_refusing_part(rng, planned, nodes)
        if put is None:
            continue
        place, culprit = put
        del put
        state = State(planned, nodes)

        def work(rng, planned=planned, nodes=nodes, place=place, culprit=culprit, state=state):
            for _ in range(rng.randint(5, 40)):
                run.step()
                match rng.randrange(4):
                    case 0 | 1:
                        try:
                            freeze(nodes)
                        except NotFreezableError as error:
                            run.check(error.obj is culprit, "the object that refused", error.obj)
                        else:
                            run.fail("nothing refused", planned.kinds[place])
                    case 2:
                        number = rng.randrange(len(nodes))
                        if number != place:
                            mistake = plans.mistake_in(nodes[number], planned)
                            run.check(mistake is None, mistake)
                    case 3:
                        gc.collect(rng.randrange(3))

        run.in_threads(*[work] * run.threads)
        del work
        state.check(run)
        without_the_refusing_part(place, nodes[place])
        state.check_writable(run)
        del state, nodes, culprit


@scenario
def freezes_without_memory(run):
    """Allocations of the runtime fail, in several threads at once: MemoryError, and everything as before."""

    def work(rng):
        for _ in range(rng.randint(1, 8)):
            planned = plans.plan(rng, size=rng.choice((1, 5, 20, 80)))
            nodes = plans.build(planned)
            state = State(planned, nodes)
            failed, start = 1, 1
            while failed:
                run.step()
                # One allocation only, or all that follow: what comes after a failure may need memory, too.
                _immutable._fail_allocations(start, rng.choice((0, start, start + 3)))
                try:
                    freeze(nodes)
                    frozen = True
                except MemoryError:
                    frozen = False
                finally:
                    failed = _immutable._fail_allocations(0)
                if failed:
                    # Some failures can be borne.
                    run.check(is_frozen(nodes) == frozen, "half frozen after a failure", frozen)
                    if frozen:
                        break
                    state.check(run, counts=len(nodes) < 30)
                    state.check_writable(run)
                else:
                    run.check(frozen, "MemoryError without a failure")
                start += 1 if start < 20 else rng.randint(1, 20)
            freeze(nodes)
            for node in nodes:
                mistake = plans.mistake_in(node, planned)
                run.check(mistake is None, mistake)
            del node, state, nodes

    run.in_threads(*[work] * run.threads)
