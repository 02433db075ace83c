"""What freezing does to every type that C code of the standard library makes: the table in TYPES.md.

    python tests/type_table.py > TYPES.md        (make type-table)

Every module of the standard library that can be imported is imported, and every type found. Of each type that can
be frozen an instance is made, by a recipe below or by guessing, and then: frozen, written through every method and
attribute it has, compared with what it was, sent to another interpreter, used there, and dropped there. Types are tried
in child processes, so that a crash is put down to the type that was being tried.
"""

import contextlib
import datetime
import importlib
import itertools
import json
import os
import pkgutil
import re
import subprocess
import sys
import types
import warnings
from xml.etree import ElementTree  # noqa: F401 - a recipe uses it

# Not imported: they open windows, print, or are for tests only.
UNWANTED = re.compile(
    r"(antigravity|this|idlelib|turtle|turtledemo|lib2to3|ensurepip|test|_test\w*|_xx\w*|xx\w*|__main__|"
    r"_pyrepl|tkinter|pydoc_data|__phello__|__hello__|_sysconfigdata\w*|_ctypes_test|immutable|_immutable|_tkinter)(\.|$)"
    r"|.*(\.tests?|\.__main__)(\.|$)|.*_windows|_?(winreg|winapi|wmi|msvcrt|scproxy|ios_support|apple_support|android_support)"
    r"|encodings\.(mbcs|oem|cp65001)|multiprocessing\.popen_|asyncio\.windows"
)

