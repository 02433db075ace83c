"""What is built can be found, used from a virtual environment, installed, and moved."""

import pathlib
import shutil
import subprocess
import sysconfig

import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
USES_IMMUTABLE = "import immutable, _immutable; v = immutable.freeze([1]); print(immutable.is_frozen(v))"


def output(*command):
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


@pytest.fixture(scope="module")
def built_python():
    return pathlib.Path(output("make", "-s", "-C", PROJECT, "--no-print-directory", "print-python"))


@pytest.fixture(scope="module")
def moved_installation(tmp_path_factory):
    """`make install PREFIX=first`, after which the folder is moved elsewhere."""
    folder = tmp_path_factory.mktemp("install")
    output(PROJECT / "tools/install-cpython", folder / "first")
    shutil.move(folder / "first", folder / "moved")
    return folder / "moved"


def test_print_python_prints_nothing_but_the_absolute_path_of_the_built_interpreter(built_python):
    assert built_python.is_absolute()
    assert output(built_python, "-c", "print('runs')") == "runs"


def test_print_stock_python_prints_an_absolute_path_and_nothing_else():
    printed = output("make", "-s", "-C", PROJECT, "--no-print-directory", "print-stock-python")
    assert printed == str(PROJECT / "build/stock/python")


def test_optional_modules_of_the_standard_library_are_built(built_python):
    modules = "ssl, ctypes, sqlite3, zlib, bz2, lzma, readline, _decimal"
    assert output(built_python, "-c", f"import {modules}; print('all')") == "all"


def test_a_venv_of_the_build_has_the_package(built_python, tmp_path):
    output(built_python, "-m", "venv", "--without-pip", tmp_path / "venv")
    assert output(tmp_path / "venv/bin/python", "-c", USES_IMMUTABLE) == "True"


def test_an_installation_works_after_it_was_moved(moved_installation):
    python = moved_installation / "bin/python3.15"
    assert output(python, "-c", USES_IMMUTABLE) == "True"
    found = output(python, "-c", "import immutable, sys; print(sys.prefix, immutable.__file__, sep='\\n')").split("\n")
    assert found[0] == str(moved_installation)
    assert pathlib.Path(found[1]).is_relative_to(moved_installation)


def test_a_venv_of_a_moved_installation_has_the_package(moved_installation, tmp_path):
    output(moved_installation / "bin/python3.15", "-m", "venv", "--without-pip", tmp_path / "venv")
    assert output(tmp_path / "venv/bin/python", "-c", USES_IMMUTABLE) == "True"


def test_an_installation_has_the_header(moved_installation):
    base = {"base": str(moved_installation), "installed_base": str(moved_installation)}
    assert pathlib.Path(sysconfig.get_path("include", vars=base), "immutability.h").is_file()
