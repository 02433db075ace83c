"""What freezing does to every type of the standard library: the tables in TYPES.md.

    python tests/type_table.py > TYPES.md        (make type-table)

Every module of the standard library that can be imported is imported, and every type found. Of each type that can
be frozen an instance is made, by a recipe below or by guessing, and then: frozen, written through every method and
attribute it has, compared with what it was, sent to another interpreter, used there, and dropped there. Types are tried
in child processes, so that a crash is put down to the type that was being tried.
"""

import collections
import contextlib
import datetime
import enum
import gc
import importlib
import inspect
import itertools
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import types
import warnings
from concurrent import futures
from xml.etree import ElementTree  # noqa: F401 - a recipe uses it

# Not imported: they open windows, print, or are for tests only. Of the encodings a few stand for all.
UNWANTED = re.compile(
    r"(antigravity|this|idlelib|turtle|turtledemo|lib2to3|ensurepip|test|_test\w*|_xx\w*|xx\w*|__main__|"
    r"_pyrepl|tkinter|pydoc_data|__phello__|__hello__|_sysconfigdata\w*|_ctypes_test|immutable|_immutable|_tkinter)(\.|$)"
    r"|.*(\.tests?|\.__main__)(\.|$)|.*_windows|_?(winreg|winapi|wmi|msvcrt|scproxy|ios_support|apple_support|android_support)"
    r"|encodings\.(?!(utf_8|charmap|idna|aliases)(\.|$))|multiprocessing\.popen_|asyncio\.windows"
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
    "ctypes._endian._swapped_struct_meta": "swapped('BigEndianStructure')",
    "ctypes._endian._swapped_union_meta": "swapped('BigEndianUnion')",
    "ctypes.CField": "type(structure('structure')).x",
    "_contextvars.ContextVar": "__import__('contextvars').ContextVar('name', default=(1,))",
    "_csv.Dialect": "__import__('csv').get_dialect('excel')",
    "_sre.SRE_Template": "__import__('re')._compile_template(__import__('re').compile('(.)'), r'a\\1')",
    "_json.Scanner": "__import__('json').JSONDecoder(parse_constant=str).scan_once",
    "_struct.Struct": "__import__('struct').Struct('<hi')",
    "_typing._ConstEvaluator": "__import__('typing').TypeVar('T', bound=int).evaluate_bound",
    "builtins.builtin_function_or_method": None,  # freezing one that is not bound makes it the next
    "builtins.builtin_function_or_method (2)": "__import__('immutable').freeze(__import__('math').sqrt)",
    "builtins.builtin_method": "__import__('re').compile('a').match",
    "builtins.bytearray": "bytearray(b'abc')",
    "builtins.captured_logger": "__import__('immutable').freeze("
    "exec_('from logging import root\\ndef f(): return root', 'f')).__globals__['root']",
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
    "sqlite3.Row": "sqlite_row()",
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
    # In Python.
    "abc.abstractclassmethod": "__import__('abc').abstractclassmethod(exec_('def f(x): pass', 'f'))",
    "abc.abstractstaticmethod": "__import__('abc').abstractstaticmethod(exec_('def f(x): pass', 'f'))",
    "annotationlib._Stringifier": "__import__('annotationlib')._Stringifier('x', stringifier_dict={})",
    "ast.ExtSlice": None,  # these two make other nodes
    "ast.Index": None,
    "builtins.ExceptionGroup": "ExceptionGroup('text', [ValueError()])",
    "collections.abc._CallableGenericAlias": "__import__('collections').abc.Callable[[int], str]",
    "ctypes.c_longdouble_complex": None,
    "datetime.date (2)": "__import__('_pydatetime').date(2024, 2, 29)",
    "datetime.datetime (2)": "__import__('_pydatetime').datetime(2024, 2, 29)",
    "datetime.timezone (2)": "__import__('_pydatetime').timezone.utc",
    "email.headerregistry.BaseHeader": "__import__('email').headerregistry.HeaderRegistry()('Subject', 'text')",
    "enum.Enum": "member('Enum')",
    "enum.EnumType": "type(member('Enum'))",
    "enum.Flag": "member('Flag')",
    "enum.IntEnum": "member('IntEnum')",
    "enum.IntFlag": "member('IntFlag')",
    "enum.ReprEnum": "member('IntEnum')",
    "enum.StrEnum": "member('StrEnum', 'text')",
    "hmac.HMAC": "__import__('hmac').new(b'key', digestmod='md5')",
    "inspect.Parameter": "__import__('inspect').Parameter('a', 1)",
    "netrc.netrc": "__import__('netrc').netrc(os.devnull)",
    "pathlib.Path": "__import__('pathlib').Path('a')",
    "pathlib.PurePath": "__import__('pathlib').PurePath('a')",
    "pathlib.WindowsPath": None,
    "pathlib._PathParents": "__import__('pathlib').PurePath('a/b').parents",
    "pickletools.ArgumentDescriptor": "__import__('pickletools').int4",
    "pickletools.OpcodeInfo": "__import__('pickletools').opcodes[0]",
    "pickletools.StackObject": "__import__('pickletools').pyint",
    "traceback.FrameSummary": "__import__('traceback').FrameSummary('file', 1, 'name', line='text')",
    "typing.Any": None,
    "typing.NamedTupleMeta": None,
    "typing._UnionGenericAlias": None,
    "uuid.UUID": "__import__('uuid').UUID(int=5)",
    "weakref.WeakMethod": "weakly('method')",
    "zoneinfo.ZoneInfo (2)": "__import__('zoneinfo')._zoneinfo.ZoneInfo.no_cache('Europe/Helsinki')",
    "zoneinfo._common._TZifHeader": "__import__('zoneinfo')._common._TZifHeader(*range(7))",
    "zoneinfo._zoneinfo._TZStr": "__import__('zoneinfo')._zoneinfo._parse_tz_str('EST5EDT,M3.2.0,M11.1.0')",
}

