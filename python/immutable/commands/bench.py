"""Compare the runtime with what a program would do without it.

Each benchmark runs in a process of its own. Numbers are ratios: see the package immutable.bench.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from immutable.bench.comparison import Result, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    parser.add_argument("--quick", action="store_true", help="little data and few rounds: numbers that mean nothing")
    parser.add_argument("--stock", metavar="PYTHON", help="an unpatched interpreter to compare with")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write NAME.json there for each benchmark")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help="default: all of them")


def run(arguments: argparse.Namespace) -> int:
    """Runs the benchmarks that the arguments name, and returns the exit status."""
    from immutable import bench  # with all that the benchmarks need: not for the other commands
    from immutable.bench.comparison import Settings

    if arguments.list:
        for name, function in bench.BENCHMARKS.items():
            print(f"{name:16} {(sys.modules[function.__module__].__doc__ or '').splitlines()[0]}")
        return 0
    if unknown := set(arguments.benchmarks) - bench.BENCHMARKS.keys():
        print(f"no benchmark is called {', '.join(sorted(unknown))}: see --list", file=sys.stderr)
        return 2
    if arguments.answer is not None:
        [name] = arguments.benchmarks
        run_here(bench.BENCHMARKS[name], Settings(arguments.quick, arguments.stock), arguments.answer)
        return 0

    for name in arguments.benchmarks or bench.BENCHMARKS:
        print(f"\n{name:44} {'ours':>10} {'theirs':>10} {'median':>9} {'of best':>9} {'target':>8}", flush=True)
        before = circumstances()
        results = run_apart(name, arguments)
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            report = {"benchmark": name, "quick": arguments.quick, "results": results} | before
            report["load_after"] = os.getloadavg()
            (arguments.output / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "CPU part"):
            return value.strip()
    return platform.machine()


def circumstances() -> dict[str, object]:
    """The machine, the build, and how busy the machine is: what a number is worth without is little."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "architecture": platform.machine(),
            "processor": processor(),
            "processors": os.process_cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()),
            "load": os.getloadavg(),
        },
        "build": {
            "version": sys.version,
            "compiler": platform.python_compiler(),
            "configure": sysconfig.get_config_var("CONFIG_ARGS"),
            "flags": sysconfig.get_config_var("PY_CORE_CFLAGS"),
            "allocator": os.environ.get("PYTHONMALLOC", "default"),
        },
    }


def run_here(benchmark: Callable[[Settings], list[Result]], settings: Settings, answer: int) -> None:
    """Runs one benchmark in this process, and writes its results to a file descriptor: tests print what they like."""
    results = benchmark(settings)
    for result in results:
        print(result.shown(), flush=True)
    with open(answer, "w") as out:
        json.dump([result.as_json() for result in results], out)


def run_apart(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs one benchmark in a process of its own."""
    readable, writable = os.pipe()
    command = [sys.executable, "-m", "immutable", "bench", "--answer", str(writable), name]
    command += ["--quick"] * arguments.quick
    if arguments.stock:
        command += ["--stock", arguments.stock]
    with subprocess.Popen(command, pass_fds=[writable]) as process, open(readable) as answer:
        os.close(writable)
        text = answer.read()
    if process.returncode:
        raise SystemExit(f"benchmark {name} failed with exit status {process.returncode}")
    results: list[dict[str, Any]] = json.loads(text)
    return results
