"""Extension modules built for stock CPython: they work, and nothing frozen is released once one is loaded.

Each test runs in a process of its own, since what it does cannot be undone.
"""

import os
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from _immutable import _fail_allocations, _reason_not_to_count
from extensions import FOREIGN, STOCK_HEADERS, compiled, tally


def foreign_file():
    """A module compiled with the headers of stock CPython, as those in wheels are."""
    assert STOCK_HEADERS.exists(), "make prepares build/pristine"
    return compiled(FOREIGN / "uncounted.c", of="stock")


@pytest.fixture
def run_foreign(run_python):
    """Runs source in a new process that can import the module, and returns what it printed."""

    def run(source, *, options=("-W", "ignore"), path=None, **more):
        folder = str((path or foreign_file()).parent)
        setup = f"import sys; sys.path.insert(0, {folder!r})\n"
        return run_python(setup + textwrap.dedent(source), options=options, **more)

    return run


# ---- Notice ------------------------------------------------------------------


def test_a_foreign_extension_is_listed_with_its_file_and_the_reason(run_foreign):
    path = foreign_file()
    assert (
        run_foreign("""
        from immutable import foreign_extensions
        assert foreign_extensions() == []
        import uncounted
        [found] = foreign_extensions()
        print(found.name, found.path)
        print(found.reason)
    """)
        == f"uncounted {path}\nit was not compiled with the headers of this interpreter\n"
    )


def test_a_warning_tells_once_in_the_process(run_foreign):
    assert (
        run_foreign(
            """
        import importlib.util, warnings
        from concurrent import interpreters
        import immutable
        def load():
            sys.modules.pop("uncounted", None)
            import uncounted
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load()
            load()
        [warning] = caught
        assert warning.category is immutable.ForeignExtensionWarning, warning
        assert issubclass(warning.category, RuntimeWarning)
        assert "uncounted" in str(warning.message) and "--no-binary" in str(warning.message)
        interpreter = interpreters.create()
        interpreter.exec(f"import sys; sys.path.insert(0, {sys.path[0]!r}); import immutable, uncounted")
        interpreter.close()
        print(len(immutable.foreign_extensions()))
        """,
            options=(),
            with_errors=True,
        )
        == "1\n"
    )


def test_a_program_that_does_not_use_the_runtime_is_not_told(run_foreign):
    source = "import uncounted; print(uncounted.wrap(1))"
    assert run_foreign(source, options=(), with_errors=True) == "(1,)\n"


def test_a_program_is_told_when_it_imports_the_runtime_later(run_foreign):
    shown = run_foreign("import uncounted; import immutable; print('done')", options=(), with_errors=True)
    assert "ForeignExtensionWarning" in shown
    assert "'uncounted'" in shown
    assert shown.startswith("done\n")


def test_a_warning_made_an_error_stops_the_import_and_pins_nothing(run_foreign):
    assert (
        run_foreign(
            """
        import gc, weakref
        from immutable import ForeignExtensionWarning, foreign_extensions, freeze
        for _ in range(2):
            try:
                import uncounted
            except ForeignExtensionWarning:
                print("stopped", foreign_extensions())
        class C: pass
        c = freeze(C())
        ref = weakref.ref(c)
        del c
        print(ref())
        """,
            options=("-W", "error"),
        )
        == "stopped []\nstopped []\nNone\n"
    )


# ---- What is foreign ---------------------------------------------------------

STABLE = "-DPy_LIMITED_API=0x030c0000"
OLD_STABLE = "-DPy_LIMITED_API=0x03080000"


def test_a_module_of_the_stable_abi_that_counts_by_calls_is_not_foreign(run_foreign):
    path = compiled(FOREIGN / "uncounted.c", of="stock", flags=(STABLE,), suffix=".abi3.so")
    assert _reason_not_to_count(path) is None
    assert (
        run_foreign(
            """
        import weakref
        from immutable import foreign_extensions, freeze
        import uncounted
        class C: pass
        c = freeze(C())
        ref = weakref.ref(c)
        uncounted.hold(c)
        del c
        assert ref() is uncounted.held()
        uncounted.let_go()
        print(ref(), foreign_extensions())
        """,
            path=path,
        )
        == "None []\n"
    )


def test_a_module_of_an_old_stable_abi_is_foreign():
    path = compiled(FOREIGN / "uncounted.c", of="stock", flags=(OLD_STABLE,), suffix=".abi3.so")
    reason = _reason_not_to_count(path)
    if hasattr(sys, "gettotalrefcount"):
        assert reason is None  # in debug builds every version of the limited API counts by function calls
    else:
        assert "inline" in reason


