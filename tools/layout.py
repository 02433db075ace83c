"""Where the outputs of the build are, and how the Python tools of this folder fail."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent
BUILD = PROJECT / "build"
PRISTINE = BUILD / "pristine"
PATCHED = BUILD / "patched"
PATCHES = pathlib.Path(os.environ.get("PATCHES_DIR") or PROJECT / "cpython-patches")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "immutable-python"

# Our own files inside a prepared tree: source in the project -> place in the tree.
OVERLAY = {
    PROJECT / "src/capi/include/immutability.h": "Include/immutability.h",
    PROJECT / "python/immutable": "Lib/immutable",
}


class Failure(Exception):
    """Ends a tool with a message for the user and exit status 1."""


def run_tool(main):
    """Calls main() and turns a Failure into a message without a traceback."""
    try:
        sys.exit(main())
    except Failure as failure:
        print(failure, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def shown(path):
    """The path as the user should see it: relative to the project where it lies inside."""
    path = pathlib.Path(path)
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


@contextlib.contextmanager
def preparing():
    """Holds the lock of build/ and yields an empty folder there that is removed at the end.

    Trees are made in that folder and moved into place when complete, so an interrupted run leaves
    nothing that the next one would take for a finished tree.
    """
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in BUILD.glob("staging-*"):
            shutil.rmtree(stale, ignore_errors=True)
        staging = tempfile.mkdtemp(prefix="staging-", dir=BUILD)
        try:
            yield pathlib.Path(staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
