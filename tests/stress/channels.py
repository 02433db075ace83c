"""Channels, shared fields and values of one's own: what interpreters coordinate with."""

import collections
import contextlib
import gc
import os
import signal
import threading
import time

from crew import Crew, switching_often
from plans import NUMBER_BASE, mistake_in
from scenario import maker, scenario
from sharing import planned_graph

from immutable import ChannelClosed, InterpreterLocal, MutationError, SharedField, channel, freeze, is_frozen, select

# ---- Channels --------------------------------------------------------------


def produce(run, sender, label, count):
    """Worker: sends (label, 0), (label, 1), ... in two threads' time slices, by any way of sending."""
    for number in range(count):
        run.step()
        message = freeze((label, NUMBER_BASE + number, [number]))
        match run.random.randrange(4):
            case 0:
                sender.send(message)
            case 1:
                while not sender.try_send(message):
                    time.sleep(0)
            case _:
                while True:
                    try:
                        sender.send(message, timeout=run.random.random() / 100)
                    except TimeoutError:
                        continue
                    break


def consume(run, receivers):
    """Worker: receives until all channels are closed and empty. Returns what came, in order."""
    received = []
    with contextlib.suppress(ChannelClosed):
        while True:
            run.step()
            receiver = run.random.choice(receivers)
            match run.random.randrange(5):
                case 0:
                    with contextlib.suppress(TimeoutError):
                        received.append(receiver.recv(timeout=run.random.random() / 100))
                case 1:
                    message = receiver.try_recv(None)
                    if message is not None:
                        received.append(message)
                case 2 if len(receivers) == 1:
                    received.append(receiver.recv())
                case 3 if len(receivers) == 1:
                    for message in receiver:
                        received.append(message)
                        if run.random.random() < 0.05:
                            break
                case _:
                    with contextlib.suppress(TimeoutError):
                        _, message = select(*receivers, timeout=run.random.random() / 100)
                        received.append(message)
    for receiver in receivers:
        # ChannelClosed came from one of them: the others may still be open, or hold something.
        received += receiver
    for message in received:
        run.check(is_frozen(message) and message[1] == NUMBER_BASE + message[2][0], "message", message)
    return freeze([(label, number) for label, number, _ in received])


