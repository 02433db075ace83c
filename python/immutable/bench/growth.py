"""How time and memory grow with the graph, with the size of a component, and with the number of interpreters.

Each size is measured in a process of its own, so that the memory of one is not the free memory of the next.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent import interpreters as interpreters_module
from pathlib import Path
from typing import Any

from immutable import _stats, freeze
from immutable.bench.comparison import Result, Series, Settings, seconds

MEMBERS_IN_ALL = 1_000_000


class Position:
    def __init__(self, line: int, column: float) -> None:
        self.line, self.column = line, column


def records(objects: int) -> list[Any]:
    """Per round a tuple, an instance, a list, a float and a dict."""
    return [({"at": [Position(n & 255, 0.5 + n)]},) for n in range(objects // 5)]


def rings(members: int) -> list[Any]:
    """Components of so many lists, each of which holds the next: a million lists in all."""
    return [ring(members) for _ in range(max(1, MEMBERS_IN_ALL // members))]


def ring(members: int) -> list[Any]:
    first: list[Any] = []
    last = first
    for _ in range(members - 1):
        following: list[Any] = []
        last.append(following)
        last = following
    last.append(first)
    return first


def resident(kind: str) -> int:
    """Bytes in RAM: now (VmRSS), or the most there ever were (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(kind)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure(build: Callable[[int], list[Any]], size: int) -> dict[str, float]:
    """Nanoseconds and bytes per object of one freeze and of the release."""
    freeze(Position)
    graph = build(size)
    before, objects = resident("VmRSS"), _stats()["frozen_objects"]
    forget_peak()
    freezing = seconds(freeze, graph)
    peak, after = resident("VmHWM"), resident("VmRSS")
    objects = _stats()["frozen_objects"] - objects
    start = time.perf_counter()
    del graph
    releasing = time.perf_counter() - start
    return {
        "freeze ns": freezing / objects * 1e9,
        "release ns": releasing / objects * 1e9,
        "peak bytes": max(0, peak - before) / objects,
        "kept bytes": max(0, after - before) / objects,
    }


def in_own_process(build: Callable[[int], list[Any]], size: int) -> dict[str, float]:
    source = (
        f"import json; from immutable.bench import growth; "
        f"print(json.dumps(growth.measure(growth.{build.__name__}, {size})))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def grown(series: Series, build: Callable[[int], list[Any]], sizes: list[int], rounds: int) -> Series:
    for size in sizes:
        taken = [in_own_process(build, size) for _ in range(rounds)]
        series.add(size, **{name: min(one[name] for one in taken) for name in taken[0]})
    return series


def graph_size(settings: Settings) -> list[Result]:
    sizes = [10**power for power in range(3, settings.size(8, 5))]
    series = Series("records", [], "objects", "per object")
    return [grown(series, records, sizes, settings.size(3, 1))]


def component_size(settings: Settings) -> list[Result]:
    sizes = [1, *[10**power for power in range(1, settings.size(7, 4))]]
    series = Series("rings", [], "members of a component", "per member")
    return [grown(series, rings, sizes, settings.size(5, 1))]


# ---- Interpreters -------------------------------------------------------------


def read_all(graph: Any, times: int) -> float:
    """Processor seconds of reading every object, so many times over."""
    start = time.thread_time()
    total = 0.0
    for _ in range(times):
        for (table,) in graph:
            for position in table["at"]:
                total += position.column
    return time.thread_time() - start


def interpreters(settings: Settings) -> list[Result]:
    """One graph read by so many interpreters at once: processor time of each, and memory that each takes.

    Every reader counts references to the same objects, which is the worst that can be done to a shared graph. "own
    graphs" is the same with a graph for each: what is between the two is what the processors' caches take to pass
    the counts back and forth.
    """
    objects, times, rounds = settings.size(100_000, 5_000), settings.size(5, 1), settings.size(5, 1)
    largest = settings.size(8, 2)
    freeze(Position, read_all)
    graphs = [freeze(records(objects)) for _ in range(largest)]
    series = Series("interpreters reading at once", [], "interpreters", "ns of processor time per object, MB")
    for number in [one for one in (1, 2, 4, 8) if one <= largest]:
        before = resident("VmRSS")
        readers = [interpreters_module.create() for _ in range(number)]
        shared, own = float("inf"), float("inf")
        for _ in range(rounds):
            shared = min(shared, read_at_once(readers, [graphs[0]] * number, times))
            own = min(own, read_at_once(readers, graphs[:number], times))
        memory = (resident("VmRSS") - before) / number / 1e6
        for reader in readers:
            reader.close()
        scale = 1e9 / times / objects
        series.add(number, **{"one graph": shared * scale, "own graphs": own * scale, "MB each": memory})
    return [series]


def read_at_once(readers: list[Any], graphs: list[Any], times: int) -> float:
    """Mean processor seconds of a reader."""
    spent: list[float] = []
    threads = [
        threading.Thread(target=lambda reader=reader, graph=graph: spent.append(reader.call(read_all, graph, times)))
        for reader, graph in zip(readers, graphs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(spent) / len(spent)