MADE_WHOLE = {
    "annotationlib.ForwardRef",
    "pathlib.Path",
    "pathlib.PosixPath",
    "string.Template",
    "xml.dom.minidom.Element",
}
"""What they make when they are first asked for it, freezing makes at once (DIFFERENCES.md)."""

NOT_TRIED = {"ctypes.c_longdouble_complex": "not tried: its `bool()` reads beyond a constant, in stock CPython too"}

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
    "__annotations_cache__",
    "profiling.sampling.live_collector.collector.LiveStatsCollector.current_time_display",
    "profiling.sampling.live_collector.collector.LiveStatsCollector.elapsed_time",
    "pydoc.Helper.input",  # standard input and output, which other trials replace
    "pydoc.Helper.output",
    "readonly",
}

# Arguments.
GUESSES = [
    "",
    "1",
    "'a'",
    "b'a'",
    "[1, 2]",
    "(1, 2)",
    "{'a': 1}",
    "len",
    "len, 1",
    "1, 2",
    "'a', 'b'",
    "range(9)",
    "'A', (), {}",
]
GUESSED_VALUES = ["a", 1, b"a", [1, 2], (1, 2), {"a": 1}, len]


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


def swapped(base):
    """A class of a structure in the order of bytes that is not the machine's."""
    import ctypes

    return type(getattr(ctypes, base))("Made", (getattr(ctypes, base),), {"_fields_": [("x", ctypes.c_int)]})


def member(bases, value=1):
    """The member of an enumeration."""
    return exec_(f"import enum\nclass Made(enum.{bases}): A = {value!r}", "Made").A


KEPT = []


def weakly(how):
    """A weak reference or proxy to an object that lives on."""
    import weakref

    class Referent(list):
        def __call__(self):
            return 1

    KEPT.append(Referent() if how in ("callable proxy", "method") else type("Plain", (list,), {})())
    if how == "method":
        return weakref.WeakMethod(KEPT[-1].__call__)
    return weakref.ref(KEPT[-1]) if how == "ref" else weakref.proxy(KEPT[-1])


def sqlite_row():
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


def all_types():
    """Every type, by name; of several with the same one, what is made in C comes first, and the others are numbered."""
    gc.collect()  # the library makes some classes only to make others of them
    found, pending = {}, [object]
    while pending:
        cls = pending.pop()
        pending.extend(sub for sub in type.__subclasses__(cls) if sub not in found)
        found[cls] = None
    named, times = {}, collections.Counter()
    for cls in sorted(found, key=is_made_in_c, reverse=True):
        if not UNWANTED.match(f"{cls.__module__}"):
            name = name_of(cls)
            times[name] += 1
            named[name if times[name] == 1 else f"{name} ({times[name]})"] = cls
    return dict(sorted(named.items()))


# ---- one type --------------------------------------------------------------------------------------------------------


def make(name, cls):
    """A function that makes instances, or None."""
    if name in RECIPES:
        recipe = RECIPES[name]
        return None if recipe is None else (lambda: eval(recipe, globals()))
    if inspect.isabstract(cls):
        methods = {
            method: exec_("def f(self, *given, **named): raise NotImplementedError", "f")
            for method in cls.__abstractmethods__
        }
        cls = type(cls)("Made", (cls,), methods)
    for guess in guesses(cls):
        made = attempt(guess)
        if type(made) is cls and attempt(repr, made) != "RecursionError":
            return guess
    return None


