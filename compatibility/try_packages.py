"""The pure-Python packages most downloaded from PyPI: what of theirs freezes, and works afterwards.

usage: python try_packages.py INTERPRETER FOLDER [PACKAGE...]
INTERPRETER is the patched one; a virtual environment is made in FOLDER, and used again. Needs the network. Prints a
table in Markdown, and in full what was refused. The exit status is 1 if a program fails; to refuse is no failure.
"""

import json
import subprocess
import sys
from pathlib import Path

from environment import clean_environment, make_environment, version_of

HERE = Path(__file__).parent
# The program, and what pip installs.
PACKAGES = {
    "packaging": "packaging",
    "urllib3": "urllib3",
    "requests": "requests",
    "certifi": "certifi",
    "idna": "idna",
    "typing_extensions": "typing-extensions",
    "dateutil": "python-dateutil",
    "setuptools": "setuptools",
    "six": "six",
    "botocore": "botocore",
}


def main(interpreter, folder, wanted):
    """Installs, freezes and reports; returns the exit status."""
    rows, status = [("package", "frozen and works", "otherwise"), ("---",) * 3], 0
    chosen = {name: requirement for name, requirement in PACKAGES.items() if not wanted or name in wanted}
    python = make_environment(interpreter, folder, chosen.values(), ())
    for name, requirement in chosen.items():
        done = subprocess.run(
            [python, HERE / "freeze_objects.py", HERE / "packages" / f"{name}.py"],
            capture_output=True,
            text=True,
            env=clean_environment(),
        )
        if done.returncode != 0:
            print(f"{name} fails with status {done.returncode}:\n{done.stderr}", file=sys.stderr)
            status = 1
            continue
        outcomes = json.loads(done.stdout.splitlines()[-1])
        works = [of for of, (outcome, _) in outcomes.items() if outcome == "works"]
        others = [f"{of} {outcome}" for of, (outcome, _) in outcomes.items() if outcome != "works"]
        for of, (outcome, in_full) in outcomes.items():
            if outcome != "works":
                print(f"{name}: {of}: {in_full}", file=sys.stderr)
        rows.append((f"{requirement} {version_of(python, requirement)}", ", ".join(works), "; ".join(others)))
    print("\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
