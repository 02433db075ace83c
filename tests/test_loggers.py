"""Loggers that a frozen function names pass by name: it logs to the tree of the interpreter that runs it."""

import copy
import gc
import inspect
import logging
import pickle
import sys
import textwrap
from concurrent import interpreters

import pytest

from immutable import (
    FREEZABLE_NO,
    ImmutableModule,
    MutationError,
    NotFreezableError,
    _stats,
    explain,
    freeze,
    is_freezable,
    is_frozen,
    set_freezable,
    share_module,
    thaw,
    unset_freezable,
)

NAME = "made_by_test_loggers.part"
log = logging.getLogger(NAME)
root = logging.getLogger()

# Listens to the logger in the interpreter that runs it, and has `logged()` tell what was written.
LISTEN = f"""
import io, logging
stream = io.StringIO()
logging.basicConfig(stream=stream, format="%(levelname)s %(name)s %(message)s")
logging.getLogger({NAME!r}).setLevel(logging.INFO)

def logged():
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    return text
"""


@pytest.fixture
def work(module):
    """A function of a module with a logger, as most modules have one."""
    return module(f"""
        import logging

        log = logging.getLogger({NAME!r})

        def work(number):
            log.debug("hidden")
            log.info("worked on %s", number)
            return number + 1
    """).work


@pytest.fixture
def named(module):
    """Makes a function that returns its global `log`, which is the logger given."""

    def make(logger):
        made = module("import logging\ndef get():\n    return log\n")
        made.log = logger
        return made.get

    return make


@pytest.fixture
def heard():
    """What is logged here, which no handler gets: that of pytest would keep it."""
    messages = []

    def hear(record):
        messages.append(record.getMessage())
        return False

    log.addFilter(hear)
    yield messages
    log.removeFilter(hear)
    log.setLevel(logging.NOTSET)


@pytest.fixture
def of_class():
    """Makes a logger of a class of its own, which is in the tree during the test."""
    name = "made_by_test_of_class"

    def make(cls):
        logging.setLoggerClass(cls)
        try:
            return logging.getLogger(name)
        finally:
            logging.setLoggerClass(logging.Logger)

    yield make
    del logging.Logger.manager.loggerDict[name]


# ---- At home ---------------------------------------------------------------------------------------------------------


def test_a_frozen_function_goes_on_using_the_same_logger(work, named, heard):
    get = freeze(named(log))
    freeze(work)
    assert get() is log
    assert not is_frozen(log)
    log.setLevel(logging.INFO)
    assert work(1) == 2
    assert heard == ["worked on 1"]
    log.setLevel(logging.ERROR)
    assert work(1) == 2
    assert heard == ["worked on 1"]


def test_the_views_that_the_collector_drops_are_made_again(named):
    get = freeze(named(log))
    for _ in range(4):
        assert get() is log
        gc.collect()
        gc.collect()


def test_the_root_logger_passes_whatever_its_name(named, monkeypatch, elsewhere):
    before, after = freeze(named(root)), named(root)
    monkeypatch.setattr(root, "name", "renamed")
    freeze(after)
    monkeypatch.undo()
    assert before() is after() is root
    elsewhere().run(
        "import logging; assert before() is after() is logging.getLogger() is logging.root", before=before, after=after
    )


def test_a_logger_in_a_cell_passes():
    def make(logger):
        def outer():
            def inner():
                return logger

            return inner

        return outer

    outer = freeze(make(log))
    inner = outer()
    assert inner() is log
    assert outer()() is freeze(inner)() is log


def test_cells_stay_what_they_were():
    def make(logger, other):
        def rebind():
            nonlocal logger
            logger = None

        def get():
            return logger, other

        return rebind, get

    rebind, get = make(log, [1])
    freeze(get)
    rebind()  # has the cell of its own
    assert get() == (log, [1])
    rebind, get = freeze(make(log, [1]))
    with pytest.raises(MutationError, match=r"'cell' object \(setting variable 'logger'\)") as raised:
        rebind()
    assert isinstance(raised.value.obj, type(get.__closure__[0]))
    assert get()[0] is log


