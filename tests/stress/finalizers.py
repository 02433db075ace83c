"""Finalizers of frozen objects: once each, whatever they do, and whoever drops the last reference."""

import collections
import gc
import itertools
import sys
import weakref

import ledger
from ledger import Breeding, Dropping, Failing, Finalized, Refreezing, Resurrecting
from scenario import scenario

from immutable import MutationError, freeze, is_frozen

KINDS = (Finalized, Finalized, Dropping, Failing, Breeding, Resurrecting, Refreezing)


def frozen_ring(rng, kinds, numbers):
    """One frozen object, or the members of one frozen ring, of random kinds."""
    members = [rng.choice(kinds)(next(numbers)) for _ in range(rng.choice((1, 1, 2, 3, 8)))]
    if len(members) > 1:
        for member, following in zip(members, [*members[1:], members[0]], strict=True):
            member.other = following
    elif rng.random() < 0.3:
        members[0].other = [members[0]]
    if rng.random() < 0.3:
        # Something that is released with it, or before it, but is no member.
        members[0].load = [bytes(rng.randrange(100)), (1.5, [])]
    freeze(members[0])
    return members


class Unraisable:
    """Collects what finalizers raise, in a block."""

    def __enter__(self):
        self.raised = []  # threads append at the same time, and would lose counts
        self.previous, sys.unraisablehook = sys.unraisablehook, self.note
        return self.raised

    def note(self, problem):
        self.raised.append(problem.exc_type)

    def __exit__(self, *exception):
        sys.unraisablehook = self.previous


def collect_and_check(run, made, failing, raised):
    """Lets go of what was resurrected, and checks that each of the objects made was finalized once."""
    # A resurrected object may be released by the collector only, and its end may resurrect, or make, others.
    for _ in range(20):
        ledger.resurrected.clear()
        ledger.borrowed.clear()
        if not gc.collect() and not ledger.resurrected and not ledger.borrowed:
            break
    counts = collections.Counter(ledger.finalized)
    run.check(set(counts) == set(made), "finalized", sorted(set(made) ^ set(counts)))
    run.check(max(counts.values(), default=1) == 1, "finalized more than once", counts.most_common(3))
    run.check(raised == [ValueError] * failing, "exceptions of finalizers", collections.Counter(raised), failing)
    ledger.reset()


@scenario
def finalizers_run_once_each(run):
    """In one thread: every object of every ring is finalized exactly once, and none before its ring is dropped."""
    rng = run.random
    ledger.reset()
    numbers = itertools.count()
    kept = []
    with Unraisable() as raised:
        failing = 0
        for _ in range(rng.randint(1, 60)):
            run.step()
            members = frozen_ring(rng, KINDS, numbers)
            failing += sum(type(member) is Failing for member in members)
            weak = [weakref.ref(member) for member in members]
            own = {member.number for member in members}
            quiet = all(type(member) is Finalized for member in members)
            run.check(own.isdisjoint(ledger.finalized), "finalized while held", own)
            members[:-1] = []
            if rng.random() < 0.5:
                kept.append(members)
                del members
                continue
            run.check(own.isdisjoint(ledger.finalized), "finalized while one member was held", own)
            del members
            run.check(own <= set(ledger.finalized), "not finalized at once", own, ledger.finalized)
            if quiet:
                run.check(all(reference() is None for reference in weak), "alive after its end", weak)
            del weak
            if kept and rng.random() < 0.3:
                del kept[rng.randrange(len(kept))]
        kept.clear()
        collect_and_check(run, range(next(numbers)), failing, raised)


