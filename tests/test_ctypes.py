"""Structures, unions, arrays and values of ctypes: frozen, written in every way, and used by another interpreter.

What C code writes, or goes by a bare address, asks no barrier: see the guide. So what holds an address refuses, and
what lends its memory does until it has it back.
"""

import copy
import ctypes
import gc
import mmap
import pickle
from concurrent import interpreters

import pytest

from immutable import MutationError, NotFreezableError, freeze, is_frozen


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double), ("low", ctypes.c_uint, 3), ("high", ctypes.c_uint, 5)]

    def total(self):
        return self.x + self.y


class Line(ctypes.Structure):
    _fields_ = [
        ("begin", Point),
        ("ends", Point * 2),
        ("numbers", ctypes.c_short * 3),
        ("name", ctypes.c_char * 8),
        ("wide", ctypes.c_wchar * 4),
    ]


class Number(ctypes.Union):
    _fields_ = [("whole", ctypes.c_uint32), ("octets", ctypes.c_ubyte * 4)]


class Swapped(ctypes.BigEndianStructure):
    _fields_ = [("word", ctypes.c_uint16), ("half", ctypes.c_uint16)]


class Named(Point):
    _anonymous_ = ("inner",)
    _fields_ = [("inner", Number)]

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.note = ["an attribute"]


def line():
    return Line(Point(1, 2.5, 3, 4), (Point(5, 6.0), Point(7)), (8, 9, 10), b"name", "wide")


def named():
    made = Named(1, 2.0)
    made.whole = 0x01020304
    return made


# How to make a value, and an expression that uses it.
VALUES = {
    "structure": (
        lambda: Point(1, 2.5, 3, 4),
        "value.x, value.y, value.low, value.high, value.total(), bytes(value), memoryview(value).format",
    ),
    "nested structure": (
        line,
        "value.begin.y, [end.x for end in value.ends], value.numbers[:], value.name, value.wide, value.begin.total(), "
        "value.numbers[1], len(value.ends), bytes(value.begin)",
    ),
    "union": (lambda: Number(0x01020304), "value.whole, value.octets[:]"),
    "big-endian structure": (lambda: Swapped(0x0102, 3), "value.word, value.half, bytes(value)"),
    "anonymous field, attribute": (named, "value.whole, value.octets[0], value.note, value.x, vars(value)"),
    "array": (lambda: (ctypes.c_int * 3)(1, 2, 3), "value[:], value[1], list(value), len(value), value[::2]"),
    "array of structures": (lambda: (Point * 2)(Point(1), Point(2)), "[each.x for each in value], value[1].total()"),
    "string buffer": (lambda: ctypes.create_string_buffer(b"text", 6), "value.value, value.raw, value[:2], len(value)"),
    "wide string buffer": (lambda: ctypes.create_unicode_buffer("größe"), "value.value, value[1]"),
    "integer": (lambda: ctypes.c_int(-5), "value.value, repr(value), bool(value)"),
    "float": (lambda: ctypes.c_double(1.5), "value.value, bytes(value)"),
    "long double": (lambda: ctypes.c_longdouble(1.5), "value.value, bool(value)"),
    "char": (lambda: ctypes.c_char(b"x"), "value.value"),
    "bool": (lambda: ctypes.c_bool(True), "value.value"),
    "part of a structure": (lambda: line().begin, "value.x, value.total(), type(value._b_base_).__name__"),
}
IN_ANY = (
    "isinstance(value, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData)), ctypes.sizeof(value), "
    "ctypes.alignment(type(value)), bytes(type(value).from_buffer_copy(value)) == bytes(value), "
    "ctypes.POINTER(type(value)) is ctypes.POINTER(type(value)), (type(value) * 2) is (type(value) * 2), "
    "bytes(ctypes.pointer(value).contents) == bytes(value), len(((type(value)) * 2)()), "
    "ctypes.string_at(ctypes.addressof(value), 1) == bytes(value)[:1], "
    "ctypes.string_at(ctypes.byref(value), 1) == bytes(value)[:1], "
    "ctypes.cast(ctypes.byref(value), ctypes.POINTER(ctypes.c_ubyte))[0] == bytes(value)[0]"
)

every_value = pytest.mark.parametrize("name", VALUES)


@pytest.fixture(scope="module")
def other():
    interpreter = interpreters.create()
    yield interpreter
    interpreter.close()


def used(expression, value):
    return repr(eval(f"({expression}), ({IN_ANY})", {"value": value, "ctypes": ctypes}))


