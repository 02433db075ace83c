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


# ---- Waiting --------------------------------------------------------------------


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
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    try:
        for wait in waits:
            timer = threading.Timer(0.05, _thread.interrupt_main, (signal.SIGINT,))
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come before the wait on a busy machine
                timer.start()
                wait()
            timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
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


# ---- Close -----------------------------------------------------------------------


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
