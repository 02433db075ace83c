"""Makes the generated files of a CPython source tree anew: the interpreter loop, its tables, the static strings.

usage: regenerate.py TREE

Needs no configured build: the rules are those of CPython's own Makefile.pre.in, its configure variables left empty.
A generated file whose content stays the same keeps its time.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from layout import Failure, run_tool


def regenerate(root):
    root = pathlib.Path(root).resolve()
    rules = re.sub(r"@\w+@", "", (root / "Makefile.pre.in").read_text())
    update = f"{sys.executable} {root}/Tools/build/update_file.py"
    with tempfile.NamedTemporaryFile("w", suffix=".mk") as makefile:
        makefile.write(rules)
        makefile.flush()
        cases = ["make", "-s", "-f", makefile.name, "regen-cases", f"srcdir={root}"]
        _run([*cases, f"PYTHON_FOR_REGEN={sys.executable} -B", f"UPDATE_FILE={update}"], root)
    _run([sys.executable, "-B", root / "Tools/build/generate_global_objects.py"], root)


def _run(command, root):
    result = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise Failure(f"CPython's generators failed in {root}:\n{tail}")


def main():
    if len(sys.argv) != 2:
        raise Failure("usage: regenerate.py TREE")
    regenerate(sys.argv[1])


if __name__ == "__main__":
    run_tool(main)
