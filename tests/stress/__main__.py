"""Random work on frozen objects from many threads and interpreters, for as long as one likes.

usage: python tests/stress [--seconds N] [--seed S] [--only SCENARIO,...] [--list] ...

Scenarios are picked at random until the time is over. Each run of one draws its operations from a seed of its own,
checks its results, and must leave nothing frozen behind. The first wrong result, leak, crash or hang ends the program
with a non-zero status, and names the scenario, the seed that repeats it, and the step. (What threads do to each other
is up to the machine: a repetition has the same operations, not the same interleaving.)
"""

import argparse
import random
import sys

import driver
from scenario import SCENARIOS, load_scenarios


def arguments():
    parser = argparse.ArgumentParser(prog="python tests/stress", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long to run (default 60)")
    parser.add_argument("--runs", type=int, help="end after this many runs")
    parser.add_argument("--seed", type=int, help="the seed of the first run, and of the choice of the others")
    parser.add_argument("--only", metavar="NAME,...", help="scenarios, or subjects (see --list)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--threads", type=int, default=4, help="threads of a scenario (default 4)")
    parser.add_argument("--interpreters", type=int, default=4, help="interpreters of a scenario (default 4)")
    parser.add_argument("--first-id", type=int, help="the id of the first interpreter: the owners' marks end at 65534")
    parser.add_argument("--hang", type=float, default=300, help="seconds until a run counts as hung (default 300)")
    parser.add_argument("--here", action="store_true", help="run in this process, without a supervisor: for a debugger")
    chosen = parser.parse_args()
    if chosen.seed is None:
        chosen.seed = random.SystemRandom().getrandbits(32)
    if chosen.threads < 1 or chosen.interpreters < 1:
        parser.error("at least one thread and one interpreter are needed")
    names = []
    for name in chosen.only.split(",") if chosen.only else []:
        fitting = [each.name for each in SCENARIOS.values() if name in (each.name, each.subject)]
        if not fitting:
            parser.error(f"there is no scenario and no subject named {name}; --list lists them")
        names += fitting
    chosen.scenarios = names or [each.name for each in SCENARIOS.values() if each.weight]
    return chosen


def main():
    load_scenarios()
    chosen = arguments()
    if chosen.list:
        for each in SCENARIOS.values():
            print(f"{each.subject:12} {each.name}" + ("" if each.weight else "   (only by name)"))
        return 0
    return driver.run_here(chosen) if chosen.here else driver.supervise(chosen)


if __name__ == "__main__":
    sys.exit(main())
