"""Counts the instructions that short programs execute on the patched and on the stock interpreter, with callgrind.

usage: bench_instructions.py [--patched PYTHON] [--stock PYTHON] [--record] [PROGRAM...]

Each program of tools/bench_programs is run with two loop counts and the difference is reported, so that start-up,
imports and the warm-up of the specialising interpreter do not count. Three interpreters are compared: stock as it
comes, stock with PYTHONMALLOC=mimalloc (the patched build's allocator), patched. Instruction counts hardly vary from
run to run and from machine to machine: hash randomisation and address randomisation are off.

Exit status 1 when a geometric mean is worse by more than 0.3 % than that of the same programs in
tools/bench_instructions.json, or, over all programs, above its limit: 1.015 for patched over stock on mimalloc, 0.998
for patched over stock as it comes. With --record the ratios of the programs that ran are written to that file instead,
with what compiler and version they are of. The counts are also written to build/bench-instructions.json.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess

import callgrind
from layout import BUILD, PROJECT, Failure, run_tool, shown

PROGRAMS = PROJECT / "tools/bench_programs"
WARM = 20  # loops before those that count
FEW, MANY = 10, 40  # further loops of the two runs that are subtracted
RECORD = PROJECT / "tools/bench_instructions.json"
KINDS = {"patched/stock": "stock", "patched/stock_mimalloc": "stock_mimalloc"}  # ratio -> what it is over
LIMITS = {"patched/stock": 0.998, "patched/stock_mimalloc": 1.015}
TOLERANCE = 1.003

_RUNNER = "import runpy, sys; run = runpy.run_path(sys.argv[1])['run']; run(int(sys.argv[2])); run(int(sys.argv[3]))"


def count(python, program, loops, allocator=None):
    """Instructions of one whole run: start-up, warm-up, and `loops` loops."""
    environment = callgrind.ENVIRONMENT | ({"PYTHONMALLOC": allocator} if allocator else {})
    command = [python, "-B", "-P", "-s", "-S", "-c", _RUNNER, program, WARM, loops]
    return callgrind.instructions(command, environment)


def compile_imports(python, program):
    """Has what the program imports compiled and stored: no run that counts may be the one that does so."""
    command = [python, "-P", "-s", "-S", "-c", _RUNNER, program, "1", "1"]
    done = subprocess.run(command, env=callgrind.ENVIRONMENT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failure(f"{shown(python)} failed on {program.name}")


def per_loop(pool, python, program, allocator=None):
    few, many = (pool.submit(count, python, program, loops, allocator) for loops in (FEW, MANY))
    return lambda: (many.result() - few.result()) / (MANY - FEW)


def worse_than_recorded(ratios):
    """What is worse than the record, a line each. Programs that the record lacks are not compared."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {kind: {} for kind in KINDS}
    lines = []
    for kind, by_program in ratios.items():
        common = [program for program in by_program if program in record[kind]]
        if not common:
            continue
        now = statistics.geometric_mean([by_program[program] for program in common])
        before = statistics.geometric_mean([record[kind][program] for program in common])
        if now > before * TOLERANCE:
            lines.append(f"{kind} is {now:.4f}; {shown(RECORD)} has {before:.4f} for the same programs")
    return lines


def description(python):
    """Version and compiler of an interpreter: other ones give other counts."""
    code = "import platform; print(platform.python_version(), platform.python_compiler(), platform.machine(), sep=', ')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description="Instruction counts, patched over stock.")
    parser.add_argument("--patched", type=pathlib.Path, default=BUILD / "release/python")
    parser.add_argument("--stock", type=pathlib.Path, default=BUILD / "stock/python")
    parser.add_argument("--record", action="store_true", help=f"write the ratios to {shown(RECORD)}")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM")
    arguments = parser.parse_args()

    known = sorted(PROGRAMS.glob("*.py"))
    programs = [program for program in known if not arguments.programs or program.stem in arguments.programs]
    if unknown := set(arguments.programs) - {program.stem for program in known}:
        raise Failure(f"No such program: {', '.join(unknown)}. Known: {', '.join(path.stem for path in known)}")
    for python in (arguments.patched, arguments.stock):
        if not python.exists():
            raise Failure(f"{shown(python)} is not built.")

    for python in (arguments.patched, arguments.stock):
        for program in programs:
            compile_imports(python, program)
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
    ratios = {kind: {row["program"]: row["patched"] / row[over] for row in rows} for kind, over in KINDS.items()}
    means = {kind: statistics.geometric_mean(list(by_program.values())) for kind, by_program in ratios.items()}
    for title, values in (("geometric mean", means), ("limit", LIMITS)):
        if title == "geometric mean" or programs == known:
            print(f"{title:<61} {values['patched/stock']:>8.4f} {values['patched/stock_mimalloc']:>10.4f}")
    BUILD.mkdir(exist_ok=True)
    report = BUILD / "bench-instructions.json"
    report.write_text(json.dumps({"programs": rows} | means, indent=1))
    print(f"written: {shown(report)}")

    if arguments.record:
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        record |= {"of": description(arguments.patched)}
        for kind, by_program in ratios.items():
            rounded = {name: round(ratio, 5) for name, ratio in by_program.items()}
            record[kind] = dict(sorted((record.get(kind, {}) | rounded).items()))
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        print(f"written: {shown(RECORD)}")
        return 0
    failures = worse_than_recorded(ratios)
    if programs == known:
        failures += [f"{kind} is above its limit" for kind in KINDS if means[kind] > LIMITS[kind]]
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    run_tool(main)
