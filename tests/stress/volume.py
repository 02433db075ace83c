"""Amounts that only a long run reaches. Each takes a minute or more, so they run only by name.

`--only fifty_million_messages` and `--only a_million_increments`, each with `--runs 1`.
"""

import contextlib
import time

from crew import Crew
from scenario import scenario

from immutable import ChannelClosed, SharedField, channel, freeze

MESSAGES = 50_000_000
BATCH = 500_000
"""Messages that a producer sends, or a consumer takes, before it may be closed and another one takes its place."""

PRODUCERS = CONSUMERS = 4

INCREMENTS = 1_000_000
INCREMENTING = 8


def produce_batch(run, sender, batch):
    """Worker: sends the numbers of one batch, in order."""
    send = sender.send
    for number in range(batch * BATCH, (batch + 1) * BATCH):
        send(number)


def consume_batch(run, receiver):
    """Worker: takes up to BATCH messages. Returns which ones of each batch it got, a byte each; nothing at the end."""
    got = {}
    last = {}
    taken = 0
    with contextlib.suppress(ChannelClosed):
        while taken < BATCH:
            number = receiver.recv()
            taken += 1
            batch, place = divmod(number, BATCH)
            if batch not in got:
                got[batch], last[batch] = bytearray(BATCH), -1
            run.check(place > last[batch], "out of its producer's order", number, last[batch])
            last[batch] = place
            got[batch][place] = 1
    return freeze({batch: bytes(places) for batch, places in got.items()})


@scenario(weight=0)
def fifty_million_messages(run):
    """4 producers and 4 consumers in 8 interpreters, half of which are closed and replaced all the time."""
    sender, receiver = channel(1000)
    batches = iter(range(MESSAGES // BATCH))
    arrived = {}
    started = time.monotonic()

    def working(crew, member, work):
        def run_batches(rng):
            while (result := work(member[0])) is not None:
                run.step()
                for batch, places in result.items():
                    places = int.from_bytes(places)
                    before = arrived.get(batch, 0)
                    run.check(before & places == 0, "messages duplicated in batch", batch)
                    arrived[batch] = before | places
                if rng.random() < 0.5:
                    member[0] = crew.replace(member[0])

        return run_batches

    with Crew(run, PRODUCERS + CONSUMERS) as crew:

        def producing(member):
            batch = next(batches, None)
            if batch is None:
                return None
            crew.ask(member, produce_batch, sender, batch)
            return {}

        def consuming(member):
            return crew.ask(member, consume_batch, receiver) or None

        places = [[member] for member in crew.members]
        consumers = [run.thread(working(crew, member, consuming)) for member in places[PRODUCERS:]]
        for thread in consumers:
            thread.start()
        run.in_threads(*(working(crew, member, producing) for member in places[:PRODUCERS]))
        sender.close()
        for thread in consumers:
            thread.join()
    whole = int.from_bytes(b"\x01" * BATCH)
    lost = [batch for batch in range(MESSAGES // BATCH) if arrived.get(batch) != whole]
    run.check(not lost, "messages lost of batches", lost)
    took = time.monotonic() - started
    print(f"  {MESSAGES:,} messages arrived once each, {MESSAGES / took:,.0f} a second", flush=True)


def increment(run, counter, times):
    """Worker: increments by compare-and-swap. Returns how often another interpreter was first."""
    lost = 0
    for _ in range(times):
        while True:
            seen = counter.get()
            if counter.compare_and_swap(seen, freeze(seen + 1)):
                break
            lost += 1
    return lost


@scenario(weight=0)
def a_million_increments(run):
    """8 interpreters increment one field a million times between them: the count is exact."""
    counter = SharedField(0)
    with Crew(run, INCREMENTING) as crew:
        tries = crew.ask_all(increment, counter, INCREMENTS // INCREMENTING)
    run.check(counter.get() == INCREMENTS, "updates lost", counter.get())
    print(f"  {INCREMENTS:,} increments, {sum(tries):,} of them tried again", flush=True)