@every_value
def test_it_freezes_in_place_and_reads_as_before(name):
    make, expression = VALUES[name]
    before = used(expression, make())
    value = make()
    assert freeze(value) is value
    assert is_frozen(value)
    assert is_frozen(type(value))
    assert used(expression, value) == before
    assert used(expression, value) == before


@every_value
def test_another_interpreter_uses_it_and_drops_it(name, other):
    make, expression = VALUES[name]
    value = freeze(make())
    here = used(expression, value)
    inbox = interpreters.create_queue()
    other.prepare_main(value=value, inbox=inbox)
    other.exec(f"import ctypes, gc; inbox.put(repr((({expression}), ({IN_ANY})))); del value; gc.collect()")
    assert inbox.get_nowait() == here
    assert used(expression, value) == here


@every_value
def test_the_last_reference_may_be_dropped_elsewhere(name, other):
    make, expression = VALUES[name]
    other.prepare_main(holder=freeze([make()]))
    gc.collect()
    other.exec(f"value = holder[0]\ndel holder\n({expression})\ndel value\nimport gc; gc.collect()")


@pytest.mark.parametrize("name", [name for name in VALUES if not name.startswith("part")])
def test_copies_are_mutable(name):
    value = freeze(VALUES[name][0]())
    copies = [copy.copy(value), copy.deepcopy(value), type(value).from_buffer_copy(value)]
    if not isinstance(value, ctypes.Array):  # whose class has no name that can be imported
        copies.append(pickle.loads(pickle.dumps(value)))
    for duplicate in copies:
        assert not is_frozen(duplicate)
        assert bytes(duplicate) == bytes(value)
        ctypes.memset(ctypes.byref(duplicate), 0xFE, ctypes.sizeof(duplicate))
        assert bytes(duplicate) != bytes(value)


class Freezes:
    """Its value is asked for while C code writes, and freezes what is written."""

    def __init__(self, target):
        self.target = target

    def __index__(self):
        freeze(self.target)
        return 1

    def __float__(self):
        return float(self.__index__())


WRITES = {
    "field": (line, lambda o: setattr(o, "begin", Point())),
    "field of a field": (line, lambda o: setattr(o.begin, "x", 9)),
    "bit field": (line, lambda o: setattr(o.begin, "low", 1)),
    "item": (line, lambda o: o.numbers.__setitem__(0, 1)),
    "slice": (line, lambda o: o.numbers.__setitem__(slice(0, 2), [1, 2])),
    "item of a field": (line, lambda o: setattr(o.ends[0], "x", 9)),
    "text": (line, lambda o: setattr(o, "name", b"other")),
    "wide text": (line, lambda o: setattr(o, "wide", "oth")),
    "tuple": (line, lambda o: setattr(o, "begin", (1, 2))),
    "__init__": (line, lambda o: o.__init__(Point())),
    "__setstate__": (line, lambda o: o.__setstate__({}, b"zz")),
    "resize": (line, lambda o: ctypes.resize(o, 1000)),
    "attribute": (line, lambda o: setattr(o, "note", 1)),
    "buffer": (line, lambda o: memoryview(o).cast("B").__setitem__(0, 1)),
    "from_buffer": (line, lambda o: (ctypes.c_char * 3).from_buffer(o)),
    "field by its descriptor": (line, lambda o: Line.name.__set__(o, b"x")),
    "union": (lambda: Number(1), lambda o: setattr(o, "whole", 2)),
    "octets of a union": (lambda: Number(1), lambda o: o.octets.__setitem__(0, 2)),
    "anonymous field": (named, lambda o: setattr(o, "whole", 2)),
    "value": (lambda: ctypes.c_int(1), lambda o: setattr(o, "value", 2)),
    "value by __init__": (lambda: ctypes.c_int(1), lambda o: o.__init__(2)),
    "value of text": (lambda: ctypes.create_string_buffer(b"text"), lambda o: setattr(o, "value", b"x")),
    "raw": (lambda: ctypes.create_string_buffer(b"text"), lambda o: setattr(o, "raw", b"x")),
    "value of wide text": (lambda: ctypes.create_unicode_buffer("text"), lambda o: setattr(o, "value", "x")),
    "character": (lambda: ctypes.create_string_buffer(b"text"), lambda o: o.__setitem__(0, b"x")),
}


