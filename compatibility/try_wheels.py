"""Extension modules from PyPI: wheels built for stock CPython, and the same built from source for this interpreter.

usage: python try_wheels.py INTERPRETER FOLDER [PACKAGE...]
INTERPRETER is the patched one; virtual environments are made in FOLDER, and used again. Needs the network. Prints
a table in Markdown; the exit status is 1 if a package fails, or is not what it should be.
"""

import json
import subprocess
import sys
from pathlib import Path

from environment import clean_environment, make_environment, version_of

HERE = Path(__file__).parent
# The program that uses a package, what pip installs, and whether it is foreign.
WHEELS = {
    "numpy": ("numpy", True),
    "lxml": ("lxml", True),
    "msgpack": ("msgpack", True),
    "cffi": ("cffi", True),
    "pydantic_core": ("pydantic-core", True),
    "regex": ("regex", True),
    "psutil": ("psutil", True),
}
FROM_SOURCE = {
    "msgpack": ("msgpack", False),
    "markupsafe": ("markupsafe", False),
    "regex": ("regex", False),
}
COLUMNS = (
    "package",
    "installed from",
    "foreign",
    "other interpreters",
    "left frozen",
    "pinned objects",
    "pinned bytes",
)


def use(python, name):
    """Runs the smoke test of one package, and returns what it tells, or None."""
    done = subprocess.run(
        [python, HERE / "smoke.py", HERE / "wheels" / f"{name}.py"],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    print(f"{name} fails with status {done.returncode}:\n{done.stderr}", file=sys.stderr)
    return None


def problems_of(found, is_foreign):
    """What is not as it should be."""
    if bool(found["foreign"]) != is_foreign:
        yield f"foreign: {found['foreign']}"
    if found["interpreters"].startswith("fails"):
        yield f"in other interpreters it {found['interpreters']}"
    if found["warned"] != int(is_foreign):
        yield f"warned {found['warned']} times"
    if found["probe is gone"] == is_foreign:
        yield "frozen objects are not released" if not is_foreign else "a frozen object was released"
    if not is_foreign and (found["left"] > 0 or found["pinned objects"] > 0):
        yield f"{found['left']} objects are left, {found['pinned objects']} are pinned"
    if is_foreign and found["pinned objects"] == 0:
        yield "nothing is reported as pinned"


def main(interpreter, folder, wanted):
    """Installs, uses and reports; returns the exit status."""
    rows, status = [COLUMNS, ("---",) * len(COLUMNS)], 0
    for kind, packages, options in (
        ("wheel", WHEELS, ("--only-binary=:all:",)),
        ("source", FROM_SOURCE, ("--no-binary=" + ",".join(requirement for requirement, _ in FROM_SOURCE.values()),)),
    ):
        chosen = {name: entry for name, entry in packages.items() if not wanted or name in wanted}
        if not chosen:
            continue
        requirements = [requirement for requirement, _ in chosen.values()]
        python = make_environment(interpreter, folder / kind, requirements, options)
        for name, (requirement, is_foreign) in chosen.items():
            found = use(python, name)
            if found is None:
                status = 1
                continue
            problems = list(problems_of(found, is_foreign))
            if problems:
                print(f"{name} ({kind}): {'; '.join(problems)}", file=sys.stderr)
                status = 1
            rows.append(
                (
                    f"{requirement} {version_of(python, requirement)}",
                    kind,
                    "yes" if found["foreign"] else "no",
                    found["interpreters"].partition(":")[0],
                    str(found["left"]),
                    str(found["pinned objects"]),
                    str(found["pinned bytes"]),
                )
            )
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
