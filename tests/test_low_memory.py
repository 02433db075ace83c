"""Without any memory left an exception is raised, as in stock CPython, and nothing else happens."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("prepare", ["", "from immutable import freeze; kept = freeze([ValueError(1)])"])
def test_the_memory_error_of_last_resort_can_be_raised(prepare):
    pytest.importorskip("_testcapi", reason="this build has no tests of the C API")
    source = f"import _testcapi\n{prepare}\n_testcapi.set_nomemory(0)\nmade = [None]\n"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60)
    assert done.returncode in (0, 1)


def test_a_module_name_that_is_no_text_is_just_not_found():
    with pytest.raises(ModuleNotFoundError):
        __import__("no_such_module_\udcff")