@pytest.mark.parametrize("way", WRITES)
def test_every_write_raises_and_changes_nothing(way):
    make, write = WRITES[way]
    write(make())
    frozen = freeze(make())
    before = bytes(frozen)
    with pytest.raises((TypeError, BufferError)) as raised:
        write(frozen)
    assert raised.type is MutationError or way == "from_buffer"
    assert bytes(frozen) == before
    assert ctypes.sizeof(frozen) == len(before)


def test_parts_that_were_taken_before_are_not_writable_afterwards():
    whole = line()
    parts = [whole.begin, whole.ends, whole.ends[1], whole.numbers]
    freeze(whole)
    assert not any(map(is_frozen, parts))
    for write in (
        lambda: setattr(parts[0], "x", 1),
        lambda: parts[1].__setitem__(0, Point()),
        lambda: setattr(parts[2], "y", 1),
        lambda: parts[3].__setitem__(0, 1),
        lambda: parts[0].__setstate__({}, b"zz"),
    ):
        with pytest.raises(MutationError):
            write()
    assert memoryview(parts[3]).readonly
    assert bytes(whole) == bytes(line())


POINTED = {
    "contents": lambda p: setattr(p.contents, "begin", Point()),
    "field of contents": lambda p: setattr(p.contents.begin, "x", 9),
    "item": lambda p: p.__setitem__(0, Line()),
    "field of an item": lambda p: setattr(p[0].ends[1], "x", 9),
    "text": lambda p: setattr(p.contents, "name", b"other"),
    "octets": lambda p: ctypes.cast(p, ctypes.POINTER(ctypes.c_ubyte)).__setitem__(20, 9),
    "value of contents": lambda p: setattr(ctypes.cast(p, ctypes.POINTER(ctypes.c_int)).contents, "value", 9),
    "raw contents": lambda p: setattr(ctypes.cast(p, ctypes.POINTER(ctypes.c_char * 8)).contents, "raw", b"x"),
    "void pointer": lambda p: ctypes.cast(ctypes.cast(p, ctypes.c_void_p), type(p)).__setitem__(0, Line()),
    "buffer": lambda p: memoryview(p.contents).cast("B").__setitem__(0, 9),
    "pointer to the pointer": lambda p: setattr(ctypes.pointer(p).contents.contents, "begin", Point()),
    "pointer in an array": lambda p: (type(p) * 1)(p)[0].__setitem__(0, Line()),
}
POINTERS = {
    "pointer": ctypes.pointer,
    "POINTER": lambda o: ctypes.POINTER(Line)(o),
    "set later": lambda o: set_contents(ctypes.POINTER(Line)(), o),
    "cast of byref": lambda o: ctypes.cast(ctypes.byref(o), ctypes.POINTER(Line)),
    "to a part": lambda o: ctypes.cast(ctypes.pointer(o.begin), ctypes.POINTER(Line)),
}


def set_contents(pointer, target):
    pointer.contents = target
    return pointer


@pytest.mark.parametrize("kind", POINTERS)
@pytest.mark.parametrize("way", POINTED)
def test_no_write_goes_through_a_pointer(way, kind):
    mutable, frozen = line(), freeze(line())
    POINTED[way](POINTERS[kind](mutable))
    assert bytes(mutable) != bytes(line())
    pointer = POINTERS[kind](frozen)
    with pytest.raises(TypeError if way == "buffer" else MutationError):
        POINTED[way](pointer)
    assert bytes(frozen) == bytes(line())
    assert pointer.contents.begin.x == pointer[0].begin.x == 1


def test_pointers_that_were_made_before_write_no_more_afterwards():
    freeze(Point())
    whole = line()
    pointer = ctypes.pointer(whole)
    contents = pointer.contents
    contents.begin.x = 2
    freeze(whole)
    for write in (
        lambda: setattr(pointer.contents.begin, "x", 3),
        lambda: setattr(contents.begin, "x", 3),
        lambda: setattr(contents, "begin", Point()),
        lambda: pointer.__setitem__(0, Line()),
    ):
        with pytest.raises(MutationError):
            write()
    assert memoryview(contents).readonly
    assert whole.begin.x == 2


def test_what_a_pointer_to_a_frozen_structure_showed_stays_when_the_pointer_moves_on():
    frozen, other = freeze(line()), line()
    pointer = ctypes.pointer(frozen)
    contents = pointer.contents
    pointer.contents = other
    del frozen
    gc.collect()
    with pytest.raises(MutationError):
        contents.begin = Point()
    assert bytes(contents) == bytes(line())
    pointer.contents.begin.x = 9
    assert other.begin.x == 9


