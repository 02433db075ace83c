"""What modules of the standard library write while a program runs stays mutable, whatever of them is frozen.

Each case runs in a process of its own: it freezes something, then uses the module as before, here and in another
interpreter.
"""

import difflib
import random
import textwrap
import urllib.request

import pytest

from immutable import NotFreezableError, freeze

# For each case: what is frozen; how that is used, `frozen` being it; and how the module is used, which must work after.
CASES = {
    "re": (
        """
        from re import sub, match, compile as compiled

        def frozen(n):
            return sub(f"a{n}", "b", f"a{n}"), bool(match(f"x{n}", f"x{n}")), compiled(f"y{n}").pattern
        """,
        "assert frozen(n) == ('b', True, f'y{n}')",
        """
        import re
        for i in range(1000):
            assert re.compile(f"pattern {n} {i}").match(f"pattern {n} {i}")
        re.purge()
        """,
    ),
    "copy": (
        """
        from copy import copy, deepcopy

        def frozen(value):
            return copy(value), deepcopy(value)
        """,
        "assert frozen([n, [n]]) == ([n, [n]],) * 2",
        """
        import copyreg, pickle, re, copy

        class Point:
            pass

        copyreg.pickle(Point, lambda point: (int, (n,)))
        assert copy.copy(Point()) == n == pickle.loads(pickle.dumps(Point()))
        re.compile(f"another {n}")
        """,
    ),
    "UserDict": (
        """
        import collections

        collections.UserDict(a=1).copy()
        frozen = collections.UserDict(a=1)
        """,
        "assert frozen.copy() == {'a': 1} and dict(frozen | {n: 1}) == {'a': 1, n: 1}",
        """
        import copyreg, re

        copyreg.pickle(type(f"C{n}", (), {}), str)
        re.compile(f"user dict {n}")
        """,
    ),
    "os": (
        """
        from os import getenv, putenv, execvp, get_exec_path

        def frozen(name):
            return getenv(name), execvp, get_exec_path()
        """,
        """
        import os
        os.environ[f"NAME_{n}"] = "value"
        assert frozen(f"NAME_{n}")[0] == "value"
        """,
        """
        import os
        os.environ[f"OTHER_{n}"] = "value"
        assert os.getenv(f"OTHER_{n}") == "value"
        del os.environ[f"OTHER_{n}"]
        """,
    ),
    "email": (
        """
        import email.charset, email.message, email.policy

        message = email.message.EmailMessage()
        message["Subject"] = "größe"
        message.set_content("text")
        frozen = message, email.charset.Charset("utf-8"), email.policy.default, email.message.Message()
        """,
        """
        assert frozen[0]["Subject"] == "größe" and "text" in frozen[0].as_string()
        assert frozen[1].header_encode("größe") == "=?utf-8?b?Z3LDtsOfZQ==?="
        """,
        """
        import email.charset

        email.charset.add_charset(f"made-up-{n}", email.charset.QP)
        email.charset.add_alias(f"alias-{n}", f"made-up-{n}")
        email.charset.add_codec(f"made-up-{n}", "utf-8")
        assert email.charset.Charset(f"alias-{n}").input_codec == "utf-8"
        """,
    ),
    "ElementTree": (
        """
        import xml.etree.ElementTree as ET
        from xml.etree.ElementTree import tostring

        frozen = ET.ElementTree(ET.fromstring("<a><b/></a>")), tostring
        """,
        "assert frozen[1](frozen[0].getroot()) == b'<a><b /></a>'",
        """
        import xml.etree.ElementTree as ET

        ET.register_namespace(f"made{n}", f"http://made.up/{n}")
        assert ET.tostring(ET.Element(f"{{http://made.up/{n}}}a")).startswith(b"<made")
        """,
    ),
    "typing": (
        """
        import typing

        frozen = typing.List[str], typing.Dict[str, typing.List[int]]
        """,
        """
        import pickle, copy, typing
        assert repr(frozen[0]) == "typing.List[str]"
        for alias in frozen:
            # Another interpreter finds classes of its own.
            assert repr(pickle.loads(pickle.dumps(alias))) == repr(alias) == repr(copy.deepcopy(alias))
        """,
        """
        import pickle, copy, typing

        for alias in typing.Dict[str, int], typing.Callable[[int], str], typing.Optional[bytes]:
            assert pickle.loads(pickle.dumps(alias)) == alias == copy.deepcopy(alias)
        """,
    ),
    "overload": (
        """
        from typing import overload, get_overloads, clear_overloads

        def frozen():
            @overload
            def f(x: int) -> int: ...
            return get_overloads, clear_overloads
        """,
        "frozen()",
        """
        import typing

        def f(x: int) -> int: ...
        typing.overload(f)
        assert typing.get_overloads(f) == [f]
        typing.clear_overloads()
        """,
    ),
    "argparse": (
        """
        import argparse

        parser = argparse.ArgumentParser()
        parser.add_argument("--x", type=int, help="a number")
        frozen = argparse.ArgumentError(None, "bad"), parser
        """,
        """
        assert str(frozen[0]) == "bad"
        assert frozen[1].parse_args(["--x", str(n)]).x == n and "a number" in frozen[1].format_help()
        """,
        """
        import argparse, gettext

        gettext.bindtextdomain(f"domain{n}", "/nowhere")
        assert gettext.textdomain(f"domain{n}") == f"domain{n}"
        assert gettext.translation("none", fallback=True).gettext("x") == "x"
        assert gettext.gettext("x") == "x"
        """,
    ),
    "gettext": (
        """
        from gettext import gettext as _, ngettext

        def frozen():
            return _("text"), ngettext("one", "many", 2)
        """,
        "assert frozen() == ('text', 'many')",
        """
        import gettext

        gettext.bindtextdomain(f"domain{n}", "/nowhere")
        assert gettext.textdomain(f"domain{n}") == f"domain{n}"
        gettext.c2py("n != 1")
        """,
    ),
    "ipaddress": (
        """
        import ipaddress

        frozen = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8")
        """,
        "assert f'{frozen[0]:x}' == '0a000001' and frozen[0] in frozen[1]",
        """
        import ipaddress

        assert f"{ipaddress.ip_address('1.2.3.4'):b}".endswith("100")
        assert ipaddress.ip_network(f"{n % 200}.0.0.0/9").num_addresses == 2**23
        """,
    ),
    "uuid": (
        """
        from uuid import uuid1, uuid4, uuid6, uuid7, getnode

        def frozen():
            return uuid1(), uuid4(), uuid6(), uuid7(), uuid7(), getnode()
        """,
        """
        ids = frozen()
        assert ids[3] < ids[4]
        """,
        """
        import uuid

        before = uuid.uuid7()
        assert before < uuid.uuid7() and uuid.uuid1() != uuid.uuid1() and uuid.uuid6() < uuid.uuid6()
        """,
    ),
    "platform": (
        """
        from platform import system, platform, node

        def frozen():
            return system(), platform(), node()
        """,
        "import os; assert frozen()[0] == os.uname().sysname",
        "import platform; assert platform.uname().system and platform.freedesktop_os_release",
    ),
    "sysconfig": (
        """
        from sysconfig import get_config_var, get_path

        def frozen():
            return get_config_var("prefix"), get_path("stdlib")
        """,
        "assert all(frozen())",
        "import sysconfig; assert sysconfig.get_config_vars() and sysconfig.get_paths()",
    ),
    "shutil": (
        """
        from shutil import make_archive, get_archive_formats, which, copyfile

        def frozen():
            return make_archive, get_archive_formats(), which("sh"), copyfile
        """,
        "assert frozen()[1]",
        """
        import shutil

        shutil.register_archive_format(f"format{n}", lambda *given: None)
        shutil.unregister_archive_format(f"format{n}")
        """,
    ),
    "webbrowser": (
        """
        from webbrowser import get

        def frozen():
            try:
                return get("made-up")
            except Exception as error:
                return str(error)
        """,
        "assert frozen() == 'could not locate runnable browser'",
        "import webbrowser; webbrowser.register(f'browser{n}', None, 1); assert webbrowser.get(f'browser{n}') == 1",
    ),
    "secrets": (
        """
        from secrets import token_hex, randbelow

        def frozen():
            return token_hex(4), randbelow(5)
        """,
        "assert len(frozen()[0]) == 8",
        "import secrets, random; random.seed(1); assert secrets.choice([n]) == n",
    ),
    "plistlib": (
        """
        from plistlib import dumps, loads

        def frozen(value):
            return loads(dumps(value))
        """,
        "assert frozen({'a': [n]}) == {'a': [n]}",
        "import plistlib; assert plistlib.loads(plistlib.dumps([n], fmt=plistlib.FMT_BINARY)) == [n]",
    ),
    "logging": (
        """
        import logging
        from logging import makeLogRecord

        frozen = logging.LogRecord("name", logging.INFO, "path", 1, "message %s", ("x",), None), makeLogRecord
        """,
        "assert frozen[0].getMessage() == 'message x' and frozen[1]({'msg': 'y'}).getMessage() == 'y'",
        """
        import logging

        logging.addLevelName(60 + n, f"level {n}")
        assert logging.getLevelName(60 + n) == f"level {n}"
        logging.setLogRecordFactory(logging.LogRecord)
        assert logging.LogRecord("n", 60 + n, "p", 1, "m", (), None).levelname == f"level {n}"
        """,
    ),
}

