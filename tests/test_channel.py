"""Channels: each message arrives once, whoever waits is served or woken, and what is left goes with the channel.

The algorithms are in tests/channel.rs and tests/loom_channel.rs; tests/stress sends millions of messages.
"""

import _thread
import gc
import signal
import threading
import time
import weakref
from concurrent import interpreters
from concurrent.futures import ThreadPoolExecutor

import pytest

from immutable import ChannelClosed, channel, freeze, is_frozen, select

LONG = 30
"""Seconds that nothing here takes."""


class Message:
    def __init__(self, number):
        self.number = number
        self.itself = self


def message(number=0):
    return freeze(Message(number))


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def other():
    interpreter = interpreters.create()
    yield interpreter
    if interpreter in interpreters.list_all():
        interpreter.close()


def until(condition):
    """Waits for something that another thread brings about."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


# ---- One message ----------------------------------------------------------------


@pytest.mark.parametrize("capacity", [None, 1, 5])
def test_a_message_is_the_object_that_was_sent_and_comes_in_order(capacity):
    sender, receiver = channel(capacity)
    assert (sender.capacity, receiver.capacity) == (capacity, capacity)
    for number in range(10):
        sent = message(number)
        sender.send(sent)
        assert (len(sender), receiver.qsize(), bool(receiver)) == (1, 1, True)
        assert receiver.recv() is sent
    if capacity is None:
        for number in range(1000):
            sender.send((number,))
        assert [receiver.recv() for _ in range(1000)] == [(number,) for number in range(1000)]
    assert len(receiver) == 0


def test_ends_are_frozen_and_work_in_other_interpreters(other):
    sender, receiver = channel()
    back_sender, back = channel()
    assert is_frozen(sender)
    assert is_frozen(receiver)
    other.prepare_main(receiver=receiver, sender=back_sender)
    sent = message(7)
    sender.send(sent)
    other.exec("got = receiver.recv(); assert got.number == 7; sender.send((id(got), got))")
    assert back.recv() == (id(sent), sent)


@pytest.mark.parametrize("capacity", [0, -1, "1", 1.5])
def test_a_capacity_is_a_positive_number_or_none(capacity):
    with pytest.raises((TypeError, ValueError)):
        channel(capacity)


# ---- Waiting --------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.01, 0.05])
def test_a_wait_ends_in_time(timeout):
    sender, receiver = channel(1)
    with pytest.raises(TimeoutError):
        receiver.recv(timeout=timeout)
    with pytest.raises(TimeoutError):
        select(receiver, channel()[1], timeout=timeout)
    sender.send(1)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        sender.send(2, timeout=timeout)
    assert time.monotonic() - started >= timeout
    assert not sender.try_send(2)
    assert (receiver.recv(), receiver.try_recv("none")) == (1, "none")
    assert sender.try_send(3)
    assert receiver.try_recv() == 3


def test_what_does_not_wait_says_so_at_once():
    sender, receiver = channel(1)
    marker = object()
    assert receiver.try_recv(marker) is marker
    assert sender.try_send(1)
    assert not sender.try_send(2)
    assert receiver.try_recv(marker) == 1


def test_other_threads_of_the_interpreter_run_while_one_waits(threads):
    _, receiver = channel()
    waiting = threads.submit(receiver.recv)
    ran = [threads.submit(sum, range(number)).result(LONG) for number in range(100)]
    assert ran[-1] == 4851
    assert not waiting.done()
    receiver.close()
    with pytest.raises(ChannelClosed):
        waiting.result(LONG)


def test_a_full_channel_holds_its_senders_back(threads):
    sender, receiver = channel(2)
    sending = [threads.submit(sender.send, number) for number in range(8)]
    until(lambda: sum(each.done() for each in sending) == 2)
    assert receiver.qsize() == 2
    assert sorted(receiver.recv() for _ in range(8)) == list(range(8))
    assert [each.result(LONG) for each in sending] == [None] * 8


def test_an_interrupt_ends_a_wait_and_takes_no_message():
    sender, receiver = channel(1)
    full, full_receiver = channel(1)
    full.send(1)
    waits = [
        receiver.recv,
        lambda: receiver.recv(timeout=LONG),
        lambda: next(receiver),
        lambda: select(receiver, channel()[1]),
        lambda: full.send(2),
    ]
    for wait in waits:
        timer = threading.Timer(0.05, _thread.interrupt_main, (signal.SIGINT,))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come before the wait on a busy machine
            timer.start()
            wait()
        timer.join()
    assert full_receiver.qsize() == 1
    sender.send(3)
    assert receiver.recv() == 3


def test_a_signal_handler_that_returns_lets_the_wait_go_on():
    sender, receiver = channel()
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        timers = [threading.Timer(0.02 * n, signal.raise_signal, (signal.SIGUSR1,)) for n in (1, 2)]
        timers.append(threading.Timer(0.1, sender.send, ("late",)))
        for timer in timers:
            timer.start()
        assert receiver.recv(timeout=LONG) == "late"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen


# ---- select ----------------------------------------------------------------------


def test_select_takes_one_message_from_whichever_channel_has_one(threads):
    channels = [channel() for _ in range(3)]
    receivers = [receiver for _, receiver in channels]
    for place in (2, 0, 1):
        channels[place][0].send(place)
        found, value = select(*receivers)
        assert (found, value) == (receivers[place], place)
        assert not any(map(len, receivers))
    waiting = threads.submit(select, *receivers, timeout=LONG)
    time.sleep(0.02)
    channels[1][0].send("woken")
    assert waiting.result(LONG) == (receivers[1], "woken")


def test_select_is_fair_to_channels_that_are_always_full():
    channels = [channel() for _ in range(2)]
    counts = [0, 0]
    for sender, _ in channels:
        for _ in range(200):
            sender.send(1)
    for _ in range(200):
        found, _ = select(*(receiver for _, receiver in channels))
        counts[[receiver for _, receiver in channels].index(found)] += 1
    assert min(counts) > 20, counts


def test_select_needs_receivers():
    with pytest.raises(TypeError):
        select()
    with pytest.raises(TypeError):
        select(channel()[0])


def test_select_passes_over_closed_channels_until_all_are(threads):
    (sender, receiver), (open_sender, open_receiver) = channel(), channel()
    sender.send(1)
    sender.close()
    assert select(receiver, open_receiver) == (receiver, 1)
    waiting = threads.submit(select, receiver, open_receiver)
    open_sender.send(2)
    assert waiting.result(LONG) == (open_receiver, 2)
    waiting = threads.submit(select, receiver, open_receiver)
    time.sleep(0.02)
    assert not waiting.done()
    open_sender.close()
    with pytest.raises(ChannelClosed):
        waiting.result(LONG)


# ---- Close -----------------------------------------------------------------------


@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_closing_wakes_everybody_who_waits(threads, end):
    sender, receiver = channel(1)
    sender.send(0)
    other_sender, other_receiver = channel()
    sending = [threads.submit(sender.send, number) for number in range(3)]
    receiving = [threads.submit(other_receiver.recv) for _ in range(3)]
    receiving += [threads.submit(select, other_receiver) for _ in range(3)]
    time.sleep(0.05)
    for each in (sender, other_sender) if end == "sender" else (receiver, other_receiver):
        each.close()
        each.close()
        assert each.closed
    for each in (*sending, *receiving):
        with pytest.raises(ChannelClosed):
            each.result(LONG)
    assert sender.closed
    assert receiver.closed


def test_what_was_sent_before_the_close_still_arrives():
    sender, receiver = channel()
    for number in range(5):
        sender.send(number)
    sender.close()
    with pytest.raises(ChannelClosed):
        sender.send(5)
    with pytest.raises(ChannelClosed):
        sender.try_send(5)
    assert list(receiver) == [0, 1, 2, 3, 4]
    for receive in (receiver.recv, receiver.try_recv, lambda: receiver.recv(timeout=0)):
        with pytest.raises(ChannelClosed):
            receive()


def test_the_channel_closes_when_the_last_sender_goes(threads):
    sender, receiver = channel()
    again = sender
    sender.send(1)
    del sender
    assert not receiver.closed
    again.send(2)
    waiting = threads.submit(list, receiver)
    del again
    assert waiting.result(LONG) == [1, 2]


def test_the_channel_closes_when_the_last_receiver_goes_and_releases_what_is_left():
    sender, receiver = channel()
    left = message()
    watch = weakref.ref(left)
    sender.send(left)
    del left
    assert watch() is not None
    del receiver
    assert watch() is None
    with pytest.raises(ChannelClosed):
        sender.send(1)


def test_messages_left_in_a_dropped_channel_are_released_with_channels_in_them():
    sender, receiver = channel()
    watches = []
    for _ in range(3):
        inner = channel()
        left = message()
        watches.append(weakref.ref(left))
        inner[0].send(left)
        sender.send(freeze((inner, message())))
        del left, inner
    del sender, receiver
    gc.collect()
    assert [watch() for watch in watches] == [None] * 3


# ---- Interpreters ------------------------------------------------------------------

SEND = """
for number in range(count):
    sender.send((label, number))