def test_a_buffer_that_was_taken_through_a_pointer_is_waited_for():
    freeze(Point())
    point = Point(1)
    pointer = ctypes.pointer(point)
    view = memoryview(pointer.contents)
    with pytest.raises(NotFreezableError, match="buffer"):
        freeze(point)
    pointer.contents = Point()
    view.release()
    assert is_frozen(freeze(point))


def test_freezing_a_part_freezes_the_whole():
    whole = line()
    freeze(whole.begin)
    assert is_frozen(whole)
    with pytest.raises(MutationError):
        whole.name = b"x"


def refusal(value):
    with pytest.raises(NotFreezableError) as raised:
        freeze(value)
    assert not is_frozen(value)
    return raised.value.reason


class Holder(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("next", ctypes.POINTER(Point))]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


class Called(ctypes.Structure):
    _fields_ = [("function", CALLBACK)]


ADDRESSES = {
    "pointer": lambda: ctypes.pointer(Point()),
    "null pointer": ctypes.POINTER(Point),
    "text": lambda: ctypes.c_char_p(b"text"),
    "wide text": lambda: ctypes.c_wchar_p("text"),
    "address": lambda: ctypes.c_void_p(1),
    "Python object": lambda: ctypes.py_object([]),
    "structure with pointers": Holder,
    "array of pointers": ctypes.c_char_p * 2,
    "callback": lambda: CALLBACK(abs),
    "structure with a callback": Called,
    "function": lambda: ctypes.memmove,
    "library": lambda: ctypes.CDLL(None),
    "function of a library": lambda: ctypes.CDLL(None).getpid,
    "libraries": lambda: ctypes.cdll,
    "python library": lambda: ctypes.pythonapi,
    "CFUNCTYPE": lambda: ctypes.CFUNCTYPE,
    "POINTER": lambda: ctypes.POINTER,
    "argument": lambda: ctypes.byref(Point()),
}


@pytest.mark.parametrize("what", ADDRESSES)
def test_what_leads_out_of_python_refuses_and_says_what_to_do(what):
    assert "freeze " in refusal([ADDRESSES[what]()]) or "through `import ctypes`" in refusal([ADDRESSES[what]()])
    # And what ctypes needs goes on working.
    assert ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_int, ctypes.c_short, ctypes.c_char)
    assert ctypes.POINTER(type("New", (ctypes.Structure,), {}))
    assert ctypes.CDLL(None).getpid() > 0


def test_memory_of_something_else_refuses_and_names_the_copy():
    octets = bytearray(range(16))
    owner = ctypes.c_int(5)
    file = mmap.mmap(-1, 16)
    borrowers = [
        Number.from_buffer(octets),
        ctypes.c_int.from_address(ctypes.addressof(owner)),
        Number.from_buffer(file),
        ctypes.c_int.in_dll(ctypes.pythonapi, "Py_OptimizeFlag"),
        Point.from_buffer(line()).__class__.from_buffer(line()),
    ]
    for borrower in borrowers:
        assert "from_buffer_copy" in refusal(borrower)
        assert is_frozen(freeze(type(borrower).from_buffer_copy(borrower)))
    borrowers[0].whole = 7
    assert octets[0] == 7
    assert "memory views" in refusal(octets)
    del borrower
    borrowers.clear()
    gc.collect()
    file.close()


def test_what_lends_its_memory_refuses_until_it_has_it_back():
    whole = line()
    view = memoryview(whole.numbers)
    assert "release its memory views" in refusal(whole)
    assert "release its memory views" in refusal([whole, view])
    view.release()
    alias = Number.from_buffer(whole)
    assert "release its memory views" in refusal(whole)
    del alias
    freeze(whole)
    views = [memoryview(whole), memoryview(whole.numbers)]
    assert all(view.readonly for view in views)
    for each in views:
        each.release()
    assert bytes(whole) == bytes(line())


@pytest.mark.parametrize(
    ("make", "write"),
    [
        (Point, lambda point: setattr(point, "x", Freezes(point))),
        (Point, lambda point: setattr(point, "y", Freezes(point))),
        (line, lambda whole: setattr(whole.begin, "y", Freezes(whole))),
        (lambda: ctypes.c_double(0), lambda number: setattr(number, "value", Freezes(number))),
        (lambda: (ctypes.c_int * 2)(), lambda numbers: numbers.__setitem__(0, Freezes(numbers))),
    ],
)
def test_it_is_not_frozen_by_the_very_value_that_is_being_written(make, write):
    subject = make()
    with pytest.raises(NotFreezableError):
        write(subject)
    assert not is_frozen(subject)
    freeze(subject)


