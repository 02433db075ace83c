"""MutationError says what was written, how, and, under -X immutable_trace, where it was frozen."""

import pytest

from immutable import MutationError, freeze


class Node:
    def __init__(self):
        self.part = 1


def set_slice(victim):
    first = 0
    victim[first : first + 1] = [5]


def set_item(victim):
    victim[0] = 1


def delete_item(victim):
    del victim[0]


def set_attribute(victim):
    victim.part = 2


def delete_attribute(victim):
    del victim.part


def add(victim):
    victim += [1]


def call(victim):
    victim.append(1)


def call_with_keywords(victim):
    victim.sort(reverse=True)


def call_through_the_type(victim):
    list.append(victim, 1)


def call_a_function(victim):
    setattr(victim, "part", 3)


def nonlocal_write(victim):
    del victim
    number = 1

    def write():
        nonlocal number
        number = 2

    freeze(write)
    write()


@pytest.mark.parametrize(
    ("write", "make", "name", "operation"),
    [
        (set_item, lambda: [1], "'list' object", "setting an item"),
        (set_slice, lambda: [1], "'list' object", "setting a slice"),
        (delete_item, lambda: [1], "'list' object", "deleting an item"),
        (set_attribute, Node, "'Node' object", "setting attribute 'part'"),
        (set_attribute, lambda: Node, "class 'Node'", "setting attribute 'part'"),
        (delete_attribute, Node, "'Node' object", "deleting attribute 'part'"),
        (add, lambda: [1], "'list' object", "in an operator"),
        (call, lambda: [1], "'list' object", "calling append()"),
        (call_with_keywords, lambda: [1, 2], "'list' object", "calling sort()"),
        (call_through_the_type, lambda: [1], "'list' object", "calling append()"),
        (call_a_function, Node, "'Node' object", "calling setattr()"),
        (nonlocal_write, list, "'cell' object", "setting variable 'number'"),
    ],
)
def test_the_message_names_the_type_and_the_operation(write, make, name, operation):
    victim = freeze(make())
    messages = set()
    for _ in range(20):  # specialised bytecode says the same
        with pytest.raises(MutationError) as raised:
            write(victim)
        messages.add(str(raised.value))
    assert messages == {f"cannot modify frozen {name} ({operation})"}


TRACED = """
    import gc
    from immutable import MutationError, freeze, frozen, is_frozen

    def message(write, *arguments):
        try:
            write(*arguments)
        except MutationError as error:
            return str(error).rpartition(", frozen at ")[2]

    def freezes(value):
        return freeze(value)                             # line 12

    value = freezes([{}, bytearray(b"x")])
    @frozen                                              # line 15
    class Decorated:
        pass

    print(message(value.append, 1))
    print(message(value[0].update, {1: 2}))
    print(message(value[1].append, 2))
    print(message(setattr, Decorated, "x", 1))

    @freeze                                              # line 24
    def count():
        global counted
        counted = 1

    print(message(count))
"""


@pytest.mark.parametrize("how", ["option", "option with value", "variable"])
def test_under_trace_the_message_says_where_the_object_was_frozen(run_python, monkeypatch, how):
    options = {"option": ("-X", "immutable_trace"), "option with value": ("-X", "immutable_trace=1")}.get(how, ())
    if how == "variable":
        monkeypatch.setenv("PYTHONIMMUTABLE_TRACE", "1")
    first, second, third, fourth, fifth = run_python(TRACED, options=options).splitlines()
    assert first == second == third == "<string>:12"
    assert fourth in ("<string>:15", "<string>:16")
    assert fifth in ("<string>:24", "<string>:25")


def test_without_trace_the_message_does_not_say_where(run_python):
    assert "<string>" not in run_python(TRACED)
    assert "<string>" not in run_python(TRACED, options=("-X", "immutable_trace=0"))


def test_the_place_is_known_in_every_interpreter(run_python):
    printed = run_python(
        """
        from concurrent import interpreters
        from immutable import freeze
        value = freeze([1])
        interpreter = interpreters.create()
        interpreter.prepare_main(value=value)
        interpreter.exec('''if True:
            try:
                value.append(2)
            except TypeError as error:
                print(error)
        ''')
        """,
        options=("-X", "immutable_trace"),
    )
    assert printed == "cannot modify frozen 'list' object (calling append()), frozen at <string>:4\n"


def test_what_is_released_is_forgotten(run_python):
    printed = run_python(
        """
        from _immutable import _traced_objects
        from immutable import freeze

        freeze([])  # with the first freeze, types of C modules that all interpreters share
        lasting = _traced_objects()

        def rounds():
            for _ in range(3):
                ring = [[]]
                ring[0].append(ring)
                kept = freeze([ring, {}, bytearray(b"x"), {1: [2]}])
            return _traced_objects() - lasting

        print(rounds(), _traced_objects() - lasting)
        """,
        options=("-X", "immutable_trace"),
    )
    during, after = map(int, printed.split())
    assert during == 7
    assert after == 0


def test_an_object_at_the_address_of_another_has_its_own_place(run_python):
    printed = run_python(
        """
        from immutable import MutationError, freeze

        def places():
            for _ in range(50):
                freeze([1])
            value = freeze([2])
            try:
                value.append(1)
            except MutationError as error:
                return str(error)

        print(places())
        """,
        options=("-X", "immutable_trace"),
    )
    assert printed.endswith("<string>:7\n")