def test_a_module_that_calls_to_count_is_foreign_unless_its_name_promises_the_stable_abi():
    path = compiled(FOREIGN / "uncounted.c", of="stock", flags=(STABLE,))
    assert "headers" in _reason_not_to_count(path)


def test_a_module_without_any_counting_call_is_foreign_whatever_its_name():
    path = compiled(FOREIGN / "uncounted.c", of="stock", suffix=".abi3.so")
    assert "stable ABI" in _reason_not_to_count(path)


def test_the_example_is_foreign_when_it_is_built_for_stock_cpython():
    assert _reason_not_to_count(tally()) is None
    assert _reason_not_to_count(tally(of="stock")) is not None


def test_a_file_that_is_no_module_is_foreign(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("not an ELF file")
    assert "ELF" in _reason_not_to_count(text)
    assert "read" in _reason_not_to_count(tmp_path / "missing.so")
    cut = tmp_path / "cut.so"
    whole = foreign_file().read_bytes()
    for size in (0, 1, 16, 63, 64, 100, 1000, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        assert _reason_not_to_count(cut) is not None


LONG_NAMES = "/".join("x" * 200 for _ in range(3))
"""More than fits into what is put on the stack for a path."""


@pytest.mark.parametrize("options", [(), ("-X", "immutable_foreign=pin"), ("-X", "immutable_foreign=error")])
def test_an_import_for_which_there_is_no_memory_raises_and_can_be_tried_again(run_foreign, options, tmp_path):
    folder = tmp_path / LONG_NAMES
    folder.mkdir(parents=True)
    path = shutil.copy(foreign_file(), folder)
    refused = any("error" in option for option in options)
    run_foreign(
        f"""
        from _immutable import _fail_allocations
        from immutable import foreign_extensions
        failures, last, refused = 0, None, False
        for number in range(1, 1000):
            _fail_allocations(number, number % 2 * number)
            try:
                import uncounted
            except (MemoryError, ImportError) as error:
                last = type(error)
            else:
                last = None
            failed = _fail_allocations(0)
            assert (last is MemoryError) == (failed > 0), (last, failed)
            if not failed:
                break
            assert foreign_extensions() == []
            failures += 1
        assert failures > 0
        assert last is ({"ImportError" if refused else "None"})
        assert len(foreign_extensions()) == {int(not refused)}
        """,
        options=("-W", "ignore", *options),
        path=Path(path),
    )


def test_looking_at_a_file_takes_no_memory(tmp_path):
    folder = tmp_path / LONG_NAMES
    folder.mkdir(parents=True)
    stable = compiled(FOREIGN / "uncounted.c", of="stock", flags=(STABLE,), suffix=".abi3.so")
    for path, foreign in [(foreign_file(), True), (tally(), False), (stable, False)]:
        copied = shutil.copy(path, folder)
        _fail_allocations(1)
        reason = _reason_not_to_count(copied)
        assert _fail_allocations(0) == 0
        assert (reason is not None) == foreign


# ---- Refusal -----------------------------------------------------------------

REFUSED = """
    try:
        import uncounted
    except ImportError as error:
        print(error.name, error.path)
        print(error)
"""


@pytest.mark.parametrize("by", ["option", "environment"])
def test_foreign_extensions_can_be_refused(run_foreign, monkeypatch, by):
    options = ("-X", "immutable_foreign=error") if by == "option" else ()
    if by == "environment":
        monkeypatch.setenv("PYTHONIMMUTABLE_FOREIGN", "error")
    place, message = run_foreign(REFUSED, options=options).splitlines()
    assert place == f"uncounted {foreign_file()}"
    assert "--no-binary" in message
    assert "headers" in message


def test_the_option_stands_above_the_environment(run_foreign, monkeypatch):
    monkeypatch.setenv("PYTHONIMMUTABLE_FOREIGN", "error")
    source = "import uncounted; print(uncounted.wrap(1))"
    assert run_foreign(source, options=("-X", "immutable_foreign=pin")) == "(1,)\n"
    assert run_foreign(source, options=("-E",)) == "(1,)\n"


def test_an_unknown_value_of_the_option_is_an_error(run_foreign):
    assert (
        run_foreign(
            "\ntry:\n    import uncounted\nexcept ValueError as error:\n    print(error)\n",
            options=("-X", "immutable_foreign=perhaps"),
        )
        == "-X immutable_foreign and PYTHONIMMUTABLE_FOREIGN take 'pin' or 'error'\n"
    )


def test_refusing_leaves_other_modules_alone(run_foreign):
    assert (
        run_foreign(
            "import _ctypes, tally; print(tally.Point(1, 2).x)",
            options=("-X", "immutable_foreign=error"),
            path=tally(),
        )
        == "1\n"
    )


# ---- Pinned ------------------------------------------------------------------


def test_an_uncounted_reference_stays_valid(run_foreign):
    assert (
        run_foreign("""
        from immutable import freeze
        import uncounted
        class Node: pass
        a, b = Node(), Node()
        a.other, b.other, a.text = b, a, ["kept", 1.5]
        uncounted.hold(freeze(a))
        single = freeze(["alone", {"k": object()}])
        del a, b
        wrapped = uncounted.wrap(single)
        for _ in range(1000):
            uncounted.wrap(single)        # gives up a reference that nobody counted
            uncounted.wrap(uncounted.held())
            uncounted.look_at_first(single)
        del single
        junk = [bytearray(200) for _ in range(1000)]
        print(uncounted.held().other.other is uncounted.held(), uncounted.held().text, wrapped[0][0])
        uncounted.let_go()
    """)
        == "True ['kept', 1.5] alone\n"
    )


def test_dead_objects_stay_and_are_reported(run_foreign):
    assert (
        run_foreign("""
        import weakref
        from immutable import _stats, freeze
        class Node:
            def __del__(self):
                print("finalized")
        before = freeze(Node())
        del before
        import uncounted
        start = _stats()
        assert (start["pinned_objects"], start["pinned_bytes"]) == (0, 0)
        node = Node()
        node.parts = [[], {}, {"".join(["a"] * 1000)}]
        node.parts[0].append(node)
        ref = weakref.ref(freeze(node))
        during = _stats()
        assert during["pinned_objects"] == 0
        del node
        after = _stats()
        # All that was frozen would have been released.
        assert after["pinned_objects"] == after["frozen_objects"] - start["frozen_objects"] >= 6, (start, after)
        assert after["frozen_objects"] == during["frozen_objects"]
        print(after["pinned_bytes"] > 1000)
        print(ref().parts[1] == {}, ref().parts[0][0] is ref())
        again = _stats()
        assert again["pinned_objects"] == after["pinned_objects"], again
    """)
        == "finalized\nTrue\nTrue True\n"
    )


def test_mutable_objects_are_released_as_ever(run_foreign):
    assert (
        run_foreign("""
        import gc, weakref
        import immutable, uncounted
        class Node: pass
        node = Node()
        node.self = node
        uncounted.hold(node)
        ref = weakref.ref(node)
        del node
        gc.collect()
        assert ref() is not None
        uncounted.let_go()
        gc.collect()
        print(ref())
    """)
        == "None\n"
    )


def test_several_interpreters_use_foreign_code_and_frozen_data_at_once(run_foreign):
    assert (
        run_foreign("""
        import threading
        from concurrent import interpreters
        from immutable import _stats, freeze
        data = freeze({"list": [[n, str(n)] for n in range(100)]})
        data["list"]
        WORK = '''if True:
            import sys
            sys.path.insert(0, folder)
            import uncounted
            for round in range(300):
                for pair in data["list"]:
                    uncounted.wrap(pair)
                    uncounted.look_at_first(pair)
                    [pair, pair[1]]
            assert data["list"][7] == [7, "7"]
        '''
        several = [interpreters.create() for _ in range(3)]
        for interpreter in several:
            interpreter.prepare_main(data=data, folder=sys.path[0])
        failed = []
        def run(interpreter):
            try:
                interpreter.exec(WORK)
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=run, args=(interpreter,)) for interpreter in several]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        [interpreter.close() for interpreter in several]
        assert not failed, failed
        print(data["list"][99])
    """)
        == "[99, '99']\n"
    )


def test_a_process_ends_well_after_pinning(run_foreign):
    assert (
        run_foreign(
            """
        import weakref
        import immutable, uncounted
        class Node: pass
        node = Node()
        node.self, node.other = node, [Node]
        uncounted.hold(immutable.freeze(node))
        print("done")
        """,
            options=("-W", "ignore"),
            with_errors=True,
        )
        == "done\n"
    )


@pytest.fixture(autouse=True)
def no_option_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith("PYTHONIMMUTABLE_"):
            monkeypatch.delenv(name)