@scenario
def finalizers_run_once_each_under_threads(run):
    """As before, with threads that pass each other's rings around, so that anybody may be the one to release them."""
    ledger.reset()
    numbers = itertools.count()
    failing = itertools.count()
    pool = [None] * 12

    def work(rng):
        for _ in range(rng.randint(10, 80)):
            run.step()
            members = frozen_ring(rng, KINDS, numbers)
            for member in members:
                if type(member) is Failing:
                    next(failing)
            place, other = rng.randrange(len(pool)), rng.randrange(len(pool))
            taken = pool[other]
            pool[place] = rng.choice(members)
            del members, member
            if taken is not None:
                following = getattr(taken, "other", None)
                run.check(isinstance(following, (list, ledger.Numbered, type(None))), "the other of", taken, following)
                del following
            del taken

    with Unraisable() as raised:
        run.in_threads(*[work] * run.threads)
        pool.clear()
        collect_and_check(run, range(next(numbers)), next(failing), raised)


@scenario
def resurrected_objects_are_ordinary(run):
    """What a finalizer saved is mutable again as a whole, collectable, freezable again, and never finalized again."""
    rng = run.random
    ledger.reset()
    numbers = itertools.count()
    for _ in range(rng.randint(1, 30)):
        run.step()
        members = frozen_ring(rng, (Resurrecting,), numbers)
        length = len(members)
        own = [member.number for member in members]
        del members
        run.check(sorted(ledger.finalized[-length:]) == own, "finalized", ledger.finalized, own)
        saved = ledger.resurrected[:]
        ledger.resurrected.clear()
        run.check(sorted(each.number for each in saved) == own, "resurrected", saved, own)
        for each in saved:
            run.check(not is_frozen(each), "a resurrected object is frozen", each)
            run.check(gc.is_tracked(each), "a resurrected object is unknown to the collector", each)
            each.note = "mutable"
        if rng.random() < 0.5:
            freeze(saved[0])
            run.check(all(map(is_frozen, saved)) or length == 1, "freezing again", saved)
            try:
                saved[0].note = "no"
            except MutationError:
                pass
            else:
                run.fail("written after freezing again", saved[0])
        weak = [weakref.ref(each) for each in saved]
        del saved, each
        gc.collect()
        run.check(all(reference() is None for reference in weak), "alive after the second end", weak)
        run.check(not ledger.resurrected, "resurrected twice", ledger.resurrected)
        run.check(len(ledger.finalized) == next(iter(reversed(own))) + 1, "finalized twice", ledger.finalized)
    ledger.reset()


@scenario
def finalizers_see_whole_rings(run):
    """While finalizers of a ring run, its members, their attributes and their class are as they were frozen."""
    rng = run.random
    for _ in range(rng.randint(1, 40)):
        run.step()
        ledger.reset()
        length = rng.randint(2, 12)
        members = [ledger.Circling(number) for number in range(length)]
        for number, member in enumerate(members):
            member.other = members[(number + 1) % length]
            member.length = length
        freeze(members[rng.randrange(length)])
        del member
        rng.shuffle(members)
        while members:
            run.check(not ledger.finalized, "finalized while held", ledger.finalized)
            members.pop()
        run.check(sorted(ledger.finalized) == list(range(length)), "whole rings seen", ledger.finalized, length)
    ledger.reset()


@scenario
def finalizers_of_weakly_referenced_objects(run):
    """A weak reference never leads to a finalized object; one that the finalizer made dies with it."""
    rng = run.random
    ledger.reset()
    numbers = itertools.count()

    def promote(references):
        def work(rng):
            for _ in range(200):
                run.step()
                target = rng.choice(references)()
                run.check(target is None or target.number not in ledger.finalized, "promoted after its end", target)
                if target is None:
                    break

        return work

    for _ in range(rng.randint(1, 4)):
        members = frozen_ring(rng, (Finalized, ledger.Watching), numbers)
        references = [weakref.ref(member) for member in members]
        run.in_threads(*[promote(references)] * 2, lambda rng, members=members: members.clear())
        run.check(not members and all(reference() is None for reference in references), "alive at the end")
        run.check(all(reference() is None for reference in ledger.references), "references made by finalizers")
        del references
        ledger.references.clear()
    run.check(sorted(ledger.finalized) == list(range(next(numbers))), "finalized", ledger.finalized)
    ledger.reset()
