"""Small messages between interpreters over channels, beside queues of concurrent.interpreters and of multiprocessing.

One way: so many messages, of which the last is answered. Round trips: each is answered before the next.
"""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent import interpreters
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

from immutable import Receiver, Sender, channel, freeze
from immutable.bench.comparison import Ratio, Result, Settings, Way, in_turns
from immutable.bench.stock import QueueEcho, Stock, echo, one_way, round_trips, small_message


def echo_over_channels(there: Receiver[Any], back: Sender[Any]) -> None:
    echo(there.recv, back.send)


def echo_over_process_queues(there: Any, back: Any) -> None:
    echo(there.get, back.put)


def per_message(job: Callable[[int], float], times: int) -> Way:
    return lambda: job(times) / times


def run(settings: Settings) -> list[Result]:
    many, few, rounds = settings.size(20_000, 500), settings.size(2_000, 50), settings.size(15, 3)
    message = freeze(small_message())

    there_in, there = channel()
    back_in, back = channel()
    elsewhere = interpreters.create()
    thread = threading.Thread(target=elsewhere.call, args=(freeze(echo_over_channels), there, back_in))
    thread.start()

    queues = QueueEcho()
    process_there: Queue[Any] = multiprocessing.Queue()
    process_back: Queue[Any] = multiprocessing.Queue()
    process = multiprocessing.Process(target=echo_over_process_queues, args=(process_there, process_back))
    process.start()

    results: list[Result] = []
    with Stock(settings.stock) as stock:
        # Receiving from an empty queue of interpreters sleeps for 10 ms, so that a round trip there gets few turns.
        for name, job, times, queue_times, at_least in (
            ("one way", one_way, many, many, 10.0),
            ("round trip", round_trips, few, 20, None),
        ):
            over_channel, over_queue, over_process_queue, on_stock = in_turns(
                rounds,
                per_message(partial(job, there_in.send, back.recv, message), times),
                per_message(partial(job, queues.there.put, queues.back.get, message), queue_times),
                per_message(partial(job, process_there.put, process_back.get, message), few),
                per_message(partial(stock.seconds, "queue_" + job.__name__, 0), queue_times),
            )
            for theirs, their_seconds, wanted in (
                ("interpreters.Queue", over_queue, at_least),
                (f"interpreters.Queue on {stock.name}, pickled", on_stock, None),
                ("multiprocessing.Queue", over_process_queue, None),
            ):
                results.append(
                    Ratio(f"{name}, {theirs}", "channel", theirs, over_channel, their_seconds, at_least=wanted)
                )

    for put in (there_in.send, process_there.put):
        put(("stop", 0))
    thread.join()
    process.join()
    queues.close()
    elsewhere.close()
    return results