@scenario(weight=6)
def messages_arrive_once_each(run):
    """Many producers, many consumers, several channels: nothing is lost, duplicated, or out of its producer's order."""
    rng = run.random
    channels = [channel(rng.choice((None, 1, 2, 50))) for _ in range(rng.randint(1, 3))]
    receivers = tuple(receiver for _, receiver in channels)
    count = rng.choice((10, 200, 1000))
    results = []
    with Crew(run) as crew:
        producers = crew.members[: max(len(crew.members) // 2, 1)]
        consumers = crew.members[len(producers) :] or [None]

        def producing(member, label):
            def work(rng):
                sender = rng.choice(channels)[0]
                crew.ask(member, produce, sender, label, count, seed=rng.getrandbits(32))
                if rng.random() < 0.5:
                    # A fresh interpreter goes on where the last one ended.
                    fresh = Crew(run, 1)
                    with fresh:
                        crew.ask(fresh.members[0], produce, sender, label + 1, count, seed=rng.getrandbits(32))
                else:
                    produce(run_here(run, rng), sender, label + 1, count)

            return work

        def consuming(member):
            def work(rng):
                if member is None:
                    results.append(consume(run_here(run, rng), receivers))
                else:
                    results.append(crew.ask(member, consume, receivers, seed=rng.getrandbits(32)))

            return work

        waiting = [run.thread(consuming(member)) for member in consumers]
        for thread in waiting:
            thread.start()
        run.in_threads(*(producing(member, 10 * place) for place, member in enumerate(producers)))
        for sender, _ in channels:
            sender.close()
        for thread in waiting:
            thread.join()
    labels = [10 * place + half for place in range(len(producers)) for half in (0, 1)]
    check_received(run, results, labels, count)


def run_here(run, rng):
    """A Run for a worker that is called in this interpreter, in a thread of its own."""
    here = type(run)(run.name, run.seed, threads=1, interpreters=1)
    here.random = rng
    return here


def check_received(run, results, labels, count):
    """Each message of each label came once; and each consumer saw the messages of a label in order."""
    counts = collections.Counter(message for received in results for message in received)
    expected = {(label, NUMBER_BASE + number) for label in labels for number in range(count)}
    run.check(set(counts) == expected, "messages lost", sorted(expected - set(counts))[:5])
    run.check(max(counts.values(), default=1) == 1, "messages duplicated", counts.most_common(3))
    for received in results:
        last = dict.fromkeys(labels, -1)
        for label, number in received:
            run.check(number > last[label], "messages out of order", label, last[label], number)
            last[label] = number


def wait_for_close(run, sender, receiver):
    """Worker: waits in whatever way until the channel closes; returns the messages that it took."""
    taken = []
    while True:
        run.step()
        try:
            match run.random.randrange(4):
                case 0:
                    taken.append(receiver.recv())
                case 1:
                    taken.append(select(receiver)[1])
                case 2:
                    sender.send(freeze(("sent", run.seed)))
                case 3:
                    if run.random.random() < 0.01:
                        (sender if run.random.random() < 0.5 else receiver).close()
                    with contextlib.suppress(TimeoutError):
                        taken.append(receiver.recv(timeout=0.01))
        except ChannelClosed:
            if receiver.qsize() == 0:
                return len(taken)


@scenario(weight=3)
def channels_closed_while_all_wait(run):
    """Whoever closes, everybody who waits to send or to receive is woken; what is left is released."""
    rng = run.random
    for _ in range(rng.randint(1, 3)):
        sender, receiver = channel(rng.choice((None, 1, 3)))

        def close(rng, sender=sender, receiver=receiver):
            time.sleep(rng.random() / 20)
            (sender if rng.random() < 0.5 else receiver).close()

        with Crew(run) as crew:
            crew.ask_all(wait_for_close, sender, receiver, beside=[close])
        run.check(sender.closed and receiver.closed, "open after close", sender, receiver)
        for _ in receiver:
            run.step()
        try:
            sender.send(1)
        except ChannelClosed:
            pass
        else:
            run.fail("sent through a closed channel")


@scenario(weight=3)
def messages_left_in_channels(run):
    """Graphs and other channels that nobody received go with the channel, in whichever interpreter drops it last."""
    rng = run.random
    for _ in range(rng.randint(1, 4)):
        sender, receiver = channel()
        inner = channel()
        for _ in range(rng.randrange(20)):
            run.step()
            planned, nodes = planned_graph(run)
            sender.send(freeze((planned, nodes[0], inner)))
            inner[0].send(nodes[-1])
            del planned, nodes
        with Crew(run, 2) as crew:
            crew.ask_all(take_some, receiver, rng.randrange(5))
            if rng.random() < 0.5:
                del sender, receiver, inner


def take_some(run, receiver, number):
    """Worker: takes some messages, and keeps the channel in a module until this interpreter ends."""
    globals()["kept"] = [receiver]
    for _ in range(number):
        run.step()
        message = receiver.try_recv(None)
        if message is not None:
            planned, node, _ = message
            mistake = mistake_in(node, planned)
            run.check(mistake is None, mistake)
            globals()["kept"].append(message)


@scenario(weight=1)
def interrupts_while_waiting(run):
    """Ctrl-C ends the wait of the main thread, takes no message, and leaves the channel in order."""
    rng = run.random
    for _ in range(rng.randint(1, 5)):
        run.step()
        sender, receiver = channel(1)
        previous = signal.signal(signal.SIGUSR2, interrupt)
        timer = threading.Timer(0.01 + rng.random() / 50, os.kill, (os.getpid(), signal.SIGUSR2))
        try:
            timer.start()
            match rng.randrange(3):
                case 0:
                    receiver.recv()
                case 1:
                    select(receiver, channel()[1])
                case 2:
                    sender.send(1)
                    sender.send(2)
        except Interrupted:
            pass
        else:
            run.fail("not interrupted")
        finally:
            timer.join()
            signal.signal(signal.SIGUSR2, previous)
        while receiver.try_recv(None) is not None:
            pass
        sender.send((1, 2))
        run.check(receiver.recv() == (1, 2), "after an interrupt")


class Interrupted(Exception):
    """What the signal handler raises."""


def interrupt(*_):
    raise Interrupted


# ---- Shared fields ---------------------------------------------------------


def count_up(run, counter, holder, times):
    """Worker: increments by compare-and-swap, in two threads; swaps tokens; looks at what others have set."""

    def work(rng):
        for _ in range(times):
            run.step()
            while True:
                seen = counter.get()
                if counter.compare_and_swap(seen, freeze(seen + 1)):
                    break
            if rng.random() < 0.2:
                token = holder.get()
                run.check(len(token) == 2 and token[1] == [token[0]], "torn or released value", token)
                holder.set(freeze((token[0] + 1, [token[0] + 1])))
            if rng.random() < 0.2:
                token = holder.swap(freeze((run.seed, [run.seed])))
                run.check(token[1] == [token[0]], "swapped value", token)

    with switching_often(run):
        run.in_threads(work, work)


@scenario(weight=4)
def fields_lose_no_update(run):
    """Compare-and-swap increments from all interpreters add up exactly; what a field gives is whole and alive."""
    rng = run.random
    start = NUMBER_BASE
    counter, holder = SharedField(start), SharedField(freeze((1, [1])))
    times = rng.choice((10, 300, 2000))
    with Crew(run) as crew:
        crew.ask_all(count_up, counter, holder, times)
        total = start + len(crew.members) * 2 * times
    run.check(counter.get() == total, "updates lost", counter.get(), total)
    try:
        counter.set([])
    except TypeError:
        pass
    else:
        run.fail("a mutable value in a shared field")


def pass_tokens(run, fields, rounds):
    """Worker: moves tokens between fields by swapping, and ends with the one in its hands put back."""
    rng = run.random
    token = None
    for _ in range(rounds):
        run.step()
        token = rng.choice(fields).swap(token)
    while token is not None:
        for field in fields:
            if field.compare_and_swap(None, token):
                return
    run.check(token is None, "no place for a token", token)


@scenario(weight=3)
def tokens_are_conserved(run):
    """Objects that are only ever swapped between fields are neither lost nor doubled."""
    rng = run.random
    tokens = [freeze({"token": [NUMBER_BASE + n]}) for n in range(3 * run.interpreters)]
    fields = freeze(tuple(SharedField(token) for token in tokens))
    with Crew(run) as crew:
        crew.ask_all(pass_tokens, fields, rng.choice((10, 1000, 5000)))
    found = sorted(id(field.swap(None)) for field in fields if field.get() is not None)
    run.check(found == sorted(map(id, tokens)), "tokens", len(found), len(tokens))


# ---- Values of one's own ---------------------------------------------------


@maker()
def empty_list():
    def make():
        return []

    return make


def use_local(run, local, number):
    """Worker: changes its own value, and sees nothing of the others'."""
    for n in range(number):
        run.step()
        local.get().append(run.seed)
        run.check(set(local.get()) == {run.seed} and len(local.get()) == n + 1, "value of another", local.get())
        if run.random.random() < 0.1:
            gc.collect()
    if run.random.random() < 0.3:
        local.reset()
        run.check(local.get() == [], "after reset", local.get())
    try:
        local.anything = 1
    except MutationError, AttributeError:
        pass
    else:
        run.fail("a frozen InterpreterLocal was written")
    local.get().append(freeze([run.seed, local]))


@scenario(weight=3)
def locals_of_each_interpreter(run):
    """Each interpreter has its own value of an InterpreterLocal, which goes with it."""
    rng = run.random
    local = freeze(InterpreterLocal(freeze(empty_list())))
    for _ in range(rng.randint(1, 2)):
        with Crew(run) as crew:
            crew.ask_all(use_local, local, rng.randint(1, 50))
    run.check(local.get() == [], "value of another", local.get())
    local.get().append(local)
    local.reset()
