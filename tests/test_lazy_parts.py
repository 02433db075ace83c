"""Nothing is filled in later: what CPython makes on demand is made afresh for each caller of a frozen object."""

import gc
import typing

import pytest

from immutable import freeze


def type_variable():
    def made[T: list[int] = list[str]](argument: T):
        return argument

    return made.__type_params__[0]


def type_variable_with_constraints():
    def made[T: (list[int], list[str])](argument: T):
        return argument

    return made.__type_params__[0]


def parameters():
    def made[**P = [list[int]]](*args: P.args, **kwargs: P.kwargs):
        pass

    return made.__type_params__[0]


def many_types():
    def made[*Ts = *tuple[list[int], ...]](*args: *Ts):
        pass

    return made.__type_params__[0]


def alias():
    type Alias = list[dict[str, int]]
    return Alias


ON_DEMAND = [
    (type_variable, "__bound__"),
    (type_variable, "__default__"),
    (type_variable_with_constraints, "__constraints__"),
    (parameters, "__default__"),
    (many_types, "__default__"),
    (alias, "__value__"),
]


@pytest.mark.parametrize(("make", "name"), ON_DEMAND)
def test_a_mutable_object_stores_what_it_makes_on_demand(make, name):
    made = make()
    assert getattr(made, name) is getattr(made, name)


@pytest.mark.parametrize(("make", "name"), ON_DEMAND)
def test_a_frozen_object_makes_it_for_each_caller(make, name):
    expected = getattr(make(), name)
    made = freeze(make())
    before = gc.get_referents(made)
    assert getattr(made, name) == expected
    assert getattr(made, name) is not getattr(made, name)
    assert gc.get_referents(made) == before


@pytest.mark.parametrize(("make", "name"), ON_DEMAND)
def test_what_was_made_before_the_freeze_stays(make, name):
    made = make()
    before = getattr(made, name)
    assert getattr(freeze(made), name) is before


def test_the_qualified_name_of_a_slot_is_made_for_each_caller():
    class Slotted:
        __slots__ = ("first", "second")

    asked, not_asked = Slotted.__dict__["first"], Slotted.__dict__["second"]
    known = asked.__qualname__
    freeze(Slotted)
    assert asked.__qualname__ is known
    assert not_asked.__qualname__ == typing.cast(str, Slotted.__qualname__) + ".second"
    assert not_asked.__qualname__ is not not_asked.__qualname__


@pytest.mark.parametrize("with_instance", [True, False])
def test_a_frozen_attribute_dict_shares_no_table_with_instances_that_go_on_changing(with_instance):
    """A dict over the values of an instance shares the keys of its class, to which other instances add names."""

    class Growing:
        pass

    kept, frozen = Growing(), []
    for number in range(10):
        instance = Growing()
        instance.first, instance.number = [number], number
        attributes = vars(instance)
        if with_instance:
            kept = instance
        del instance
        frozen.append(freeze(attributes))
        # What the table of the class has room for, the next instance adds.
        setattr(Growing(), f"later_{number}", number)
        assert attributes == {"first": [number], "number": number}
        assert list(attributes.copy()) == ["first", "number"]
    if with_instance:
        assert (kept.first, kept.number) == ([9], 9)
        with pytest.raises(TypeError):
            kept.more = 1
    assert [each["number"] for each in frozen] == list(range(10))