"""

RECEIVE = """
for label, number in receiver:
    results.send((label, number))
"""


@pytest.mark.parametrize("capacity", [None, 1, 10])
def test_many_producers_and_consumers_lose_and_double_nothing(threads, capacity):
    sender, receiver = channel(capacity)
    results, received = channel()
    producers = [interpreters.create() for _ in range(2)]
    consumers = [interpreters.create() for _ in range(2)]
    for label, each in enumerate(producers):
        each.prepare_main(sender=sender, label=label, count=500)
    for each in consumers:
        each.prepare_main(receiver=receiver, results=results)
    consuming = [threads.submit(each.exec, RECEIVE) for each in consumers]
    producing = [threads.submit(each.exec, SEND) for each in producers]
    for each in producing:
        each.result(LONG)
    sender.close()
    for each in consuming:
        each.result(LONG)
    results.close()
    assert sorted(received) == [(label, number) for label in range(2) for number in range(500)]
    for each in producers + consumers:
        each.close()


def test_an_interpreter_that_ends_with_messages_it_received_loses_nothing_for_the_others(other):
    sender, receiver = channel()
    for number in range(10):
        sender.send((number,))
    other.prepare_main(receiver=receiver)
    other.exec("kept = [receiver.recv() for _ in range(3)]")
    other.close()
    sender.close()
    assert list(receiver) == [(number,) for number in range(3, 10)]


def test_others_still_wait_and_are_served_when_an_interpreter_closes(threads, other):
    sender, receiver = channel()
    staying = interpreters.create()
    staying.prepare_main(receiver=receiver)
    waiting = threads.submit(staying.exec, "assert receiver.recv() == ('for you',)")
    other.prepare_main(receiver=receiver, sender=sender)
    other.exec("""if True:
        try:
            receiver.recv(timeout=0.01)
        except TimeoutError:
            pass
    """)
    other.close()
    assert not waiting.done()
    sender.send(("for you",))
    waiting.result(LONG)
    staying.close()


def test_an_interpreter_that_ends_closes_the_channel_of_which_it_had_the_last_sender(threads, other):
    sender, receiver = channel()
    other.prepare_main(sender=sender)
    del sender
    waiting = threads.submit(receiver.recv)
    time.sleep(0.02)
    assert not waiting.done()
    other.close()
    with pytest.raises(ChannelClosed):
        waiting.result(LONG)


def test_an_interpreter_of_which_a_thread_waits_cannot_be_closed(threads, other):
    sender, receiver = channel()
    other.prepare_main(receiver=receiver)
    waiting = threads.submit(other.exec, "assert receiver.recv() == (1,)")
    until(other.is_running)
    with pytest.raises(interpreters.InterpreterError):
        other.close()
    sender.send((1,))
    waiting.result(LONG)
    other.close()