DRIVER = """
from concurrent import interpreters
from immutable import freeze

made, use, go_on = {sources!r}
space = {{"__name__": "made_for_this"}}
exec(made, space)
exec(go_on, {{"n": 1}})
exec(use, {{"n": 1, "frozen": space["frozen"]}})
frozen = freeze(space["frozen"])
other = interpreters.create()
other.prepare_main(frozen=frozen, use=use, go_on=go_on)
for n in 2, 3:
    exec(go_on, {{"n": n}})
    exec(use, {{"n": n, "frozen": frozen}})
    exec(go_on, {{"n": n + 10}})
    other.exec(f"for step in use, go_on, use, go_on: exec(step, {{{{'n': {{n}}, 'frozen': frozen}}}})")
other.exec("exec(go_on, {{'n': 9}})")
other.close()
"""


@pytest.mark.parametrize("case", CASES)
def test_a_module_goes_on_working_beside_what_is_frozen_of_it(run_python, case):
    sources = tuple(map(textwrap.dedent, CASES[case]))
    run_python(DRIVER.format(sources=sources))


# ---- What the interpreter itself writes ------------------------------------------------------------------------------

VITAL = {
    "sys": ["path", "meta_path", "path_hooks", "path_importer_cache", "modules"],
    "warnings": ["filters"],
    "gc": ["callbacks", "garbage"],
    "copyreg": ["dispatch_table"],
    "logging": ["getLogger().handlers", "root.manager.loggerDict", "_levelToName"],
    "os": ["environ"],
    "re": ["_cache", "_cache2"],
}


