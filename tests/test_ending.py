"""An interpreter ends: its last finalizers find what they need, and what it has shared lives on.

Each test runs in a process of its own. What it prints is compared, with what CPython says of finalizers that fail.
"""

import textwrap

import pytest

BEGIN = """
import os
from concurrent import interpreters

queue = interpreters.create_queue()

def begin(source, **shared):
    interpreter = interpreters.create()
    interpreter.prepare_main(queue=queue, **shared)
    interpreter.exec(source)
    interpreter.exec("del queue")  # the library has it released, if by then it can
    return interpreter
"""

# What the last collection of an interpreter finds: `act` runs in a finalizer there. `keep` refers to the object from
# outside the modules, which are cleared before.
LATE = """
class Late:
    def __init__(self):
        self.me = self

    def __del__(self, act=act, tell=tell):
        tell(act())

keep(Late())
"""

TELL = """
def tell(value, write=__import__("os").write):
    write(1, b"%a\\n" % (value,))
"""

HOLDERS = {
    "a codec": "import codecs\nkeep = lambda late: codecs.register(lambda name, late=late: None)",
    "a fork hook": "import os\nkeep = lambda late: os.register_at_fork(before=lambda late=late: None)",
    "an audit hook": "import sys\nkeep = lambda late: sys.addaudithook(lambda *_, late=late: None)",
    "a callback of the collector": "import gc\nkeep = lambda late: gc.callbacks.append(lambda *_, late=late: None)",
    "a callback at exit": "import atexit\nkeep = lambda late: atexit.register(lambda late=late: None)",
    "a monitoring tool": """
import sys

def keep(late):
    sys.monitoring.use_tool_id(3, "late")
    sys.monitoring.register_callback(3, sys.monitoring.events.LINE, lambda *_, late=late: None)
""",
    "a value of the interpreter": """
from immutable import InterpreterLocal
value = InterpreterLocal(None)
queue.put(value)
keep = value.set
""",
}


@pytest.fixture
def end(run_python):
    """Runs source in an interpreter that has `queue`, `tell`, `keep` and `freeze`. It defines `act`, called late.

    Closes it, and goes on with `after`, where `shared` is what was put into the queue. Returns what was printed.
    """

    def run(source, after="", holder="a codec", before="", **options):
        inside = "\n".join(["from immutable import freeze", TELL, HOLDERS[holder], textwrap.dedent(source), LATE])
        program = f"{BEGIN}\n{before}\ninterpreter = begin({inside!r})\nshared = []\n"
        program += "while not queue.empty():\n    shared.append(queue.get())\n"
        program += 'interpreter.close()\nprint("closed", flush=True)\n'
        return run_python(program + textwrap.dedent(after), with_errors=True, **options)

    return run


@pytest.mark.parametrize(
    ("imports", "value", "use"),
    [
        ("", "open", "shared[0](os.devnull).close()"),
        ("import pathlib", "pathlib.Path('/a')", "assert str(shared[0]) == '/a'"),
        ("import _io", "lambda: _io.open", "import _io; assert shared[0]() is _io.open"),
        ("import _io", "(_io,)", "assert shared[0][0].open is open"),
        ("import io", "io.open_code", "shared[0](os.__file__).close()"),
        ("import email.message", "email.message.EmailMessage()", "str(shared[0])"),
        ("from io import StringIO", "lambda: StringIO('text').read()", "assert shared[0]() == 'text'"),
    ],
)
def test_an_interpreter_closes_its_own_streams_whatever_of_io_is_shared(imports, value, use, run_python):
    done = run_python(
        f"""
        {{BEGIN}}
        interpreter = begin('''
        {imports}
        from immutable import freeze
        queue.put(freeze({value}))
        '''.replace("        ", ""))
        shared = [queue.get()]
        interpreter.close()
        {use}
        print("done")
        """.replace("{BEGIN}", textwrap.indent(BEGIN, " " * 8)),
        with_errors=True,
    )
    assert done == "done\n"


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_last_finalizers_find_modules_that_are_shared(holder, end):
    done = end(
        """
        import math
        queue.put(freeze(lambda: math.floor(2.5)))

        def act(math=math):
            return math.floor is None or math.floor(2.5)
        """,
        "print(shared[-1]())",
        holder,
    )
    assert done in ("True\nclosed\n2\n", "2\nclosed\n2\n")


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_last_finalizers_may_close_files_when_io_is_shared(holder, end):
    done = end(
        """
        import os
        queue.put(freeze(open))
        stream = open(os.devnull)

        def act(stream=stream):
            stream.close()
            return stream.closed
        """,
        "shared[-1](os.devnull).close()",
        holder,
    )
    # The collector may come to the file before its holder.
    assert [line for line in done.splitlines() if "ResourceWarning: unclosed" not in line] == ["True", "closed"]


