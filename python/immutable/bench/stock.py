"""The same jobs on the unpatched interpreter, one at a time and on demand.

Also the program that does them: it must run where there is no `immutable`, so it is started by its path. It reads lines
of a job's name and two numbers, and answers each with the seconds that the job took.

Without an unpatched interpreter at hand, this very one does the jobs, with mutable data, which it handles in the same
way.
"""

import gc
import operator
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent import interpreters
from concurrent.futures import InterpreterPoolExecutor
from itertools import repeat
from typing import Any, Self


def nested_dict(entries: int) -> dict[int, object]:
    """So many entries, in dicts of a hundred each."""
    inner = range(100)
    return {outer: {key: (outer, str(key)) for key in inner} for outer in range(entries // 100)}


# ---- Messages, over whatever has a way in and a way out -----------------------


def small_message() -> dict[str, object]:
    return {"number": 7, "tags": ["a", "b"]}


def echo(get: Callable[[], Any], put: Callable[[Any], object]) -> None:
    """The other end of one_way and round_trips, until it is told to stop."""
    while True:
        wanted, times = get()
        if wanted == "one way":
            for _ in repeat(None, times):
                get()
            put("done")
        elif wanted == "round trips":
            for _ in repeat(None, times):
                put(get())
        else:
            return


def one_way(put: Callable[[Any], object], get: Callable[[], Any], message: object, times: int) -> float:
    """Seconds until so many messages have been received at the other end."""
    start = time.perf_counter()
    put(("one way", times))
    for _ in repeat(None, times):
        put(message)
    get()
    return time.perf_counter() - start


def round_trips(put: Callable[[Any], object], get: Callable[[], Any], message: object, times: int) -> float:
    """Seconds for so many messages, each of which came back before the next was sent."""
    put(("round trips", times))
    start = time.perf_counter()
    for _ in repeat(None, times):
        put(message)
        get()
    return time.perf_counter() - start


class QueueEcho:
    """Two queues of concurrent.interpreters, and an interpreter that runs echo between them."""

    def __init__(self) -> None:
        self.there, self.back = interpreters.create_queue(), interpreters.create_queue()
        self.interpreter = interpreters.create()
        self.interpreter.prepare_main(there=self.there, back=self.back)
        source = f"import runpy; runpy.run_path({__file__!r})['echo'](there.get, back.put)"
        self.thread = threading.Thread(target=self.interpreter.exec, args=(source,))
        self.thread.start()

    def close(self) -> None:
        self.there.put(("stop", 0))
        self.thread.join()
        self.interpreter.close()


# ---- The unpatched interpreter ---------------------------------------------------


class Stock:
    """The other interpreter, as a context manager."""

    def __init__(self, python: str | None) -> None:
        self.python = python or sys.executable
        self.name = "stock" if python else "this build"

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [self.python, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)

    def seconds(self, job: str, size: int, times: int) -> float:
        """The time of so many rounds of a job, in all."""
        requests, answers = self.process.stdin, self.process.stdout
        assert requests is not None
        assert answers is not None
        print(job, size, times, file=requests, flush=True)
        return float(answers.readline())


class Jobs:
    """What the other interpreter does. What a job needs is kept between its rounds."""

    def __init__(self) -> None:
        self.executor: InterpreterPoolExecutor | None = None
        self.queues: QueueEcho | None = None
        self.argument: dict[int, object] = {}

    def pool(self, entries: int, times: int) -> float:
        if self.executor is None:
            self.executor, self.argument = InterpreterPoolExecutor(max_workers=1), nested_dict(entries)
        start = time.perf_counter()
        for _ in range(times):
            self.executor.submit(operator.getitem, self.argument, 7).result()
        return time.perf_counter() - start

    def queue_one_way(self, _: int, times: int) -> float:
        return self._over_queues(one_way, times)

    def queue_round_trips(self, _: int, times: int) -> float:
        return self._over_queues(round_trips, times)

    def _over_queues(self, job: Callable[..., float], times: int) -> float:
        self.queues = self.queues or QueueEcho()
        return job(self.queues.there.put, self.queues.back.get, small_message(), times)

    def close(self) -> None:
        if self.executor is not None:
            self.executor.shutdown()
        if self.queues is not None:
            self.queues.close()


def serve(requests: Iterable[str]) -> None:
    gc.disable()
    jobs = Jobs()
    for line in requests:
        name, size, times = line.split()
        print(getattr(jobs, name)(int(size), int(times)), flush=True)
    jobs.close()


if __name__ == "__main__":
    serve(sys.stdin)