# How to make an instance of each type that can be frozen and that guessing does not find. A name is `module.qualname`.
RECIPES = {
    "_abc._abc_data": "__import__('abc').ABCMeta('Abstract', (), {})._abc_impl",
    "_thread.RLock": "__import__('threading').RLock()",
    "_thread._local": "__import__('threading').local()",
    "_thread.lock": "__import__('threading').Lock()",
    "builtins.BaseExceptionGroup": "BaseExceptionGroup('text', [GeneratorExit()])",
    "builtins.UnicodeDecodeError": "UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'reason')",
    "builtins.UnicodeEncodeError": "UnicodeEncodeError('ascii', '\\xff', 0, 1, 'reason')",
    "builtins.UnicodeTranslateError": "UnicodeTranslateError('\\xff', 0, 1, 'reason')",
    "functools.KeyWrapper": "__import__('functools').cmp_to_key(lambda a, b: 0)(1)",
    "functools._lru_cache_wrapper": "__import__('functools').lru_cache(exec_('def f(x): return [x]', 'f'))",
    "_collections._tuplegetter": "__import__('collections').namedtuple('P', 'x').x",
    "_ctypes.Array": "structure('array')",
    "_ctypes.CType_Type": "type(structure('simple'))",
    "_ctypes.PyCArrayType": "type(structure('array'))",
    "_ctypes.PyCFuncPtrType": "type('Made', (__import__('_ctypes').CFuncPtr,), {'_flags_': 1})",
    "_ctypes.PyCPointerType": "__import__('ctypes').POINTER(type(structure('structure')))",
    "_ctypes.PyCSimpleType": "type(structure('simple'))",
    "_ctypes.PyCStructType": "type(structure('structure'))",
    "_ctypes.Structure": "structure('structure')",
    "_ctypes.Union": "structure('union')",
    "_ctypes.UnionType": "type(structure('union'))",
    "_ctypes._CData": None,
    "_ctypes._SimpleCData": "structure('simple')",
    "ctypes.CField": "type(structure('structure')).x",
    "_contextvars.ContextVar": "__import__('contextvars').ContextVar('name', default=(1,))",
    "_csv.Dialect": "__import__('csv').get_dialect('excel')",
    "_sre.SRE_Template": "__import__('re')._compile_template(__import__('re').compile('(.)'), r'a\\1')",
    "_json.Scanner": "__import__('json').JSONDecoder(parse_constant=str).scan_once",
    "_struct.Struct": "__import__('struct').Struct('<hi')",
    "_typing._ConstEvaluator": "__import__('typing').TypeVar('T', bound=int).evaluate_bound",
    "builtins.builtin_function_or_method": "__import__('immutable').freeze(__import__('math').sqrt)",
    "builtins.builtin_method": "__import__('re').compile('a').match",
    "builtins.bytearray": "bytearray(b'abc')",
    "builtins.cell": "(lambda x: lambda: x)([1]).__closure__[0]",
    "builtins.classmethod": "classmethod(exec_('def f(x): return x', 'f'))",
    "builtins.classmethod_descriptor": "dict.__dict__['fromkeys']",
    "builtins.code": "exec_('def f(a, b=[1]):\\n return lambda: a', 'f').__code__",
    "builtins.dict": "{'first': 1, (2,): [3]}",
    "builtins.frozendict": "frozendict(first=[1])",
    "builtins.frozenset": "frozenset([1, (2,)])",
    "builtins.function": "exec_('def f(a=[1], *, b={}): return a, b', 'f')",
    "builtins.getset_descriptor": "type.__dict__['__doc__']",
    "builtins.hamt_array_node": None,
    "builtins.hamt_bitmap_node": None,
    "builtins.hamt_collision_node": None,
    "builtins.instancemethod": None,
    "builtins.lazy_import": None,  # a global that holds one is read as what it imports
    "builtins.list": "[3, 1, [2]]",
    "builtins.managedbuffer": None,
    "builtins.mappingproxy": "__import__('types').MappingProxyType({'a': [1]})",
    "builtins.member_descriptor": "type.__dict__['__basicsize__']",
    "builtins.memoryview": "memoryview(bytearray(b'abc'))",
    "builtins.method-wrapper": "[1].__len__",
    "builtins.method_descriptor": "str.lower",
    "builtins.object": "object()",
    "builtins.property": "property(len, None, None, 'doc')",
    "builtins.range": "range(10**20, 10**20 + 5)",
    "builtins.set": "{1, 2, (3,)}",
    "builtins.slice": "slice(1, [2])",
    "builtins.staticmethod": "staticmethod(len)",
    "builtins.super": "exec_('class A:\\n def f(self): return super()', 'A')().f()",
    "builtins.tuple": "(1, [2])",
    "builtins.type": "exec_('class A:\\n x = [1]', 'A')",
    "weakref.ProxyType": "weakly('proxy')",
    "weakref.CallableProxyType": "weakly('callable proxy')",
    "Token.MISSING": "__import__('contextvars').Token.MISSING",
    "sys.float_info": "__import__('sys').float_info",
    "sys.int_info": "__import__('sys').int_info",
    "sys.thread_info": "__import__('sys').thread_info",
    "sys.version_info": "__import__('sys').version_info",
    "curses.ncurses_version": "__import__('curses').ncurses_version",
    "builtins.wrapper_descriptor": "int.__add__",
    "collections.OrderedDict": "__import__('collections').OrderedDict(a=[1], b=2)",
    "collections.defaultdict": "__import__('collections').defaultdict(list, a=[1])",
    "collections.deque": "__import__('collections').deque([1, [2]], 5)",
    "array.array": "__import__('array').array('i', [1, 2])",
    "datetime.IsoCalendarDate": "datetime.date(2024, 2, 29).isocalendar()",
    "datetime.date": "datetime.date(2024, 2, 29)",
    "datetime.datetime": "datetime.datetime(2024, 2, 29, tzinfo=five())",
    "datetime.time": "datetime.time(2, 29, tzinfo=five())",
    "datetime.timezone": "five()",
    "decimal.Decimal": "__import__('decimal').Decimal('1.25')",
    "functools.partial": "__import__('functools').partial(len, [1])",
    "operator.attrgetter": "__import__('operator').attrgetter('real.imag')",
    "operator.itemgetter": "__import__('operator').itemgetter(1, 2)",
    "operator.methodcaller": "__import__('operator').methodcaller('lower', a=[1])",
    "re.Match": "__import__('re').match('(?P<a>.)(.)?', 'a')",
    "re.Pattern": "__import__('re').compile('(?P<a>[a-z])(.)?')",
    "sqlite3.Row": "row()",
    "string.templatelib.Interpolation": "exec_('x = [1]; t = t\"a{x}b\"', 't').interpolations[0]",
    "string.templatelib.Template": "exec_('x = [1]; t = t\"a{x}b\"', 't')",
    "types.GenericAlias": "list[int]",
    "types.SimpleNamespace": "__import__('types').SimpleNamespace(first=1, second=[2])",
    "types.UnionType": "int | list[str]",
    "typing.Generic": None,
    "typing.ParamSpec": "__import__('typing').ParamSpec('P')",
    "typing.ParamSpecArgs": "__import__('typing').ParamSpec('P').args",
    "typing.ParamSpecKwargs": "__import__('typing').ParamSpec('P').kwargs",
    "typing.TypeAliasType": "exec_('type X = int', 'X')",
    "typing.TypeVar": "__import__('typing').TypeVar('T', bound=int)",
    "typing.TypeVarTuple": "__import__('typing').TypeVarTuple('Ts')",
    "typing.Union": "int | list[str]",
    "unicodedata.Segment": "next(iter(__import__('unicodedata').iter_graphemes('ab')))",
    "unicodedata.UCD": "__import__('unicodedata').ucd_3_2_0",
    "builtins.dict_items": "{'a': [1]}.items()",
    "builtins.dict_keys": "{'a': [1]}.keys()",
    "builtins.dict_values": "{'a': [1]}.values()",
    "builtins.odict_items": "__import__('collections').OrderedDict(a=[1]).items()",
    "builtins.odict_keys": "__import__('collections').OrderedDict(a=[1]).keys()",
    "builtins.odict_values": "__import__('collections').OrderedDict(a=[1]).values()",
    "os.stat_result": "__import__('os').stat('/')",
    "os.statvfs_result": "__import__('os').statvfs('/')",
    "os.statx_result": "__import__('os').statx('/', 0xfff)",
    "sys.flags": "__import__('sys').flags",
    "time.struct_time": "__import__('time').gmtime(0)",
    "builtins.method": "exec_('class A:\\n def f(self): pass', 'A')().f",
    "weakref.ReferenceType": "weakly('ref')",
    "xml.etree.ElementTree.Element": "ElementTree.fromstring('<a x=\"1\">t<b/>u</a>')",
    "zoneinfo.ZoneInfo": "__import__('zoneinfo').ZoneInfo.no_cache('Europe/Helsinki')",
}

