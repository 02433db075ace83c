"""Counts instructions with callgrind, in an environment in which the counts hardly vary from run to run."""

import os
import re
import subprocess
import tempfile

from layout import Failure

# Of every run, without what the user's may say of the interpreter. Not -I: it would ignore these variables.
# mimalloc gives memory back after a time, in which a program gets some fifty times less far under callgrind.
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "LC_ALL": "C", "MIMALLOC_PURGE_DELAY": "5000"}


def instructions(command, environment=ENVIRONMENT):
    """Instructions that a command and the processes that it starts execute; the command must succeed."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["setarch", "-R", "valgrind", "--tool=callgrind", "--trace-children=yes",
             f"--callgrind-out-file={folder}/out.%p", *map(str, command)],
            capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    totals = re.findall(r"Collected : (\d+)", done.stderr)
    if done.returncode or not totals:
        raise Failure(f"Failed under callgrind: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return sum(map(int, totals))
