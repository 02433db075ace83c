"""The ends of frozen objects that several interpreters reference: promotions, callbacks, finalizers; shared buffers."""

import array
import collections
import contextlib
import gc
import queue
import time
import weakref
from concurrent import interpreters

import ledger
from crew import Crew, switching_often
from finalizers import frozen_ring
from ledger import Finalized, Resurrecting
from scenario import scenario
from sharing import emptied
from weakrefs import Watch, frozen_members

from immutable import freeze, is_frozen

# ---- Weak references -------------------------------------------------------


def watch_members(run, inbox, rounds):
    """Worker: takes members out of a queue, watches them, promotes weak references, and drops what it holds."""
    rng = run.random
    home = interpreters.get_current().id
    held, weak = [], []
    watch = Watch(run)

    def here(reference):
        run.check(interpreters.get_current().id == home, "a callback in another interpreter")

    for _ in range(rounds):
        run.step()
        with contextlib.suppress(queue.Empty):
            held.append(inbox.get_nowait())
        match rng.randrange(7):
            case 0 if held:
                weak.append(weakref.ref(rng.choice(held), here))
            case 1 if held:
                watch.add(rng.choice(held))
            case 2 if held:
                weak.append(weakref.ref(rng.choice(held)))
            case 3 if held:
                held.pop(rng.randrange(len(held)))
            case 4 if held:
                following = getattr(held[-1], "following", held[-1])
                run.check(0 <= following.own_number() < 10**6, "number", following.number)
                held[rng.randrange(len(held))] = following
                del following
            case 5 if held:
                inbox.put(rng.choice(held))
            case 6 if weak:
                target = rng.choice(weak)()
                if target is not None:
                    run.check(target.number[0] == target.own_number(), "promoted", target.number)
                    if rng.random() < 0.5:
                        held.append(target)
                del target
        if len(weak) > 100:
            del weak[: rng.randrange(100)]
    held.clear()
    return watch, weak


STATES = {}
"""What a worker leaves for the next one, by number of the scenario's run."""


def watch_and_keep(run, key, inbox, rounds):
    """Worker: as `watch_members`, and keeps the weak references for `check_watched`."""
    with switching_often(run):
        STATES[key] = watch_members(run, inbox, rounds)


def check_watched(run, key):
    """Worker: everything has died by now, so every callback must have been called, once."""
    watch, weak = STATES.pop(key)
    # Callbacks for what died elsewhere are called when this interpreter gets round to it.
    deadline = time.monotonic() + 60
    while sum(watch.calls.values()) < len(watch.references) and time.monotonic() < deadline:
        time.sleep(0.001)
    watch.check_all_called_once()
    run.check(all(reference() is None for reference in weak), "promoted after the end", weak)


@scenario(weight=8)
def weak_references_from_every_interpreter(run):
    """Weak references are made, promoted and cleared anywhere; callbacks come once, where they were registered."""
    rng = run.random
    inbox = interpreters.create_queue()
    with Crew(run) as crew:
        for key in range(rng.randint(1, 3)):
            references = []
            for number in range(rng.randint(1, 20)):
                members = frozen_members(rng, 1000 * (number + 1))
                references += map(weakref.ref, members)
                for member in rng.sample(members, rng.randint(1, len(members))):
                    inbox.put(member)
                del members, member
            crew.ask_all(watch_and_keep, key, inbox, rng.choice((20, 500, 4000)))
            emptied(inbox)
            alive = [reference() for reference in references if reference() is not None]
            run.check(not alive, "alive at the end", alive)
            crew.ask_all(check_watched, key)


def leave_callbacks(run, members):
    """Worker: makes weak references with callbacks, and ends without having seen them called."""
    calls = []
    globals()[f"left {run.seed}"] = [weakref.ref(member, calls.append) for member in members], calls
    globals()[f"dictionary {run.seed}"] = weakref.WeakValueDictionary(enumerate(members))


@scenario
def interpreters_end_with_weak_references(run):
    """An interpreter may end before, while or after the objects that it watches do."""
    rng = run.random
    for _ in range(rng.randint(1, 3)):
        members = frozen_members(rng, 1000)
        references = list(map(weakref.ref, members))
        with Crew(run, rng.randint(1, run.interpreters)) as crew:
            crew.ask_all(leave_callbacks, tuple(members))

            def drop(rng, members=members):
                time.sleep(rng.random() / 200)
                members.clear()

            enders = [
                lambda rng, member=member, crew=crew: crew.close(member)
                for member in rng.sample(crew.members, rng.randint(0, len(crew.members)))
            ]
            run.in_threads(drop, *enders)
            run.check(all(reference() is None for reference in references), "alive at the end", references)
            del enders


# ---- Finalizers ------------------------------------------------------------