# Instances that show themselves otherwise in other interpreters, and why.
SHOWN_OTHERWISE = {
    f"typing.ParamSpec{part}": "`repr()` elsewhere shows the parameter in full: its class is another interpreter's"
    for part in ("Args", "Kwargs")
}

# Called to no purpose, or with a purpose that is not ours: they make other objects, or end the process.
NOT_CALLED = {"__class__", "__del__", "__init_subclass__", "__getattribute__", "__dealloc__"}

# What freezing changes by design, what copyreg notes in a class, or what is shown otherwise.
NOT_COMPARED = {
    "__dict__",
    "__weakref__",
    "__subclasses__",
    "__doc__",
    "__globals__",
    "__builtins__",
    "__slotnames__",
    "readonly",
}

GUESSES = ["", "1", "'a'", "b'a'", "[1, 2]", "(1, 2)", "{'a': 1}", "len", "len, 1", "1, 2", "'a', 'b'", "range(9)"]


def exec_(source, name):
    """What the source binds to the name."""
    namespace = {"__name__": "made_by_type_table"}
    exec(source, namespace)
    return namespace[name]


def five():
    """A time zone."""
    return datetime.timezone(datetime.timedelta(minutes=5), "five")


def structure(how):
    """An object of ctypes, of a class of its own."""
    import ctypes

    fields = {"_fields_": [("x", ctypes.c_int), ("y", ctypes.c_char * 8)]}
    if how == "array":
        return (type("Made", (ctypes.Structure,), fields) * 2)()
    if how == "simple":
        return type("Made", (ctypes.c_int,), {})(5)
    return type("Made", (ctypes.Union if how == "union" else ctypes.Structure,), fields)(5)


KEPT = []


def weakly(how):
    """A weak reference or proxy to an object that lives on."""
    import weakref

    class Referent(list):
        def __call__(self):
            return 1

    KEPT.append(Referent() if "callable" in how else type("Plain", (list,), {})())
    return weakref.ref(KEPT[-1]) if how == "ref" else weakref.proxy(KEPT[-1])


