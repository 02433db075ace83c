"""An object with more references than its count can hold becomes immortal: never released, and never corrupt."""

import ctypes
import gc
import sys
import threading
import types
import weakref

import pytest
from _immutable import _set_reference_count
from graphs import frozen_now

from immutable import MutationError, freeze, is_frozen

pytestmark = pytest.mark.usefixtures("without_collector")

MOST = 2**29 - 2**24 - 1  # references that a frozen object can count


class Node:
    def __init__(self, part=None):
        self.part = part


freeze(Node)


def an_object():
    return freeze(Node([1.5, "text"]))


def a_member_of_a_cycle():
    node = Node([1.5, "text"])
    node.other = Node(node)
    return freeze(node)


def a_member_without_collector_header():
    ring = [1.5, "text"]
    code = compile("0", "<made here>", "eval").replace(co_consts=(ring,))
    ring.append(code)
    return freeze(code)


KINDS = [an_object, a_member_of_a_cycle, a_member_without_collector_header]
for make in KINDS:
    make()  # the names and texts in its code stay frozen

every_kind = pytest.mark.parametrize("make", KINDS)


def saturate(target):
    """Brings the count to its limit, and takes references beyond it. Returns them."""
    _set_reference_count(target, MOST - 2)
    return [target for _ in range(10)]


def count_again(holder):
    """Makes what was immortal an ordinary frozen object; holder is a list that has the only reference to it."""
    # Not a call with holder[0]: the interpreter may or may not count its own references to what is immortal.
    # map() does, while it calls.
    (_,) = map(_set_reference_count, holder, [2], strict=True)


def intact(target):
    with pytest.raises((MutationError, AttributeError)):
        target.part = None
    if isinstance(target, types.CodeType):
        return is_frozen(target) and target.co_consts == ([1.5, "text", target],)
    return is_frozen(target) and target.part == [1.5, "text"]


@every_kind
def test_an_object_is_counted_up_to_the_limit_and_immortal_beyond_it(make):
    before = frozen_now()
    target = make()
    count = sys.getrefcount(target)
    _set_reference_count(target, MOST - 1)
    assert sys.getrefcount(target) == MOST - 1
    one = [target]
    assert sys.getrefcount(target) == MOST
    assert not sys._is_immortal(target)
    one.clear()
    assert sys.getrefcount(target) == MOST - 1
    references = saturate(target)
    assert sys._is_immortal(target)
    assert sys.getrefcount(target) == sys.getrefcount(None)
    assert intact(target)
    del references
    assert sys._is_immortal(target)
    _set_reference_count(target, count)
    assert sys.getrefcount(target) == count
    del target
    assert frozen_now() == before


@every_kind
def test_many_references_taken_at_once_saturate_as_well(make):
    target = make()
    count = sys.getrefcount(target)
    _set_reference_count(target, MOST - 50)
    references = [target] * 100
    assert sys._is_immortal(target)
    assert intact(target)
    references *= 100
    del references
    assert sys._is_immortal(target)
    _set_reference_count(target, count)


@pytest.mark.parametrize("make", [an_object, a_member_of_a_cycle])
def test_what_is_immortal_is_not_released_with_its_last_reference(make):
    before = frozen_now()
    target = make()
    gone = weakref.ref(target)
    references = saturate(target)
    while references:
        references.pop()
    del target
    gc.collect()
    assert gone() is not None
    assert intact(gone())
    holder = [gone()]
    count_again(holder)
    assert gone() is not None
    holder.clear()
    assert gone() is None
    assert frozen_now() == before


@every_kind
def test_names_that_were_bound_before_it_was_immortal_do_not_count_it_afterwards(make):
    target = make()
    count = sys.getrefcount(target)
    one = other = target
    references = saturate(target)
    word = ctypes.c_uint32.from_address(id(target))
    immortal = word.value
    assert sys._is_immortal(target)
    for _ in range(1_000):
        other = one = target
        one = [other]
    del one, other, references
    assert word.value == immortal
    _set_reference_count(target, count)


def test_a_cycle_lives_as_long_as_it_has_an_immortal_member():
    before = frozen_now()
    target = a_member_of_a_cycle()
    other = target.other
    gone = weakref.ref(other)
    saturate(target)
    del target, other
    assert gone() is not None
    assert gone().part.other is gone()
    holder = [gone().part]
    count_again(holder)
    assert gone() is not None
    holder.clear()
    assert gone() is None
    assert frozen_now() == before


@every_kind
def test_threads_that_pass_the_limit_together_leave_an_immortal_object(make):
    target = make()
    count = sys.getrefcount(target)
    _set_reference_count(target, MOST - 1_000)
    start = threading.Barrier(4)

    def take_and_drop():
        start.wait()
        for _ in range(200):
            references = [target for _ in range(500)]
            references.extend([target] * 500)
            while references:
                references.pop()

    threads = [threading.Thread(target=take_and_drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    references = [target for _ in range(2_000)]
    for thread in threads:
        thread.join()
    assert sys._is_immortal(target)
    assert intact(target)
    del references, threads, take_and_drop
    _set_reference_count(target, count)
    assert sys.getrefcount(target) == count


def test_the_same_holds_once_there_were_several_interpreters(run_python):
    # Counts change atomically from then on.
    run_python("""
        import sys
        import weakref
        from concurrent import interpreters

        from _immutable import _set_reference_count
        from immutable import freeze, is_frozen

        class Node:
            pass

        interpreters.create().close()
        for cycle in False, True:
            target = Node()
            if cycle:
                target.me = target
            freeze(target)
            gone = weakref.ref(target)
            _set_reference_count(target, 2**29 - 2**24 - 2)
            references = [target for _ in range(10)]
            assert sys._is_immortal(target)
            del target, references
            assert is_frozen(gone())
            holder = [gone()]
            (_,) = map(_set_reference_count, holder, [2])
            assert gone() is not None
            holder.clear()
            assert gone() is None
    """)


@pytest.mark.parametrize("cycle", [False, True])
def test_an_object_with_too_many_references_is_immortal_when_it_is_frozen(cycle):
    before = frozen_now()
    target = Node()
    if cycle:
        target.part = target
    word = ctypes.c_uint32.from_address(id(target))
    word.value = MOST + 2
    freeze(target)
    assert sys._is_immortal(target)
    assert is_frozen(target)
    gone = weakref.ref(target)
    del target
    assert is_frozen(gone())
    holder = [gone()]
    count_again(holder)
    assert gone() is not None
    holder.clear()
    assert gone() is None
    assert frozen_now() == before


def test_only_frozen_objects_have_a_count_that_tests_can_set():
    with pytest.raises(TypeError):
        _set_reference_count([], 1)
    target = an_object()
    for n in 0, -1, MOST + 1, 2**64:
        with pytest.raises((ValueError, OverflowError)):
            _set_reference_count(target, n)
    with pytest.raises(TypeError):
        _set_reference_count(target)
