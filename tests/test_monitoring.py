"""Debuggers and coverage tools on frozen functions: they see the calls of their interpreter, and write nothing shared.

`sys.monitoring.set_local_events` names a code object. That of a frozen function is never run: each interpreter runs
copies of it, and the events act on those.
"""

import bdb
import dis
import gc
import importlib
import io
import os
import pathlib
import pdb
import shutil
import sys
import tempfile
import threading
import trace
import weakref

import pytest

from immutable import freeze, is_frozen

monitoring, events = sys.monitoring, sys.monitoring.events
TOOL = monitoring.DEBUGGER_ID


@pytest.fixture
def seen():
    """What the callbacks of a tool were called with: (code, line or offset); LINE and PY_START are registered."""
    calls = []
    monitoring.use_tool_id(TOOL, "test")
    for event in (events.LINE, events.PY_START, events.PY_UNWIND):
        monitoring.register_callback(TOOL, event, lambda code, place, *rest: calls.append((code, place)))
    yield calls
    monitoring.clear_tool_id(TOOL)
    monitoring.free_tool_id(TOOL)


@pytest.fixture
def m(module):
    return module("""
        def double(a):
            b = a * 2
            return b

        def sum_of(numbers):
            def add(a, b):
                return a + b
            total = 0
            for number in numbers:
                total = add(total, number)
            return total

        def adder(n):
            def add(a):
                return a + n
            return add

        def fail():
            raise ValueError("failed")

        def count(n):
            for i in range(n):
                yield i
    """)


def lines(calls):
    return [line for _, line in calls]


def test_events_of_frozen_code_act_on_the_calls_of_this_interpreter(m, seen):
    double = freeze(m.double)
    double(1)
    code, bytecode = double.__code__, double.__code__._co_code_adaptive
    assert monitoring.get_local_events(TOOL, code) == 0
    monitoring.set_local_events(TOOL, code, events.LINE)
    assert monitoring.get_local_events(TOOL, code) == events.LINE
    assert double(2) == 4
    assert lines(seen) == [3, 4]
    monitoring.set_local_events(TOOL, code, events.PY_START)
    double(2)
    assert lines(seen) == [3, 4, 0]
    monitoring.set_local_events(TOOL, code, 0)
    double(2)
    assert lines(seen) == [3, 4, 0]
    assert code._co_code_adaptive == bytecode


def test_a_callback_gets_code_that_equals_that_of_the_function(m, seen):
    freeze(m.double)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    m.double(1)
    copy = seen[0][0]
    assert copy == m.double.__code__
    assert hash(copy) == hash(m.double.__code__)
    assert copy is not m.double.__code__


def test_events_that_were_set_before_the_first_call_hold(m, seen):
    freeze(m.double)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    m.double(1)
    assert lines(seen) == [3, 4]


def test_events_that_were_set_before_the_freeze_hold(m, seen):
    m.double(1)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    freeze(m.double)
    assert monitoring.get_local_events(TOOL, m.double.__code__) == events.LINE
    m.double(1)
    assert lines(seen) == [3, 4]
    monitoring.set_local_events(TOOL, m.double.__code__, 0)
    m.double(1)
    assert lines(seen) == [3, 4]


def test_events_outlast_the_view_of_a_function_that_is_seldom_called(m, seen):
    freeze(m.double)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    for n in range(1, 4):
        m.double(1)
        assert lines(seen) == [3, 4] * n
        for _ in range(3):
            gc.collect()


def test_events_reach_nested_code_and_all_functions_that_have_it(m, seen):
    freeze(m.sum_of, m.adder)
    m.sum_of([1])
    monitoring.set_local_events(TOOL, inner_code(m.sum_of), events.LINE)
    assert m.sum_of([1, 2]) == 3
    assert lines(seen) == [8, 8]
    del seen[:]

    one, two = m.adder(1), freeze(m.adder(2))
    three = freeze(m.adder(3))
    assert [one(1), two(1), three(1)] == [2, 3, 4]
    monitoring.set_local_events(TOOL, two.__code__, events.LINE)
    assert [one(1), two(1), three(1), m.adder(4)(1)] == [2, 3, 4, 5]
    assert lines(seen) == [16] * 4


def inner_code(function):
    return next(constant for constant in function.__code__.co_consts if hasattr(constant, "co_code"))


def test_events_set_on_what_a_callback_got_are_those_of_the_function(m, seen):
    """As coverage tools do, at the first call."""
    one, two = freeze(m.adder(1)), freeze(m.adder(2))

    def start(code, offset):
        monitoring.set_local_events(TOOL, code, events.LINE)
        assert monitoring.get_local_events(TOOL, code) == events.LINE

    monitoring.register_callback(TOOL, events.PY_START, start)
    monitoring.set_local_events(TOOL, one.__code__, events.PY_START)
    one(1)
    assert monitoring.get_local_events(TOOL, two.__code__) == events.LINE
    two(1)
    one(1)
    assert lines(seen) == [16] * 3


