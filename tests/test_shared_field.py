"""A SharedField is one cell for all interpreters, an InterpreterLocal one value for each."""

import threading

import pytest
from graphs import frozen_now

from immutable import InterpreterLocal, MutationError, SharedField, channel, freeze, is_frozen


def test_a_shared_field_holds_what_it_is_given():
    first, second = freeze([1]), freeze([2])
    field = SharedField(first)
    assert field.get() is first
    assert field.set(second) is None
    assert field.get() is second
    assert field.swap(first) is second
    assert field.get() is first


def test_compare_and_swap_goes_by_identity():
    first, equal, second = freeze([1]), freeze([1]), freeze([2])
    field = SharedField(first)
    assert field.compare_and_swap(equal, second) is False
    assert field.get() is first
    assert field.compare_and_swap(first, second) is True
    assert field.get() is second


def test_a_shared_field_takes_frozen_values_only():
    field = SharedField(None)
    for call in (
        lambda: SharedField([]),
        lambda: field.set([]),
        lambda: field.swap([]),
        lambda: field.compare_and_swap(None, []),
    ):
        with pytest.raises(TypeError, match="freeze"):
            call()
    assert field.get() is None


def test_a_shared_field_is_frozen_and_changes_all_the_same():
    class Holder:
        def __init__(self):
            self.field = SharedField(0)

    holder = freeze(Holder())
    assert is_frozen(holder.field)
    holder.field.set(1)
    assert holder.field.get() == 1
    with pytest.raises(MutationError):
        holder.field = None


def test_a_shared_field_releases_what_it_held():
    before = frozen_now()
    field = SharedField(freeze([[], []]))
    field.set(None)
    assert frozen_now()["frozen_objects"] == before["frozen_objects"] + 1
    del field
    assert frozen_now() == before


def test_every_interpreter_sees_the_same_shared_field(elsewhere):
    value = freeze({"a": [1]})
    field = SharedField(value)
    other = elsewhere()
    other.run(
        """
        from immutable import SharedField, freeze
        assert type(field) is SharedField
        assert id(field.get()) == place
        field.set(freeze(["from elsewhere"]))
        """,
        field=field,
        place=id(value),
    )
    assert field.get() == ["from elsewhere"]
    other.close()
    assert field.get() == ["from elsewhere"]


def test_no_update_of_a_shared_field_is_lost(elsewhere):
    field = SharedField(0)
    others = [elsewhere() for _ in range(3)]
    source = """
        for _ in range(2000):
            while not field.compare_and_swap(seen := field.get(), seen + 1):
                pass
    """
    threads = [threading.Thread(target=other.run, args=(source,), kwargs={"field": field}) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert field.get() == 6000


def test_each_interpreter_has_its_own_value_of_a_local(elsewhere):
    local = InterpreterLocal(freeze([1]))
    local.set("mine")
    other = elsewhere()
    other.run(
        """
        from immutable import InterpreterLocal
        assert type(local) is InterpreterLocal
        assert local.get() == [1]
        local.set(["mutable"])
        local.get().append(2)
        assert local.get() == ["mutable", 2]
        """,
        local=local,
    )
    assert local.get() == "mine"
    local.reset()
    assert local.get() == [1]


def test_a_frozen_factory_runs_on_first_use_in_each_interpreter(elsewhere):
    sender, receiver = channel()

    @freeze
    def make():
        sender.send("made")
        return []

    local = InterpreterLocal(make)
    assert receiver.qsize() == 0
    local.get().append("here")
    assert local.get() == ["here"]
    assert receiver.qsize() == 1
    elsewhere().run("assert local.get() is local.get() and local.get() == []", local=local)
    assert receiver.qsize() == 2
    local.reset()
    assert local.get() == []
    assert receiver.qsize() == 3


@pytest.mark.parametrize("default", [[], {}, lambda: [1]], ids=["list", "dict", "function"])
def test_the_default_of_a_local_is_frozen(default):
    with pytest.raises(TypeError, match="freeze"):
        InterpreterLocal(default)
