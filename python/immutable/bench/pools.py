"""Calls in a pool with a large argument: by reference, by pickle between interpreters, by pickle between processes.

Each call gets a nested dict of 100,000 entries and looks one of them up.
"""

import operator
from concurrent.futures import Executor, InterpreterPoolExecutor, ProcessPoolExecutor

from immutable import freeze
from immutable.bench.comparison import Ratio, Result, Settings, in_turns, seconds
from immutable.bench.stock import Stock, nested_dict


def calls(pool: Executor, argument: dict[int, object], times: int) -> None:
    """Calls one after the other, so that each waits for its argument to get there."""
    for _ in range(times):
        pool.submit(operator.getitem, argument, 7).result()


def fresh_calls(pool: Executor, arguments: list[dict[int, object]]) -> None:
    while arguments:
        argument = arguments.pop()
        freeze(argument)
        pool.submit(operator.getitem, argument, 7).result()


def run(settings: Settings) -> list[Result]:
    entries, rounds = settings.size(100_000, 1_000), settings.size(15, 3)
    argument, frozen = nested_dict(entries), freeze(nested_dict(entries))
    many = 20
    with (
        InterpreterPoolExecutor(max_workers=1) as interpreter_pool,
        ProcessPoolExecutor(max_workers=1) as process_pool,
        Stock(settings.stock) as stock,
    ):
        calls(interpreter_pool, frozen, 3)
        calls(process_pool, argument, 1)
        stock.seconds("pool", entries, 1)

        def fresh() -> float:
            return seconds(fresh_calls, interpreter_pool, [nested_dict(entries)])

        # One call with a copy takes as long as many without.
        by_reference, afresh, by_process, on_stock = in_turns(
            rounds,
            lambda: seconds(calls, interpreter_pool, frozen, many) / many,
            fresh,
            lambda: seconds(calls, process_pool, argument, 1),
            lambda: stock.seconds("pool", entries, 1),
        )
    pairs = [("process pool", by_process), ("interpreter pool on " + stock.name, on_stock)]
    results: list[Result] = []
    for theirs, their_seconds in pairs:
        results.append(Ratio(f"frozen, {theirs}", "frozen", theirs, by_reference, their_seconds, at_least=10))
        results.append(Ratio(f"frozen for each call, {theirs}", "freeze and call", theirs, afresh, their_seconds))
    return results
