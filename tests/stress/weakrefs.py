"""Weak references to frozen objects: made, promoted and cleared by several threads while the last strong one goes."""

import collections
import contextlib
import gc
import itertools
import sys
import time
import weakref

from scenario import maker, scenario

from immutable import freeze


class Member:
    """Knows its number and, in a ring, the next member."""

    def __init__(self, number):
        self.number = [number]

    def own_number(self):
        return self.number[0]


class KeyedReference(weakref.ref):
    """A reference with a payload: weakref does not share these between callers."""

    __slots__ = ("key",)


freeze(Member)


def frozen_members(rng, first_number):
    """One frozen object, or the members of one frozen ring, numbered from first_number."""
    length = rng.choice((1, 1, 2, 3, 10))
    members = [Member(first_number + n) for n in range(length)]
    if length > 1:
        for member, following in zip(members, [*members[1:], members[0]], strict=True):
            member.following = following
    freeze(members[0])
    return members


class Watch:
    """Weak references with callbacks, each of which must be called once, with a dead reference."""

    def __init__(self, run):
        self.run = run
        self.calls = collections.Counter()
        self.references = {}
        self._serial = itertools.count()

    def add(self, target):
        serial = next(self._serial)
        calls, run = self.calls, self.run

        def callback(reference):
            run.check(reference() is None, "a callback sees its target", reference())
            calls[serial] += 1

        self.references[serial] = weakref.ref(target, callback)

    def check_all_called_once(self):
        for serial in self.references:
            self.run.check(self.calls[serial] == 1, "calls of a callback", serial, self.calls[serial])


@scenario(weight=8)
def weak_references_promoted_while_the_last_strong_one_goes(run):
    """A promoted reference is a whole object; a reference that has failed once fails for ever; callbacks come once."""
    rng = run.random
    for _ in range(rng.randint(1, 5)):
        members = frozen_members(rng, 1000)
        length = len(members)
        references = [weakref.ref(member) for member in members]
        watch = Watch(run)
        strong = [[member] for member in members if rng.random() < 0.7] or [[members[0]]]
        pause = rng.random() / 500
        del members

        def promote(rng, references=references, length=length, watch=watch):
            own = list(references)
            dead = False
            for _ in range(400):
                run.step()
                number = rng.randrange(length)
                target = own[number]()
                if target is None:
                    dead = True
                    break
                run.check(target.number == [1000 + number], "number", target.number)
                match rng.randrange(6):
                    case 0 if len(watch.references) < 500:
                        watch.add(target)
                    case 1:
                        own[number] = weakref.ref(target)
                    case 2:
                        own[number] = KeyedReference(target)
                        own[number].key = number
                    case 3 if length > 1:
                        # Away from the member that was promoted: its count may go back to zero.
                        target = target.following
                        run.check(target.own_number() == 1000 + (number + 1) % length, "next", target.number)
                    case 4:
                        time.sleep(0)
            target = None
            if dead:
                run.check(all(reference() is None for reference in own), "dead, and promoted after all", own)
            del own

        def drop(rng, strong=strong, pause=pause):
            time.sleep(pause)
            for entry in strong:
                entry.clear()
                if rng.random() < 0.3:
                    time.sleep(0)

        run.in_threads(drop, *[promote] * run.threads)
        run.check(all(reference() is None for reference in references), "alive at the end", references)
        watch.check_all_called_once()
        del promote, drop, watch


@scenario
def weak_values_serve_as_a_cache_for_threads(run):
    """The usual cache: look up, else make, freeze and store. Whatever comes out is what belongs to the key."""
    cache = weakref.WeakValueDictionary()

    def work(rng):
        kept = collections.deque(maxlen=rng.randint(1, 8))
        for _ in range(rng.randint(20, 300)):
            run.step()
            key = rng.randrange(12)
            value = cache.get(key)
            if value is None:
                value = frozen_members(rng, 5000 + key)[0]
                value = cache.setdefault(key, value)
            run.check(value.own_number() == 5000 + key, "cached value", key, value.number)
            match rng.randrange(6):
                case 0:
                    for other, found in list(cache.items()):
                        run.check(found.number == [5000 + other], "item", other, found.number)
                    found = None
                case 1:
                    found = cache.pop(key, None)
                    run.check(found is None or found.number == [5000 + key], "popped", key)
                case 2:
                    for reference in cache.valuerefs():
                        found = reference()
                        run.check(found is None or 5000 <= found.own_number() < 5012, "valueref", found)
            found = reference = None
            if rng.random() < 0.5:
                kept.append(value)
            value = None

    run.in_threads(*[work] * run.threads)
    run.check(len(cache) == 0, "entries of the dead", dict(cache))


