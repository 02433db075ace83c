"""Every way to write to a frozen object raises MutationError, and changes nothing.

Each subject below is a type that can be frozen. Its `writes` are statements that change a mutable one, which the tests
prove first; on a frozen one each must raise MutationError, leave all that can be read as it was, and leak no reference.
They are tried at a call site that is new, and at call sites made hot on mutable objects, so that the specialised
instructions are the ones that meet the frozen object. Its `reads` are its other methods: they are called with all
sorts of arguments and must change nothing. A method that is in neither list fails a test.
"""

import argparse
import array
import bisect
import collections
import ctypes
import dataclasses
import dis
import enum
import functools
import gc
import heapq
import io
import itertools
import pathlib
import random
import re
import struct
import sys
import types
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element, SubElement, fromstring  # noqa: F401 - statements use them by name

import pytest

from immutable import MutationError, NotFreezableError, freeze, is_frozen

# Struct.__init__() of a struct that is in use is deprecated, and still writes.
pytestmark = pytest.mark.filterwarnings("ignore:Re-initialization of Struct:FutureWarning")

HEAT = 100  # calls that surely make an instruction specialise


@dataclasses.dataclass(frozen=True)
class Subject:
    """family() returns a function that makes subjects, of classes that no other family shares."""

    family: Callable[[], Callable[[], object]]
    writes: tuple[str, ...] = ()
    reads: frozenset[str] = frozenset()
    quiet: tuple[str, ...] = ()  # statements that pass on a frozen object as on a mutable one, and change neither


def lines(text):
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


def names(text):
    return frozenset(text.split())


def always(make):
    return lambda: make


OBJECT_READS = names("""
        __annotate_func__ __class__ __dir__ __eq__ __format__ __ge__ __getattribute__ __getstate__ __gt__ __hash__
        __init__ __init_subclass__ __le__ __lt__ __ne__ __new__ __reduce__ __reduce_ex__ __repr__ __sizeof__ __str__
        __subclasshook__ __setattr__ __delattr__
    """)  # the last two raise for most subjects; for the others they are among the writes

# ---- subjects --------------------------------------------------------------------------------------------------------


def plain_class():
    class Plain:
        def __init__(self):
            self.first, self.second = 1, [2]

        def method(self):
            return self.first

    return Plain


def plain_with_dict_object():
    made = plain_class()

    def make():
        instance = made()
        vars(instance)
        return instance

    return make


def plain_with_combined_dict():
    made = plain_class()

    def make():
        instance = made()
        instance.__dict__ = {"first": 1, "second": [2]}
        return instance

    return make


def plain_with_many_attributes():
    made = plain_class()

    def make():
        instance = made()
        for n in range(60):
            setattr(instance, f"attribute{n}", n)
        return instance

    return make


def slotted():
    class Slotted:
        __slots__ = ("__weakref__", "first", "unset")

        def __init__(self):
            self.first = 1

    return Slotted


def slotted_and_dict():
    class Base:
        __slots__ = ("first",)

    class SlottedAndDict(Base):
        def __init__(self):
            self.first, self.second = 1, [2]

    return SlottedAndDict


def list_subclass():
    class Named(list):
        def __init__(self, *items):
            super().__init__(*items)
            self.first = 1

    return lambda: Named([3, 1, 2])


def dict_subclass():
    class Named(dict):
        first = 1

    return lambda: Named(a=1, b=[2])


def int_subclass():
    class Length(int):
        pass

    def make():
        made = Length(12)
        made.first = 1
        return made

    return make


def dataclass_instance():
    @dataclasses.dataclass
    class Record:
        first: int = 1
        second: list = dataclasses.field(default_factory=list)

    return Record


def frozen_dataclass_instance():
    @dataclasses.dataclass(frozen=True)
    class Record:
        first: int = 1
        second: tuple = ()

    return Record


def named_tuple():
    point = collections.namedtuple("Point", "x y")
    return lambda: point(1, [2])


def enum_member():
    def make():
        class Colour(enum.Enum):
            RED = "r"
            BLUE = "b"

        return Colour.RED

    return make


class Base:
    """The new __bases__ of a class."""


class OtherMetaclass(type):
    """The new __class__ of a class."""


def make_class():
    class Parent:
        pass

    class Made(Parent):
        kept: int = 1
        parts = [2]

        def method(self):
            return 1

    Made.__abstractmethods__ = frozenset()
    return Made


def class_with_metaclass():
    metaclass = type("Metaclass", (type,), {"kept": [1], "__module__": __name__})
    return lambda: metaclass("Made", (), {"first": 1, "__module__": __name__})


def make_function():
    captured = [1]

    def function(a, b=(1,), *, c={2: 3}) -> int:
        "Documented."
        return a, b, c, captured

    function.attribute = [1]
    return function


def closes_over(value):
    return lambda: value


def make_cell():
    return types.CellType([1])


def make_property():
    made = property(len, None, None, "Documented.")
    made.__set_name__(Base, "made")
    return made


def make_wrapper(wrapper):
    def make():
        made = wrapper(make_function())
        made.attribute = [1]
        return made

    return make


def make_ordered_dict():
    made = collections.OrderedDict(first=1, second=[2], third=3)
    made.attribute = [1]
    return made


def make_exception():
    made = ValueError([1])
    made.first = 1
    return made


def make_exception_with_notes():
    made = ValueError([1])
    made.add_note("first")
    return made


def make_path():
    made = pathlib.PurePosixPath("a", "b")
    assert hash(made) == hash(made)
    assert made < made / "c"
    return made


def make_embedded_dict(kept_alive=collections.deque(maxlen=2)):
    """The __dict__ of an instance that lives on while a test needs it, mutable, and whose values lie inside it."""
    kept_alive.append(plain_class()())
    return vars(kept_alive[-1])


LIST_READS = names("""
    __add__ __class_getitem__ __contains__ __getitem__ __iter__ __len__ __mul__ __reversed__ __rmul__ copy count
    index
""")
LIST_WRITES = lines("""
    o.append(x)
    o.clear()
    o.extend([x])
    o.extend((x,))
    o.extend({x})
    o.extend({x: 0})
    o.extend({x: 0}.values())
    o.extend({x: 0}.items())
    o.extend(i for i in [x])
    o.extend(o)
    o.insert(0, x)
    o.pop()
    o.pop(0)
    o.remove(3)
    o.reverse()
    o.sort()
    o.sort(key=lambda i: -i)
    o.__setitem__(0, x)
    o.__delitem__(0)
    o.__iadd__([x])
    o.__imul__(2)
    list.__init__(o)
    list.__init__(o, [x])
    o[0] = x
    o[-1] = x
    o[0:2] = [x]
    o[::2] = [x, x]
    o[5:] = [x]
    o[:] = ()
    del o[0]
    del o[-1:]
    del o[:]
    del o[::2]
    o += [x]
    o += (i for i in [x])
    o *= 2
    o *= 0
""")
EMPTY_LIST_WRITES = lines("""
    o.append(x)
    o.extend([x])
    o.extend({x})
    o.extend({x: 0}.items())
    o.extend(i for i in [x])
    o.insert(0, x)
    o[:] = [x]
    o += [x]
    list.__init__(o, [x])
""")

DICT_READS = names("""
    __class_getitem__ __contains__ __getitem__ __iter__ __len__ __or__ __reversed__ __ror__ copy fromkeys get items
    keys values
""")
DICT_WRITES = lines("""
    o.clear()
    o.pop("first")
    o.pop("first", None)
    o.popitem()
    o.setdefault("new")
    o.setdefault("new", x)
    o.setdefault(x, x)
    o.update(first=x)
    o.update(new=x)
    o.update({"first": x})
    o.update({x: x})
    o.update([("first", x)])
    o.update(collections.UserDict(first=x))
    o.__setitem__("first", x)
    o.__delitem__("first")
    o.__ior__({"first": x})
    dict.__init__(o, first=x)
    dict.__init__(o, {"first": x})
    dict.__init__(o, [("first", x)])
    o["first"] = x
    o["new"] = x
    o[x] = x
    del o["first"]
    o |= {"first": x}
    o |= [("first", x)]
""")
EMPTY_DICT_WRITES = lines("""
    o["new"] = x
    o[x] = x
    o.setdefault("new", x)
    o.update(new=x)
    o.update([("new", x)])
    o |= {"new": x}
    dict.__init__(o, new=x)
""")

