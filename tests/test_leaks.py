"""The option --leaks finds what a test leaves behind, and only that."""

import fnmatch
import pathlib
import re
import subprocess
import sys
import textwrap

import leaks
import pytest

TESTS = pathlib.Path(__file__).parent


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs tests, given as source, with --leaks. Returns what pytest says of each, and its whole output."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("COLUMNS", "500")

    def run(source, times=5):
        (tmp_path / "test_made.py").write_text(textwrap.dedent(source))
        command = [sys.executable, "-m", "pytest", "-rA", "-p", "leaks", "-p", "no:cacheprovider", f"--leaks={times}"]
        done = subprocess.run([*command, "test_made.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        found = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL) \S*?::(\S+)", done.stdout, re.MULTILINE)
        assert found, done.stdout + done.stderr
        return {name: outcome for outcome, name in found}, done.stdout

    return run


def test_tests_that_leave_nothing_pass(run):
    outcomes, _ = run("""
        import threading
        from immutable import freeze

        def test_nothing():
            pass

        def test_objects():
            ring = [[n] for n in range(100)]
            ring.append(ring)
            freeze(ring)

        def test_functions():
            def recursive(n):
                return n and recursive(n - 1)

            assert freeze(recursive)(3) == 0

        def test_threads():
            thread = threading.Thread(target=lambda: freeze([[1]]))
            thread.start()
            thread.join()

        def test_what_a_test_prints_and_records(record_property):
            print("something")
            record_property("seconds", [1.0])

        def test_mutable_cycles():
            ring = []
            ring.append(ring)

        table = {}

        def test_a_cache_that_is_full_after_a_while():
            table[len(table) % 7] = [1]
    """)
    assert set(outcomes.values()) == {"PASSED"}
    assert len(outcomes) == 7


LEAKING = {
    "frozen_objects": "kept.append(freeze([1.5]))",
    "components": "ring = []; ring.append(ring); kept.append(freeze(ring))",
    "record_bytes": "ring = []; ring.append([ring]); kept.append(freeze(ring))",
    "allocated blocks": "kept.append([])",
    "bytes of malloc": "kept_address.value = libc.malloc(100)",
}


MARKS = {"allocated blocks": [pytest.mark.allocator], "bytes of malloc": [leaks.sees_malloc]}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in LEAKING])
def test_a_test_that_leaves_something_fails_and_the_report_says_what(name, run):
    outcomes, output = run(f"""
        import ctypes
        from immutable import freeze

        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        kept, kept_address = [], ctypes.c_void_p()

        def test_leaking():
            {LEAKING[name]}

        def test_clean():
            pass
    """)
    assert outcomes["test_leaking"] == "FAILED"
    assert outcomes["test_clean"] == "PASSED"
    (text,) = set(re.findall(rf"{leaks.ROUNDS} rounds of 5 runs left behind: (.*)", output))
    assert re.search(rf"{name}( \+\d+){{{leaks.ROUNDS}}}", text)


@pytest.mark.allocator
def test_what_a_thread_leaves_is_found(run):
    outcomes, output = run("""
        import threading

        kept = []

        def test_leaking():
            thread = threading.Thread(target=lambda: kept.append([]))
            thread.start()
            thread.join()
    """)
    assert outcomes == {"test_leaking": "FAILED"}
    assert "allocated blocks" in output


@pytest.mark.allocator
def test_what_a_fixture_leaves_is_found_and_fixtures_are_set_up_for_each_run(run):
    outcomes, output = run(
        """
        import pytest

        kept, events = [], []

        @pytest.fixture
        def leaking():
            yield
            kept.append([])

        @pytest.fixture
        def numbered():
            events.append("set up")
            yield len(events)
            events.append("torn down")

        def test_leaking(leaking):
            pass

        def test_numbered(numbered):
            assert events == ["set up", "torn down"] * (numbered // 2) + ["set up"]
            print("runs:", numbered // 2 + 1)
        """,
        times=20,
    )
    assert outcomes["test_leaking"] == "FAILED"
    (runs,) = re.findall(r"^runs: (\d+)$", output, re.MULTILINE)  # by the last one: a report has what that printed
    assert int(runs) > leaks.WARM_UP
    assert (int(runs) - leaks.WARM_UP) % 20 == 0


@pytest.mark.allocator
def test_each_case_of_a_parametrised_test_is_repeated(run):
    outcomes, _ = run("""
        import pytest

        kept = []

        @pytest.mark.parametrize("leaking", [False, True])
        def test_cases(leaking):
            if leaking:
                kept.append([])
    """)
    assert outcomes == {"test_cases[False]": "PASSED", "test_cases[True]": "FAILED"}


def test_generated_examples_are_the_same_in_each_run(run):
    outcomes, output = run("""
        from hypothesis import given, settings, strategies as st

        seen = set()

        @settings(max_examples=5)
        @given(st.lists(st.integers()))
        def test_generated(numbers):
            seen.add(repr(numbers))

        def test_seen():
            assert len(seen) <= 5
    """)
    assert set(outcomes.values()) == {"PASSED"}, output


def test_failures_errors_and_skips_are_reported_as_ever(run):
    outcomes, output = run("""
        import pytest

        turns = []

        def test_failing_later():
            turns.append(1)
            assert len(turns) < 8, "in a later run"

        @pytest.fixture
        def broken():
            raise ValueError("in a fixture")

        def test_broken(broken):
            pass

        def test_skipped():
            pytest.skip("skipped for a reason")

        @pytest.mark.xfail(reason="expected")
        def test_expected_to_fail():
            assert False
    """)
    assert outcomes == {"test_failing_later": "FAILED", "test_broken": "ERROR", "test_expected_to_fail": "XFAIL"}
    assert "in a later run" in output
    assert "in a fixture" in output
    assert "skipped for a reason" in output


def test_warnings_and_unraisable_exceptions_are_not_kept(run):
    outcomes, output = run("""
        import warnings

        def test_warning():
            warnings.warn("again and again")

        class Failing:
            def __del__(self):
                raise ValueError("again and again")

        def test_unraisable():
            Failing()
    """)
    assert set(outcomes.values()) == {"PASSED"}, output


@pytest.mark.parametrize("pattern", [*leaks.RUN_SELDOM, *leaks.LEFT_OUT])
def test_the_lists_of_exceptions_name_tests_that_exist(pattern, collected):
    assert fnmatch.filter(collected, pattern)
    assert len((leaks.RUN_SELDOM | leaks.LEFT_OUT)[pattern]) > 20


@pytest.fixture(scope="module")
def collected():
    """The node ids of all tests."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.splitlines()
