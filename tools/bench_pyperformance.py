"""Runs the pyperformance suite on the patched and on the stock interpreter, and draws what it says.

usage: bench_pyperformance.py [--mode fast|default] [--turns N] [--again] [--patched PYTHON] [--stock PYTHON]
                              [-b BENCHMARK,...]

The two interpreters take turns, benchmark by benchmark, so that a machine that changes during the hours that this takes
changes for both. Still each has a benchmark to itself for some seconds, and what else the machine does then counts for
one side: where the two differ by more than SUSPICIOUS, whichever is the faster, they take further turns, as many as
--turns says in all. Every value counts, and a ratio is that of the medians. With --again the turns of this run are
added to those of the last one.

Which benchmarks there are is asked of pyperformance; one that cannot run on either interpreter is named with the
reason, and left out of the geometric mean. Run by build/venv-bench (tools/bench-venv).

Results are in build/pyperformance: stock.json and patched.json for pyperf, comparison.txt as `pyperf compare_to` prints
it, comparison.svg with every benchmark, failures.txt. Exit status 1 if a benchmark runs on stock and not on patched.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys

import matplotlib
import pyperf

matplotlib.use("Agg")
from matplotlib import pyplot

from layout import BUILD, PROJECT, Failure, run_tool, shown

FOLDER = BUILD / "pyperformance"
SUSPICIOUS = 0.03  # a difference, of 1


def pyperformance(folder, *arguments):
    """Runs a command of pyperformance in a folder, where it makes an environment for the benchmarks' requirements."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-m", "pyperformance", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def benchmarks():
    listed = pyperformance(FOLDER, "list")
    names = re.findall(r"^- (\S+)", listed.stdout, re.MULTILINE)
    if not names:
        raise Failure(f"pyperformance lists no benchmarks:\n{listed.stdout}")
    return names