SET_READS = names("""
    __and__ __class_getitem__ __contains__ __iter__ __len__ __or__ __rand__ __ror__ __rsub__ __rxor__ __sub__
    __xor__ copy difference intersection isdisjoint issubset issuperset symmetric_difference union
""")
SET_WRITES = lines("""
    o.add(x)
    o.clear()
    o.difference_update({1})
    o.difference_update([1])
    o.difference_update(o)
    o.difference_update(range(99))
    o.discard(1)
    o.intersection_update({1})
    o.intersection_update([1])
    o.intersection_update({1, 2}, [1])
    o.pop()
    o.remove(1)
    o.symmetric_difference_update({1})
    o.symmetric_difference_update([x])
    o.symmetric_difference_update({x: 0})
    o.symmetric_difference_update(o)
    o.update({x})
    o.update([x])
    o.update({x: 0})
    o.update(range(99))
    o.__iand__({1})
    o.__ior__({x})
    o.__isub__({1})
    o.__ixor__({x})
    set.__init__(o)
    set.__init__(o, [x])
    o &= {1}
    o |= {x}
    o -= {1}
    o -= o
    o ^= {x}
    o ^= o
""")

BYTEARRAY_READS = names("""
    __add__ __alloc__ __buffer__ __contains__ __getitem__ __iter__ __len__ __mod__ __mul__ __release_buffer__
    __rmod__ __rmul__ capitalize center copy count decode endswith expandtabs find fromhex hex index isalnum isalpha
    isascii isdigit islower isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix
    removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase
    title translate upper zfill
""")
BYTEARRAY_WRITES = lines("""
    o.append(1)
    o.clear()
    o.extend(b"x")
    o.extend([1])
    o.insert(0, 1)
    o.pop()
    o.pop(0)
    o.remove(97)
    o.reverse()
    o.resize(1)
    o.resize(9)
    o.take_bytes()
    o.take_bytes(1)
    o.__setitem__(0, 1)
    o.__delitem__(0)
    o.__iadd__(b"x")
    o.__imul__(2)
    bytearray.__init__(o)
    bytearray.__init__(o, b"x")
    bytearray.__init__(o, "x", "ascii")
    o[0] = 1
    o[0:2] = b"x"
    o[0:2] = b"xy"
    o[0:2] = [1, 2]
    o[1:1] = b"x"
    o[:0] = o
    o[::2] = b"xy"
    del o[0]
    del o[:1]
    del o[:]
    del o[::2]
    o += b"x"
    o *= 2
    o *= 0
    memoryview(o)[0] = 1
    memoryview(o)[:2] = b"xy"
    memoryview(o)[1:].cast("b")[0] = 1
""")

MEMORYVIEW_READS = names("""
    __buffer__ __class_getitem__ __delitem__ __enter__ __getitem__ __iter__ __len__ __release_buffer__ _from_flags
    cast count hex index tobytes tolist toreadonly
""")  # del o[i] raises TypeError for every memoryview
MEMORYVIEW_RELEASES = lines("""
    o.release()
    o.__exit__()
    with o: pass
""")
MEMORYVIEW_WRITES = lines("""
    o[0] = 1
    o[0:2] = b"xy"
    o[:] = bytes(o)[::-1]
    o.__setitem__(0, 1)
    memoryview(o)[0] = 1
    o[1:][0] = 1
    o.cast("b")[0] = 1
""")

INSTANCE_WRITES = lines("""
    o.first = x
    o.new = x
    del o.first
    setattr(o, "first", x)
    delattr(o, "first")
    o.__setattr__("first", x)
    o.__delattr__("first")
    object.__setattr__(o, "first", x)
    object.__delattr__(o, "first")
    o.__dict__["first"] = x
    o.__dict__["new"] = x
    o.__dict__.update(first=x)
    o.__dict__.clear()
    vars(o).pop("first")
    o.__dict__ = {}
    del o.__dict__
""")
PLAIN_WRITES = lines("""
    o.second.append(x)
    o.__class__ = sibling(o)
    o.__init__.__func__.attribute = x
    o.__class__.attribute = x
""")
SLOT_WRITES = lines("""
    o.first = x
    del o.first
    o.unset = x
    o.__setattr__("first", x)
    o.__delattr__("first")
    type(o).first.__set__(o, x)
    type(o).first.__delete__(o)
    type(o).unset.__set__(o, x)
    o.__class__.attribute = x
""")

TYPE_READS = names("""
    __base__ __call__ __instancecheck__ __or__ __prepare__ __ror__ __subclasscheck__ __subclasses__ mro
""")
CLASS_WRITES = lines("""
    o.kept = x
    o.new = x
    del o.kept
    setattr(o, "kept", x)
    delattr(o, "kept")
    type.__setattr__(o, "kept", x)
    type.__delattr__(o, "kept")
    o.parts.append(x)
    o.method.attribute = x
    o.method = lambda self: 2
    o.__len__ = lambda self: 2
    o.__getattr__ = lambda self, name: name
    o.__init__ = lambda self: None
    o.__name__ = "Renamed"
    o.__qualname__ = "Renamed"
    o.__module__ = "elsewhere"
    o.__doc__ = "Documented."
    o.__bases__ = (Base,)
    o.__annotations__ = {}
    o.__annotations__; del o.__annotations__
    o.__annotate__ = lambda format: {}
    o.__type_params__ = (x,)
    o.__abstractmethods__ = frozenset({"method"})
    del o.__abstractmethods__
    o.__base__.attribute = x
""")

FUNCTION_READS = names("__call__ __get__")
FUNCTION_WRITES = lines("""
    o.attribute = x
    o.new = x
    del o.attribute
    o.__setattr__("new", x)
    o.__delattr__("attribute")
    o.attribute.append(x)
    o.__code__ = closes_over(x).__code__
    o.__defaults__ = (x,)
    del o.__defaults__
    o.__kwdefaults__ = {"c": x}
    del o.__kwdefaults__
    o.__kwdefaults__["c"] = x
    o.__closure__[0].cell_contents = x
    o.__closure__[0].cell_contents.append(x)
    o.__annotations__ = {}
    del o.__annotations__
    o.__annotate__ = lambda format: {}
    o.__type_params__ = (x,)
    o.__name__ = "renamed"
    o.__qualname__ = "renamed"
    o.__doc__ = x
    del o.__doc__
    o.__module__ = x
    del o.__module__
    o.__dict__ = {}
    o.__dict__["attribute"] = x
    o.__dict__.clear()
""")

PROPERTY_READS = names("__delete__ __get__ __set__ __set_name__ deleter getter setter")
PROPERTY_WRITES = lines("""
    o.__init__()
    o.__init__(len, len, len, "Changed.")
    o.__doc__ = x
    del o.__doc__
    o.__name__ = "renamed"
    del o.__name__
    o.__setattr__("__name__", "renamed")
    o.__delattr__("__name__")
""")

WRAPPER_READS = names("__call__ __class_getitem__ __get__")
WRAPPER_WRITES = lines("""
    o.__init__(len)
    o.attribute = x
    o.new = x
    del o.attribute
    o.attribute.append(x)
    o.__setattr__("new", x)
    o.__delattr__("attribute")
    o.__doc__ = x
    o.__name__ = "renamed"
    o.__dict__ = {}
    o.__dict__["attribute"] = x
    o.__dict__.clear()
    o.__annotations__ = {}
    o.__annotate__ = None
    o.__func__.attribute = x
""")

NAMESPACE_WRITES = lines("""
    o.first = x
    o.new = x
    del o.first
    o.__init__(first=x)
    o.__init__({"first": x})
    o.__setattr__("first", x)
    o.__delattr__("first")
    o.__dict__["first"] = x
    o.__dict__.clear()
""")

DEQUE_READS = names("""
    __add__ __class_getitem__ __contains__ __copy__ __getitem__ __iter__ __len__ __mul__ __reversed__ __rmul__ copy
    count index
""")
DEQUE_WRITES = lines("""
    o.append(x)
    o.appendleft(x)
    o.clear()
    o.extend([x])
    o.extend(o)
    o.extendleft([x])
    o.insert(0, x)
    o.insert(1, x)
    o.insert(99, x)
    o.pop()
    o.popleft()
    o.remove(1)
    o.reverse()
    o.rotate()
    o.rotate(-1)
    o.__setitem__(0, x)
    o.__delitem__(0)
    o.__iadd__([x])
    o.__imul__(2)
    o.__init__()
    o.__init__([x])
    o.__init__([x], 5)
    o[0] = x
    o[-1] = x
    o[1] = x
    del o[0]
    del o[-1]
    o += [x]
    o *= 2
    o *= 0
""")

