"""`__pre_freeze__`: called once per object and freeze, before anything is marked."""

import threading
import time

import pytest

from immutable import InterpreterLocal, MutationError, NotFreezableError, freeze, is_frozen


class Hooked:
    """An object that notes the call of its hook, and then does what it was told to."""

    def __init__(self, action=None, **parts):
        self.action = action
        self.calls = 0
        vars(self).update(parts)

    def __pre_freeze__(self):
        self.calls += 1
        if self.action is not None:
            action, self.action = self.action, None
            action(self)


def test_the_hook_is_called_before_the_object_is_frozen():
    seen = []

    def look(self):
        seen.append(is_frozen(self))
        self.late = [1]

    value = Hooked(look)
    freeze(value)
    assert seen == [False]
    assert is_frozen(value.late)
    with pytest.raises(MutationError):
        value.late = 2


def test_the_hook_is_called_once_for_each_object_however_often_it_is_reached():
    shared = Hooked()
    freeze([shared, {"a": shared}, Hooked(part=shared)], shared)
    assert shared.calls == 1


def test_hooks_are_called_while_nothing_is_frozen_or_marked():
    others = [[], {}, Hooked()]
    seen = []

    def look(self):
        seen.append([is_frozen(other) for other in others])
        others[0].append(1)
        freeze([])  # another freeze does not stumble

    freeze(others, Hooked(look))
    assert seen == [[False, False, False]]
    assert others[0] == [1]


def test_a_hook_that_raises_aborts_the_freeze_with_its_exception():
    class Broken(Exception):
        pass

    error = Broken("no")

    def fail(self):
        raise error

    failing = Hooked(fail)
    root = [[1], failing, Hooked()]
    with pytest.raises(Broken) as raised:
        freeze(root)
    assert raised.value is error
    assert not any(is_frozen(part) for part in (root, root[0], failing, root[2]))
    root.append(2)
    freeze(root)
    assert failing.calls == 2


def test_hooks_after_one_that_raised_are_not_called():
    def fail(self):
        raise KeyError("no")

    values = [Hooked(), Hooked(fail), Hooked()]
    with pytest.raises(KeyError):
        freeze(values)
    assert [value.calls for value in values] == [1, 1, 0]


def test_a_hook_may_make_its_object_willing():
    def close(self):
        self.stream = None

    value = Hooked(close, stream=(n for n in []))
    assert is_frozen(freeze([value])[0])


def test_a_graph_that_refuses_after_its_hooks_is_as_they_left_it():
    value = Hooked(lambda self: setattr(self, "noted", True))
    root = [value, (n for n in [])]
    with pytest.raises(NotFreezableError) as raised:
        freeze(root)
    assert raised.value.path == "root[1]"
    assert not is_frozen(value)
    assert value.noted


def test_a_hook_may_change_the_graph():
    dropped = []
    root = [dropped]

    def change(self):
        root.remove(dropped)
        root.append({"new": [1]})

    root.append(Hooked(change))
    freeze(root)
    assert not is_frozen(dropped)
    assert is_frozen(root[-1]["new"])


def test_objects_that_a_hook_adds_get_their_hooks_called():
    def chain(depth):
        def add(self):
            self.next = Hooked(chain(depth - 1) if depth else None)

        return add

    root = Hooked(chain(5))
    freeze(root)
    depth, value = 0, root
    while hasattr(value, "next"):
        assert value.calls == 1
        assert is_frozen(value)
        depth, value = depth + 1, value.next
    assert depth == 6
    assert value.calls == 1


@pytest.mark.parametrize("frozen_before", [False, True])
def test_a_chain_that_hooks_make_takes_time_in_proportion(frozen_before):
    class Growing:
        def __init__(self, depth, top):
            self.depth = depth
            self.top = top

        def __pre_freeze__(self):
            if self.depth:
                self.next = Growing(self.depth - 1, self.top)

    if frozen_before:
        freeze(Growing)  # before it knows what its instances hold: each gets a dict

    def seconds(depth):
        top = []
        top.append(Growing(depth, top))
        began = time.process_time()
        freeze(top)
        elapsed, grown, value = time.process_time() - began, 0, top[0]
        while hasattr(value, "next"):
            assert is_frozen(value)
            grown, value = grown + 1, value.next
        assert grown == depth
        return elapsed

    shorter = min(seconds(2_000) for _ in range(3))
    assert min(seconds(16_000) for _ in range(2)) < 24 * shorter  # 8, if in proportion; 64, if not


def test_cycles_of_objects_with_hooks():
    ring = [Hooked() for _ in range(10)]
    for one, other in zip(ring, ring[1:] + ring[:1], strict=True):
        one.next = other
    freeze(ring[0])
    assert [value.calls for value in ring] == [1] * 10
    assert all(is_frozen(value) for value in ring)