@pytest.mark.parametrize("name", [f"{module}.{name}" for module, names in VITAL.items() for name in names])
def test_what_the_interpreter_goes_on_writing_refuses_with_the_way_out(run_python, name):
    module = name.partition(".")[0]
    run_python(f"""
        import {module}
        from immutable import NotFreezableError, explain, freeze, is_freezable

        class Holder:
            pass

        holder = Holder()
        holder.x = {name}
        assert not is_freezable(holder)
        assert "refuses" in str(explain(holder)) or not explain(holder).freezable
        try:
            freeze(holder)
        except NotFreezableError as error:
            assert error.path == "root.x"
            assert error.obj is {name}
            assert "import {module}" in error.reason or "module" in error.reason, error.reason
        else:
            raise AssertionError("frozen")
        holder.x = None
        freeze(holder)
    """)


def test_a_list_that_was_replaced_is_the_programs_own(run_python):
    run_python("""
        import sys
        from immutable import NotFreezableError, freeze, is_freezable

        before = sys.path
        assert not is_freezable(before)
        sys.path = list(before)
        assert is_freezable(before) and not is_freezable(sys.path)
        freeze(before)
        sys.path.append("x")
    """)


def test_the_programs_word_on_such_an_object_counts(run_python):
    run_python("""
        import sys
        from immutable import FREEZABLE_NO, FREEZABLE_YES
        from immutable import get_freezable, is_freezable, set_freezable, unset_freezable

        hooks = sys.path_hooks
        assert not is_freezable(hooks) and get_freezable(hooks) == FREEZABLE_NO
        set_freezable(hooks, FREEZABLE_YES)
        assert get_freezable(hooks) == FREEZABLE_YES
        unset_freezable(hooks)
        import colorsys
        assert not is_freezable(hooks) and get_freezable(hooks) == FREEZABLE_NO
    """)