ORDERED_DICT_WRITES = lines("""
    o.clear()
    o.move_to_end("first")
    o.move_to_end("second", last=False)
    o.pop("first")
    o.pop("first", None)
    o.popitem()
    o.popitem(last=False)
    o.setdefault("new")
    o.setdefault("new", x)
    o.update(first=x)
    o.update({x: x})
    o.update([("first", x)])
    o.__setitem__("first", x)
    o.__delitem__("first")
    o.__ior__({"first": x})
    o.__init__(first=x)
    o["first"] = x
    o["new"] = x
    o[x] = x
    del o["first"]
    o |= {"first": x}
    o.attribute = x
    o.new = x
    del o.attribute
    o.__dict__["attribute"] = x
    dict.__setitem__(o, "first", x)
""")

ARRAY_READS = names("""
    __add__ __buffer__ __class_getitem__ __contains__ __copy__ __deepcopy__ __getitem__ __iter__ __len__ __mul__
    __release_buffer__ __rmul__ buffer_info count index tobytes tofile tolist tounicode
""")
ARRAY_WRITES = lines("""
    o.append(1)
    o.byteswap()
    o.clear()
    o.extend([1])
    o.extend(o)
    o.frombytes(bytes(4))
    o.fromfile(io.BytesIO(bytes(4)), 1)
    o.fromlist([1])
    o.insert(0, 1)
    o.pop()
    o.pop(0)
    o.remove(2)
    o.reverse()
    o.__setitem__(0, 9)
    o.__delitem__(0)
    o.__iadd__(o)
    o.__imul__(2)
    o[0] = 9
    o[-1] = 9
    o[:1] = o
    o[1:1] = o
    o[::2] = o[1:]
    del o[0]
    del o[:]
    del o[::2]
    o += o
    o *= 2
    o *= 0
    memoryview(o)[0] = 9
""")

EXCEPTION_READS = names("__reduce__")
EXCEPTION_WRITES = lines("""
    o.__init__(x)
    o.args = (x,)
    o.args[0].append(x)
    o.__setstate__({"first": x})
    o.add_note("note")
    o.__notes__ = [x]
    o.__cause__ = KeyError()
    o.__context__ = KeyError()
    o.__suppress_context__ = True
    o.with_traceback(types.TracebackType(None, sys._getframe(), 0, 1))
    o.__traceback__ = types.TracebackType(None, sys._getframe(), 0, 1)
    o.first = x
    o.new = x
    o.__dict__["first"] = x
""")

MAPPING_READS = names("""
    __class_getitem__ __contains__ __getitem__ __getnewargs__ __ior__ __iter__ __len__ __or__ __reversed__ __ror__
    copy fromkeys get items keys values
""")  # |= raises TypeError for every mappingproxy

ELEMENT_READS = names("""
    __bool__ __copy__ __deepcopy__ __getitem__ __len__ find findall findtext get items iter iterfind itertext keys
    makeelement
""")
ELEMENT_WRITES = lines("""
    o.append(Element("new"))
    o.clear()
    o.extend([Element("new")])
    o.insert(0, Element("new"))
    o.remove(o[0])
    o.set("x", "2")
    o.set("new", "2")
    o.tag = "new"
    o.text = "new"
    o.tail = "new"
    o.attrib = {}
    o.attrib["x"] = "2"
    o.attrib.clear()
    o.__init__("new")
    o.__init__("new", {"y": "1"})
    o.__setstate__({"tag": "new", "attrib": {}, "_children": []})
    o.__setitem__(0, Element("new"))
    o.__delitem__(0)
    o[0] = Element("new")
    o[0:1] = [Element("new"), Element("new")]
    o[::2] = [Element("new")]
    o[:] = []
    del o[0]
    del o[:]
    del o[::2]
    o[0].text = "new"
    o.find("b").append(Element("new"))
    SubElement(o, "new")
""")
EMPTY_ELEMENT_WRITES = lines("""
    o.append(Element("new"))
    o.extend([Element("new")])
    o.insert(0, Element("new"))
    o.set("new", "2")
    o.attrib = {"y": "1"}
    o.attrib["y"] = "1"
    o[:] = [Element("new")]
    SubElement(o, "new")
""")

STRUCT_READS = names("iter_unpack pack pack_into unpack unpack_from")