def test_an_interpreter_whose_number_is_too_high_for_the_mark_ends_as_any_other(end):
    done = end(
        """
        import math, os
        queue.put(freeze(lambda: math.floor(2.5)))
        queue.put(freeze(open))
        stream = open(os.devnull)

        def act(stream=stream, math=math):
            stream.close()
            return math.floor is None or math.floor(2.5)
        """,
        "print(interpreter.id, shared[0]())",
        before="from _immutable import _number_interpreters_from\n_number_interpreters_from(70_000)",
    )
    assert done in ("True\nclosed\n70000 2\n", "2\nclosed\n70000 2\n")


def test_a_file_that_nobody_closes_is_closed_by_the_last_collection(end):
    done = end(
        """
        import os
        queue.put(freeze(open))
        reading, writing = os.pipe()
        queue.put(reading)
        stream = open(writing, "w")
        stream.write("all of it")
        act = lambda stream=stream: None
        """,
        "print(os.read(shared[1], 100))",
        options=("-W", "ignore"),
    )
    assert done == "None\nclosed\nb'all of it'\n"


def test_what_only_a_shared_module_holds_is_finalized_before_other_modules_go(end):
    done = end(
        """
        import os, sys, types
        module = types.ModuleType("apart")
        exec('''if True:
            class Inner:
                def __init__(self, tell):
                    self.me, self.tell = self, tell
                def __del__(self):
                    self.tell(self.stream.read(5))
        ''', module.__dict__)
        module.inner = module.Inner(tell)
        reading, writing = os.pipe()
        os.write(writing, b"begin")
        module.inner.stream = open(reading)
        queue.put(freeze(module))
        queue.put(freeze(open))
        act = lambda: None
        """,
        options=("-W", "ignore"),
    )
    assert done == "None\n'begin'\nclosed\n"


# What holds `told`, the instance of a class that is not frozen, for an object in the namespace.
KEPT = {
    "a value of a thread": "held = freeze(threading.local())\nheld.value = told",
    "a cache": "held = freeze(functools.lru_cache(lambda argument: argument))\nheld(told)",
    "annotations": "def held(argument: told): pass\nfreeze(held)\nassert held.__annotations__['argument'] is told",
    "a value of the interpreter": "held = InterpreterLocal(None)\nheld.set(told)",
}


@pytest.mark.parametrize("where", ["main", "sub"])
@pytest.mark.parametrize("kept", KEPT)
def test_what_a_frozen_object_holds_for_an_interpreter_is_finalized_while_python_code_works(kept, where, run_python):
    source = f"""
import functools, threading
from immutable import InterpreterLocal, freeze

class Told:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        print(self.name.upper(), len(self.name), flush=True)

told, beside = Told("held"), Told("beside it")
{KEPT[kept]}
del told
"""
    if where == "sub":
        # A thread has the values of a local, and the thread that runs this goes on to close the interpreter.
        source = (
            f"from concurrent import interpreters\nother = interpreters.create()\nother.exec({source!r})\nother.close()"
        )
    assert sorted(run_python(source, with_errors=True).splitlines()) == ["BESIDE IT 9", "HELD 4"]


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_last_finalizers_call_frozen_functions(holder, end):
    done = end(
        """
        def double(x):
            return {"n": x}["n"] * 2

        queue.put(freeze(double))
        act = lambda double=double: double(4)
        """,
        "print(shared[-1](5))",
        holder,
    )
    assert done == "8\nclosed\n10\n"


def test_the_last_finalizers_call_frozen_functions_of_other_interpreters(run_python):
    inside = TELL + HOLDERS["a codec"] + "\nact = lambda double=double: double(4)" + LATE
    done = run_python(
        BEGIN
        + f"""
from immutable import freeze

def double(x):
    return {{"n": x}}["n"] * 2

begin({inside!r}, double=freeze(double)).close()
print("closed")
""",
        with_errors=True,
    )
    assert done == "8\nclosed\n"


def test_a_frozen_function_is_called_while_the_modules_go(run_python):
    done = run_python(
        BEGIN
        + """
begin('''if True:
    import colorsys, os, sys
    from immutable import freeze
    class Early:
        def __del__(self, write=os.write):
            write(1, b"%a" % (f(),))
    def f():
        return colorsys.rgb_to_hsv(1, 1, 1)
    freeze(f)
    sys.keep = Early()
''').close()
print("closed")
""",
        with_errors=True,
    )
    assert done.endswith("closed\n")
    assert "SystemError" not in done