def drop_rings(run, shared, rounds):
    """Worker: makes rings with finalizers, and swaps them. Returns the numbers made, and those finalized here."""
    rng = run.random
    ledger.reset()
    first = rng.getrandbits(40) << 20
    numbers = iter(range(first, first + (1 << 20)))
    made, held = [], []
    for _ in range(rounds):
        run.step()
        members = frozen_ring(rng, (Finalized, Finalized, Resurrecting), numbers)
        made += [member.number for member in members]
        for member in rng.sample(members, rng.randint(1, len(members))):
            (shared.put if rng.random() < 0.6 else held.append)(member)
        del members, member
        with contextlib.suppress(queue.Empty):
            held.append(shared.get_nowait())
        while len(held) > 10:
            held.pop(rng.randrange(len(held)))
        for each in ledger.resurrected:
            run.check(not is_frozen(each), "a resurrected object is frozen", each)
        ledger.resurrected.clear()
    held.clear()
    ledger.resurrected.clear()
    each = None
    gc.collect()
    finalized = ledger.finalized[:]
    ledger.reset()
    return made, finalized


@scenario(weight=6)
def finalizers_run_where_the_last_reference_goes(run):
    """Objects made in one interpreter are finalized by whichever drops them last: once."""
    ledger.reset()
    shared = interpreters.create_queue()
    with Crew(run) as crew:
        results = crew.ask_all(drop_rings, shared, run.random.randint(5, 600))
        # What is left is dropped here, and finalized here.
        emptied(shared)
        gc.collect()
        ledger.resurrected.clear()
        gc.collect()
        made, finalized = [], ledger.finalized[:]
        for own, there in results:
            made += own
            finalized += there
        counts = collections.Counter(finalized)
        run.check(set(counts) == set(made), "finalized", sorted(set(made) ^ set(counts))[:10])
        run.check(max(counts.values(), default=1) == 1, "finalized more than once", counts.most_common(3))
    ledger.reset()


# ---- Strings, bytes and buffers --------------------------------------------


def use_strings(run, texts, blobs, keys, rounds):
    """Worker: hashes, encodes, interns, appends to and looks up shared strings; reads shared buffers; hashes keys."""
    import sys

    rng = run.random
    table = {}
    names = type("Names", (), {})()
    for _ in range(rounds):
        run.step()
        place = rng.randrange(len(texts))
        text, blob = texts[place], blobs[place]
        match rng.randrange(10):
            case 0:
                run.check(text.encode() == blob.tobytes() if isinstance(blob, memoryview) else True, "encoded", text)
            case 1:
                run.check(hash(text) == hash("".join(text)) and text == "".join(text), "hash", text)
            case 2:
                interned = sys.intern(text)
                run.check(interned == text and sys.intern("".join(text)) is interned, "interned", text)
            case 3:
                more = text
                more += "!"
                more += text
                run.check(more == f"{text}!{text}" and len(text) == len(more) // 2, "appended", text, more)
            case 4:
                table[text] = place
                run.check(table["".join(text)] == place, "looked up", text)
            case 5:
                setattr(names, text, place)
                run.check(getattr(names, "".join(text)) == place, "attribute", text)
            case 6:
                view = memoryview(blob)
                run.check(view.readonly, "a writable view of a frozen buffer")
                run.check(bytes(view[1:]) == bytes(blob)[1:] and view.nbytes == len(bytes(blob)), "buffer", bytes(blob))
                if rng.random() < 0.5:
                    view.release()
            case 7:
                run.check(text.upper() == "".join(text).upper() and f"{text:>60}".strip() == text.strip(), "text")
                with contextlib.suppress(ValueError):
                    float(text)
            case 8:
                local = str(text) + "x"
                run.check(freeze([local, text])[0] == text + "x", "frozen here", local)
            case 9:
                for key, equal in zip(keys[place], keys_of("".join(text)), strict=True):
                    run.check(hash(key) == hash(equal) and {equal: place}[key] == place, "hash", key)
    del names


def keys_of(text):
    """Objects that store their hash when they are first asked for it."""
    return text.encode(), (text, 1.5), frozenset((text, 2.5))


@scenario(weight=4)
def strings_and_buffers_everywhere(run):
    """The UTF-8 form, the hash and the interning of shared strings, and the exports of shared buffers, are in order."""
    rng = run.random
    texts = ["".join(rng.choices("abcxyzäβ漢😀 \n", k=rng.randint(1, 40))) for _ in range(20)]
    for place in rng.sample(range(20), 8):
        texts[place] = f"name_{rng.randrange(10**6)}"
    kinds = bytes, bytearray, lambda data: memoryview(bytes(data)), lambda data: array.array("B", data)
    blobs = [rng.choice(kinds)(text.encode()) for text in texts]
    keys = [keys_of(text) for text in texts]
    freeze(texts, blobs, keys)
    with Crew(run) as crew:
        crew.ask_all(use_strings, texts, blobs, keys, rng.randint(50, 5000))
    use_strings(run, texts, blobs, keys, 50)
