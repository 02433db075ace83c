"""The stress program notices each kind of failure, says how to repeat it, and repeats it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent


def stress(*arguments):
    command = [sys.executable, PROGRAM, "--seconds", "120", "--runs", "1", "--seed", "7", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("fault_wrong_result", "WRONG RESULT in fault_wrong_result, seed 7, step 1: arithmetic: 2"),
        (
            "fault_exception_in_a_thread",
            "WRONG RESULT in fault_exception_in_a_thread, seed 7, step 0: unexpected exception",
        ),
        ("fault_unraisable_exception", "WRONG RESULT: unraisable exception"),
        ("fault_leak", "WRONG RESULT in fault_leak, seed 7, step 1: frozen objects are left over"),
        ("fault_thread_left_over", "WRONG RESULT in fault_thread_left_over, seed 7, step 1: threads are left over"),
        ("fault_crash", "CRASH: SIGABRT in fault_crash, seed 7, step 2"),
    ],
)
def test_a_failure_ends_the_program_and_says_where_it_was(scenario, message):
    done = stress("--only", scenario)
    assert done.returncode == 1
    assert message in done.stderr
    assert "passed" not in done.stdout
    if "unraisable" not in message:
        assert f"repeat with --only {scenario} --seed 7 --runs 1" in done.stderr


def test_a_hang_ends_with_the_stacks_of_all_threads():
    done = stress("--only", "fault_hang", "--hang", "3")
    assert done.returncode == 1
    assert "HANG: no end after 3 seconds in fault_hang, seed 7, step 1" in done.stderr
    assert re.search(r'faults.py", line \d+ in fault_hang', done.stderr)


def test_a_run_without_failure_prints_totals_and_a_closing_line():
    done = stress("--only", "fault_nothing", "--runs", "20")
    assert done.returncode == 0, done.stderr
    assert re.search(r"fault_nothing +20 runs +\d+ steps", done.stdout)
    assert re.search(r"^stress: passed: 20 runs, .* seed 7", done.stdout, re.MULTILINE)


def test_a_seed_gives_the_same_runs_again():
    steps = re.compile(r"20 runs, (\d+) steps")
    first, second = (stress("--only", "fault_nothing", "--runs", "20") for _ in range(2))
    other = stress("--only", "fault_nothing", "--runs", "20", "--seed", "8")
    assert steps.search(first.stdout).group() == steps.search(second.stdout).group()
    assert steps.search(first.stdout).group() != steps.search(other.stdout).group()


def test_unknown_scenarios_are_named():
    done = stress("--only", "no_such_scenario")
    assert done.returncode == 2
    assert "no_such_scenario" in done.stderr


def test_every_scenario_is_listed():
    listed = stress("--list").stdout
    assert "graphs_dropped_in_any_order" in listed
    assert "fault_crash   (only by name)" in listed
