"""Counts the instructions that short programs execute on the patched and on the stock interpreter, with callgrind.

usage: bench_instructions.py [--patched PYTHON] [--stock PYTHON] [PROGRAM...]

Each program of tools/bench_programs is run with two loop counts and the difference is reported, so that start-up,
imports and the warm-up of the specialising interpreter do not count. Three interpreters are compared: stock as it
comes, stock with PYTHONMALLOC=mimalloc (the patched build's allocator), patched. Instruction counts hardly vary from
run to run and from machine to machine: hash randomisation and address randomisation are off.

Exit status 1 when a geometric mean over all programs is above its limit: 1.030 for patched over stock on mimalloc,
1.010 for patched over stock as it comes. The counts are also written to build/bench-instructions.json.
"""

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import re
import subprocess
import tempfile

from layout import BUILD, PROJECT, Failure, run_tool, shown

PROGRAMS = PROJECT / "tools/bench_programs"
WARM = 20  # loops before those that count
FEW, MANY = 10, 40  # further loops of the two runs that are subtracted
LIMIT_SAME_ALLOCATOR, LIMIT_AS_IT_COMES = 1.030, 1.010

_RUNNER = "import runpy, sys; run = runpy.run_path(sys.argv[1])['run']; run(int(sys.argv[2])); run(int(sys.argv[3]))"


def count(python, program, loops, allocator=None):
    """Instructions of one whole run: start-up, warm-up, and `loops` loops."""
    # Not -I: it would ignore these variables.
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "LC_ALL": "C"}
    if allocator:
        environment["PYTHONMALLOC"] = allocator
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            ["setarch", "-R", "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
             python, "-B", "-P", "-s", "-S", "-c", _RUNNER, program, str(WARM), str(loops)],
            capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    total = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or total is None:
        raise Failure(f"{shown(python)} failed on {program.name} under callgrind:\n{result.stderr[-2000:]}")
    return int(total[1])


def per_loop(pool, python, program, allocator=None):
    few, many = (pool.submit(count, python, program, loops, allocator) for loops in (FEW, MANY))
    return lambda: (many.result() - few.result()) / (MANY - FEW)


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def main():
    parser = argparse.ArgumentParser(description="Instruction counts, patched over stock.")
    parser.add_argument("--patched", type=pathlib.Path, default=BUILD / "release/python")
    parser.add_argument("--stock", type=pathlib.Path, default=BUILD / "stock/python")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    arguments = parser.parse_args()

    programs = sorted(PROGRAMS.glob("*.py"))
    if arguments.programs:
        programs = [program for program in programs if program.stem in arguments.programs]
    if not programs:
        raise Failure(f"No such program. Known: {', '.join(sorted(path.stem for path in PROGRAMS.glob('*.py')))}")
    for python in (arguments.patched, arguments.stock):
        if not python.exists():
            raise Failure(f"{shown(python)} is not built.")

    jobs = int(os.environ.get("JOBS") or os.cpu_count())
    rows = []
    titles = ("stock", "stock mimalloc", "patched", "/stock", "/mimalloc")
    print("{:<20} {:>12} {:>15} {:>12} {:>8} {:>10}".format("instr. per loop", *titles))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        pending = [
            (program.stem,
             per_loop(pool, arguments.stock, program),
             per_loop(pool, arguments.stock, program, "mimalloc"),
             per_loop(pool, arguments.patched, program))
            for program in programs
        ]  # fmt: skip
        for name, *counts in pending:
            stock, mimalloc, patched = (result() for result in counts)
            rows.append({"program": name, "stock": stock, "stock_mimalloc": mimalloc, "patched": patched})
            print(
                f"{name:<20} {stock:>12.0f} {mimalloc:>15.0f} {patched:>12.0f} "
                f"{patched / stock:>8.3f} {patched / mimalloc:>10.3f}",
                flush=True,
            )
    over_stock = geometric_mean([row["patched"] / row["stock"] for row in rows])
    over_mimalloc = geometric_mean([row["patched"] / row["stock_mimalloc"] for row in rows])
    print(f"{'geometric mean':<61} {over_stock:>8.3f} {over_mimalloc:>10.3f}")
    print(f"{'limit':<61} {LIMIT_AS_IT_COMES:>8.3f} {LIMIT_SAME_ALLOCATOR:>10.3f}")
    BUILD.mkdir(exist_ok=True)
    report = BUILD / "bench-instructions.json"
    report.write_text(
        json.dumps({"programs": rows, "patched/stock": over_stock, "patched/stock_mimalloc": over_mimalloc}, indent=1)
    )
    print(f"written: {shown(report)}")
    return 1 if over_stock > LIMIT_AS_IT_COMES or over_mimalloc > LIMIT_SAME_ALLOCATOR else 0


if __name__ == "__main__":
    run_tool(main)