SUBJECTS = {
    "list": Subject(always(lambda: [3, 1, 2]), LIST_WRITES, LIST_READS),
    "empty list": Subject(always(list), EMPTY_LIST_WRITES),
    "dict, string keys": Subject(always(lambda: {"first": 1, "second": [2]}), DICT_WRITES, DICT_READS),
    "dict, general keys": Subject(always(lambda: {"first": 1, 2: [2], (3,): 3}), DICT_WRITES),
    "dict, of a dead instance": Subject(always(lambda: vars(plain_class()())), DICT_WRITES),
    "dict, of a live instance": Subject(always(make_embedded_dict), DICT_WRITES),
    "empty dict": Subject(always(dict), EMPTY_DICT_WRITES),
    "frozendict": Subject(always(lambda: frozendict(first=1, second=[2])), reads=MAPPING_READS),  # noqa: F821
    "set": Subject(always(lambda: {1, 2, 3}), SET_WRITES, SET_READS),
    "large set": Subject(always(lambda: set(range(50))), SET_WRITES),
    "frozenset": Subject(always(lambda: frozenset([1, (2,)])), reads=SET_READS),
    "bytearray": Subject(
        always(lambda: bytearray(b"cab")),
        BYTEARRAY_WRITES,
        BYTEARRAY_READS,
        lines("o.__release_buffer__(o.__buffer__(0))"),
    ),
    "memoryview of bytearray": Subject(
        always(lambda: memoryview(bytearray(b"cab"))),
        MEMORYVIEW_WRITES + MEMORYVIEW_RELEASES,
        MEMORYVIEW_READS,
        lines("""
            o[1:].release()
            memoryview(o).release()
            hash(memoryview(o).toreadonly().tobytes())
        """),
    ),
    "memoryview of bytes": Subject(always(lambda: memoryview(b"cab")), MEMORYVIEW_RELEASES),
    "memoryview in two dimensions": Subject(
        always(lambda: memoryview(bytearray(b"cabdef")).cast("B", [2, 3])), lines("o[0, 0] = 1")
    ),
    "instance": Subject(plain_class, INSTANCE_WRITES + PLAIN_WRITES, frozenset({"method"})),
    "instance with a dict object": Subject(
        plain_with_dict_object, INSTANCE_WRITES + PLAIN_WRITES, frozenset({"method"})
    ),
    "instance with a combined dict": Subject(
        plain_with_combined_dict, INSTANCE_WRITES + PLAIN_WRITES, frozenset({"method"})
    ),
    "instance with many attributes": Subject(
        plain_with_many_attributes, INSTANCE_WRITES + PLAIN_WRITES, frozenset({"method"})
    ),
    "instance with slots": Subject(slotted, SLOT_WRITES),
    "instance with slots and dict": Subject(slotted_and_dict, ("o.first = x", "o.second = x", "o.new = x")),
    "instance of a list subclass": Subject(
        list_subclass, (*LIST_WRITES, "o.first = x", "o.new = x", "del o.first"), LIST_READS
    ),
    "instance of a dict subclass": Subject(
        dict_subclass,
        lines("""
            o["a"] = x
            del o["a"]
            o.clear()
            o.popitem()
            o.pop("a")
            o.setdefault("new")
            o.update(a=x)
            o |= {"a": x}
            o.__ior__({"a": x})
            o.__setitem__("a", x)
            o.__delitem__("a")
            o.new = x
        """),
        DICT_READS,
    ),
    "instance of an int subclass": Subject(int_subclass, ("o.first = x", "o.new = x", "del o.first")),
    "dataclass": Subject(
        dataclass_instance, ("o.first = x", "o.second.append(x)", "del o.first"), frozenset({"__replace__"})
    ),
    "frozen dataclass": Subject(
        frozen_dataclass_instance,
        ('object.__setattr__(o, "first", x)', "o.__dict__.clear()"),
        frozenset({"__replace__"}),
    ),
    "named tuple": Subject(named_tuple, ("o.y.append(x)", "type(o).attribute = x")),
    "enum member": Subject(enum_member, ("o.new = x", "o._value_ = x", "type(o).new = x")),
    "class": Subject(always(make_class), CLASS_WRITES, TYPE_READS),
    "class with a metaclass": Subject(
        class_with_metaclass,
        lines("""
            o.first = x
            o.new = x
            del o.first
            o.__class__ = OtherMetaclass
            type(o).new = x
            type(o).kept.append(x)
        """),
    ),
    "function": Subject(
        always(make_function), FUNCTION_WRITES, FUNCTION_READS, lines("o.__annotations__, o.__type_params__")
    ),
    "lambda": Subject(always(lambda: lambda a, b=[1]: (a, b)), ("o.attribute = x", "o.__defaults__[0].append(x)")),
    "bound method": Subject(
        lambda: (lambda made: lambda: made().method)(plain_class()), ("o.__self__.first = x",), FUNCTION_READS
    ),
    "property": Subject(
        always(make_property), PROPERTY_WRITES, PROPERTY_READS, lines('type("Renaming", (), {"made": o})')
    ),
    "classmethod": Subject(
        always(make_wrapper(classmethod)), WRAPPER_WRITES, WRAPPER_READS, lines("o.__annotations__, o.__annotate__")
    ),
    "staticmethod": Subject(
        always(make_wrapper(staticmethod)), WRAPPER_WRITES, WRAPPER_READS, lines("o.__annotations__, o.__annotate__")
    ),
    "cell": Subject(always(make_cell), ("o.cell_contents = x", "del o.cell_contents", "o.cell_contents.append(x)")),
    "code": Subject(
        always(lambda: make_function().__code__),
        reads=names("__replace__ _varname_from_oparg co_branches co_lines co_positions replace"),
        quiet=lines("o.co_code, o.co_varnames, o.co_cellvars, o.co_freevars"),
    ),
    "GenericAlias": Subject(
        always(lambda: dict[str, list[int]]),
        reads=names("""
            __call__ __getitem__ __instancecheck__ __iter__ __mro_entries__ __or__ __ror__ __subclasscheck__
        """),
        quiet=lines("o.__parameters__"),
    ),
    "union": Subject(
        always(lambda: int | list[str] | None),
        reads=names("__class_getitem__ __getitem__ __mro_entries__ __or__ __ror__"),
        quiet=lines("o.__parameters__"),
    ),
    "SimpleNamespace": Subject(
        always(lambda: types.SimpleNamespace(first=1, second=[2])), NAMESPACE_WRITES, frozenset({"__replace__"})
    ),
    "deque": Subject(always(lambda: collections.deque([3, 1, [2]])), DEQUE_WRITES, DEQUE_READS),
    "long deque": Subject(always(lambda: collections.deque(range(200))), DEQUE_WRITES),
    "bounded deque": Subject(
        always(lambda: collections.deque([1, 2, 3], 3)),
        lines("""
            o.append(x)
            o.appendleft(x)
            o.extend([x])
            o.extendleft([x])
            o.rotate()
        """),
    ),
    "empty deque": Subject(
        always(collections.deque),
        lines("""
            o.append(x)
            o.appendleft(x)
            o.extend([x])
            o.extendleft([x])
            o.insert(0, x)
            o += [x]
            o.__init__([x])
        """),
    ),
    "defaultdict": Subject(
        always(lambda: collections.defaultdict(list, first=1, second=[2])),
        (
            *DICT_WRITES,
            *lines("""
                o["missing"]
                o.__getitem__("missing")
                o.__missing__("missing")
                o.default_factory = None
                o.__init__(int)
                o.__init__(None, first=x)
            """),
        ),
        (DICT_READS | names("__copy__")) - names("__getitem__"),
    ),
    "OrderedDict": Subject(always(make_ordered_dict), ORDERED_DICT_WRITES, DICT_READS),
    "empty OrderedDict": Subject(
        always(collections.OrderedDict),
        ("o['new'] = x", "o.setdefault('new')", "o.update(new=x)", "o |= {1: x}", "o.__init__(new=x)", "o.new = x"),
    ),
    "Counter": Subject(
        always(lambda: collections.Counter("aab")),
        lines("""
            o["a"] = 5
            o["new"] += 1
            o.update("abc")
            o.subtract("abc")
            o.clear()
            o.popitem()
            del o["a"]
            o += o
            o -= o
            o.__init__("new")
            o.attribute = x
        """),
    ),
    "ChainMap": Subject(
        always(lambda: collections.ChainMap({"a": 1})),
        ('o["a"] = x', "o.clear()", 'o.pop("a")', "o.popitem()", "o.maps = []", "o.maps.append({})", 'del o["a"]'),
    ),
    "UserList": Subject(
        always(lambda: collections.UserList([2, 1])),
        ("o.append(x)", "o.sort()", "o[0] = x", "o.data = []", "o += [x]", "o.pop()"),
    ),
    "array": Subject(
        always(lambda: array.array("i", [3, 2])),
        ARRAY_WRITES,
        ARRAY_READS | names("fromunicode"),
        lines("o.__release_buffer__(o.__buffer__(0))"),
    ),
    "array of floats": Subject(
        always(lambda: array.array("d", [1.5, 2.5])), ("o[0] = 1", "o.append(1)", "o.fromlist([1])", "o.byteswap()")
    ),
    "array of text": Subject(
        always(lambda: array.array("w", "text")), ("o[0] = 'x'", "o.append('x')", "o.fromunicode('x')")
    ),
    "empty array": Subject(
        always(lambda: array.array("Q")), ("o.append(1)", "o.extend([1])", "o.frombytes(bytes(8))", "o.insert(0, 1)")
    ),
    "partial": Subject(
        always(lambda: functools.partial(make_function(), 1, c=[2])),
        lines("""
            o.__setstate__((len, (), {}, {}))
            o.attribute = x
            o.__dict__["attribute"] = x
            o.__dict__ = {"attribute": x}
            o.keywords["c"] = x
            o.func.attribute = x
            o.keywords["c"].append(x)
        """),
        names("__call__ __class_getitem__ __get__"),
    ),
    "cmp_to_key": Subject(
        always(lambda: functools.cmp_to_key(len)([1])), ("o.obj = x", "o.obj.append(x)"), names("__call__")
    ),
    "lru_cache": Subject(
        always(lambda: functools.lru_cache(make_function())),
        lines("""
            o.attribute.append(x)
            o.new = x
            del o.attribute
            o.__dict__["new"] = x
            o.__dict__ = {}
            o.__wrapped__.new = x
        """),
        names("__call__ __copy__ __deepcopy__ __get__ cache_clear cache_info"),
        lines("o(1), o(1), o.cache_info(), o.cache_clear()"),
    ),
    "exception": Subject(always(make_exception), EXCEPTION_WRITES, EXCEPTION_READS),
    "exception with notes": Subject(always(make_exception_with_notes), ("o.add_note('note')", "o.__notes__.append(x)")),
    "StopIteration": Subject(always(lambda: StopIteration([1])), ("o.value = x", "o.__init__(x)", "o.value.append(x)")),
    "SystemExit": Subject(always(lambda: SystemExit(1)), ("o.code = x", "o.__init__(x)")),
    "ImportError": Subject(
        always(lambda: ImportError("text", name="n")), ("o.name = x", "o.path = x", "o.msg = x", "o.__init__('x')")
    ),
    "OSError": Subject(
        always(lambda: BlockingIOError(11, "text", 3)),
        ("o.errno = x", "o.filename = x", "o.strerror = x", "o.characters_written = 5", "del o.characters_written"),
    ),
    "UnicodeEncodeError": Subject(
        always(lambda: UnicodeEncodeError("ascii", "text", 0, 1, "reason")),
        (
            "o.start = 1",
            "o.end = 2",
            "o.reason = 'x'",
            "o.object = 'x'",
            "o.encoding = 'x'",
            "o.__init__('a', 'b', 1, 2, 'c')",
        ),
    ),
    "SyntaxError": Subject(
        always(lambda: SyntaxError("text", ("file", 1, 2, "line"))),
        ("o.lineno = 9", "o.msg = x", "o.__init__('other')"),
    ),
    "NameError": Subject(always(lambda: NameError("text", name="n")), ("o.name = 'x'", "o.__init__('x', name='m')")),
    "ExceptionGroup": Subject(
        always(lambda: ExceptionGroup("text", [ValueError([1])])), ("o.new = x", "o.exceptions[0].args[0].append(x)")
    ),
    "Namespace": Subject(always(lambda: argparse.Namespace(first=1)), ("o.first = x", "o.new = x", "del o.first")),
    "path": Subject(always(make_path), ("o._str = 'x'", "o._raw_paths.append('x')")),
    "mappingproxy": Subject(
        always(lambda: types.MappingProxyType({"first": [1]})), ('o["first"].append(x)',), MAPPING_READS
    ),
    "range": Subject(
        always(lambda: range(10**20, 10**20 + 9, 2)),
        reads=names("__bool__ __contains__ __getitem__ __iter__ __len__ __reversed__ count index"),
    ),
    "slice": Subject(
        always(lambda: slice(1, [2], 3)),
        ("o.stop.append(x)",),
        names("""
        __class_getitem__ indices
    """),
    ),
    "tuple": Subject(
        always(lambda: (1, [2])),
        ("o[1].append(x)",),
        names("""
            __add__ __class_getitem__ __contains__ __getitem__ __getnewargs__ __iter__ __len__ __mul__ __rmul__
            count index
        """),
    ),
    "Element": Subject(
        always(lambda: fromstring("<a x='1'>one<b>two</b>three<c/></a>")), ELEMENT_WRITES, ELEMENT_READS
    ),
    "empty Element": Subject(always(lambda: Element("a")), EMPTY_ELEMENT_WRITES),
    "Struct": Subject(always(lambda: struct.Struct("<h")), lines('o.__init__("<i")'), STRUCT_READS),
    # Every method of these returns a new object.
    **{
        repr(value): Subject(always(lambda value=value: value), reads=frozenset(dir(type(value))))
        for value in (None, True, 7, 10**40, 2.5, 1j, "".join(["te", "xt"]), bytes([1, 2, 3]))
    },
}