def test_a_hook_may_freeze_the_root_itself():
    root = []
    first = Hooked(lambda self: freeze(root))
    second = Hooked(lambda self: freeze(root))
    root += [first, second]
    assert freeze(root) is root
    assert is_frozen(root)
    assert (first.calls, second.calls) == (1, 1)


def test_a_hook_may_freeze_its_own_object():
    value = Hooked(freeze)
    freeze([value])
    assert is_frozen(value)
    assert value.calls == 1


def test_a_hook_that_fails_inside_a_freeze_of_a_hook_can_be_survived():
    def fail(self):
        raise ValueError("inner")

    def survive(self):
        with pytest.raises(ValueError, match="inner"):
            freeze(Hooked(fail))

    assert is_frozen(freeze(Hooked(survive)))


def test_the_hook_of_a_class_is_for_its_instances():
    calls = InterpreterLocal(None)  # a list would freeze with the class
    calls.set([])

    class Class:
        def __pre_freeze__(self):
            calls.get().append(self)

    freeze(Class)
    assert calls.get() == []
    assert is_frozen(Class)
    instance = Class()
    freeze(instance)
    assert calls.get() == [instance]
    calls.reset()


def test_the_hook_of_a_metaclass_is_for_its_classes():
    calls = []

    class Meta(type):
        def __pre_freeze__(cls):
            calls.append(cls)

    class Class(metaclass=Meta):
        pass

    freeze(Class())
    assert calls == [Class]


def test_the_hook_is_looked_up_on_the_type_as_other_special_methods_are():
    value = Hooked()
    value.__pre_freeze__ = lambda: pytest.fail("was called")
    freeze(value)
    assert value.calls == 1


def test_hooks_are_inherited_and_can_be_switched_off():
    class Sub(Hooked):
        pass

    class Off(Hooked):
        __pre_freeze__ = None

    sub, off = Sub(), Off()
    freeze([sub, off])
    assert (sub.calls, off.calls) == (1, 0)


def test_static_and_class_methods_can_be_hooks():
    calls = []

    class Static:
        @staticmethod
        def __pre_freeze__():
            calls.append("static")

    class Class:
        @classmethod
        def __pre_freeze__(cls):
            calls.append(cls)

    freeze([Static(), Class()])
    assert calls == ["static", Class]


def test_objects_with_slots_and_subclasses_of_builtin_types_have_hooks():
    calls = []

    def note(self):
        calls.append(type(self).__name__)

    types = [
        type(base.__name__ + "_", (base,), {"__pre_freeze__": note}) for base in (list, dict, tuple, int, str, set)
    ]
    slotted = type("slotted", (), {"__slots__": (), "__pre_freeze__": note})
    values = [ty() for ty in [*types, slotted]]
    freeze(values)
    assert sorted(calls) == sorted(type(value).__name__ for value in values)


def test_what_is_frozen_already_has_no_hook_called():
    value = Hooked()
    freeze(value)
    freeze(value)
    freeze([value])
    assert value.calls == 1


def test_what_would_not_be_frozen_has_no_hook_called():
    from immutable import FREEZABLE_NO, set_freezable

    value = Hooked()
    set_freezable(value, FREEZABLE_NO)
    with pytest.raises(NotFreezableError):
        freeze([value])
    assert value.calls == 0


def test_hooks_of_many_objects_take_one_more_search():
    values = [Hooked() for _ in range(20_000)]
    freeze(values)
    assert sum(value.calls for value in values) == 20_000


def test_keyboard_interrupt_in_a_hook_leaves_everything_mutable():
    def interrupt(self):
        raise KeyboardInterrupt

    value = Hooked(interrupt)
    with pytest.raises(KeyboardInterrupt):
        freeze([value])
    assert not is_frozen(value)


def test_threads_that_freeze_the_same_graph_call_hooks_and_agree():
    for _ in range(20):
        barrier = threading.Barrier(4)
        root = [Hooked() for _ in range(50)]
        failed = []

        def run(root=root, barrier=barrier, failed=failed):
            barrier.wait(30)
            try:
                freeze(root)
            except MutationError as error:
                failed.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert is_frozen(root)
        assert failed == []
        assert all(value.calls >= 1 for value in root)


def test_two_threads_freeze_one_graph_whose_hook_writes():
    kept = InterpreterLocal(list)
    kept.get().append(threading.Barrier(2))

    class Slow:
        def __pre_freeze__(self):
            if kept.get()[0].wait(timeout=10):
                waited = time.monotonic()
                while not is_frozen(self) and time.monotonic() < waited + 10:  # by the other thread
                    time.sleep(0.001)
            self.written = [1]

    slow, outcomes = Slow(), []

    def work():
        try:
            outcomes.append(freeze(slow))
        except MutationError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [slow, slow]
    assert is_frozen(slow.written)
