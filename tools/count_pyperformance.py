"""Counts the instructions of benchmarks of the pyperformance suite on the patched and on the stock interpreter.

usage: count_pyperformance.py [--patched PYTHON] [--stock PYTHON] BENCHMARK...

Tells a benchmark that takes longer because it does more from one that waits, or that the machine disturbed. Each is run
by pyperf's worker under callgrind, as pyperformance would run it, with two numbers of values; the difference is
reported, so that start-up and warm-up do not count. Instructions of the processes that a benchmark starts count too.
Where threads or processes wait for each other the counts vary with what the waiting does.

Prints a line for each name that the benchmarks measure under, and writes build/pyperformance/instructions.json. Run by
build/venv-bench (tools/bench-venv).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import pyperf
from pyperformance import _manifest

import callgrind
from bench_pyperformance import FOLDER
from layout import BUILD, Failure, run_tool, shown

FEW, MANY = 1, 3  # values of the two runs that are subtracted
LONG_ENOUGH = 0.1  # seconds that the loops of one value take without callgrind, at least


class Worker:
    """Runs one benchmark function of a script of pyperformance with one interpreter."""

    def __init__(self, python, benchmark, task):
        script = [python, "-u", benchmark.runscript, *(benchmark.extra_opts or ())]
        self.command = [*script, "--worker", f"--worker-task={task}", "--warmups=1"]

    def options(self, loops, values):
        return [*self.command, f"--loops={loops}", f"--values={values}"]

    def measure(self, loops):
        """The name of the benchmark function and the seconds that so many loops take; None if there is none."""
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder, "result.json")
            done = subprocess.run(
                [*map(str, self.options(loops, 1)), f"--output={output}"],
                capture_output=True, text=True, env=callgrind.ENVIRONMENT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode:
                raise Failure(f"{self.command[2]} failed:\n{done.stderr[-2000:]}")
            if not output.exists():
                return None
            [measured] = pyperf.BenchmarkSuite.load(str(output)).get_benchmarks()
        inner_loops = measured.get_metadata().get("inner_loops", 1)
        return measured.get_name(), measured.median() * loops * inner_loops

    def count(self, loops):
        """Instructions of one loop."""
        few, many = (callgrind.instructions(self.options(loops, values)) for values in (FEW, MANY))
        return (many - few) / (MANY - FEW) / loops


def run(*command):
    done = subprocess.run(
        [*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise Failure(f"Failed: {' '.join(map(str, command))}\n{done.stdout[-2000:]}")


def environment(side, python, benchmarks):
    """An interpreter with pyperf and what the benchmarks require."""
    folder = FOLDER / f"{side}-counted"
    run(python, "-m", "venv", "--clear", folder)
    files = {pathlib.Path(benchmark.requirements_lockfile) for benchmark in benchmarks}
    requirements = [argument for file in sorted(files) if file.exists() for argument in ("-r", file)]
    run(folder / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "pyperf", *requirements)
    return folder / "bin/python"


def tasks(pythons, benchmark):
    """For each function of a benchmark its name, its workers by side, and how many loops are long enough."""
    task = 0
    while True:
        workers = {side: Worker(python, benchmark, task) for side, python in pythons.items()}
        loops = 1
        while (measured := workers["stock"].measure(loops)) and measured[1] < LONG_ENOUGH:
            loops *= 2 if measured[1] > LONG_ENOUGH / 8 else 8
        if measured is None:
            return
        yield measured[0], workers, loops
        task += 1


def main():
    parser = argparse.ArgumentParser(description="Instruction counts of pyperformance's benchmarks.")
    parser.add_argument("--patched", type=pathlib.Path, default=BUILD / "pgo/python")
    parser.add_argument("--stock", type=pathlib.Path, default=BUILD / "stock-pgo/python")
    parser.add_argument("benchmarks", nargs="+", metavar="BENCHMARK")
    arguments = parser.parse_args()
    sides = {"stock": arguments.stock.resolve(), "patched": arguments.patched.resolve()}
    for python in sides.values():
        if not python.exists():
            raise Failure(f"{shown(python)} is not built.")
    known = {benchmark.name: benchmark for benchmark in _manifest.load_manifest(None).benchmarks}
    if unknown := set(arguments.benchmarks) - set(known):
        raise Failure(f"No such benchmark: {', '.join(sorted(unknown))}")

    FOLDER.mkdir(parents=True, exist_ok=True)
    chosen = [known[name] for name in arguments.benchmarks]
    pythons = {side: environment(side, python, chosen) for side, python in sides.items()}
    counts = {}
    print(f"{'instructions per loop':<40} {'stock':>14} {'patched':>14} {'ratio':>7}")
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count())) as pool:
        for benchmark in chosen:
            found = [
                (title, {side: pool.submit(worker.count, loops) for side, worker in workers.items()})
                for title, workers, loops in tasks(pythons, benchmark)
            ]
            for title, pending in found:
                counts[title] = {side: count.result() for side, count in pending.items()}
                stock, patched = counts[title]["stock"], counts[title]["patched"]
                print(f"{title:<40} {stock:>14.0f} {patched:>14.0f} {patched / stock:>7.3f}", flush=True)
    ratios = [count["patched"] / count["stock"] for count in counts.values()]
    print(f"geometric mean of {len(ratios)}: {statistics.geometric_mean(ratios):.4f}")
    report = FOLDER / "instructions.json"
    report.write_text(json.dumps(counts, indent=1) + "\n")
    print(f"written: {shown(report)}")
    return 0


if __name__ == "__main__":
    run_tool(main)