@scenario
def weak_keys_sets_and_proxies_follow_frozen_objects(run):
    """WeakKeyDictionary, WeakSet, proxies and finalize(): each entry goes with its object, and not before."""
    table, family = weakref.WeakKeyDictionary(), weakref.WeakSet()
    finalized = collections.Counter()
    expected = itertools.count()
    proxies = []

    def work(rng):
        kept = []
        for _ in range(rng.randint(10, 150)):
            run.step()
            members = frozen_members(rng, 7000)
            for member in members:
                table[member] = member.number
                family.add(member)
                weakref.finalize(member, finalized.update, [next(expected)]).atexit = False
            proxy = weakref.proxy(members[0])
            run.check(proxy.number == [7000], "proxy", proxy.number)
            entered = all(member in family and table[member] is member.number for member in members)
            run.check(entered, "an entry is gone")
            kept.append((members[0], proxy))
            del members, member, proxy
            if rng.random() < 0.5:
                member, proxy = kept.pop(rng.randrange(len(kept)))
                run.check(member in family and table[member] == member.number, "an entry is gone")
                run.check(proxy.own_number() == 7000, "proxy of a living object")
                del member
                # Another thread may hold the object a little longer, while it lists the family.
                with contextlib.suppress(ReferenceError):
                    run.check(proxy.number == [7000], "proxy of a dying object", proxy.number)
                proxies.append(proxy)
                del proxy
            if rng.random() < 0.1:
                run.check(all(7000 <= member.own_number() < 7010 for member in list(family)), "a member of the set")
            if len(kept) > 20:
                kept.clear()
        del kept

    run.in_threads(*[work] * run.threads)
    for proxy in proxies:
        try:
            proxy.number
        except ReferenceError:
            continue
        run.fail("the proxy of a dead object works")
    run.check((len(table), len(family)) == (0, 0), "entries of the dead", len(table), len(family))
    made = next(expected)
    run.check(finalized == collections.Counter(range(made)), "finalize() calls", made, finalized)


@scenario
def callbacks_that_do_things(run):
    """Callbacks that drop, freeze, collect, make weak references, or raise, as the object they watched goes."""
    rng = run.random
    unraisable = []
    previous, sys.unraisablehook = sys.unraisablehook, lambda problem: unraisable.append(str(problem.exc_value))
    raised = itertools.count()
    called, expected = itertools.count(), 0
    kept = []

    def callback(reference):
        run.check(reference() is None, "a callback sees its target")
        next(called)
        match rng.randrange(6):
            case 0 if kept:
                kept.pop(rng.randrange(len(kept)))
            case 1:
                kept.append(frozen_members(rng, 0))
            case 2:
                gc.collect(rng.randrange(3))
            case 3 if kept:
                kept.append(weakref.ref(kept[-1][0]) if isinstance(kept[-1], list) else kept[-1])
            case 4:
                next(raised)
                raise ValueError("from a callback")

    try:
        references = []
        for _ in range(rng.randint(1, 60)):
            run.step()
            members = frozen_members(rng, 9000)
            for member in members:
                references += [weakref.ref(member, callback) for _ in range(rng.randrange(4))]
            expected = len(references)
            kept.append(members)
            del members, member
            if rng.random() < 0.7:
                kept.pop(rng.randrange(len(kept)))
        while kept:
            kept.pop()
        run.check(all(reference() is None for reference in references), "alive at the end")
        run.check(next(called) == expected, "callbacks called", expected)
        run.check(unraisable == ["from a callback"] * next(raised), "unraisable exceptions", unraisable)
    finally:
        sys.unraisablehook = previous


@maker(1 << 40)
def class_with_a_method(number):
    class Made:
        value = [number]

        def method(self):
            return self.value

    return Made


@maker([])
def function_that_holds(value):
    return lambda: value


@scenario
def weak_references_to_everything(run):
    """Frozen classes, functions, methods and sets die for their weak references at the same moment as for everybody."""
    rng = run.random
    for _ in range(rng.randint(1, 30)):
        run.step()
        number = rng.randrange(1 << 40)
        made = class_with_a_method(number)
        match rng.randrange(5):
            case 0:
                target = made
            case 1:
                target = made().method.__func__
            case 2:
                target = made()
            case 3:
                target = frozenset([number])
            case 4:
                target = function_that_holds([number])
        early = weakref.ref(target)
        freeze(target)
        late, watch = weakref.ref(target), Watch(run)
        watch.add(target)
        run.check(early() is late() is target, "promoted", target)
        if isinstance(target, made):
            method = weakref.WeakMethod(target.method)
            run.check(method()() == [number], "weak method", method)
        else:
            method = lambda: None  # noqa: E731
        del made
        target = None
        # A class is in a cycle with its own mutable parts unless it was frozen.
        gc.collect()
        run.check(early() is late() is method() is None, "alive at the end", early)
        watch.check_all_called_once()
        del method