def test_another_interpreter_has_none_of_the_events(m, seen, elsewhere):
    double = freeze(m.double)
    double(1)
    other = elsewhere()
    other.run("double(1)", double=double)
    monitoring.set_local_events(TOOL, double.__code__, events.LINE)
    other.run(f"""
        import sys
        monitoring, tool, calls = sys.monitoring, {TOOL}, []
        monitoring.use_tool_id(tool, "other")
        monitoring.register_callback(tool, monitoring.events.LINE, lambda code, line: calls.append(line))
        assert monitoring.get_local_events(tool, double.__code__) == 0
        assert double(1) == 2
        assert calls == []
        monitoring.set_local_events(tool, double.__code__, monitoring.events.LINE)
        double(1)
        assert calls == [3, 4]
        monitoring.set_local_events(tool, double.__code__, 0)
    """)
    assert seen == []
    double(1)
    assert lines(seen) == [3, 4]


def test_the_events_end_with_the_tool(m, seen):
    freeze(m.double)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    monitoring.clear_tool_id(TOOL)
    assert monitoring.get_local_events(TOOL, m.double.__code__) == 0
    monitoring.register_callback(TOOL, events.LINE, lambda code, line: seen.append((code, line)))
    m.double(1)
    assert seen == []
    monitoring.free_tool_id(TOOL)
    with pytest.raises(ValueError, match="not in use"):
        monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    monitoring.use_tool_id(TOOL, "test")


def test_the_events_keep_no_code_alive(m, seen):
    freeze(m.double)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    m.double(1)
    del seen[:]
    gone = weakref.ref(m.double.__code__)
    del m.double
    for _ in range(3):
        gc.collect()
    assert gone() is None


def test_what_a_callback_disables_stays_so_until_events_are_restarted(m, seen):
    freeze(m.double)

    def once(code, line):
        seen.append((code, line))
        return monitoring.DISABLE

    monitoring.register_callback(TOOL, events.LINE, once)
    monitoring.set_local_events(TOOL, m.double.__code__, events.LINE)
    for _ in range(3):
        m.double(1)
    assert lines(seen) == [3, 4]
    monitoring.restart_events()
    m.double(1)
    m.double(1)
    assert lines(seen) == [3, 4, 3, 4]


def test_an_event_that_is_not_of_an_instruction_can_be_disabled(m, seen):
    freeze(m.fail)

    def once(code, offset, error):
        seen.append((code, offset))
        return monitoring.DISABLE

    monitoring.register_callback(TOOL, events.PY_UNWIND, once)
    monitoring.set_local_events(TOOL, m.fail.__code__, events.PY_UNWIND)
    for _ in range(3):
        with pytest.raises(ValueError, match="failed"):
            m.fail()
    assert len(seen) == 1


# ---- frames that run when their function is frozen -------------------------------------------------------------------


def test_a_generator_whose_function_was_frozen_goes_on_with_a_copy_of_its_code(m, seen):
    running = m.count(4)
    next(running)
    freeze(m.count)
    code, bytecode = m.count.__code__, m.count.__code__._co_code_adaptive
    monitoring.set_local_events(TOOL, code, events.LINE)
    assert next(running) == 1
    assert lines(seen) == [23, 24]
    monitoring.restart_events()
    assert next(running) == 2
    assert running.gi_code == code
    assert running.gi_code is not code
    monitoring.set_local_events(TOOL, code, 0)
    assert list(running) == [3]
    assert lines(seen) == [23, 24] * 2
    assert code._co_code_adaptive == bytecode


def test_functions_whose_code_was_frozen_with_another_go_on_with_a_copy(m, seen):
    one, two, three = m.adder(1), m.adder(2), m.adder(3)
    for _ in range(100):
        one(1), three(1)
    freeze(two)
    code, bytecode = two.__code__, two.__code__._co_code_adaptive
    assert [one(1), two(1), three(1)] == [2, 3, 4]
    assert one.__code__ is three.__code__ is not code
    monitoring.set_local_events(TOOL, code, events.LINE)
    assert [one(1), two(1), three(1), m.adder(4)(1)] == [2, 3, 4, 5]
    assert lines(seen) == [16] * 4
    assert code._co_code_adaptive == bytecode
    traced = []
    previous = sys.gettrace()
    sys.settrace(lambda frame, event, argument: traced.append(frame.f_lineno))
    try:
        one(1)
    finally:
        sys.settrace(previous)
    assert traced[:1] == [15]