def test_a_cell_of_the_view_is_no_frozen_one():
    def make(logger):
        def outer():
            return lambda: logger

        return outer

    cell = freeze(make(log))().__closure__[0]
    assert cell.cell_contents is log
    assert not is_frozen(cell)
    assert not is_frozen((cell,))
    with pytest.raises(MutationError):
        cell.cell_contents = None
    with pytest.raises(NotFreezableError):
        freeze(cell)


def test_methods_properties_generators_and_coroutines(module):
    m = module(f"""
        import logging

        log = logging.getLogger({NAME!r})

        class Worker:
            def method(self):
                return log

            @property
            def property(self):
                return log

            @classmethod
            def of_class(cls):
                return super().__hash__ and log

            @staticmethod
            def static():
                return [log for _ in "x"][0]

        def generator():
            yield log

        async def coroutine():
            return log
    """)
    freeze((m.Worker, m.generator, m.coroutine))
    worker = freeze(m.Worker())
    assert worker.method() is worker.property is worker.of_class() is worker.static() is log
    assert list(m.generator()) == [log]
    with pytest.raises(StopIteration) as stopped:
        m.coroutine().send(None)
    assert stopped.value.value is log


def test_names_given_to_captures_pass(module):
    m = module(f"""
        import logging
        from immutable import frozen

        log = logging.getLogger({NAME!r})

        @frozen(captures=("log",))
        def get(name):
            return globals()[name]
    """)
    assert m.get("log") is log


def test_builtins_of_its_own_pass():
    namespace = {"__builtins__": {"log": log}}
    exec("def get(): return log", namespace)
    assert freeze(namespace["get"])() is log


def test_the_class_of_loggers_may_be_another(named, of_class, elsewhere):
    class Mine(logging.Logger):
        pass

    mine = of_class(Mine)
    get = freeze(named(mine))
    assert type(mine) is Mine
    assert get() is mine
    elsewhere().run(
        "import logging; assert type(get()) is logging.Logger and get().name == name", get=get, name=mine.name
    )


def test_what_the_frozen_namespace_shows(named):
    get, of_root = freeze(named(log)), freeze(named(root))
    shown = get.__globals__["log"]
    assert is_frozen(shown)
    assert repr(shown) == f"<captured logger {NAME!r}>"
    assert repr(of_root.__globals__["log"]) == "<captured root logger>"
    assert inspect.getclosurevars(get).globals == {"log": shown}
    with pytest.raises(AttributeError):
        shown.name = "x"
    with pytest.raises(TypeError):
        type(shown)()
    with pytest.raises(TypeError):
        type(shown).name = "x"
    for copied in (copy.copy, copy.deepcopy, thaw, lambda op: pickle.loads(pickle.dumps(op))):
        assert copied(shown) is log
        assert copied(of_root.__globals__["log"]) is root


def test_a_function_pickles_and_thaws_as_before(work):
    freeze(work)
    assert pickle.loads(pickle.dumps(work)) is work
    assert thaw([work]) == [work]


def test_a_global_cannot_be_rebound(module):
    m = module(f"""
        import logging

        log = logging.getLogger({NAME!r})

        def rebind():
            global log
            log.debug("x")
            log = None

        def delete():
            global log
            del log
    """)
    freeze((m.rebind, m.delete))
    for write in (m.rebind, m.delete):
        with pytest.raises(MutationError) as raised:
            write()
        assert raised.value.obj is write.__globals__
    assert m.log is log


# ---- Elsewhere -------------------------------------------------------------------------------------------------------


def test_other_interpreters_log_to_their_own_handlers(work, elsewhere, heard):
    freeze(work)
    other = elsewhere()
    other.run(
        LISTEN
        + textwrap.dedent("""
        assert work(2) == 3
        assert logged() == f"INFO {NAME} worked on 2\\n"
        logging.getLogger(NAME).setLevel(logging.ERROR)
        assert work(2) == 3 and logged() == ""
        """),
        work=work,
        NAME=NAME,
    )
    assert heard == []
    log.setLevel(logging.INFO)
    assert work(3) == 4
    assert heard == ["worked on 3"]
    other.run("assert logged() == ''")


def test_logging_is_imported_where_it_was_not(named, elsewhere):
    get = freeze(named(log))
    elsewhere().run(
        """
        import sys
        assert "logging" not in sys.modules
        logger = get()
        import logging
        assert logger is logging.getLogger(name) and logger.name == name and logger.name is not name
        """,
        get=get,
        name=freeze("".join([NAME])),
    )