# ---- the table -------------------------------------------------------------------------------------------------------


def sibling(instance):
    """A class with the layout of the instance's, derived anew for each call."""
    return type("Sibling", (type(instance),), {})


NAMES_OF_STATEMENTS = [
    "Base",
    "Element",
    "OtherMetaclass",
    "SubElement",
    "closes_over",
    "collections",
    "io",
    "sibling",
    "sys",
    "types",
]
ENVIRONMENT = {name: globals()[name] for name in NAMES_OF_STATEMENTS}


def call_site(statement):
    """A function with nothing but the statement in it, never run before."""
    namespace = dict(ENVIRONMENT)
    exec(f"def site(o, x):\n    {statement}", namespace)
    return namespace["site"]


class Snapshot:
    """All that can be read of an object and of what it holds, down to the identity of each part."""

    def __init__(self, root):
        self.held = []  # so that no identity is used twice
        self.parts = {}
        pending = [root]
        while pending:
            value = pending.pop()
            if id(value) not in self.parts:
                self.held.append(value)
                shown, children = self.look(value)
                if type(value).__module__ == __name__:
                    children.append(type(value))
                self.held.extend(children)
                self.parts[id(value)] = (type(value), shown, [id(child) for child in children])
                pending.extend(children)

    @staticmethod
    def look(value):
        """What a value shows of itself, and its parts."""
        if isinstance(value, type):
            if value.__module__ not in (__name__, "elsewhere"):
                return value.__name__, []
            try:
                abstract = value.__abstractmethods__
            except AttributeError:
                abstract = None
            shown = (value.__name__, value.__qualname__, value.__module__, value.__doc__, value.__flags__)
            shown += (str(value.__annotations__), str(value.__type_params__), value.__annotate__ is None)
            namespace = {k: v for k, v in vars(value).items() if not re.match("__annotat|__slotnames__", k)}
            return (shown, list(namespace), value.__mro__, abstract), [*namespace.values(), *value.__bases__]
        if isinstance(value, types.FunctionType):
            shown = (value.__name__, value.__qualname__, value.__doc__, value.__module__)
            shown += (str(value.__annotations__), value.__type_params__, value.__annotate__ is None)
            parts = [value.__code__, value.__defaults__, value.__kwdefaults__, *(value.__closure__ or ())]
            return (shown, list(vars(value))), [*parts, *vars(value).values()]
        if isinstance(value, types.CodeType):
            return (value.co_code, value.co_varnames, value.co_name, value.co_names), []
        if isinstance(value, types.CellType):
            try:
                return "full", [value.cell_contents]
            except ValueError:
                return "empty", []
        if isinstance(value, property):
            return (getattr(value, "__name__", None), value.__doc__), [value.fget, value.fset, value.fdel]
        if isinstance(value, classmethod | staticmethod):
            kept = {k: v for k, v in vars(value).items() if not k.startswith("__annotat")}
            return (list(kept), str(value.__annotations__), value.__annotate__ is None), [
                value.__func__,
                *kept.values(),
            ]
        if isinstance(value, types.MethodType):
            return "", [value.__func__, value.__self__]
        if isinstance(value, memoryview):
            try:
                return (value.tobytes(), value.format, value.shape), []
            except ValueError:
                return "released", []
        if isinstance(value, types.ModuleType):
            return value.__name__, []
        if isinstance(value, Element):
            return (value.tag, value.text, value.tail), [value.attrib, *value] if value.attrib else [*value]
        if isinstance(value, struct.Struct):
            return (value.format, value.size), []
        shown, parts = "", []
        if isinstance(value, dict | frozendict | types.MappingProxyType):  # noqa: F821
            parts += itertools.chain.from_iterable(value.items())
            parts.append(getattr(value, "default_factory", None))
        elif isinstance(value, list | tuple | collections.deque):
            parts += value
            shown = getattr(value, "maxlen", "")
        elif isinstance(value, array.array):
            shown = value.tobytes()
        elif isinstance(value, functools.partial):
            parts += [value.func, value.args, value.keywords]
        elif isinstance(value, BaseException):
            shown = []
            for name in sorted({*dir(value)} - {*dir(object), "__dict__", "__doc__"}):
                member = getattr(value, name, "unset")
                if isinstance(member, int | str):
                    shown.append((name, member))
                elif not callable(member):
                    shown.append(name)
                    parts.append(member)
        elif type(value) is type(functools.cmp_to_key(len)):
            parts.append(value.obj)
        elif isinstance(value, set | frozenset):
            parts += sorted(value, key=id)
        elif isinstance(value, slice):
            parts += [value.start, value.stop, value.step]
        elif type(value).__hash__ is not object.__hash__ or isinstance(value, bytearray):
            shown = repr(value)
        attributes = getattr(value, "__dict__", {})
        if isinstance(attributes, dict):
            shown = (shown, list(attributes))
            parts += attributes.values()
        for base in type(value).__mro__:
            for name in vars(base).get("__slots__", ()):
                if isinstance(vars(base).get(name), types.MemberDescriptorType) and hasattr(value, name):
                    parts.append(getattr(value, name))
        return shown, parts

    def __eq__(self, other):
        return self.parts == other.parts


def outcome(action, *given):
    """The type of the exception that the action raises, or None."""
    try:
        action(*given)
    except Exception as error:
        return type(error)


def changes(make, action):
    """Does the action succeed on a mutable subject, and change it?"""
    mutable = make()
    before = Snapshot(mutable)
    action(mutable, object())
    return Snapshot(mutable) != before


def assert_refused(frozen, action, expected=MutationError):
    argument = object()
    before = Snapshot(frozen)
    references = sys.getrefcount(frozen), sys.getrefcount(argument)
    assert outcome(action, frozen, argument) is expected
    assert (sys.getrefcount(frozen), sys.getrefcount(argument)) == references
    assert Snapshot(frozen) == before


def frozen_one(make):
    made = make()
    freeze(made)
    assert is_frozen(made)
    return made


WRITES = [
    pytest.param(name, statement, id=f"{name}: {statement}")
    for name, subject in SUBJECTS.items()
    for statement in subject.writes
]
# Not those to the class of an instance, which is frozen with the first instance.
TO_THE_CLASS = re.compile(r"__class__\.|type\(o\)\.\w+( =|\.append)|__init__\.__func__")
INSTANCE_LEVEL_WRITES = [write for write in WRITES if not TO_THE_CLASS.search(write.values[1])]
every_subject = pytest.mark.parametrize("name", SUBJECTS)
subject_with_methods = pytest.mark.parametrize("name", [name for name, subject in SUBJECTS.items() if subject.reads])
every_write = pytest.mark.parametrize(("name", "statement"), WRITES)
every_instance_level_write = pytest.mark.parametrize(("name", "statement"), INSTANCE_LEVEL_WRITES)


