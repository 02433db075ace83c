"""`python -m immutable bench` measures in turns, and says what of."""

import json
import subprocess
import sys

import pytest

from immutable.bench import BENCHMARKS
from immutable.bench.comparison import Ratio, Series, in_turns, time_text


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "immutable", "bench", *arguments], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs_and_leaves_its_results_with_the_circumstances(name, tmp_path):
    shown = run("--quick", "--output", str(tmp_path), name)
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report["benchmark"] == name
    assert report["machine"]["processors"] >= 1
    assert report["build"]["version"] == sys.version
    assert report["results"]
    for result in report["results"]:
        assert result["name"] in shown
        if "sizes" in result:
            assert all(len(values) == len(result["sizes"]) for values in result["values"].values())
        else:
            assert min(result["our_seconds"] + result["their_seconds"]) > 0


def test_benchmarks_can_be_listed():
    assert [line.split()[0] for line in run("--list").splitlines()] == list(BENCHMARKS)


def test_a_benchmark_that_there_is_not_is_told():
    done = subprocess.run(
        [sys.executable, "-m", "immutable", "bench", "unheard-of"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == "no benchmark is called unheard-of: see --list\n"


def test_ways_take_turns_and_none_always_comes_first():
    order = []

    def way(name, taken):
        def go():
            order.append(name)
            return taken

        return go

    assert in_turns(3, way("a", 1.0), way("b", 2.0)) == [[1.0] * 3, [2.0] * 3]
    assert "".join(order) == "abbaab"


def test_a_ratio_is_the_median_of_the_ratios_within_each_round():
    faster = Ratio("x", "ours", "theirs", [1, 2, 10], [9, 12, 20], at_least=6)
    assert (faster.ratios, faster.median, faster.of_best, faster.held) == ([9, 6, 2], 6, 9, True)
    dearer = Ratio("x", "ours", "theirs", [3, 2, 8], [2, 2, 2], at_most=1.4)
    assert (dearer.ratios, dearer.median, dearer.of_best, dearer.held) == ([1.5, 1, 4], 1.5, 1, False)
    assert Ratio("x", "ours", "theirs", [1], [2]).held is None
    assert "MISSED" in dearer.shown()
    assert "MISSED" not in faster.shown()


def test_a_series_has_a_value_of_each_kind_for_each_size():
    series = Series("x", [], "objects", "per object")
    series.add(10, time=1.5, memory=2.0)
    series.add(100, time=1.0, memory=2.5)
    assert series.as_json()["values"] == {"time": [1.5, 1.0], "memory": [2.0, 2.5]}
    assert "1.50" in series.shown()


def test_times_are_shown_in_a_fitting_unit():
    assert [time_text(t) for t in (2.0, 0.0125, 31e-6, 5e-9)] == ["2 s", "12.5 ms", "31 us", "5 ns"]