def row():
    """A row of a database."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("select 1 as a, 'two' as b").fetchone()


# ---- the types -------------------------------------------------------------------------------------------------------


def import_everything():
    """Imports the standard library, and returns the names of the modules that cannot be imported here."""
    absent = []
    names = [name for name in sorted(sys.stdlib_module_names) if not UNWANTED.match(name)]
    for name in names:
        try:
            module = importlib.import_module(name)
        except Exception:  # whatever a module for another system raises
            absent.append(name)
            continue
        if hasattr(module, "__path__"):
            for found in pkgutil.walk_packages(module.__path__, f"{name}.", onerror=lambda _: None):
                if not UNWANTED.match(found.name):
                    with contextlib.suppress(Exception, SystemExit):
                        importlib.import_module(found.name)
    return absent


def name_of(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def c_types():
    """Every type that C code has made, by name."""
    from _immutable import _treatment

    found, pending = {}, [object]
    while pending:
        cls = pending.pop()
        pending.extend(sub for sub in type.__subclasses__(cls) if sub not in found)
        found[cls] = None
    made_in_c = [cls for cls in found if _treatment(cls)[2] and not UNWANTED.match(f"{cls.__module__}")]
    return {name_of(cls): cls for cls in sorted(made_in_c, key=name_of)}


# ---- one type --------------------------------------------------------------------------------------------------------


def make(name, cls):
    """A function that makes instances, or None."""
    if name in RECIPES:
        recipe = RECIPES[name]
        return None if recipe is None else (lambda: eval(recipe, globals()))
    guesses = [f"range({cls.n_sequence_fields})"] if hasattr(cls, "n_sequence_fields") else GUESSES
    for guess in guesses:
        try:
            made = eval(f"cls({guess})", {"cls": cls, "len": len, "range": range})
        except Exception:
            continue
        if type(made) is cls:
            return lambda: eval(f"cls({guess})", {"cls": cls, "len": len, "range": range})
    return None


def shown(value):
    """Text that tells whether the value has changed."""
    parts = [attempt(repr, value)]
    for attribute in sorted(set(dir(type(value))) - NOT_COMPARED):
        got = attempt(getattr, value, attribute)
        if not callable(got) and not isinstance(got, types.ModuleType):
            parts.append((attribute, attempt(repr, got)))
    parts.append(attempt(lambda: sorted(vars(value).items(), key=repr)))
    parts.append(attempt(lambda: value.__reduce_ex__(4)) if not isinstance(value, type) else None)
    parts.append(attempt(lambda: list(value)))
    return re.sub(r"0x[0-9a-f]+", "", repr(parts))


def attempt(function, *given):
    """What the function returns, or the type of what it raises."""
    try:
        return function(*given)
    except BaseException as error:
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            return type(error)
        return type(error).__name__


def try_to_write(value):
    """Calls every method with all sorts of arguments, sets and deletes every attribute. Returns what did change it."""
    before = shown(value)
    for method in sorted(set(dir(type(value))) - NOT_CALLED):
        function = attempt(getattr, type(value), method)
        if not callable(function) or isinstance(function, str):
            continue
        itself = 1 if isinstance(value, int) else value
        pool = [itself, 0, "first", (), [1], {"first": 1}, b"x", 1.5, slice(0, 1), len]
        for count in range(3):
            for given in itertools.product(pool, repeat=count):
                attempt(function, value, *given)
        if shown(value) != before:
            return method
    for attribute in sorted({*dir(type(value)), "brand_new"}):
        attempt(setattr, value, attribute, attempt(getattr, value, attribute))
        attempt(setattr, value, attribute, 1)
        attempt(delattr, value, attribute)
        if shown(value) != before:
            return f"attribute {attribute}"
    return None


USE = """if True:
    value, = values
    for attribute in dir(type(value)):
        try:
            got = getattr(value, attribute)
        except Exception:
            continue
        try:
            repr(got)
        except Exception:
            pass
    for use in (repr, str, hash, len, iter, list, bool, bytes, int, float):
        try:
            use(value)
        except Exception:
            pass
    try:
        told = repr(value)
    except Exception as error:
        told = type(error).__name__
    answered.send((told, value.__class__ is not type(value)))
    del value, values, got
    import gc
    gc.collect()
