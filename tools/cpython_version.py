"""Reads the version of a CPython source tree, and says which are accepted."""

import pathlib
import re

from layout import Failure

ACCEPTED = "any 3.15.x from 3.15.0rc1 on"


def read(root):
    """(text, accepted) for the tree at root, from Include/patchlevel.h."""
    header = pathlib.Path(root) / "Include/patchlevel.h"
    try:
        text = header.read_text()
    except OSError as error:
        raise Failure(f"{root} is no CPython source tree: {error}") from None

    def value(name):
        found = re.search(rf"^#define\s+{name}\s+(\S+)", text, re.MULTILINE)
        if found is None:
            raise Failure(f"{header} does not define {name}")
        return found[1].strip('"')

    accepted = (value("PY_MAJOR_VERSION"), value("PY_MINOR_VERSION")) == ("3", "15") and value("PY_RELEASE_LEVEL") in (
        "PY_RELEASE_LEVEL_GAMMA",
        "PY_RELEASE_LEVEL_FINAL",
    )
    return value("PY_VERSION"), accepted


def require(root, origin):
    """The version of the tree at root, which came from origin, or a Failure that says what to use instead."""
    version, accepted = read(root)
    if not accepted:
        raise Failure(
            f"{origin} is CPython {version}; the patch series is made for {ACCEPTED}.\n"
            "Name another source with CPYTHON_SRC=<directory> or CPYTHON_TARBALL=<file>."
        )
    return version