def guesses(cls):
    """Functions that may make an instance of cls."""
    if issubclass(cls, enum.Enum):
        yield lambda: next(iter(cls))
    if hasattr(cls, "n_sequence_fields"):
        yield lambda: cls(range(cls.n_sequence_fields))
    if isinstance(getattr(cls, "_fields", None), tuple) and issubclass(cls, tuple):
        yield lambda: cls(*range(len(cls._fields)))
    for given in GUESSES:
        yield lambda given=given: cls(*eval(f"({given},)" if given else "()"))
    for value in GUESSED_VALUES:
        yield lambda value=value: cls(*[value] * required(cls))
    if not is_made_in_c(cls):
        yield lambda: without_init(cls)


def required(cls):
    """How many arguments cls() must be given."""
    parameters = inspect.signature(cls).parameters.values()
    return sum(parameter.default is parameter.empty and parameter.kind <= 1 for parameter in parameters)


def without_init(cls):
    made = cls.__new__(cls)
    with contextlib.suppress(AttributeError):
        made.first = [1]
    return made


def is_made_in_c(cls):
    from _immutable import _treatment

    return _treatment(cls)[2]


MANY = 1000
"""How far an iteration is followed, since some never end."""


def shown(value):
    """Text that tells whether the value has changed."""
    global showing
    showing = True
    try:
        parts = [attempt(repr, value)]
        for attribute in sorted(set(dir(type(value))) - NOT_COMPARED):
            got = attempt(getattr, value, attribute)
            is_left_out = f"{name_of(type(value))}.{attribute}" in NOT_COMPARED
            if callable(got) or isinstance(got, types.ModuleType) or is_left_out:
                continue
            parts.append((attribute, attempt(repr, got)))
        contents = attempt(lambda: [item for item in vars(value).items() if item[0] not in NOT_COMPARED])
        parts.append(attempt(lambda: repr(sorted(contents, key=repr))))
        parts.append(attempt(lambda: repr(value.__reduce_ex__(4))) if not isinstance(value, type) else None)
        parts.append(attempt(lambda: repr(list(itertools.islice(value, MANY)))))
    finally:
        showing = False
    return re.sub(r"0x[0-9a-f]+", "", repr(parts))


showing = False
"""Whether a value is being shown: what is shown of it must not depend on how fast the machine is."""

attempts = 0
"""How many are under way."""


def attempt(function, *given):
    """What the function returns, or the name of the type of what it raises."""
    global attempts
    try:
        attempts += 1
        return function(*given)
    except BaseException as error:
        return type(error).__name__
    finally:
        attempts -= 1


def end_attempt(signum, frame):
    """Called every few seconds, since some methods would go on for ever."""
    if attempts and not showing:
        raise TimeoutError


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
    from itertools import islice
    for use in (repr, str, hash, len, iter, lambda value: list(islice(value, 1000)), bool, bytes, int, float):
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

    policy, reason, in_c, one_for_all = _treatment(cls)
    result = {"policy": policy, "reason": reason, "in_c": in_c, "one": one_for_all}
    result |= {"made": False, "fault": None, "shared": False}
    maker = make(name, cls) if policy != "refused" else None
    if maker is None:
        return result
    value = maker()
    if cls not in type(value).__mro__:
        result["fault"] = f"the recipe makes a {type(value).__name__}"
        return result
    result["made"] = True
    was_immutable = is_frozen(value)
    before = shown(value)
    try:
        freeze(value)
        before = shown(value) if name in MADE_WHOLE else before
    except NotFreezableError as error:
        # What this instance holds may refuse, and what its class holds must not.
        if error.path.startswith("root") and policy == "freezable":
            result["policy"], result["reason"] = "holds", f"`{error.path}`: {error.reason}"
        else:
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
    told, has_namesake = receiver.recv(timeout=60)
    # A class that was made for the trial tells nothing about its base.
    result["namesake"] = has_namesake or (not in_c and type(value) is not cls)
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
    found = all_types()
    real_out, devnull = os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0), os.dup2(devnull, 1), os.dup2(devnull, 2)
    other = interpreters.create()
    other.exec("import warnings; warnings.simplefilter('ignore')")
    with os.fdopen(real_out, "w") as out:
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, end_attempt)
        for name in names:
            # Calls that go on for ever, and, on a machine that may be busy, those that wait for ever.
            signal.setitimer(signal.ITIMER_PROF, 5, 1)
            signal.setitimer(signal.ITIMER_REAL, 30, 1)
            print(json.dumps([name, None]), file=out, flush=True)
            try:
                result = trial(name, found[name], other)
            except Exception as error:  # of the trial itself
                result = {"fault": f"its trial raised {type(error).__name__}: {error}"}
            print(json.dumps([name, result]), file=out, flush=True)
    os._exit(0)  # what the calls have set up, at exit or in threads, is of no interest