"""


KEEP_STATE = {"_abc._abc_data", "_thread.RLock", "_thread._local", "_thread.lock", "functools._lru_cache_wrapper"}
"""They go on working when they are frozen: what changes is apart for each interpreter, or the lock of all of them."""


def trial(name, cls, other):
    """What there is to say of one type: a dict for JSON."""
    from _immutable import _treatment

    from immutable import NotFreezableError, channel, freeze, is_frozen

    policy, reason, _, one_for_all = _treatment(cls)
    result = {"policy": policy, "reason": reason, "one": one_for_all, "made": False, "fault": None, "shared": False}
    maker = make(name, cls) if policy != "refused" else None
    if maker is None:
        return result
    value = maker()
    if not issubclass(type(value), cls):
        result["fault"] = f"the recipe makes a {type(value).__name__}"
        return result
    result["made"] = True
    was_immutable = is_frozen(value)
    before = shown(value)
    try:
        freeze(value)
    except NotFreezableError as error:
        result["fault"] = f"an instance does not freeze: {error}"
        return result
    if policy == "proxy":
        return result
    if not is_frozen(value):
        result["fault"] = "an instance is not frozen after freeze()"
    elif name in KEEP_STATE:
        pass
    elif shown(value) != before and not was_immutable:
        result["fault"] = "an instance is not what it was before freeze()"
    elif writer := try_to_write(value):
        result["fault"] = f"{writer} changes it"
    if result["fault"]:
        return result
    sender, receiver = channel()
    expected = attempt(repr, value)
    other.prepare_main(values=freeze((value,)), answered=sender)
    other.exec(USE)
    told, result["namesake"] = receiver.recv(timeout=60)
    if told != expected and name not in SHOWN_OTHERWISE:
        result["fault"] = "another interpreter sees it otherwise"
    elif name not in KEEP_STATE and shown(value) != before and not was_immutable:
        result["fault"] = "use by another interpreter changes it"
    else:
        result["shared"] = True
    return result


def run_trials(names):
    """In a child process: tries the types named, and prints a line before and after each."""
    from concurrent import interpreters

    warnings.simplefilter("ignore")
    import_everything()
    found = c_types()
    real_out, devnull = os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0), os.dup2(devnull, 1), os.dup2(devnull, 2)
    other = interpreters.create()
    other.exec("import warnings; warnings.simplefilter('ignore')")
    with os.fdopen(real_out, "w") as out:
        for name in names:
            print(json.dumps([name, None]), file=out, flush=True)
            try:
                result = trial(name, found[name], other)
            except Exception as error:  # of the trial itself
                result = {"fault": f"its trial raised {type(error).__name__}: {error}"}
            print(json.dumps([name, result]), file=out, flush=True)
    os._exit(0)  # what the calls have set up, at exit or in threads, is of no interest


# ---- the table -------------------------------------------------------------------------------------------------------


def child(*arguments, given=""):
    return subprocess.run(
        [sys.executable, os.path.abspath(__file__), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def try_all():
    """Tries every type. Returns a dict: name to result. A type whose trial ends its process has the fault 'crash'."""
    listed = child("--list")
    if listed.returncode:
        raise RuntimeError(f"listing the types ended with {listed.returncode}:\n{listed.stderr}")
    left, results = json.loads(listed.stdout), {}
    while left:
        done = child("--try", given=json.dumps(left))
        begun = None
        for line in done.stdout.splitlines():
            begun, result = json.loads(line)
            if result is not None:
                results[begun] = result
        if begun is None:
            raise RuntimeError(f"no type was tried; exit status {done.returncode}:\n{done.stderr}")
        if begun not in results:
            results[begun] = {"fault": f"its trial ended with exit status {done.returncode}"}
        left = [name for name in left if name not in results]
    return results


POLICIES = {"freezable": "freezes", "proxy": "stays mutable", "refused": "refuses", "explicit": "freezes if named"}


def remark(name, result):
    """The last two columns: how it is shared, and why not."""
    if result["fault"]:
        return "", f"**{result['fault']}**"
    if result["policy"] == "refused":
        return "", result["reason"]
    if result["policy"] == "proxy":
        return "", "works for the interpreter that made it"
    one = "one type for all" if result["one"] else "each interpreter has its own type"
    if name in SHOWN_OTHERWISE:
        return f"yes, {one}", SHOWN_OTHERWISE[name]
    if not result["made"]:
        return one, "instances are not made on their own"
    why = "" if result["one"] else "`isinstance` elsewhere says no: its class is another interpreter's"
    if result.get("namesake"):
        why = "`__class__` and `isinstance` give the class of the interpreter that asks"
    return ("yes, " if result["shared"] else "no, ") + one, why


def cells(name, result):
    if "policy" not in result:
        return [f"`{name}`", "", "", "", f"**{result['fault']}**"]
    shared, why = remark(name, result)
    tried = "yes" if result["shared"] else ""
    return [f"`{name}`", POLICIES[result["policy"]], tried, shared, why]


HEAD = """# Types

What a freeze does with the instances of each type that C code of the standard library makes. Written by
`make type-table`, and checked by `tests/test_every_type.py`; which types exist depends on what CPython was built with.

*writes tried*: every method and attribute of a frozen instance was called, set and deleted, and nothing changed.
*shared*: a frozen instance was used and dropped by another interpreter; `one type for all` means that every interpreter
has the same class.

| type | instances | writes tried | shared | why |
| --- | --- | --- | --- | --- |
"""


def rows(results):
    """The rows of the table, by name."""
    return {name: "| " + " | ".join(cells(name, result)) + " |" for name, result in sorted(results.items())}


def main(arguments):
    if arguments == ["--list"]:
        warnings.simplefilter("ignore")
        import_everything()
        sys.stdout.write(json.dumps(list(c_types())))
        sys.stdout.flush()
        os._exit(0)
    elif arguments == ["--try"]:
        run_trials(json.loads(sys.stdin.read()))
    else:
        sys.stdout.write(HEAD + "\n".join(rows(try_all()).values()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