def test_functions_whose_code_was_frozen_with_another_specialise_again(m):
    one, two = m.adder(1), m.adder(2)
    freeze(two)
    for _ in range(100):
        one(1)
    shown = [instruction.opname for instruction in dis.get_instructions(one, adaptive=True)]
    assert "BINARY_OP_ADD_INT" in shown


def test_a_function_whose_code_is_asked_about_is_traced_all_the_same(m):
    assert is_frozen(m.double.__code__)
    previous = sys.gettrace()
    traced = []
    sys.settrace(lambda frame, event, argument: traced.append(frame.f_lineno))
    try:
        m.double(1)
    finally:
        sys.settrace(previous)
    assert 2 in traced


def test_code_that_is_frozen_again_and_again_leaves_nothing_behind(run_python):
    run_python("""
        import gc, weakref
        from immutable import is_frozen

        def double(a):
            return a * 2

        codes = []
        for _ in range(6):
            double(1)
            assert is_frozen(double.__code__)
            codes.append(weakref.ref(double.__code__))
            gc.collect()
            gc.collect()
        assert sum(code() is not None for code in codes) == 2, codes  # the constant of the module, and the last one
    """)


def test_events_of_code_are_those_of_copies_that_were_frozen_themselves(m, seen):
    first = m.double.__code__
    assert is_frozen(first)
    m.double(1)
    assert m.double.__code__ is not first
    monitoring.set_local_events(TOOL, first, events.LINE)
    second = m.double.__code__
    assert is_frozen(second)
    assert monitoring.get_local_events(TOOL, second) == events.LINE
    m.double(1)
    assert m.double.__code__ is not second
    assert lines(seen) == [3, 4]
    monitoring.set_local_events(TOOL, second, 0)
    m.double(1)
    assert monitoring.get_local_events(TOOL, first) == 0
    assert lines(seen) == [3, 4]


def test_a_generator_whose_function_was_frozen_while_instrumented_goes_on_as_it_was(m, seen):
    monitoring.set_local_events(TOOL, m.count.__code__, events.LINE)

    def once(code, line):
        seen.append((code, line))
        return monitoring.DISABLE

    monitoring.register_callback(TOOL, events.LINE, once)
    running = m.count(4)
    assert next(running) == 0
    freeze(m.count)
    bytecode = m.count.__code__._co_code_adaptive
    monitoring.set_events(TOOL, events.PY_RESUME)
    assert next(running) == 1
    monitoring.set_local_events(TOOL, m.count.__code__, 0)
    monitoring.set_events(TOOL, 0)
    monitoring.clear_tool_id(TOOL)
    assert list(running) == [2, 3]
    assert m.count.__code__._co_code_adaptive == bytecode


def test_a_function_that_freezes_itself_under_a_tracer_goes_on(module):
    m = module("""
        from immutable import freeze

        def work(numbers):
            freeze(work)
            total = 0
            for number in numbers:
                total += number
            return total
    """)
    counted = []

    def tracer(frame, event, argument):
        if frame.f_code.co_name == "work":
            counted.append(event)
        return tracer

    previous = sys.gettrace()
    sys.settrace(tracer)
    try:
        assert m.work([1, 2]) == 3
        sys.settrace(None)
        assert m.work([1, 2]) == 3
        sys.settrace(tracer)
        assert m.work([1, 2]) == 3
    finally:
        sys.settrace(previous)
    assert counted.count("call") == counted.count("return") == 2
    assert is_frozen(m.work)


# ---- tools of the standard library -----------------------------------------------------------------------------------


