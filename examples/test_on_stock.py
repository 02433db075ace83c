"""The examples on stock CPython, from the same source: everything works, and nothing is frozen.

Run by `make test-extensions` under the stock interpreter; the half for the patched one is tests/test_extensions.py.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from extensions import OWN_HEADERS, gauge, load, tally


def test_this_interpreter_is_stock_cpython():
    assert importlib.util.find_spec("_immutable") is None
    assert not (OWN_HEADERS / "immutability.h").exists()


@pytest.mark.parametrize("flags", [(), ("-DPy_LIMITED_API=0x030c0000",)], ids=["full", "limited"])
def test_the_example_in_c_builds(flags):
    assert tally(flags=flags).exists()


def test_the_example_in_c_behaves_as_any_extension():
    tally_module = load(tally())
    counter = tally_module.Counter(["label"])
    counter.add(2)
    counter.label = "other"
    assert (counter.count, counter.label) == (2, "other")
    point = tally_module.Point(1, [])
    assert (point.x, point.y) == (1, [])
    box = tally_module.Box([1])
    assert box.swap([2]) == [1]
    assert box.content == [2]


def test_the_example_in_rust_is_the_same_file_and_behaves_as_any_extension():
    gauge_module = load(gauge())
    changing = gauge_module.Gauge("label")
    changing.add(2)
    assert (changing.level, changing.label) == (2, "label")
    span = gauge_module.Span(1, [])
    assert (span.start, span.end) == (1, [])
    assert gauge_module.Shell([1]).content == [1]


@pytest.mark.parametrize("make", [lambda: load(tally()).Counter, lambda: load(gauge()).Gauge], ids=["C", "Rust"])
def test_references_are_counted(make):
    label = ["label"]
    before = sys.getrefcount(label)
    several = [make()(label) for _ in range(10)]
    assert sys.getrefcount(label) == before + 10
    del several
    assert sys.getrefcount(label) == before
