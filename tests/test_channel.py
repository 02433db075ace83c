"""A channel hands frozen objects on, between threads and interpreters: each message once, in order, by reference."""

import signal
import threading
import time

import pytest
from graphs import frozen_now

from immutable import ChannelClosed, Receiver, Sender, channel, freeze, is_frozen, select


@pytest.fixture
def in_thread():
    """Runs a function in a thread, and ends the test when that has not ended in time."""
    started = []

    def run(function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        started.append(thread)
        thread.start()
        return thread

    yield run
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_both_ends_are_frozen():
    sender, receiver = channel()
    assert type(sender) is Sender
    assert type(receiver) is Receiver
    assert is_frozen(sender)
    assert is_frozen(receiver)
    assert is_frozen(freeze({"ends": [sender, receiver]}))


def test_what_arrives_is_the_object_that_was_sent():
    sender, receiver = channel()
    message = freeze({"a": [1]})
    sender.send(message)
    assert receiver.recv() is message


def test_messages_arrive_in_the_order_in_which_they_were_sent():
    sender, receiver = channel()
    for number in range(1000):
        sender.send(number)
    assert [receiver.recv() for _ in range(1000)] == list(range(1000))


@pytest.mark.parametrize("send", ["send", "try_send"])
def test_a_mutable_object_is_not_sent(send):
    sender, receiver = channel()
    with pytest.raises(TypeError, match="freeze"):
        getattr(sender, send)(["mutable"])
    assert receiver.qsize() == 0


def test_try_recv_does_not_wait():
    sender, receiver = channel()
    with pytest.raises(TimeoutError):
        receiver.try_recv()
    assert receiver.try_recv("nothing") == "nothing"
    sender.send("something")
    assert receiver.try_recv("nothing") == "something"


def test_a_wait_ends_after_the_time_given():
    sender, receiver = channel(1)
    with pytest.raises(TimeoutError):
        receiver.recv(timeout=0.01)
    sender.send(1)
    with pytest.raises(TimeoutError):
        sender.send(2, timeout=0.01)
    assert receiver.recv(timeout=60) == 1
    with pytest.raises(TimeoutError):
        select(receiver, timeout=0.01)
    assert receiver.try_recv("the second was not sent") == "the second was not sent"


def test_a_channel_takes_as_much_as_its_capacity(in_thread):
    sender, receiver = channel(2)
    assert sender.capacity == receiver.capacity == 2
    assert channel()[0].capacity is None
    assert [sender.try_send(number) for number in range(3)] == [True, True, False]
    assert len(sender) == len(receiver) == sender.qsize() == receiver.qsize() == 2
    thread = in_thread(sender.send, 2)
    time.sleep(0.01)
    assert thread.is_alive()
    assert [receiver.recv() for _ in range(3)] == [0, 1, 2]


def test_an_end_is_true_although_the_channel_is_empty():
    sender, receiver = channel()
    assert len(receiver) == 0
    assert sender
    assert receiver


def test_a_closed_channel_can_be_received_from_until_it_is_empty():
    sender, receiver = channel()
    sender.send("last")
    assert not sender.closed
    sender.close()
    sender.close()
    assert sender.closed
    assert receiver.closed
    for send in (sender.send, sender.try_send):
        with pytest.raises(ChannelClosed):
            send("too late")
    assert receiver.recv() == "last"
    for receive in (receiver.recv, receiver.try_recv, lambda: receiver.try_recv(None), lambda: select(receiver)):
        with pytest.raises(ChannelClosed):
            receive()


def test_the_receiver_may_close():
    sender, receiver = channel()
    receiver.close()
    with pytest.raises(ChannelClosed):
        sender.send("nobody listens")


def test_iteration_ends_when_the_channel_is_closed_and_empty():
    sender, receiver = channel()
    for number in range(3):
        sender.send(number)
    sender.close()
    assert iter(receiver) is receiver
    assert list(receiver) == [0, 1, 2]


def test_the_last_end_of_a_kind_closes_the_channel():
    sender, receiver = channel()
    sender.send("left")
    del sender
    assert list(receiver) == ["left"]
    sender, receiver = channel()
    del receiver
    with pytest.raises(ChannelClosed):
        sender.send("nobody listens")


def test_what_is_left_in_a_channel_is_released_with_it():
    before = frozen_now()
    sender, receiver = channel()
    sender.send(freeze([[], []]))
    assert frozen_now()["frozen_objects"] == before["frozen_objects"] + 5
    del sender, receiver
    assert frozen_now() == before


def test_who_waits_wakes_when_the_channel_closes(in_thread):
    ends = [channel(1) for _ in range(2)]
    seen = []

    def note(wait, *arguments):
        try:
            wait(*arguments)
        except ChannelClosed:
            seen.append(wait)

    ends[0][0].send("full")
    in_thread(note, ends[0][0].send, "more")
    in_thread(note, ends[1][1].recv)
    in_thread(note, select, ends[1][1])
    time.sleep(0.02)
    ends[0][1].close()
    ends[1][0].close()
    wait_until(lambda: len(seen) == 3)


def test_many_producers_and_consumers_lose_and_double_nothing(in_thread):
    sender, receiver = channel(3)
    received = [[] for _ in range(4)]
    consumers = [in_thread(messages.extend, receiver) for messages in received]
    producers = [in_thread(lambda k=k: [sender.send(k * 1000 + i) for i in range(1000)]) for k in range(4)]
    for thread in producers:
        thread.join(60)
    sender.close()
    for thread in consumers:
        thread.join(60)
    assert sorted(message for messages in received for message in messages) == list(range(4000))


def test_those_who_wait_are_served_in_the_order_in_which_they_came(in_thread):
    sender, receiver = channel()
    served = []

    def wait(number):
        receiver.recv()
        served.append(number)

    for number in range(5):
        in_thread(wait, number)
        time.sleep(0.05)  # nobody can see from outside that the thread waits
    for number in range(5):
        sender.send("next")
        wait_until(lambda number=number: len(served) == number + 1)
    assert served == list(range(5))


def test_other_threads_run_while_one_waits(in_thread):
    sender, receiver = channel()
    answers = []
    in_thread(lambda: answers.append(receiver.recv()))
    assert sum(range(100_000)) == 4_999_950_000
    sender.send("at last")
    wait_until(lambda: answers == ["at last"])


@pytest.mark.parametrize(
    "wait",
    [
        "receiver.recv()",
        "receiver.recv(timeout=60)",
        "select(receiver)",
        "next(receiver)",
        "full.send(2)",
    ],
)
def test_a_keyboard_interrupt_ends_a_wait(run_python, wait):
    assert "interrupted\n" in run_python(f"""
        import os, signal, threading
        from immutable import channel, select
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
        sender, receiver = channel()
        full, keep = channel(1)
        full.send(1)
        threading.Timer(0.2, os.kill, (os.getpid(), {signal.SIGINT:d})).start()
        try:
            {wait}
        except KeyboardInterrupt:
            print("interrupted")
        sender.send("the channel still works")
        assert receiver.recv() == "the channel still works"
    """)


def test_select_takes_from_whichever_has_something(in_thread):
    ends = [channel() for _ in range(3)]
    receivers = [receiver for _, receiver in ends]
    ends[1][0].send("ready")
    assert select(*receivers) == (receivers[1], "ready")
    in_thread(ends[2][0].send, "sent meanwhile")
    found, message = select(*receivers)
    assert found is receivers[2]
    assert message == "sent meanwhile"


def test_select_passes_over_what_is_closed_until_all_are():
    (open_sender, open_receiver), (closed_sender, closed_receiver) = channel(), channel()
    closed_sender.close()
    open_sender.send("here")
    assert select(closed_receiver, open_receiver) == (open_receiver, "here")
    open_sender.close()
    with pytest.raises(ChannelClosed):
        select(closed_receiver, open_receiver)


def test_ends_and_messages_pass_between_interpreters(elsewhere):
    to, there = channel()
    back, here = channel()
    other = elsewhere()
    thread = threading.Thread(
        target=other.run,
        args=(
            """
            for message in there:
                back.send((id(message), message))
        """,
        ),
        kwargs={"there": there, "back": back},
    )
    thread.start()
    for message in (freeze([1, {"a": "b"}]), "text", 12345678901234567890):
        to.send(message)
        place, returned = here.recv(timeout=60)
        assert returned is message
        assert place == id(message)
    to.close()
    thread.join(60)
    other.close()


def test_an_end_can_be_sent_through_a_channel(elsewhere):
    senders, receivers = channel()
    sender, receiver = channel()
    senders.send(sender)
    elsewhere().run("receivers.recv().send('through')", receivers=receivers)
    assert receiver.recv(timeout=60) == "through"


def test_an_interpreter_that_ends_gives_up_its_ends(elsewhere):
    sender, receiver = channel()
    other = elsewhere()
    other.run("sender.send('left behind')", sender=sender)
    del sender
    other.close()
    assert list(receiver) == ["left behind"]


@pytest.mark.parametrize("capacity", [0, -1, 1.5, "many"])
def test_a_capacity_is_a_positive_number_or_none(capacity):
    with pytest.raises((TypeError, ValueError)):
        channel(capacity)


def test_ends_are_made_by_channel_alone():
    for end in (Sender, Receiver):
        with pytest.raises(TypeError):
            end()


def test_errors_of_use_are_told():
    sender, receiver = channel()
    for call in (
        lambda: select(),
        lambda: select(sender),
        lambda: receiver.recv(timeout="soon"),
        lambda: receiver.recv(until=1),
        lambda: receiver.try_recv(1, 2),
        lambda: sender.send(),
        lambda: channel(1, 2),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="timeout"):
        receiver.recv(timeout=-1)


def test_an_end_shows_how_full_the_channel_is():
    sender, receiver = channel(2)
    sender.send(1)
    assert repr(sender) == "<immutable.Sender: open, 1 of 2 messages>"
    assert repr(receiver) == "<immutable.Receiver: open, 1 of 2 messages>"
    receiver.close()
    assert "closed" in repr(sender)