@pytest.fixture
def folder():
    """One for all runs: the caches of tools keep something for each path of a file."""
    path = pathlib.Path(tempfile.gettempdir(), f"immutable-monitoring-{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def imported(name, folder, monkeypatch, source="def double(a):\n    b = a * 2\n    return b\n"):
    """A module in a file, which tools look for; pdb warns where they find one of another date."""
    file = folder / f"{name}.py"
    file.write_text(source)
    os.utime(file, (0, 0))
    monkeypatch.syspath_prepend(folder)
    made = importlib.import_module(name)
    del sys.modules[name]
    return made


class Breaks(bdb.Bdb):
    """Notes the lines at which it stops, and what `a` is there."""

    def __init__(self, backend):
        super().__init__(backend=backend)
        self.stops = []

    def user_line(self, frame):
        if self.break_here(frame):
            self.stops.append((frame.f_lineno, frame.f_locals["a"]))
        self.set_continue()


@pytest.mark.parametrize("backend", ["settrace", "monitoring"])
def test_a_debugger_stops_at_breakpoints_in_a_frozen_function(backend, folder, monkeypatch):
    debugged = imported("debugged", folder, monkeypatch)
    freeze(debugged.double)
    debugged.double(1)
    debugger = Breaks(backend)
    assert debugger.set_break(str(folder / "debugged.py"), 3) is None
    previous = sys.gettrace()
    try:
        assert debugger.runcall(debugged.double, 4) == 8
        assert debugger.runcall(debugged.double, 5) == 10
    finally:
        debugger.clear_all_breaks()
        sys.settrace(previous)
    assert debugger.stops == [(3, 4), (3, 5)]


def test_pdb_runs_a_frozen_function_step_by_step(folder, monkeypatch):
    source = "def double(n):\n    return n + n\n\ndef walk(a):\n    breakpoint()\n    b = double(a)\n    return b\n"
    walked = imported("walked", folder, monkeypatch, source)
    monkeypatch.setattr(sys, "breakpointhook", sys.breakpointhook)
    previous = sys.gettrace()

    def debug(commands):
        written = io.StringIO()
        debugger = pdb.Pdb(stdin=io.StringIO("\n".join(commands)), stdout=written, nosigint=True, readrc=False)
        debugger.use_rawinput = False
        sys.breakpointhook = lambda: debugger.set_trace(sys._getframe(1))
        try:
            return walked.walk(4), written.getvalue().splitlines()
        finally:
            sys.settrace(previous)

    commands = ["next", "step", "args", "p n * 10", "up", "!a = 5", "p a", "down", "return", "next", "p b", "continue"]
    mutable = debug(commands)
    assert mutable[0] == 8
    assert "(Pdb) 40" in mutable[1]
    assert "(Pdb) 8" in mutable[1]
    freeze(walked.walk)
    assert debug(commands) == mutable
    result, written = debug(["p $_frame", "continue"])
    assert result == 8
    assert "(Pdb) *** NameError: name '__pdb_convenience_variables' is not defined" in written


def test_trace_counts_the_lines_of_a_frozen_function(folder, monkeypatch):
    counted = imported("counted", folder, monkeypatch)
    freeze(counted.double)
    tracer = trace.Trace(count=True, trace=False)
    previous = sys.gettrace()
    try:
        assert tracer.runfunc(counted.double, 1) == tracer.runfunc(counted.double, 1) == 2
    finally:
        sys.settrace(previous)
    path = str(folder / "counted.py")
    assert {line: n for (name, line), n in tracer.results().counts.items() if name == path} == {2: 2, 3: 2}


# ---- several interpreters at once ------------------------------------------------------------------------------------

MONITOR = """if True:
    import gc, sys
    monitoring, events, tool = sys.monitoring, sys.monitoring.events, 4
    code, calls = shared.__code__, []
    assert monitoring.get_local_events(tool, code) == 0
    monitoring.use_tool_id(tool, "test")
    for event in (events.LINE, events.INSTRUCTION, events.PY_START, events.JUMP):
        monitoring.register_callback(tool, event, lambda *call: calls.append(call))
    for n in range(300):
        local = (events.LINE, events.INSTRUCTION, events.PY_START | events.JUMP, 0)[n % 4]
        monitoring.set_local_events(tool, code, local)
        assert shared([1, 2, 3]) == 6
        assert bool(calls) == bool(local), (calls, local)
        assert monitoring.get_local_events(tool, code) == local
        calls.clear()
        code.replace(co_name="other").co_code
        if n % 50 == 0:
            monitoring.restart_events()
        if n % 100 == 0:
            gc.collect()
            gc.collect()
    monitoring.set_local_events(tool, code, 0)
    monitoring.clear_tool_id(tool)
    monitoring.free_tool_id(tool)
"""


def test_interpreters_monitor_one_function_at_the_same_time(m, everywhere_at_once):
    freeze(m.sum_of)
    bytecode = m.sum_of.__code__._co_code_adaptive
    everywhere_at_once(MONITOR, m.sum_of)
    assert m.sum_of.__code__._co_code_adaptive == bytecode


def test_one_interpreter_traces_what_the_others_run(m, seen, elsewhere):
    sum_of = freeze(m.sum_of)
    others = [elsewhere(), elsewhere()]
    hot = "for _ in range(20_000): assert sum_of([1, 2, 3]) == 6"
    for other in others:
        other.run("pass", sum_of=sum_of)
    threads = [threading.Thread(target=other.run, args=(hot,)) for other in others]
    for thread in threads:
        thread.start()
    traced = []
    try:
        for _ in range(50):
            sys.settrace(lambda frame, event, argument: traced.append(event))
            assert sum_of([1, 2, 3]) == 6
            sys.settrace(None)
            monitoring.set_local_events(TOOL, sum_of.__code__, events.LINE)
            assert sum_of([1, 2, 3]) == 6
            monitoring.set_local_events(TOOL, sum_of.__code__, 0)
    finally:
        sys.settrace(None)
        for thread in threads:
            thread.join()
    assert len(traced) == 50 * 4
    assert lines(seen) == [7, 9, 10, 11, 10, 11, 10, 11, 10, 12] * 50