# ---- the table -------------------------------------------------------------------------------------------------------


def child(*arguments, given=""):
    with tempfile.TemporaryDirectory() as folder:  # what the calls write stays there
        return subprocess.run(
            [sys.executable, os.path.abspath(__file__), *arguments],
            input=given,
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=3600,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )


def try_all():
    """Tries every type. Returns a dict: name to result. A type whose trial ends its process has the fault 'crash'."""
    listed = child("--list")
    if listed.returncode:
        raise RuntimeError(f"listing the types ended with {listed.returncode}:\n{listed.stderr}")
    names, results = json.loads(listed.stdout), {}
    workers = os.process_cpu_count()
    with futures.ThreadPoolExecutor(workers) as pool:
        for some in pool.map(try_some, [names[first::workers] for first in range(workers)]):
            results |= some
    return results


def try_some(left):
    results = {}
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


POLICIES = {
    "freezable": "freezes",
    "holds": "refuses",
    "proxy": "stays mutable",
    "refused": "refuses",
    "explicit": "freezes if named",
}


def remark(name, result):
    """The last two columns: how it is shared, and why not."""
    if result["fault"]:
        return "", f"**{result['fault']}**"
    if result["policy"] in ("refused", "holds"):
        return "", result["reason"]
    if result["policy"] == "proxy":
        return "", "works for the interpreter that made it"
    one = "one type for all" if result["one"] else "each interpreter has its own type"
    if name in SHOWN_OTHERWISE:
        return f"yes, {one}", SHOWN_OTHERWISE[name]
    if not result["made"]:
        return one, NOT_TRIED.get(name, "instances are not made on their own")
    why = "" if result["one"] else "`isinstance` elsewhere says no: its class is another interpreter's"
    if name in MADE_WHOLE:
        why = "what it makes when it is first asked for it, the freeze makes at once"
    elif not result["in_c"] and result.get("namesake"):
        return "yes", ""
    elif result.get("namesake"):
        why = "`__class__` and `isinstance` give the class of the interpreter that asks"
    return ("yes, " if result["shared"] else "no, ") + one, why


def cells(name, result):
    if "policy" not in result:
        return [f"`{name}`", "", "", "", f"**{result['fault']}**"]
    shared, why = remark(name, result)
    tried = "yes" if result["shared"] else ""
    return [f"`{name}`", POLICIES[result["policy"]], tried, shared, why]


HEAD = """# Types

What a freeze does with the instances of each type of the standard library. Written by `make type-table`, and checked
by `tests/test_every_type.py`; which types exist depends on what CPython was built with. A number in parentheses tells
types of one name apart.

*writes tried*: every method and attribute of a frozen instance was called, set and deleted, and nothing changed.
*shared*: a frozen instance was used and dropped by another interpreter.

"""

COLUMNS = "| type | instances | writes tried | shared | why |\n| --- | --- | --- | --- | --- |\n"

MADE_IN_C = """## Made in C

`one type for all` means that every interpreter has the same class.

"""

WRITTEN_IN_PYTHON = """## Written in Python

Where another interpreter uses a frozen instance, `__class__` and `isinstance` give the class of that interpreter,
unless the last column says something else. `root` is the instance that was tried.

"""


def row(name, result):
    return "| " + " | ".join(cells(name, result)) + " |\n"


def document(results):
    """The whole of TYPES.md."""
    in_c, in_python = [], []
    for name, result in sorted(results.items()):
        (in_c if result.get("in_c", True) else in_python).append(row(name, result))
    return "".join([HEAD, MADE_IN_C, COLUMNS, *in_c, "\n", WRITTEN_IN_PYTHON, COLUMNS, *in_python])


def main(arguments):
    if arguments == ["--list"]:
        warnings.simplefilter("ignore")
        import_everything()
        sys.stdout.write(json.dumps(list(all_types())))
        sys.stdout.flush()
        os._exit(0)
    elif arguments == ["--try"]:
        run_trials(json.loads(sys.stdin.read()))
    else:
        sys.stdout.write(document(try_all()))


if __name__ == "__main__":
    main(sys.argv[1:])