def test_closures_and_classes_elsewhere(module, elsewhere):
    m = module(f"""
        import logging

        log = logging.getLogger({NAME!r})

        def logged(logger):
            def decorate(function):
                def wrapped(*arguments):
                    logger.info("calls %s", function.__name__)
                    return function(*arguments)
                return wrapped
            return decorate

        @logged(log)
        def double(x):
            return 2 * x

        class Worker:
            def steps(self, n):
                for i in range(n):
                    log.info("step %s", i)
                    yield lambda: log
    """)
    freeze((m.double, m.Worker))
    elsewhere().run(
        LISTEN
        + textwrap.dedent("""
        assert double(4) == 8
        assert logged() == f"INFO {NAME} calls double\\n"
        assert [step() for step in Worker().steps(2)] == [logging.getLogger(NAME)] * 2
        assert logged() == f"INFO {NAME} step 0\\nINFO {NAME} step 1\\n"
        cell, = (cell for cell in double.__closure__ if "captured" in repr(cell.cell_contents))
        """),
        double=m.double,
        Worker=m.Worker,
        NAME=NAME,
    )


def test_a_function_that_another_interpreter_froze_again(named, elsewhere):
    get = freeze(named(log))
    elsewhere().run(
        """
        from immutable import freeze, is_frozen
        namespace = {"get": get}
        exec("def twice(): return get(), get()", namespace)
        twice = freeze(namespace["twice"])
        import logging
        assert twice() == (logging.getLogger(name),) * 2
        """,
        get=get,
        name=NAME,
    )


def test_four_interpreters_at_once(work, everywhere_at_once):
    freeze(work)
    everywhere_at_once(
        """
import io, logging
logger = logging.getLogger("made_by_test_loggers")
handler = logging.StreamHandler(stream := io.StringIO())
logger.addHandler(handler)
logger.setLevel(logging.INFO)
logger.propagate = False
for i in range(300):
    assert shared(i) == i + 1
logger.removeHandler(handler)
logger.setLevel(logging.NOTSET)
logger.propagate = True
assert stream.getvalue().splitlines() == [f"worked on {i}" for i in range(300)]
""",
        work,
    )


def test_after_the_home_interpreter_was_closed(elsewhere):
    sender = elsewhere()
    queue = interpreters.create_queue()
    sender.run(
        f"""
        import logging
        from immutable import freeze

        log = logging.getLogger({NAME + ".sent"!r})

        def sent():
            return log

        def make(logger):
            return lambda: logger

        sent.__globals__["__name__"] = "sent"
        assert freeze(sent)() is freeze(inner := make(log))() is log
        queue.put((sent, inner))
        """,
        queue=queue,
    )
    sent, inner = queue.get()
    sender.close()
    del sender
    assert sent() is inner() is logging.getLogger(NAME + ".sent")
    assert repr(sent.__globals__["log"]) == f"<captured logger {NAME + '.sent'!r}>"
    elsewhere().run(
        "import logging; assert sent() is inner() is logging.getLogger(name)",
        sent=sent,
        inner=inner,
        name=NAME + ".sent",
    )


def test_finalizers_at_the_end_can_log(run_python):
    assert "gone 1\n" in run_python(
        """
        import builtins, logging
        from immutable import freeze

        log = logging.getLogger("end")

        class Last:
            def __del__(self):
                log.warning("gone %s", self.number)

        builtins.last = Last()
        last.number = 1
        freeze(last)
        """,
        with_errors=True,
    )


# ---- What refuses ----------------------------------------------------------------------------------------------------


def refuses(op, path, match="getLogger"):
    report = explain(op)
    assert path in [refusal.path for refusal in report.refusals]
    assert not is_freezable(op)
    with pytest.raises(NotFreezableError, match=match) as raised:
        freeze(op)
    assert raised.value.path in [refusal.path for refusal in report.refusals]
    assert not is_frozen(op)


class Bare:
    pass