def test_a_function_that_names_such_an_object_refuses(run_python):
    run_python("""
        from os import environ
        from sys import path
        from immutable import is_freezable

        def look():
            return path

        def ask():
            return environ["HOME"]

        assert not is_freezable(look) and not is_freezable(ask)
    """)


# ---- What functions use in place -------------------------------------------------------------------------------------


def test_a_name_that_is_rebound_in_the_module_is_seen(run_python):
    run_python("""
        import gettext, logging, urllib.request
        from gettext import gettext as _, textdomain
        from logging import makeLogRecord
        from immutable import freeze

        def current():
            return textdomain(), makeLogRecord({})

        freeze(current)
        current()

        class Record(logging.LogRecord):
            pass

        gettext.textdomain("another")
        logging.setLogRecordFactory(Record)
        domain, record = current()
        assert domain == "another" and type(record) is Record

        def set_domain():
            return textdomain("third")

        freeze(set_domain)()
        assert gettext.textdomain() == "third"
    """)


def test_each_interpreter_uses_its_own_state(run_python):
    run_python("""
        from concurrent import interpreters
        from gettext import textdomain
        from immutable import freeze

        def domain():
            return textdomain()

        freeze(domain)
        other = interpreters.create()
        other.prepare_main(domain=domain)
        other.exec('''if True:
            import gettext
            gettext.textdomain("there")
            assert domain() == "there"
        ''')
        assert domain() == "messages"
        other.close()
    """)


def test_a_function_frozen_where_it_was_made_outlives_that_interpreter(run_python):
    run_python("""
        from concurrent import interpreters

        queue = interpreters.create_queue()
        home = interpreters.create()
        home.prepare_main(queue=queue)
        home.exec('''if True:
            from immutable import freeze
            from re import sub
            from uuid import uuid7

            def work(text):
                return sub("a+", "b", text), uuid7()

            queue.put(freeze(work))
        ''')
        work = queue.get()
        home.close()
        assert work("caat")[0] == "cbt"
        other = interpreters.create()
        other.prepare_main(work=work)
        other.exec("assert work('a')[1] < work('a')[1]")
        other.close()
    """)


def test_a_report_tells_only_what_is_captured(run_python):
    run_python("""
        import re, uuid
        from immutable import explain

        report = explain(re._compile, uuid.uuid7)
        told = repr(report.detached)
        assert "'_compiler'" in told and "uuid7" in told, told
        assert "'_cache'" not in told and "_last_timestamp_v7" not in told, told
        assert not any("_cache" in path for path, *_ in report.objects)
    """)


def test_a_function_of_a_namespace_of_its_own_captures_what_it_names(run_python):
    run_python("""
        from immutable import freeze, is_frozen

        space = {"__name__": "re", "table": {}}
        exec("def f(): return table", space)
        freeze(space["f"])
        assert is_frozen(space["table"])
    """)