def test_a_queue_goes_after_a_freeze_has_reached_weak_references(run_python):
    done = run_python(
        BEGIN
        + """
begin('''if True:
    import weakref
    from immutable import freeze
    freeze(weakref.WeakValueDictionary())
    kept = queue
''').close()
print("closed")
""",
        with_errors=True,
    )
    assert done == "closed\n"


def test_the_end_of_a_program_that_froze_nothing_collects_no_more_often_than_it_must(run_python):
    def collections(work):
        shown = run_python(
            f"import enum, functools, gc, re\n{work}\ngc.disable()\ngc.set_debug(gc.DEBUG_STATS)", with_errors=True
        )
        return shown.count("gc: collecting generation")

    froze = "from immutable import freeze\ndef f(): return re\nfreeze(f)\nf()"
    assert 0 < collections("") < collections(froze)


def test_the_last_finalizers_may_freeze_and_catch_what_is_refused(end):
    done = end(
        """
        import math
        from immutable import MutationError, is_frozen
        queue.put(freeze([math]))

        def act(freeze=freeze, is_frozen=is_frozen, MutationError=MutationError, iter=iter):
            value = freeze([[]])
            try:
                value.append(1)
            except MutationError:
                return is_frozen(value)
        """,
    )
    assert done == "True\nclosed\n"


def test_a_module_that_was_shared_as_a_whole_later_outlives_its_interpreter(run_python):
    done = run_python(
        BEGIN
        + """
begin('''if True:
    import sys, types
    from immutable import freeze, share_module
    module = sys.modules["apart"] = types.ModuleType("apart")
    module.value = 7
    freeze(lambda: module.value)
    share_module(module)
''').close()
import apart
print(apart.value)
""",
        with_errors=True,
    )
    assert done == "7\n"


def test_ended_interpreters_leave_nothing_behind_whatever_their_last_finalizers_do(run_python):
    source = "\n".join(
        [
            "import math, os, pathlib",
            "from immutable import freeze",
            HOLDERS["a codec"],
            textwrap.dedent("""
                def double(x):
                    return {"n": x}["n"] * 2

                path = pathlib.Path("a")
                freeze(double, lambda: math.pi, open, path)
                queue.put(path)
                queue.put(double)

                def act(double=double, math=math, freeze=freeze, path=path, str=str, busy=busy):
                    return busy and (double(4), str(path), freeze([math, lambda: 1]), math.pi)

                tell = lambda value: None
            """),
            LATE,
        ]
    )
    done = run_python(
        BEGIN
        + f"""
import gc, sys
from immutable import _stats

def once(busy):
    begin({source!r}, busy=busy).close()
    path, double = queue.get(), queue.get()
    assert (str(path), double(1)) == ("a", 2)
    del path, double
    gc.collect()
    gc.collect()
    return _stats()["frozen_objects"], _stats()["components"], sys.getallocatedblocks()

def growth(busy):
    for _ in range(5):
        once(busy)
    before = once(busy)
    for _ in range(20):
        after = once(busy)
    return [late - early for late, early in zip(after, before)]

idle, busy = growth(False), growth(True)
print(busy[0], busy[1], busy[2] - idle[2])
""",
        with_errors=True,
    )
    assert done.startswith("0 0 ")
    assert int(done.split()[2]) < 20  # blocks of memory, of the 20 interpreters together


def test_interpreters_one_after_the_other_keep_no_names_of_what_they_froze(run_python):
    source = "\n".join(
        [
            "from immutable import freeze",
            "class Named:",
            "    an_attribute_of_this_test = 1",
            "    def method_of_this_test(self, argument_of_this_test):",
            "        return self.an_attribute_of_this_test, argument_of_this_test.another_of_this_test",
            "queue.put(freeze(Named))",
        ]
    )
    done = run_python(
        BEGIN
        + f"""
import ctypes, gc, sys

def once():
    begin({source!r}).close()
    named = queue.get()
    assert named().an_attribute_of_this_test == 1
    return named

def blocks(times):
    for _ in range(times):
        kept = once()
    del kept
    gc.collect()
    gc.collect()
    ctypes.pythonapi.PyType_ClearCache()  # it keeps names of single lookups alive
    return sys.getallocatedblocks()

blocks(5)
before = blocks(5)
print(blocks(20) - before)
""",
        with_errors=True,
    )
    assert int(done) < 20  # one for each interpreter would be one name