UNREGISTERED = {
    "made by hand": lambda: logging.Logger("made_by_test_loggers.hand"),
    "by hand under a name of the tree": lambda: logging.Logger(NAME),
    "by hand, for a root": lambda: logging.RootLogger(logging.WARNING),
    "without __init__": lambda: logging.Logger.__new__(logging.Logger),
    "another tree": lambda: logging.Manager(root).getLogger(NAME),
    "hidden by the root": lambda: logging.Logger.manager.getLogger("root"),
    "a name that is no plain str": lambda: logging.getLogger(type("Text", (str,), {})("made_by_test_loggers.text")),
    "adapter": lambda: logging.LoggerAdapter(log),
    "handler": logging.NullHandler,
    "manager": lambda: logging.Logger.manager,
    "bound method": lambda: log.info,
}


@pytest.mark.parametrize("make", UNREGISTERED.values(), ids=UNREGISTERED)
def test_what_the_tree_does_not_hold_refuses(make, named):
    logger = make()
    get = named(logger)
    with pytest.raises(NotFreezableError, match=r"getLogger|logging") as raised:
        freeze(get)
    assert raised.value.path.startswith("root.__globals__['log']")
    assert not is_freezable(get)
    assert not is_frozen(get)
    assert get() is logger
    logging.Logger.manager.loggerDict.pop("root", None)


def test_a_renamed_logger_refuses(named):
    renamed = logging.getLogger("made_by_test_loggers.before")
    renamed.name = NAME
    refuses(named(renamed), "root.__globals__['log']")
    renamed.name = "made_by_test_loggers.before"
    assert freeze(named(renamed))() is renamed


def with_attribute():
    made = Bare()
    made.log = log
    return made


def with_default(named):
    def function(logger=log):
        pass

    return function


class Holder:
    log = log


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: [log], "root[0]"),
        (lambda: {"log": log}, "root['log']"),
        (with_attribute, "root.log"),
        (lambda: with_default(None), "root.__defaults__[0]"),
        (lambda: Holder, "root.__dict__['log']"),
        (lambda: log, "root"),
    ],
    ids=["item", "value", "attribute", "default", "class attribute", "itself"],
)
def test_a_logger_in_data_refuses(make, path):
    with pytest.raises(NotFreezableError, match="as a global of the function that uses it") as raised:
        freeze(made := make())
    assert raised.value.path == path
    assert not is_freezable(made)
    assert not is_frozen(made)


def test_a_refusal_elsewhere_leaves_everything_as_it_was(module, without_collector):
    m = module(f"""
        import logging

        log = logging.getLogger({NAME!r})
        numbers = iter([1])

        def get(cell=log.name):
            return log, cell

        def both():
            return get(), numbers
    """)
    before, name = _stats(), log.name
    namespace = m.get.__globals__
    references = sys.getrefcount(log)
    refuses(m.both, "root.__globals__['numbers']", "iterator")
    assert _stats() == before
    assert sys.getrefcount(log) == references
    assert m.get.__globals__ is namespace
    assert m.get() == (log, NAME)
    assert log.name is name
    m.log = 1
    assert m.get() == (1, NAME)


def test_the_word_of_the_program_counts(named):
    quiet = logging.getLogger("made_by_test_loggers.quiet")
    set_freezable(quiet, FREEZABLE_NO)
    refuses(named(quiet), "root.__globals__['log']", "FREEZABLE_NO")
    unset_freezable(quiet)
    quiet.__freezable__ = FREEZABLE_NO
    refuses(named(quiet), "root.__globals__['log']", "FREEZABLE_NO")
    del quiet.__freezable__
    assert freeze(named(quiet))() is quiet


def test_a_default_that_says_no_is_about_what_would_be_frozen(run_python):
    run_python(
        """
        import logging
        from immutable import FREEZABLE_NO, freeze, freezable

        class Mine(logging.Logger):
            pass

        logging.setLoggerClass(Mine)
        log = logging.getLogger("mine")

        def get():
            return log

        assert freeze(get)() is log
        """,
        options=("-X", "immutable_default=no"),
    )


def test_no_code_of_a_logger_runs(named, of_class):
    ran = []

    class Odd(logging.Logger):
        def __getattribute__(self, name):
            ran.append(name)
            return super().__getattribute__(name)

        def __eq__(self, other):
            ran.append("==")
            return self is other

        def __hash__(self):
            ran.append("hash")
            return 1

    odd = of_class(Odd)
    get = named(odd)
    ran.clear()
    assert is_freezable(get)
    freeze(get)
    assert ran == []
    assert get() is odd


