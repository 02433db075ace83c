"""Inverting many 4x4 matrices in one or two workers: frozen, pickled, and in one process without any of it.

What is wanted is that two workers take hardly more than half the time of one. On a machine that does other work too,
the wall clock cannot tell; so there is a second measure, the processor time that the workers themselves took: what
two workers spend on it in all, beyond what one does, is what they lose by working side by side.
"""

import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent import interpreters
from typing import Any

from immutable import Receiver, Sender, channel, freeze
from immutable.bench.comparison import Ratio, Result, Settings, in_turns

type Matrix = list[list[float]]

SHARES = 16


def inverted(matrix: Matrix) -> Matrix:
    """Gauss and Jordan's way, with the largest pivot of each column."""
    size = len(matrix)
    rows = [[*row, *[float(i == j) for j in range(size)]] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        divisor = rows[column][column]
        rows[column] = [value / divisor for value in rows[column]]
        for row in range(size):
            if row != column and (factor := rows[row][column]):
                rows[row] = [value - factor * above for value, above in zip(rows[row], rows[column], strict=True)]
    return [row[size:] for row in rows]


def invertible_matrices(number: int) -> list[Matrix]:
    """Rows that no other outweighs, so that none is singular."""
    return [
        [[4.5 + n % 7 if i == j else ((n * 31 + i * 7 + j * 3) % 13) / 13 for j in range(4)] for i in range(4)]
        for n in range(number)
    ]


def work_on_frozen(jobs: Receiver[Any], results: Sender[Any]) -> None:
    for matrices in jobs:
        start = time.thread_time()
        answer = freeze([inverted(matrix) for matrix in matrices])
        results.send((answer, time.thread_time() - start))


def work_on_pickled(jobs: Receiver[Any], results: Sender[Any]) -> None:
    for pickled in jobs:
        start = time.thread_time()
        answer = pickle.dumps([inverted(matrix) for matrix in pickle.loads(pickled)])
        results.send((answer, time.thread_time() - start))


class Team:
    """So many interpreters that run one kind of work."""

    def __init__(self, number: int, work: Callable[..., None]) -> None:
        self.jobs, jobs = channel()
        results, self.results = channel()
        self.interpreters = [interpreters.create() for _ in range(number)]
        self.threads = [
            threading.Thread(target=one.call, args=(freeze(work), jobs, results)) for one in self.interpreters
        ]
        for thread in self.threads:
            thread.start()
        self.worked: list[float] = []

    def seconds(self, shares: list[Any], out: Callable[[Any], object], back: Callable[[Any], object]) -> float:
        """The wall time of having all shares worked on. Notes the processor time of the workers, in all."""
        start = time.perf_counter()
        for share in shares:
            self.jobs.send(out(share))
        worked = 0.0
        for _ in shares:
            answer, spent = self.results.recv()
            back(answer)
            worked += spent
        self.worked.append(worked)
        return time.perf_counter() - start

    def close(self) -> None:
        self.jobs.close()
        for thread in self.threads:
            thread.join()
        for one in self.interpreters:
            one.close()


def run(settings: Settings) -> list[Result]:
    rounds = settings.size(15, 2)
    data = invertible_matrices(settings.size(8_000, 160))
    shares = [data[first::SHARES] for first in range(SHARES)]
    frozen = freeze([[[list(row) for row in matrix] for matrix in share] for share in shares])
    dumps, loads = pickle.dumps, pickle.loads

    one, two = Team(1, work_on_frozen), Team(2, work_on_frozen)
    one_pickled, two_pickled = Team(1, work_on_pickled), Team(2, work_on_pickled)

    def alone() -> float:
        start = time.perf_counter()
        for share in shares:
            [inverted(matrix) for matrix in share]
        return time.perf_counter() - start

    by_one, by_two, pickled_by_one, pickled_by_two, in_one_process = in_turns(
        rounds,
        lambda: one.seconds(frozen, lambda share: share, lambda answer: answer),
        lambda: two.seconds(frozen, lambda share: share, lambda answer: answer),
        lambda: one_pickled.seconds(shares, dumps, loads),
        lambda: two_pickled.seconds(shares, dumps, loads),
        alone,
    )
    for team in (one, two, one_pickled, two_pickled):
        team.close()
    cores = os.process_cpu_count() or 1
    note = f"wall time, with {cores} processors"
    return [
        Ratio("frozen: two workers, one", "two", "one", by_two, by_one, at_least=1.85, note=note),
        Ratio(
            "frozen: half the worked time of two, of one",
            "two, processor time",
            "one, processor time",
            [worked / 2 for worked in two.worked],
            one.worked,
            at_least=1.85,
            note="what the wall time would be with two idle processors",
        ),
        Ratio("pickled: two workers, one", "two", "one", pickled_by_two, pickled_by_one, note=note),
        Ratio("two workers: frozen, pickled", "frozen", "pickled", by_two, pickled_by_two, note=note),
        Ratio("one worker: frozen, one process", "frozen", "one process", by_one, in_one_process, at_most=1.10),
        Ratio("two workers frozen, one process", "frozen", "one process", by_two, in_one_process, note=note),
    ]