def test_it_is_not_frozen_by_the_tuple_that_is_being_written():
    whole = line()
    with pytest.raises(RuntimeError, match="NotFreezableError"):
        whole.begin = (Freezes(whole), 1.0)
    assert not is_frozen(whole)


def test_what_was_assigned_to_a_frozen_structure_stays_mutable():
    middle = type("Middle", (ctypes.Structure,), {"_fields_": [("point", Point), ("more", Point)]})
    outer = type("Outer", (ctypes.Structure,), {"_fields_": [("middle", middle), ("number", ctypes.c_int)]})
    source = middle(Point(1))
    whole = outer(source, 2)
    freeze(whole)
    source.point = Point(3)
    source.more = source.point
    assert (source.more.x, whole.middle.point.x) == (3, 1)
    assert ctypes.cast(ctypes.pointer(source), ctypes.POINTER(ctypes.c_int))[0] == 3


def test_classes_that_are_frozen_go_on_making_mutable_instances_and_pointers():
    cls = type("Made", (ctypes.Structure,), {"_fields_": [("x", ctypes.c_int)]})
    freeze(cls)
    made = cls(1)
    made.x = 2
    pointer = ctypes.pointer(made)
    pointer.contents.x = 3
    assert made.x == 3
    assert type(pointer) is ctypes.POINTER(cls) is cls.__pointer_type__
    assert type(ctypes.pointer(ctypes.pointer(made))) is ctypes.POINTER(ctypes.POINTER(cls))

    class Function(ctypes._CFuncPtr):  # as CFUNCTYPE makes it, which would keep it for ever
        _restype_, _argtypes_, _flags_ = ctypes.c_int, (ctypes.POINTER(cls),), 1

    assert Function(lambda given: given.contents.x)(made) == 3
    derived = type("Derived", (cls,), {"_fields_": [("y", ctypes.c_int)]})
    assert derived(1, 2).y == 2
    assert (cls * 3)()[1].x == 0
    writes = [
        lambda: setattr(cls, "_fields_", []),
        lambda: setattr(cls, "__pointer_type__", None),
        lambda: setattr(cls, "more", 1),
        lambda: type(cls).__init__(cls, "Made", (), {}),
        lambda: type(ctypes.Structure).__init__(ctypes.Structure, "Structure", (), {}),
    ]
    for write in writes:
        with pytest.raises((MutationError, AttributeError, SystemError)):
            write()
    assert cls.x.offset == 0


def test_a_class_without_fields_stays_without_once_it_is_frozen():
    cls = type("Incomplete", (ctypes.Structure,), {})
    pointer = ctypes.POINTER(cls)
    freeze(cls)
    with pytest.raises(MutationError):
        cls._fields_ = [("x", ctypes.c_int)]
    with pytest.raises(MutationError):
        pointer.set_type(Point)
    assert not hasattr(cls, "x")
    assert ctypes.sizeof(cls) == 0


def test_interpreters_use_one_structure_and_its_class_at_the_same_time(everywhere_at_once):
    shared = freeze([line(), Line])
    source = """if True:
        import ctypes
        whole, cls = shared
        for number in range(300):
            assert whole.begin.x == 1 and whole.numbers[:] == [8, 9, 10] and whole.name == b"name"
            made = cls()
            made.begin.x = number
            assert ctypes.pointer(made).contents.begin.x == number
            assert (cls * 2)()[1].begin.x == 0
            made.ends[0] = whole.begin
            assert made.ends[0].total() == 3.5
            derived = type("Derived", (cls,), {"_fields_": [("more", ctypes.c_int)]})
            assert derived().more == 0
    """
    everywhere_at_once(source, shared)


def test_a_structure_outlives_the_interpreter_that_made_it():
    interpreter = interpreters.create()
    inbox = interpreters.create_queue()
    interpreter.prepare_main(inbox=inbox)
    interpreter.exec("""if True:
        import ctypes
        from immutable import freeze
        class Made(ctypes.Structure):
            _fields_ = [("x", ctypes.c_int), ("text", ctypes.c_char * 40)]
        inbox.put(freeze(Made(3, b"text")))
        ctypes.POINTER(Made)
    """)
    received = inbox.get_nowait()
    interpreter.close()
    gc.collect()
    assert (received.x, received.text) == (3, b"text")
    assert ctypes.pointer(type(received)(4)).contents.x == 4
    assert isinstance(received, ctypes.Structure)
    del received
    gc.collect()