def test_a_module_that_shadows_one_of_the_library_captures_as_any_other(run_python, tmp_path):
    (tmp_path / "colorsys.py").write_text("table = {}\ndef f():\n    return table\n")
    run_python(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import colorsys
        from immutable import freeze, is_frozen

        freeze(colorsys.f)
        assert is_frozen(colorsys.table)
        """,
        str(tmp_path),
    )


def test_functions_of_a_shared_module_write_a_namespace_of_each_interpreter(run_python):
    run_python("""
        import uuid
        from concurrent import interpreters
        from immutable import share_module

        share_module(uuid)
        assert uuid.uuid7() < uuid.uuid7()
        assert uuid.uuid1() != uuid.uuid1()
        other = interpreters.create()
        other.exec('''if True:
            import uuid
            assert uuid.uuid7() < uuid.uuid7()
            assert isinstance(uuid.uuid6(), uuid.UUID)
        ''')
        assert uuid.uuid7() < uuid.uuid7()
        other.close()
    """)


# ---- What the library stores in objects ----------------------------------------------------------------


def test_a_frozen_log_record_is_handled_in_another_interpreter(run_python):
    run_python("""
        import logging
        from concurrent import interpreters
        from immutable import channel, freeze

        sender, receiver = channel()
        record = logging.LogRecord("there", logging.WARNING, "path", 1, "value %d", (5,), None)
        sender.send(freeze(record))
        other = interpreters.create()
        other.prepare_main(receiver=receiver)
        other.exec('''if True:
            import io, logging
            stream = io.StringIO()
            handler = logging.StreamHandler(stream)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s %(extra)s"))

            def add(record):
                record.extra = "added"
                return True

            logger = logging.getLogger("there")
            logger.addFilter(add)
            logger.addHandler(handler)
            logger.handle(receiver.recv())
            assert stream.getvalue().endswith("WARNING value 5 added\\\\n"), stream.getvalue()
        ''')
        assert logging.Formatter("%(message)s").format(record) == "value 5"
        assert not hasattr(record, "message")
        other.close()
    """)


def test_a_frozen_record_passes_a_queue_and_its_listener(run_python):
    run_python("""
        import io, logging, logging.handlers, queue
        from immutable import freeze

        stream = io.StringIO()
        records = queue.SimpleQueue()
        listener = logging.handlers.QueueListener(records, logging.StreamHandler(stream))
        listener.start()
        record = freeze(logging.LogRecord("n", logging.ERROR, "p", 1, "text %s", ("x",), None))
        records.put(record)
        logging.handlers.QueueHandler(records).handle(record)
        listener.stop()
        assert stream.getvalue() == "text x\\n" * 2
    """)


def test_a_frozen_header_is_encoded(run_python):
    run_python("""
        from email.header import Header
        from immutable import freeze, is_frozen

        header = Header("größe", "utf-8", header_name="Subject")
        header.append("plain", "us-ascii")
        header.append("text", "us-ascii")
        expected = header.encode(), str(header)
        other = Header("größe", "utf-8", header_name="Subject")
        other.append("plain", "us-ascii")
        other.append("text", "us-ascii")
        freeze(other)
        assert (other.encode(), str(other)) == expected == (other.encode(), str(other))
        assert is_frozen(other) and other == header
    """)


def test_exceptions_of_modules_that_refuse_freeze_with_their_methods(run_python):
    run_python("""
        import http.client, smtplib, subprocess, xmlrpc.client
        from concurrent import interpreters
        from immutable import freeze, is_freezable

        raised = freeze((
            subprocess.CalledProcessError(2, ["command"]),
            subprocess.TimeoutExpired("command", 5),
            http.client.IncompleteRead(b"part", 7),
            smtplib.SMTPResponseException(550, "no"),
            xmlrpc.client.Fault(4, "text"),
        ))
        told = freeze([str(error) for error in raised])
        assert "exit status 2" in told[0] and "5 seconds" in told[1], told
        other = interpreters.create()
        other.prepare_main(raised=raised, told=told)
        other.exec("assert [str(error) for error in raised] == told; assert raised[0].returncode == 2")
        other.exec('''if True:
            import subprocess
            try:
                raise raised[0]
            except subprocess.SubprocessError as error:
                assert error.cmd == ["command"]
        ''')
        other.close()
        assert not is_freezable(subprocess.run) and not is_freezable(http.client.HTTPConnection)
    """)


def test_values_that_refusing_modules_give_freeze(run_python):
    run_python("""
        import logging, mailbox, subprocess
        from immutable import freeze

        done = freeze(subprocess.CompletedProcess(["a"], 1, "out"))
        try:
            done.check_returncode()
        except subprocess.CalledProcessError as error:
            assert error.output == "out"
        else:
            raise AssertionError("not raised")
        record = logging.LogRecord("name", 20, "path", 1, "message %s", ("x",), None)
        assert freeze(logging.Formatter("%(levelname)s: %(message)s")).format(record) == "INFO: message x"
        assert freeze(mailbox.MaildirMessage("Subject: a")).get_subdir() == "new"
    """)


def test_values_of_xmlrpc_freeze_and_are_sent_by_any_interpreter(run_python):
    run_python("""
        import xmlrpc.client
        from concurrent import interpreters
        from immutable import MutationError, freeze

        def sent(*values):
            same = [value == values[0] for value in values]
            known = isinstance(values[0], xmlrpc.client.DateTime)
            return same, [str(value) for value in values], xmlrpc.client.dumps(values), known

        values = xmlrpc.client.DateTime("20250101T01:02:03"), xmlrpc.client.Binary(b"abc")
        expected = sent(*values)
        freeze((values, sent))
        other = interpreters.create()
        assert sent(*values) == other.call(sent, *values) == expected
        other.close()
        try:
            values[0].decode("20260101T01:02:03")
        except MutationError:
            assert values[0] == "20250101T01:02:03"
        else:
            raise AssertionError("not raised")
    """)


def test_advice_fits_what_refuses():
    for refused, advice in [
        (random.choice, "through `import random`"),
        (difflib.HtmlDiff(), "reach it through its module"),
        (urllib.request.Request("http://localhost/"), "the address and the headers"),
    ]:
        with pytest.raises(NotFreezableError, match=advice):
            freeze(refused)


def test_total_ordering_goes_on_when_what_it_made_is_frozen(run_python):
    run_python("""
        from functools import total_ordering
        from concurrent import interpreters
        from immutable import freeze

        def make(operator="__lt__"):
            class Ordered:
                __eq__ = object.__eq__
                __hash__ = object.__hash__
            setattr(Ordered, operator, lambda self, other: NotImplemented)
            total_ordering(Ordered)
            return sorted((name, getattr(Ordered, name).__name__) for name in ("__gt__", "__le__", "__ge__", "__lt__")
                          if name != operator), Ordered

        freeze(make()[1])
        freeze(make)
        other = interpreters.create()
        for operator in ("__lt__", "__gt__", "__le__", "__ge__"):
            names = make(operator)[0]
            assert all(name == shown for name, shown in names) and len(names) == 3, names
        other.prepare_main(make=make)
        other.exec("make(); import ipaddress, fractions")
        other.close()
    """)


def test_a_default_that_is_a_table_is_the_one_it_is_compared_with_everywhere(run_python):
    run_python("""
        from base64 import b64decode
        from concurrent import interpreters
        from immutable import freeze

        def work():
            return b64decode("YQ==")

        freeze(work)
        assert work() == interpreters.create().call(work) == b"a"
    """)


def test_deprecated_classes_freeze(run_python):
    run_python("""
        import warnings
        from immutable import MutationError, freeze

        @warnings.deprecated("old")
        class Old:
            pass

        freeze(Old)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Old()
        assert len(caught) == 1
    """)


def test_frozen_functions_and_classes_are_not_kept_by_what_the_library_remembers_for_them(run_python):
    run_python("""
        import gc
        from concurrent import interpreters
        from functools import singledispatch
        from immutable import channel, freeze, _stats

        def dispatching():
            @singledispatch
            def show(x):
                return "leaf"

            @show.register
            def _(x: list):
                return [show(i) for i in x]

            class Callable:
                __slots__ = ()

                def __call__(self, x):
                    return show(x.args)

            show.register(LookupError, Callable())
            assert show([1]) == ["leaf"]
            freeze(show)
            for _ in range(2):
                assert show([1, [()]]) == ["leaf", ["leaf"]]
                assert show(IndexError([])) == "leaf"
                assert show(True) == "leaf"

        def networking():
            sender, receiver = channel()
            maker = interpreters.create()
            maker.prepare_main(sender=sender)
            maker.exec(
                "from ipaddress import ip_network\\n"
                "from immutable import freeze\\n"
                "def first_of(text): return str(ip_network(text)[1])\\n"
                "sender.send(freeze(first_of))"
            )
            maker.close()
            first_of = receiver.recv()
            assert first_of("10.0.0.0/30") == "10.0.0.1" and first_of("fe80::/64") == "fe80::1"

        def left_by(function):
            function()
            numbers = []
            for _ in range(3):
                function()
                for _ in range(3):
                    gc.collect()
                numbers.append(_stats()["frozen_objects"])
            return numbers

        for function in dispatching, networking:
            numbers = left_by(function)
            assert len(set(numbers)) == 1, (function, numbers)
    """)