@every_write
def test_write_raises_and_changes_nothing(name, statement):
    make = SUBJECTS[name].family()
    site = call_site(statement)
    assert changes(make, site), "this statement does not write"
    assert_refused(frozen_one(make), site)


@every_write
def test_write_raises_where_mutable_objects_made_the_site_hot(name, statement):
    make = SUBJECTS[name].family()
    site = call_site(statement)
    for _ in range(HEAT):
        site(make(), object())
    frozen = frozen_one(make)
    for _ in range(3):
        assert_refused(frozen, site)


@every_instance_level_write
def test_write_raises_where_mutable_objects_of_a_frozen_class_made_the_site_hot(name, statement):
    make = SUBJECTS[name].family()
    site = call_site(statement)
    frozen = frozen_one(make)
    for _ in range(HEAT):
        site(make(), object())
    for _ in range(3):
        assert_refused(frozen, site)
    site(make(), object())  # a mutable instance of the frozen class can be written as before


SPECIALISED = {
    "STORE_ATTR_INSTANCE_VALUE": ("instance", "o.first = x"),
    "STORE_ATTR_WITH_HINT": ("instance with a combined dict", "o.first = x"),
    "STORE_ATTR_SLOT": ("instance with slots", "o.first = x"),
    "STORE_SUBSCR_LIST_INT": ("list", "o[0] = x"),
    "STORE_SUBSCR_DICT": ("dict, string keys", 'o["first"] = x'),
    "CALL_LIST_APPEND": ("list", "o.append(x)"),
}


@pytest.mark.parametrize("instruction", SPECIALISED)
def test_the_specialised_instruction_is_the_one_that_meets_the_frozen_object(instruction):
    name, statement = SPECIALISED[instruction]
    assert statement in SUBJECTS[name].writes
    make = SUBJECTS[name].family()
    site = call_site(statement)
    frozen = frozen_one(make)
    for _ in range(HEAT):
        site(make(), object())
    assert instruction in {i.opname for i in dis.get_instructions(site, adaptive=True)}
    assert_refused(frozen, site)


@subject_with_methods  # the other subjects are variants of these, with the same methods
def test_every_public_method_is_in_the_table(name):
    subject = SUBJECTS[name]
    ty = type(subject.family()())
    methods = {method for method in dir(ty) if callable(getattr(ty, method, None))}
    writes = set(re.findall(r"\b(?:o|type|object|list|dict|set|bytearray)\.(\w+)\(", "\n".join(subject.writes)))
    assert methods - writes - subject.reads - OBJECT_READS == set()