@pytest.mark.parametrize(
    "break_it",
    [
        "del logging.Logger.manager",
        "logging.Logger.manager = 1",
        "logging.Logger.manager.loggerDict = {}",
        "logging.Logger.manager.loggerDict = type('D', (dict,), {})(logging.root.manager.loggerDict)",
        "del logging.Logger",
        "logging.Logger = 1",
        "del logging.root",
        "del sys.modules['logging']",
        "sys.modules['logging'] = None",
        "log.__dict__ = type('D', (dict,), {})(name=1)",
    ],
)
def test_a_tree_that_is_no_plain_one_is_not_looked_into(run_python, break_it):
    run_python(
        f"""
        import logging, sys
        from immutable import NotFreezableError, freeze, is_freezable

        log = logging.getLogger("broken")

        def get():
            return log

        class Logger(logging.Logger):
            pass

        {break_it}
        assert not is_freezable(get)
        try:
            freeze(get)
        except NotFreezableError:
            pass
        else:
            raise AssertionError
        assert get() is log
        """
    )


# ---- What is told, and kept ------------------------------------------------------------------------------------------


def test_explain_tells_what_is_captured(work):
    report = explain(work)
    assert report.freezable
    assert report.counts["captured_logger"] == 1
    assert ("root.__globals__['log']", "captured_logger") in [found[:2] for found in report.objects]
    assert not is_frozen(work)
    freeze(work)
    assert isinstance(logging, ImmutableModule)


def test_the_commands_tell_the_same(tmp_path, run_python):
    (tmp_path / "made_by_test.py").write_text(
        textwrap.dedent("""
            import logging

            log, by_hand = logging.getLogger(__name__), logging.Logger(__name__)

            class One:
                def work(self):
                    log.info("x")

            class Two:
                def work(self):
                    by_hand.info("x")
        """)
    )
    printed = run_python(
        f"""
        import sys

        sys.path.insert(0, {str(tmp_path)!r})
        from immutable.__main__ import main

        assert main(["check", "made_by_test"]) == 0
        assert main(["explain", "made_by_test:One"]) == 0
        assert main(["explain", "made_by_test:Two"]) == 1
        """
    )
    assert "made_by_test.One\n" in printed
    assert "root.__dict__['work'].__globals__['by_hand']: logging.Logger object: " in printed


def test_what_was_captured_goes_with_the_function(elsewhere, without_collector):
    other = elsewhere()

    def round_trip():
        def make(logger):
            return lambda: logger

        namespace = {"log": log, "__name__": "made_by_test"}
        exec("def get(): return log", namespace)
        get, inner = freeze((namespace["get"], make(log)))
        assert get() is inner() is log
        other.run("get(), inner(); del get, inner", get=get, inner=inner)
        del get, inner, namespace, make
        for _ in range(2):
            gc.collect()
            other.run("import gc; gc.collect()")
        return _stats(), sys.getrefcount(log)

    round_trip()
    assert round_trip() == round_trip()


def test_functions_of_the_library_find_their_loggers_in_place(run_python):
    run_python(
        """
        import concurrent.futures, logging, venv
        from concurrent import interpreters
        from immutable import explain, freeze, is_freezable

        def of_venv():
            return logger

        of_venv = type(of_venv)(of_venv.__code__, vars(venv))
        assert "captured_logger" not in explain((of_venv, venv.EnvBuilder)).counts
        freeze((of_venv, venv.EnvBuilder))
        assert of_venv() is venv.logger is logging.getLogger("venv")
        assert not is_freezable(concurrent.futures.Future.set_result)
        other = interpreters.create()
        other.prepare_main(of_venv=of_venv)
        other.exec("import logging; assert of_venv() is logging.getLogger('venv')")
        other.close()
        """
    )


def test_a_module_that_is_frozen_as_a_whole_still_refuses(module):
    m = module(f"import logging\nlog = logging.getLogger({NAME!r})\ndef get(): return log\n")
    with pytest.raises(NotFreezableError, match="getLogger"):
        share_module(m)
    assert m.get() is log