def reason(output):
    """Why a benchmark failed: the last error that its output names, whatever is around it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)\b", line) or line.startswith("ERROR")]
    return (errors or lines or ["no output"])[-1]


class Side:
    """One interpreter, with a folder for its environment, and what was measured so far."""

    def __init__(self, name, python, mode, again):
        self.name, self.python, self.mode = name, python, mode
        self.suite, self.failures = None, {}
        self.parts = {}  # name of a benchmark of pyperformance -> the names that it measures under
        self.result = FOLDER / f"{name}.json"
        self.folder = FOLDER / name
        if again:
            self.suite = pyperf.BenchmarkSuite.load(str(self.result))
        else:
            self.result.unlink(missing_ok=True)

    def run(self, benchmark):
        output = FOLDER / f"{self.name}-one.json"
        output.unlink(missing_ok=True)
        speed = ["--fast"] if self.mode == "fast" else []
        done = pyperformance(self.folder, "run", "-p", self.python, "-b", benchmark, "-o", output, *speed)
        (FOLDER / f"{self.name}.log").open("a").write(f"--- {benchmark}\n{done.stdout}\n")
        if not output.exists():
            self.failures[benchmark] = reason(done.stdout)
            return
        if done.returncode:
            self.failures[benchmark] = reason(done.stdout)
        measured = pyperf.BenchmarkSuite.load(str(output))
        self.parts[benchmark] = measured.get_benchmark_names()
        if self.suite is None:
            self.suite = measured
        else:
            self.suite.add_runs(measured)
        output.unlink()
        self.suite.dump(str(self.result), replace=True)

    def medians(self):
        return {one.get_name(): one.median() for one in self.suite.get_benchmarks()} if self.suite else {}


def measure(sides, benchmarks):
    """Has each side run each benchmark once."""
    for number, benchmark in enumerate(benchmarks, 1):
        for side in sides if number % 2 else reversed(sides):
            side.run(benchmark)
        failed = [side.name for side in sides if benchmark in side.failures]
        print(
            f"{number}/{len(benchmarks)} {benchmark}{': failed on ' + ' and '.join(failed) if failed else ''}",
            flush=True,
        )


def ratios_of(stock, patched):
    """Time of patched over that of stock, for each name that both have measured."""
    before, after = stock.medians(), patched.medians()
    return {name: after[name] / before[name] for name in before if name in after}


def suspicious(benchmarks, stock, patched):
    """Those of the benchmarks that have a name under which the sides differ too much to be believed at once."""
    ratios = ratios_of(stock, patched)
    differs = {name for name, ratio in ratios.items() if abs(ratio - 1) > SUSPICIOUS}
    return [benchmark for benchmark in benchmarks if differs.intersection(stock.parts.get(benchmark, ()))]


def draw(ratios, mean, note):
    """A bar for each benchmark, from 1 to the ratio; slower is to the right."""
    names = sorted(ratios, key=ratios.get)
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.2 * len(names)))
    axes.barh(names, [ratios[name] - 1 for name in names], left=1, color="#5a6f8c")
    axes.axvline(1, color="black", linewidth=1)
    axes.axvline(mean, color="#b3422f", linestyle="dotted", label=f"geometric mean {mean:.3f}")
    axes.tick_params(labelsize=7)
    axes.set_xlabel("time, patched over stock")
    axes.legend(fontsize=8)
    axes.set_title(note, fontsize=8)
    figure.tight_layout()
    figure.savefig(FOLDER / "comparison.svg")


def main():
    parser = argparse.ArgumentParser(description="The pyperformance suite, patched against stock.")
    parser.add_argument("--mode", choices=["fast", "default"], default="fast")
    parser.add_argument("--patched", type=pathlib.Path, default=BUILD / "pgo/python")
    parser.add_argument("--stock", type=pathlib.Path, default=BUILD / "stock-pgo/python")
    parser.add_argument("--turns", type=int, default=3, help="of each side, at most, where they differ (default: 3)")
    parser.add_argument("--again", action="store_true", help="adds to the last results")
    parser.add_argument("-b", "--benchmarks", help="names, separated by commas (default: all)")
    arguments = parser.parse_args()
    for python in (arguments.patched, arguments.stock):
        if not python.exists():
            raise Failure(f"{shown(python)} is not built.")
    FOLDER.mkdir(parents=True, exist_ok=True)

    stock = Side("stock", arguments.stock.resolve(), arguments.mode, arguments.again)
    patched = Side("patched", arguments.patched.resolve(), arguments.mode, arguments.again)
    sides = [stock, patched]
    chosen = arguments.benchmarks.split(",") if arguments.benchmarks else benchmarks()
    measure(sides, chosen)
    for _ in range(1, arguments.turns):
        measure(sides, suspicious(chosen, stock, patched))

    ratios = ratios_of(stock, patched)
    only_patched = sorted(set(patched.failures) - set(stock.failures))
    failures = [
        f"{benchmark}, on {side.name}: {why}" for side in sides for benchmark, why in sorted(side.failures.items())
    ]
    (FOLDER / "failures.txt").write_text("".join(line + "\n" for line in failures))
    if not ratios:
        raise Failure("No benchmark ran on both interpreters:\n" + "\n".join(failures))
    compared = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", "--table", str(stock.result), str(patched.result)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    (FOLDER / "comparison.txt").write_text(compared.stdout)
    print(compared.stdout)
    mean = statistics.geometric_mean(ratios.values())
    builds = f"{arguments.patched.resolve().parent.name} over {arguments.stock.resolve().parent.name}"
    draw(ratios, mean, f"{builds}, {len(ratios)} benchmarks, mode {arguments.mode}")
    for name in sorted(ratios, key=ratios.get, reverse=True):
        if ratios[name] > 1 + SUSPICIOUS:
            print(f"slower by more than {SUSPICIOUS:.0%}: {name}, {ratios[name]:.3f}")
    print(f"geometric mean of {len(ratios)} benchmarks, time of patched over stock: {mean:.4f}")
    for line in failures:
        print(f"cannot run: {line}")
    print(f"written: {shown(FOLDER.relative_to(PROJECT))}/comparison.svg")
    return 1 if only_patched else 0


if __name__ == "__main__":
    run_tool(main)