def arguments(subject):
    itself = 1 if isinstance(subject, int) else subject  # no powers with huge exponents
    pool = [itself, 0, "first", (), object(), [1], {"first": 1}, print]
    return itertools.chain.from_iterable(itertools.product(pool, repeat=n) for n in range(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@every_subject
def test_methods_that_read_change_nothing(name):
    subject = SUBJECTS[name]
    for make in (subject.family(), lambda: frozen_one(subject.family())):
        made = make()
        before = Snapshot(made)
        for method in sorted(subject.reads | (OBJECT_READS - {"__setattr__", "__delattr__", "__init__"})):
            function = getattr(type(made), method, None)
            if callable(function):
                for given in arguments(made):
                    outcome(function, made, *given)
        for statement in subject.quiet:
            call_site(statement)(made, object())
        assert Snapshot(made) == before


@every_subject
def test_attributes_that_can_be_set_or_deleted_cannot_once_frozen(name):
    make = SUBJECTS[name].family()
    frozen = frozen_one(make)
    before = Snapshot(frozen)
    for attribute in sorted({*dir(frozen), *dir(type(frozen)), "brand_new"}):
        mutable = make()
        if is_frozen(mutable):
            allowed = {"set": False, "delete": False}  # immutable by nature
        else:
            value = getattr(mutable, attribute, None)
            allowed = {
                "set": outcome(setattr, mutable, attribute, value) is None,
                "delete": outcome(delattr, mutable, attribute) is None,
            }
        value = getattr(frozen, attribute, None)
        results = {
            "set": outcome(setattr, frozen, attribute, value),
            "delete": outcome(delattr, frozen, attribute),
        }
        for operation, result in results.items():
            assert result is not None
            assert result is MutationError or not allowed[operation], (operation, attribute)
    assert Snapshot(frozen) == before


# ---- the C API -------------------------------------------------------------------------------------------------------


def c(name, *given, returns=ctypes.c_int, steals=None):
    """Calls a function of the C API; Python objects are passed as such, and ctypes values as they are."""
    function = getattr(ctypes.pythonapi, name)
    function.restype = returns
    if steals is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(steals))
    plain = (ctypes.c_ssize_t, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    return function(*(value if isinstance(value, plain) else ctypes.py_object(value) for value in given))


N = ctypes.c_ssize_t
NULL = ctypes.c_void_p(None)
NEW = ctypes.py_object  # returns a new reference
BORROWED = ctypes.c_void_p
FIRST = ctypes.c_char_p(b"first")

C_WRITES = {
    "list": {
        "PyList_SetItem": lambda o, x: c("PyList_SetItem", o, N(0), x, steals=x),
        "PyList_Insert": lambda o, x: c("PyList_Insert", o, N(0), x),
        "PyList_Append": lambda o, x: c("PyList_Append", o, x),
        "PyList_SetSlice": lambda o, x: c("PyList_SetSlice", o, N(0), N(2), [x]),
        "PyList_SetSlice, delete": lambda o, x: c("PyList_SetSlice", o, N(0), N(2), NULL),
        "PyList_Extend": lambda o, x: c("PyList_Extend", o, [x]),
        "PyList_Clear": lambda o, x: c("PyList_Clear", o),
        "PyList_Sort": lambda o, x: c("PyList_Sort", o),
        "PyList_Reverse": lambda o, x: c("PyList_Reverse", o),
        "PySequence_SetItem": lambda o, x: c("PySequence_SetItem", o, N(0), x),
        "PySequence_DelItem": lambda o, x: c("PySequence_DelItem", o, N(0)),
        "PySequence_SetSlice": lambda o, x: c("PySequence_SetSlice", o, N(0), N(2), [x]),
        "PySequence_DelSlice": lambda o, x: c("PySequence_DelSlice", o, N(0), N(2)),
        "PySequence_InPlaceConcat": lambda o, x: c("PySequence_InPlaceConcat", o, [x], returns=NEW),
        "PySequence_InPlaceRepeat": lambda o, x: c("PySequence_InPlaceRepeat", o, N(2), returns=NEW),
        "PyNumber_InPlaceAdd": lambda o, x: c("PyNumber_InPlaceAdd", o, [x], returns=NEW),
        "PyNumber_InPlaceMultiply": lambda o, x: c("PyNumber_InPlaceMultiply", o, 2, returns=NEW),
        "PyObject_SetItem": lambda o, x: c("PyObject_SetItem", o, 0, x),
        "PyObject_DelItem": lambda o, x: c("PyObject_DelItem", o, 0),
    },
    "dict, string keys": {
        "PyDict_SetItem": lambda o, x: c("PyDict_SetItem", o, "first", x),
        "PyDict_SetItem, new": lambda o, x: c("PyDict_SetItem", o, x, x),
        "PyDict_SetItemString": lambda o, x: c("PyDict_SetItemString", o, FIRST, x),
        "PyDict_DelItem": lambda o, x: c("PyDict_DelItem", o, "first"),
        "PyDict_DelItemString": lambda o, x: c("PyDict_DelItemString", o, FIRST),
        "PyDict_Clear": lambda o, x: c("PyDict_Clear", o, returns=None),
        "PyDict_Update": lambda o, x: c("PyDict_Update", o, {"first": x}),
        "PyDict_Merge": lambda o, x: c("PyDict_Merge", o, {"new": x}, ctypes.c_int(0)),
        "PyDict_MergeFromSeq2": lambda o, x: c("PyDict_MergeFromSeq2", o, [("first", x)], ctypes.c_int(1)),
        "PyDict_MergeFromSeq2, keep": lambda o, x: c("PyDict_MergeFromSeq2", o, [("new", x)], ctypes.c_int(0)),
        "PyDict_SetDefault": lambda o, x: c("PyDict_SetDefault", o, "new", x, returns=BORROWED),
        "PyDict_SetDefaultRef": lambda o, x: c("PyDict_SetDefaultRef", o, "new", x, NULL),
        "PyDict_Pop": lambda o, x: c("PyDict_Pop", o, "first", NULL),
        "PyDict_PopString": lambda o, x: c("PyDict_PopString", o, FIRST, NULL),
        "PyMapping_SetItemString": lambda o, x: c("PyMapping_SetItemString", o, FIRST, x),
        "PyObject_DelItemString": lambda o, x: c("PyObject_DelItemString", o, FIRST),
        "PyNumber_InPlaceOr": lambda o, x: c("PyNumber_InPlaceOr", o, {"first": x}, returns=NEW),
    },
    "set": {
        "PySet_Add": lambda o, x: c("PySet_Add", o, x),
        "PySet_Discard": lambda o, x: c("PySet_Discard", o, 1),
        "PySet_Pop": lambda o, x: c("PySet_Pop", o, returns=NEW),
        "PySet_Clear": lambda o, x: c("PySet_Clear", o),
        "PyNumber_InPlaceAnd": lambda o, x: c("PyNumber_InPlaceAnd", o, {1}, returns=NEW),
        "PyNumber_InPlaceSubtract": lambda o, x: c("PyNumber_InPlaceSubtract", o, {1}, returns=NEW),
        "PyNumber_InPlaceXor": lambda o, x: c("PyNumber_InPlaceXor", o, {1}, returns=NEW),
    },
    "bytearray": {
        "PyByteArray_Resize": lambda o, x: c("PyByteArray_Resize", o, N(1)),
        "PySequence_SetItem": lambda o, x: c("PySequence_SetItem", o, N(0), 1),
        "PySequence_InPlaceConcat": lambda o, x: c("PySequence_InPlaceConcat", o, b"x", returns=NEW),
    },
    "cell": {
        "PyCell_Set": lambda o, x: c("PyCell_Set", o, x),
        "PyCell_Set, empty": lambda o, x: c("PyCell_Set", o, NULL),
    },
    "function": {
        "PyFunction_SetDefaults": lambda o, x: c("PyFunction_SetDefaults", o, (x,)),
        "PyFunction_SetKwDefaults": lambda o, x: c("PyFunction_SetKwDefaults", o, {"c": x}),
        "PyFunction_SetClosure": lambda o, x: c("PyFunction_SetClosure", o, (types.CellType(x),)),
        "PyFunction_SetAnnotations": lambda o, x: c("PyFunction_SetAnnotations", o, {}),
        "PyObject_GenericSetDict": lambda o, x: c("PyObject_GenericSetDict", o, {}, NULL),
        "PyObject_GenericSetAttr": lambda o, x: c("PyObject_GenericSetAttr", o, "attribute", x),
    },
    "instance": {
        "PyObject_SetAttr": lambda o, x: c("PyObject_SetAttr", o, "first", x),
        "PyObject_SetAttr, delete": lambda o, x: c("PyObject_SetAttr", o, "first", NULL),
        "PyObject_SetAttrString": lambda o, x: c("PyObject_SetAttrString", o, FIRST, x),
        "PyObject_DelAttrString": lambda o, x: c("PyObject_DelAttrString", o, FIRST),
        "PyObject_GenericSetAttr": lambda o, x: c("PyObject_GenericSetAttr", o, "first", x),
        "PyObject_GenericSetDict": lambda o, x: c("PyObject_GenericSetDict", o, {}, NULL),
    },
    "class": {
        "PyObject_SetAttr": lambda o, x: c("PyObject_SetAttr", o, "kept", x),
        "PyType_Freeze": lambda o, x: c("PyType_Freeze", stand_alone(o)),
    },
}


def stand_alone(cls):
    """The class without its mutable base, which PyType_Freeze() demands; only a mutable class can be changed so."""
    if not is_frozen(cls):
        cls.__bases__ = (Base,)
    return cls


@pytest.mark.parametrize(
    ("name", "function"), [(name, function) for name, functions in C_WRITES.items() for function in functions]
)
def test_writing_through_the_c_api_raises_and_changes_nothing(name, function):
    make = SUBJECTS[name].family()
    write = C_WRITES[name][function]
    if function != "PyType_Freeze":
        assert changes(make, write), "this call does not write"
    assert_refused(frozen_one(make), write)


def test_calls_that_c_code_makes_with_brand_new_objects_only_are_refused():
    for frozen, write in [
        ((1, [2]), lambda o, x: c("PyTuple_SetItem", o, N(0), x, steals=x)),
        ("".join(["te", "xt"]), lambda o, x: c("PyUnicode_WriteChar", o, N(0), ctypes.c_int(65))),
        (frozenset([1, (2,)]), lambda o, x: c("PySet_Add", o, x)),
    ]:
        freeze(frozen)
        before = Snapshot(frozen)
        assert issubclass(outcome(write, frozen, object()), Exception)
        assert Snapshot(frozen) == before


def test_the_entry_point_of_a_frozen_function_cannot_be_replaced():
    entry = ctypes.cast(ctypes.pythonapi._PyFunction_Vectorcall, ctypes.c_void_p)
    mutable = make_function()
    c("PyFunction_SetVectorcall", mutable, entry, returns=None)
    assert_refused(frozen_one(make_function), lambda o, x: c("PyFunction_SetVectorcall", o, entry, returns=None))


def test_a_frozen_dict_has_nothing_to_tell_a_watcher():
    told = []
    callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
        lambda *event: told.append(1) or 0
    )
    watcher = ctypes.c_int(c("PyDict_AddWatcher", ctypes.cast(callback, ctypes.c_void_p)))
    try:
        for subject in ({1: 2}, frozen_one(lambda: {1: 2})):
            assert c("PyDict_Watch", watcher, subject) == 0
            outcome(subject.clear)
            assert c("PyDict_Unwatch", watcher, subject) == 0
            assert told == [1]
    finally:
        c("PyDict_ClearWatcher", watcher)


# ---- buffers ---------------------------------------------------------------------------------------------------------

BUFFER_WRITES = {
    "struct.pack_into": lambda o: struct.pack_into("B", o, 0, 1),
    "readinto": lambda o: io.BytesIO(b"x").readinto(o),
    "ctypes": lambda o: (ctypes.c_char * 3).from_buffer(o),
}


@pytest.mark.parametrize("way", BUFFER_WRITES)
@pytest.mark.parametrize("make", [lambda: bytearray(b"cab"), lambda: memoryview(bytearray(b"cab"))])
def test_a_frozen_object_gives_out_no_writable_buffer(make, way):
    assert outcome(lambda: BUFFER_WRITES[way](make())) is None
    frozen = frozen_one(make)
    assert outcome(lambda: BUFFER_WRITES[way](frozen)) in (TypeError, BufferError)
    assert bytes(frozen) == b"cab"


def test_views_of_a_frozen_bytearray_are_read_only_and_not_counted():
    frozen = frozen_one(lambda: bytearray(b"cab"))
    views = [memoryview(frozen) for _ in range(3)]
    views += [view[1:] for view in views] + [memoryview(view) for view in views]
    assert all(view.readonly for view in views)
    for view in views:
        view.release()
    assert frozen.count(b"a") == 1
    assert b"a" in frozen
    assert frozen.join([b"x", b"y"]) == b"xcaby"
    assert frozen.hex(":") == "63:61:62"


def test_views_of_a_frozen_memoryview_outlive_each_other():
    frozen = frozen_one(lambda: memoryview(bytearray(b"cab")))
    assert frozen.readonly
    part = frozen[1:]
    memoryview(frozen).release()
    del frozen
    gc.collect()
    assert part.tobytes() == b"ab"
    assert outcome(lambda: part.__setitem__(0, 1)) is MutationError


# ---- functions of modules that write to their arguments --------------------------------------------------------------

HEAP_WRITES = {
    "heapify": lambda o: heapq.heapify(o),
    "heapify of many": lambda o: heapq.heapify(o),
    "heappush": lambda o: heapq.heappush(o, 0),
    "heappop": lambda o: heapq.heappop(o),
    "heapreplace": lambda o: heapq.heapreplace(o, 9),
    "heappushpop": lambda o: heapq.heappushpop(o, 9),
    "heapify_max": lambda o: heapq.heapify_max(o),
    "heappush_max": lambda o: heapq.heappush_max(o, 9),
    "heappop_max": lambda o: heapq.heappop_max(o),
    "heapreplace_max": lambda o: heapq.heapreplace_max(o, 0),
    "heappushpop_max": lambda o: heapq.heappushpop_max(o, 0),
    "insort": lambda o: bisect.insort(o, 2),
    "shuffle": lambda o: random.shuffle(o),
}


@pytest.mark.parametrize("way", HEAP_WRITES)
def test_functions_that_reorder_a_list_leave_a_frozen_one_alone(way):
    def make():
        return list(range(3000, 0, -1)) if "many" in way else [3, 1, 2]

    frozen = frozen_one(make)
    assert outcome(HEAP_WRITES[way], frozen) is MutationError
    assert frozen == make()


# ---- cells, frames and globals ---------------------------------------------------------------------------------------


def closures():
    value = 1

    def store(new):
        nonlocal value
        value = new

    def delete():
        nonlocal value
        del value

    def through_the_frame(new):
        sys._getframe().f_locals["value"] = new
        return value

    return store.__closure__[0], store, delete, through_the_frame


@pytest.mark.parametrize("heat", [0, HEAT])
def test_a_frozen_cell_cannot_be_rebound_from_the_code_that_closes_over_it(heat):
    cell, store, delete, through_the_frame = closures()
    for n in range(heat):
        delete()
        store(n)
        through_the_frame(n)
    kept = cell.cell_contents
    freeze(cell)
    argument = object()
    references = sys.getrefcount(argument)
    for write in (lambda: store(argument), delete, lambda: through_the_frame(argument)):
        assert outcome(write) is MutationError
        assert cell.cell_contents is kept
    assert sys.getrefcount(argument) == references


def test_a_frozen_function_cannot_rebind_what_it_closes_over():
    _, store, delete, _ = closures()
    freeze(store, delete)
    for write in (lambda: store(2), delete):
        assert outcome(write) is MutationError


def test_a_frozen_function_cannot_rebind_globals(module):
    made = module("""
        counter = 0
        def store():
            global counter
            counter += 1
        def delete():
            global counter
            assert counter == 0
            del counter
    """)
    freeze(made.store, made.delete)
    for write in (made.store, made.delete, lambda: made.store.__globals__.__setitem__("counter", 1)):
        assert outcome(write) is MutationError
    assert made.counter == 0


# ---- what CPython fills in on demand ---------------------------------------------------------------------------------


def test_the_dict_of_a_frozen_instance_is_made_for_the_reader_only():
    made = plain_class()()
    freeze(made)
    assert made.__dict__ == {"first": 1, "second": [2]}
    assert is_frozen(made.__dict__)
    assert outcome(lambda: made.__dict__.clear()) is MutationError
    assert made.first == 1

    class Name(str):
        __slots__ = ()

    assert getattr(made, Name("first")) == 1
    assert not hasattr(made, Name("absent"))


def test_annotations_of_a_frozen_class_and_function_are_not_stored():
    cls, function = make_class(), make_function()
    freeze(cls, function)
    entries = list(vars(cls))
    assert cls.__annotations__ == {"kept": int}
    assert function.__annotations__ == {"return": int}
    cls.__annotations__["kept"] = function.__annotations__["return"] = None
    assert cls.__annotations__ == {"kept": int}
    assert function.__annotations__ == {"return": int}
    assert list(vars(cls)) == entries


def test_parts_of_frozen_code_and_generics_are_made_for_the_reader_only():
    source = "def function(a, b):\n    def inner(): return a\n    return inner"
    namespace = {}
    exec(source, namespace)
    expected = namespace["function"].__code__
    namespace = {}
    exec(source, namespace)
    code, alias, union = namespace["function"].__code__, dict[str, int], int | list[str]
    freeze(code, alias, union)
    for _ in range(2):
        for attribute in ("co_code", "co_varnames", "co_cellvars", "co_freevars"):
            assert getattr(code, attribute) == getattr(expected, attribute)
        assert alias.__parameters__ == union.__parameters__ == ()


def test_a_frozen_property_keeps_its_name_in_a_class_that_gives_it_another():
    frozen = frozen_one(make_property)
    made = type("Renaming", (), {"other": frozen})
    assert made.other is frozen
    assert frozen.__name__ == "made"


def test_registering_a_frozen_class_with_an_abc_changes_the_abc_only():
    made = make_class()
    freeze(made)
    flags = made.__flags__
    Sequence.register(made)
    assert made.__flags__ == flags
    assert issubclass(made, Sequence)


# ---- freezing in the middle of a write -------------------------------------------------------------------------------


class FreezesWhenCompared:
    """Equal to everything, and freezes its target when asked."""

    def __init__(self, target, equal):
        self.target, self.equal = target, equal

    def __hash__(self):
        return hash(1)

    def __eq__(self, other):
        freeze(self.target)
        return self.equal


def freezes_when_iterated(target, items):
    freeze(target)
    yield from items


REENTRANT = {
    "dict, replace": ({1: 1, "first": 2}, lambda o: o.__setitem__(FreezesWhenCompared(o, True), 3)),
    "dict, insert": ({1: 1, "first": 2}, lambda o: o.__setitem__(FreezesWhenCompared(o, False), 3)),
    "dict, delete": ({1: 1, "first": 2}, lambda o: o.__delitem__(FreezesWhenCompared(o, True))),
    "dict, pop": ({1: 1, "first": 2}, lambda o: o.pop(FreezesWhenCompared(o, True))),
    "dict, setdefault": ({1: 1, "first": 2}, lambda o: o.setdefault(FreezesWhenCompared(o, False))),
    "dict, update": ({1: 1}, lambda o: o.update(freezes_when_iterated(o, [(2, 2)]))),
    "set, add": ({1, 2}, lambda o: o.add(FreezesWhenCompared(o, False))),
    "set, remove": ({1, 2}, lambda o: o.remove(FreezesWhenCompared(o, True))),
    "set, update": ({1, 2}, lambda o: o.update(freezes_when_iterated(o, [3]))),
    "set, intersection_update": ({1, 2}, lambda o: o.intersection_update(freezes_when_iterated(o, [1]))),
    "list, extend": ([1, 2], lambda o: o.extend(freezes_when_iterated(o, [3]))),
    "empty list, extend": ([], lambda o: o.extend(freezes_when_iterated(o, [3]))),
    "list, slice": ([1, 2], lambda o: o.__setitem__(slice(0, 1), freezes_when_iterated(o, [3]))),
    "list, extended slice": ([1, 2, 3], lambda o: o.__setitem__(slice(0, 3, 2), freezes_when_iterated(o, [4, 5]))),
    "list, remove": ([1, 2], lambda o: o.remove(FreezesWhenCompared(o, True))),
    "bytearray, extend": (bytearray(b"ab"), lambda o: o.extend(freezes_when_iterated(o, [3]))),
    "bytearray, slice": (bytearray(b"ab"), lambda o: o.__setitem__(slice(0, 1), freezes_when_iterated(o, [3]))),
}


@pytest.mark.parametrize("write", REENTRANT)
def test_a_write_that_freezes_its_own_target_on_the_way_is_refused(write):
    target, action = REENTRANT[write]
    shown = repr(target)
    assert outcome(lambda: action(target)) is MutationError
    assert is_frozen(target)
    assert repr(target) == shown


def test_a_list_is_not_frozen_in_the_middle_of_its_sort():
    target = [3, 1, 2]

    def key(item):
        freeze(target)
        return item

    assert outcome(lambda: target.sort(key=key)) is NotFreezableError
    assert not is_frozen(target)
    assert sorted(target) == [1, 2, 3]


# ---- ways around the barrier that must be closed at freeze -----------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: bytearray(b"cab"), lambda: memoryview(bytearray(b"cab"))])
def test_memory_that_c_code_holds_for_writing_is_not_frozen(make):
    held = make()
    holder = (ctypes.c_char * 3).from_buffer(held)
    assert outcome(lambda: freeze(held)) is NotFreezableError
    assert not is_frozen(held)
    holder[0] = b"x"
    assert bytes(held) == b"xab"
    del holder
    freeze(held)
    assert is_frozen(held)


def test_freezing_the_dict_of_a_live_instance_freezes_what_it_holds_and_leaves_the_instance():
    instance = plain_class()()
    attributes = vars(instance)
    freeze(attributes)
    assert is_frozen(attributes["second"])
    assert not is_frozen(instance)
    assert outcome(setattr, instance, "first", 2) is MutationError
    assert outcome(delattr, instance, "first") is MutationError
    instance.__dict__ = {"first": 2}
    del instance
    gc.collect()
    assert attributes == {"first": 1, "second": [2]}
