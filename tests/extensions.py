"""Builds extension modules for the tests, against this interpreter's headers or those of stock CPython.

Only the headers tell the two apart: a module compiled with those of stock CPython, which are in `build/pristine`, is
what is in a wheel from elsewhere. Everything is kept in a folder of the build, and made again when its source is newer.
"""

import fcntl
import functools
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

PROJECT = Path(__file__).parent.parent
EXAMPLES = PROJECT / "examples"
FOREIGN = PROJECT / "tests" / "foreign"
STOCK_HEADERS = PROJECT / "build" / "pristine" / "Include"
# Where it is installed an interpreter has its headers in one folder; where it was built they are in the source tree.
INSTALLED_HEADERS = Path(sysconfig.get_path("include"))
OWN_HEADERS = (
    INSTALLED_HEADERS
    if (INSTALLED_HEADERS / "Python.h").exists()
    else Path(sysconfig.get_config_var("abs_srcdir"), "Include")
)
CONFIG_HEADERS = Path(sysconfig.get_config_h_filename()).parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

_BUILT = Path(sysconfig.get_config_h_filename()).parent / "test-extensions"
_CFLAGS = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")


def headers(of):
    """The folders of headers: "own" ones, of this interpreter, or those of "stock" CPython."""
    include = {"own": OWN_HEADERS, "stock": STOCK_HEADERS}[of]
    return [f"-I{include}", f"-I{CONFIG_HEADERS}"]


@functools.cache
def compiled(*sources, name=None, of="own", flags=(), suffix=SUFFIX, compiler="cc"):
    """Compiles and links one extension module, and returns its file, which is alone in its folder."""
    name = name or sources[0].stem
    kind = "-".join([of, compiler, *(flag.strip("-").replace("/", "_").replace(",", "_") for flag in flags)])
    folder = _BUILT / f"{name}-{kind}{suffix.removesuffix('.so')}"
    target = folder / f"{name}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(path.stat().st_mtime for path in (*sources, *Path(headers(of)[0][2:]).glob("*.h")))
        if not target.exists() or target.stat().st_mtime < newest:
            parts = [compiler, *_CFLAGS, *headers(of), *flags, *map(str, sources), "-o", f"{target}.new"]
            done = subprocess.run(parts, capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(parts)}\n{done.stderr}"
            os.replace(f"{target}.new", target)
    return target


@functools.cache
def tally(of="own", flags=()):
    """The file of the example in C."""
    return compiled(EXAMPLES / "c" / "tally.c", of=of, flags=flags)


@functools.cache
def gauge():
    """The file of the example in Rust: of the stable ABI, so that one file serves every interpreter."""
    target = PROJECT / "build" / "cargo" / "examples"
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(target),
        "PYO3_NO_PYTHON": "1",
        "PYO3_BUILD_EXTENSION_MODULE": "1",
    }
    done = subprocess.run(
        ["cargo", "build", "--locked", "--release", "--quiet"],
        cwd=EXAMPLES / "rust",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    folder = _BUILT / "gauge"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "gauge.abi3.so"
    link.unlink(missing_ok=True)
    link.symlink_to(target / "release" / "libgauge.so")
    return link


def load(path):
    """Imports the module in a file, under the name that the file has, unless it was imported."""
    name = path.name.partition(".")[0]
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
