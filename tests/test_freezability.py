"""Who decides what is freezable: objects, types, modules, the process, and what types made in C are by nature."""

import array
import copy
import dataclasses
import gc
import itertools
import pickle
import sys
import threading
import types
import warnings
import weakref

import pytest

import immutable
from immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    FREEZABLE_PROXY,
    FREEZABLE_YES,
    Freezability,
    FreezabilityOverride,
    FreezabilityWarning,
    MutationError,
    NotFreezableError,
    explicitly_freezable,
    explicitlyFreezable,
    freezable,
    freeze,
    frozen,
    get_freezable,
    is_freezable,
    is_frozen,
    register_freezable,
    register_shallow_immutable,
    require_mutable,
    set_freezable,
    unfreezable,
    unset_freezable,
)

POLICIES = [FREEZABLE_YES, FREEZABLE_NO, FREEZABLE_EXPLICIT, FREEZABLE_PROXY]


class Plain:
    def __init__(self, part=None):
        self.part = part


class Slotted:
    __slots__ = ("part",)


class SlottedPolicy:
    __slots__ = ("__freezable__",)


def refusal(*roots, **terms):
    """The error with which freeze() refuses; nothing has been frozen."""
    with pytest.raises(NotFreezableError) as raised:
        freeze(*roots, **terms)
    return raised.value


HOLDERS = {
    "instance": Plain,
    "slots": Slotted,
    "list": list,
    "dict": dict,
    "set": set,
    "function": lambda: lambda: None,
    "bytearray": bytearray,
    "namespace": types.SimpleNamespace,
    "instance with many attributes": lambda: many_attributes(),
}


def many_attributes():
    instance = Plain()
    for number in range(100):
        setattr(instance, f"attribute_{number}", number)
    return instance


every_holder = pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)

# ---- The constants ---------------------------------------------------------


def test_the_constants_equal_the_members_of_the_enum():
    assert [Freezability.YES, Freezability.NO, Freezability.EXPLICIT, Freezability.PROXY] == POLICIES
    assert len(Freezability) == 4


def test_members_of_the_enum_serve_wherever_constants_do():
    value = []
    set_freezable(value, Freezability.NO)
    assert refusal(value).obj is value
    with FreezabilityOverride(value, Freezability.YES):
        assert is_freezable(value)


# ---- The table: what each policy permits -----------------------------------


@every_holder
def test_yes_is_frozen_when_reached_and_as_a_root(make):
    reached, root = make(), make()
    set_freezable(reached, FREEZABLE_YES)
    set_freezable(root, FREEZABLE_YES)
    assert is_frozen(freeze([reached])[0])
    assert is_frozen(freeze(root))


@every_holder
def test_no_refuses_when_reached_and_as_a_root(make):
    value = make()
    set_freezable(value, FREEZABLE_NO)
    for root, path in ((value, "root"), ([value], "root[0]")):
        error = refusal(root)
        assert error.obj is value
        assert error.path == path
        assert "FREEZABLE_NO" in error.reason
    assert not is_frozen(value)


@every_holder
def test_explicit_refuses_when_reached_and_is_frozen_as_a_root(make):
    value = make()
    set_freezable(value, FREEZABLE_EXPLICIT)
    error = refusal([value])
    assert error.obj is value
    assert "FREEZABLE_EXPLICIT" in error.reason
    assert is_frozen(freeze(value))


def test_explicit_is_frozen_when_it_is_reached_and_a_root_too():
    value = []
    set_freezable(value, FREEZABLE_EXPLICIT)
    freeze([value], value)
    assert is_frozen(value)


def test_proxy_is_for_modules(module):
    value = []
    set_freezable(value, FREEZABLE_PROXY)
    assert "modules" in refusal([value]).reason
    m = module("state = []")
    set_freezable(m, FREEZABLE_PROXY)
    freeze([m])
    m.state.append(1)


def test_a_module_can_refuse_to_be_proxied(module):
    m = module()
    set_freezable(m, FREEZABLE_NO)
    assert refusal([m]).obj is m
    unset_freezable(m)
    freeze([m])


# ---- set, get, unset -------------------------------------------------------


@every_holder
@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_set_is_what_is_got_until_it_is_unset(make, policy):
    value = make()
    before = get_freezable(value)
    set_freezable(value, policy)
    got = get_freezable(value)
    assert got == policy
    assert isinstance(got, Freezability)
    unset_freezable(value)
    assert get_freezable(value) == before == FREEZABLE_YES


def test_the_last_policy_set_counts():
    value = []
    for policy in (FREEZABLE_NO, FREEZABLE_EXPLICIT, FREEZABLE_YES):
        set_freezable(value, policy)
    assert is_frozen(freeze([value])[0])


@every_holder
def test_a_policy_leaves_no_trace_on_the_object(make):
    value = make()
    attributes, weak = (
        dict(getattr(value, "__dict__", {})),
        weakref.getweakrefcount(value) if hasattr(type(value), "__weakref__") else None,
    )
    references = sys.getrefcount(value)
    set_freezable(value, FREEZABLE_NO)
    assert dict(getattr(value, "__dict__", {})) == attributes
    unset_freezable(value)
    assert sys.getrefcount(value) == references
    assert dict(getattr(value, "__dict__", {})) == attributes
    if weak is not None:
        assert weakref.getweakrefcount(value) == weak
    assert is_frozen(freeze([value])[0])


def test_a_policy_does_not_keep_the_object():
    value = Plain()
    gone = weakref.ref(value)
    set_freezable(value, FREEZABLE_NO)
    del value
    assert gone() is None


def test_a_policy_does_not_pass_to_another_object_at_the_same_address():
    for _ in range(1000):
        value = []
        address = id(value)
        set_freezable(value, FREEZABLE_NO)
        del value
        other = []
        if id(other) == address:
            assert get_freezable(other) == FREEZABLE_YES
            assert is_frozen(freeze([other])[0])
            return
    pytest.fail("no address was used again")


def test_copies_have_no_policy():
    value = Plain([1])
    set_freezable(value, FREEZABLE_NO)
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert get_freezable(other) == FREEZABLE_YES


def test_unset_of_what_was_never_set_does_nothing():
    for value in ([], Plain(), Plain, 3, "text", None, freeze([]), int):
        unset_freezable(value)


@pytest.mark.parametrize("value", [3, 10**40, "text", b"bytes", 1.5, True, None, freeze([1]), freeze(Plain())])
def test_it_is_too_late_for_what_is_frozen_and_senseless_for_values(value):
    with pytest.raises(TypeError):
        set_freezable(value, FREEZABLE_NO)
    with pytest.raises(TypeError), FreezabilityOverride(value, FREEZABLE_NO):
        pytest.fail("was entered")


@pytest.mark.parametrize("policy", [4, -1, 10**30])
def test_a_number_that_is_no_policy_is_an_error(policy):
    with pytest.raises((ValueError, OverflowError)):
        set_freezable([], policy)
    with pytest.raises(ValueError, match=str(policy)):
        FreezabilityOverride([], policy)


@pytest.mark.parametrize("policy", ["no", None, 1.5])
def test_what_is_no_number_is_an_error(policy):
    with pytest.raises(TypeError):
        set_freezable([], policy)


def test_what_c_types_are_by_nature():
    assert get_freezable([]) == FREEZABLE_YES
    assert get_freezable(itertools.count()) == FREEZABLE_NO
    assert get_freezable(number for number in []) == FREEZABLE_NO
    assert get_freezable(sys) == FREEZABLE_PROXY
    assert get_freezable(list) == FREEZABLE_YES
    assert get_freezable(itertools.count) == FREEZABLE_NO
    assert get_freezable(types.ModuleType) == FREEZABLE_PROXY


def test_a_running_computation_stays_refused_whatever_is_said():
    generator = (number for number in [1])
    set_freezable(generator, FREEZABLE_YES)
    assert refusal([generator]).obj is generator
    assert list(generator) == [1]
    error = ValueError("x")
    set_freezable(error, FREEZABLE_YES)
    freezability = get_freezable(error)
    assert is_freezable(error) == (freezability != FREEZABLE_NO)


# ---- The attribute ---------------------------------------------------------


def test_the_attribute_of_an_instance():
    for make in (Plain, many_attributes, SlottedPolicy, types.SimpleNamespace, lambda: lambda: None):
        value = make()
        value.__freezable__ = FREEZABLE_NO
        assert get_freezable(value) == FREEZABLE_NO
        assert refusal([value]).obj is value
        assert is_frozen(freeze(make()))
        unset_freezable(value)
        assert not hasattr(value, "__freezable__")
        assert is_frozen(freeze(value))


def test_the_attribute_of_an_instance_whose_dict_was_made():
    value = Plain()
    vars(value)["__freezable__"] = FREEZABLE_NO
    assert refusal([value]).obj is value
    value = Plain()
    value.__dict__ = {"__freezable__": FREEZABLE_NO}
    assert refusal([value]).obj is value
    value.__dict__ = {1: 2, "__freezable__": FREEZABLE_NO}
    assert refusal([value]).obj is value


def test_the_attribute_of_one_instance_says_nothing_of_another():
    class Pair:
        pass

    one, other = Pair(), Pair()
    one.__freezable__ = FREEZABLE_NO
    one.part = other.part = 1
    assert is_frozen(freeze(other))
    assert not is_frozen(one)
    assert refusal(one).obj is one


def test_the_attribute_of_a_class_is_for_its_instances_and_itself():
    class No:
        __freezable__ = FREEZABLE_NO

    instance = No()
    assert get_freezable(instance) == get_freezable(No) == FREEZABLE_NO
    assert refusal([instance]).obj is instance
    assert refusal([No]).obj is No
    assert refusal(No).path == "root"


def test_the_nearest_class_in_the_method_resolution_order_decides():
    class No:
        __freezable__ = FREEZABLE_NO

    class Inherits(No):
        pass

    class Yes(No):
        __freezable__ = FREEZABLE_YES

    class YesAgain(Inherits, Yes):
        pass

    assert refusal(Inherits()).path == "root"
    assert get_freezable(YesAgain()) == FREEZABLE_YES
    assert is_frozen(freeze([YesAgain()])[0])


def test_a_base_that_says_no_goes_with_a_class_that_says_yes():
    class No:
        __freezable__ = FREEZABLE_NO

    class Yes(No):
        __freezable__ = FREEZABLE_YES

    assert refusal([No, 1]).obj is No
    freeze([No, Yes()])
    assert is_frozen(No)
    assert refusal(No()).path == "root"


def test_an_instance_may_say_otherwise_than_its_class():
    class No:
        __freezable__ = FREEZABLE_NO

    class Yes:
        pass

    one, other = No(), Yes()
    one.__freezable__ = FREEZABLE_YES
    other.__freezable__ = FREEZABLE_NO
    assert is_frozen(freeze([one])[0])
    assert refusal([other]).obj is other


def test_a_slot_of_that_name_is_for_the_instances():
    yes, no, unset = SlottedPolicy(), SlottedPolicy(), SlottedPolicy()
    yes.__freezable__, no.__freezable__ = FREEZABLE_YES, FREEZABLE_NO
    assert get_freezable(unset) == FREEZABLE_YES
    assert refusal([no]).obj is no
    freeze([yes, unset])


def test_a_metaclass_decides_for_its_classes():
    class Meta(type):
        __freezable__ = FREEZABLE_NO

    class Made(metaclass=Meta):
        pass

    assert refusal(Made).obj is Made

    class Willing(metaclass=Meta):
        __freezable__ = FREEZABLE_YES

    freeze(Willing)
    assert is_frozen(Meta)


@pytest.mark.parametrize("value", ["no", None, 4, -1, True, [], 10**30])
def test_a_value_that_is_no_policy_refuses_and_says_so(value):
    instance = Plain()
    instance.__freezable__ = value
    assert "__freezable__" in refusal([instance]).reason


def test_looking_the_attribute_up_runs_no_code():
    class Loud:
        ran = []

        def __getattr__(self, name):
            Loud.ran.append(name)
            raise AttributeError

        def __getattribute__(self, name):
            Loud.ran.append(name)
            return object.__getattribute__(self, name)

        __freezable__ = property(lambda self: Loud.ran.append("property"))

    assert "__freezable__" in refusal([Loud()]).reason
    del Loud.__freezable__
    assert is_frozen(freeze([Loud()])[0])
    assert Loud.ran == []


def test_a_key_that_equals_the_name_is_not_asked():
    class Key:
        def __hash__(self):
            return hash("__freezable__")

        def __eq__(self, other):
            raise AssertionError("was compared")

    namespace = types.SimpleNamespace()
    vars(namespace)[Key()] = FREEZABLE_NO
    assert get_freezable(namespace) == FREEZABLE_YES


def test_what_is_set_goes_before_the_attribute():
    value = Plain()
    value.__freezable__ = FREEZABLE_NO
    set_freezable(value, FREEZABLE_YES)
    assert is_frozen(freeze([value])[0])


# ---- Explicit classes ------------------------------------------------------


def test_an_explicit_class_is_frozen_with_an_instance_that_is_named():
    @explicitly_freezable
    class Explicit:
        pass

    class Sub(Explicit):
        pass

    for reached in ([Explicit()], [Sub()], [Explicit], [Sub]):
        assert "FREEZABLE_EXPLICIT" in refusal(reached).reason
    freeze(Sub())
    assert is_frozen(Explicit)
    freeze(Explicit())


def test_an_explicit_class_can_be_named_itself():
    @explicitly_freezable
    class Explicit:
        pass

    assert is_frozen(freeze(Explicit))
    assert refusal([Explicit()]).path == "root[0]"


def test_an_explicit_function_is_detached_as_any_other(module):
    m = module("""
        from immutable import explicitly_freezable
        limits = [1]

        @explicitly_freezable
        def f():
            return limits
    """)
    assert refusal([m.f]).obj is m.f
    freeze(m.f)
    limits, m.limits = m.limits, None
    assert m.f() is limits


# ---- Modules ---------------------------------------------------------------

MODULE = """
    __freezable__ = {policy}
    from immutable import freezable, unfreezable

    class Default:
        def method(self):
            return 1

    @freezable
    class Willing:
        def method(self):
            return lambda: 1

    @unfreezable
    class Unwilling:
        pass

    def function():
        return 1

    @freezable
    def willing():
        return 1

    data = [1]
"""


def test_a_module_is_the_default_for_its_classes_and_functions(module):
    m = module(MODULE.format(policy=FREEZABLE_NO))
    for refused in (m.Default(), m.Default, m.function, m.Unwilling()):
        error = refusal([refused])
        assert error.obj is refused
    assert "module" in refusal(m.Default()).reason
    assert get_freezable(m.Default) == get_freezable(m.function) == FREEZABLE_NO
    for willing in (m.Willing(), m.willing, m.data):
        assert is_frozen(freeze([willing])[0])


def test_a_module_may_want_its_classes_named(module):
    m = module(MODULE.format(policy=FREEZABLE_EXPLICIT))
    assert "FREEZABLE_EXPLICIT" in refusal([m.Default()]).reason
    assert "FREEZABLE_EXPLICIT" in refusal([m.function]).reason
    assert is_frozen(freeze(m.Default()))
    assert is_frozen(freeze(m.function))


def test_a_class_says_otherwise_than_its_module_for_subclasses_elsewhere(module):
    m = module(MODULE.format(policy=FREEZABLE_NO))

    class Elsewhere(m.Willing):
        pass

    class Doubtful(m.Default):
        pass

    assert is_frozen(freeze(Elsewhere()))
    assert refusal(Doubtful()).obj is m.Default


def test_the_module_itself_stays_a_proxy(module):
    m = module(MODULE.format(policy=FREEZABLE_NO))
    freeze([m])
    m.later = 1


def test_a_module_that_says_yes_is_frozen_itself(module):
    m = module(MODULE.format(policy=FREEZABLE_YES).replace("@unfreezable", "@freezable"))
    assert get_freezable(m) == FREEZABLE_YES
    freeze([m])
    assert is_frozen(m.data)
    assert is_frozen(m.function)
    assert is_frozen(m.Default)
    with pytest.raises(MutationError):
        m.later = 1
    assert m.Default().method() == 1
    unwilling = module(MODULE.format(policy=FREEZABLE_YES))
    assert refusal([unwilling]).path == "root[0].Unwilling"
    assert not is_frozen(unwilling.data)


def test_a_function_that_names_a_module_that_says_yes_freezes_it(module, elsewhere):
    named = module("""
        from immutable import FREEZABLE_YES
        __freezable__ = FREEZABLE_YES
        table = {"a": [1]}
    """)
    m = module(f"""
        import {named.__name__} as named

        def look():
            return named.table
    """)
    freeze(m.look)
    assert is_frozen(named.table)
    assert m.look() is named.table
    elsewhere().run("assert id(look()) == address", look=m.look, address=id(named.table))


def test_a_module_that_says_nothing_of_worth_refuses(module):
    m = module(MODULE.format(policy="'no'"))
    assert "__freezable__" in refusal(m.Default()).reason


def test_a_module_that_is_not_imported_says_nothing():
    class Lost:
        __module__ = "there.is.no.such.module"

    assert is_frozen(freeze(Lost()))


# ---- The process -----------------------------------------------------------

DEFAULTS = """
    import dataclasses, enum, fractions, abc
    from immutable import NotFreezableError, freezable, freeze, get_freezable, is_frozen, register_freezable

    class Plain:
        pass

    @freezable
    @dataclasses.dataclass
    class Willing(abc.ABC):
        part: int = 1
        def method(self):
            return Plain

    def refuses(value):
        try:
            freeze(value)
        except NotFreezableError as error:
            return "immutable_default=no" in error.reason
        return False

    print(refuses([Plain()]), refuses(Plain), int(get_freezable(Plain)))
    @freezable
    class Colour(enum.Enum):
        RED = 1
    freeze([Colour.RED, 1, "a", {2: [3]}, lambda: 1])
    del Willing.method
    print(is_frozen(freeze([Willing()])[0]))
    register_freezable(Plain)
    print(is_frozen(freeze(Plain())))
"""


@pytest.mark.parametrize(
    ("options", "environment", "first"),
    [
        ((), {}, "False False 0"),
        (("-X", "immutable_default=yes"), {}, "False False 0"),
        (("-X", "immutable_default=no"), {}, "True True 1"),
        ((), {"PYTHONIMMUTABLE_DEFAULT": "no"}, "True True 1"),
        (("-E",), {"PYTHONIMMUTABLE_DEFAULT": "no"}, "False False 0"),
        (("-X", "immutable_default=yes"), {"PYTHONIMMUTABLE_DEFAULT": "no"}, "False False 0"),
    ],
)
def test_the_default_for_python_classes_can_be_set_for_the_process(
    run_python, monkeypatch, options, environment, first
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run_python(DEFAULTS, options=options) == f"{first}\nTrue\nTrue\n"


def test_the_default_of_the_process_holds_in_every_interpreter(run_python):
    source = """
        from concurrent import interpreters
        interpreters.create().exec('''if True:
            from immutable import NotFreezableError, freeze
            class Plain: pass
            try:
                freeze(Plain())
            except NotFreezableError:
                print("refused")
        ''')
    """
    assert run_python(source, options=("-X", "immutable_default=no")) == "refused\n"


@pytest.mark.parametrize("option", ["immutable_default=maybe", "immutable_default", "immutable_trace=perhaps"])
def test_an_option_that_means_nothing_is_an_error(run_python, option):
    source = """
        try:
            import immutable
        except ValueError as error:
            print(str(error).split()[1].partition("=")[0] in "%s")
    """
    assert run_python(source % option, options=("-X", option)) == "True\n"


# ---- Decorators ------------------------------------------------------------


def test_the_decorators_return_what_they_decorate():
    for decorate in (freezable, unfreezable, explicitly_freezable, frozen):

        class Decorated:
            pass

        def decorated():
            pass

        assert decorate(Decorated) is Decorated
        assert decorate(decorated) is decorated
    assert explicitlyFreezable is explicitly_freezable


def test_the_decorators_set_the_policy():
    for decorate, policy in (
        (freezable, FREEZABLE_YES),
        (unfreezable, FREEZABLE_NO),
        (explicitly_freezable, FREEZABLE_EXPLICIT),
    ):

        @decorate
        class Decorated:
            pass

        @decorate
        def decorated():
            pass

        assert Decorated.__freezable__ == decorated.__freezable__ == policy
        assert get_freezable(Decorated()) == get_freezable(Decorated) == get_freezable(decorated) == policy


@pytest.mark.parametrize("decorate", [freezable, unfreezable, explicitly_freezable])
def test_the_decorators_are_for_classes_and_functions(decorate):
    with pytest.raises(TypeError):
        decorate(3)


def test_an_unfreezable_function_refuses():
    @unfreezable
    def refusing():
        pass

    assert refusal([refusing]).obj is refusing


def test_frozen_freezes_what_it_decorates():
    @frozen
    class Decorated:
        items = [1]

    @frozen
    def decorated():
        pass

    assert is_frozen(Decorated)
    assert is_frozen(Decorated.items)
    assert is_frozen(decorated)
    with pytest.raises(MutationError):
        Decorated.items = 1


def test_frozen_over_other_decorators():
    @frozen
    @dataclasses.dataclass
    class Point:
        x: int = 0

    assert is_frozen(Point)
    assert Point(3) == Point(3)


def test_a_frozen_function_can_call_itself(module):
    m = module("""
        from immutable import frozen

        @frozen
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)

        def outer():
            @frozen
            def down(n):
                return 0 if n == 0 else down(n - 1)
            return down
    """)
    assert m.factorial(5) == 120
    assert m.outer()(3) == 0


def test_a_frozen_class_can_use_its_own_name(module):
    m = module("""
        from immutable import frozen

        @frozen
        class Node:
            def child(self):
                return Node()

            @classmethod
            def make(cls):
                return Node()

            @property
            def other(self):
                return Node()

        def outer():
            @frozen
            class Local:
                def again(self):
                    return Local()
            return Local
    """)
    assert type(m.Node().child()) is m.Node
    assert type(m.Node.make().other) is m.Node
    local = m.outer()
    assert type(local().again()) is local


def test_a_frozen_class_or_function_can_use_its_own_name_inside_of_everything(module):
    m = module("""
        import functools
        from immutable import frozen

        def logged(function):
            @functools.wraps(function)
            def wrapper(*arguments):
                return function(*arguments)
            return wrapper

        @frozen
        @functools.lru_cache
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        @frozen
        @logged
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)

        def outer():
            @frozen
            @logged
            def down(n):
                return 0 if n == 0 else down(n - 1)

            @frozen
            class Local(Parts):
                makers = [lambda: Local]

                @functools.cached_property
                def cached(self):
                    return Local

            return down, Local

        class Parts:
            pass

        @frozen
        class Global(Parts):
            makers = [lambda: Global]

            @functools.cached_property
            def cached(self):
                return Global

            @functools.singledispatchmethod
            def dispatched(self, argument):
                return Global

            @dispatched.register
            def _(self, argument: int):
                return [Global]

        @frozen
        class Alone:
            makers = [lambda: Alone]
    """)
    assert m.fibonacci(10) == 55
    assert m.factorial(5) == 120
    down, local = m.outer()
    assert down(3) == 0
    for cls in local, m.Global:
        assert cls().cached is cls.makers[0]() is cls
    assert m.Global().dispatched("") is m.Global
    assert m.Global().dispatched(1) == [m.Global]
    assert m.Alone.makers[0]() is m.Alone


def test_a_frozen_wrapper_leaves_the_module_of_its_decorator_alone(module):
    library = module("""
        import functools

        def logged(function):
            @functools.wraps(function)
            def wrapper(*arguments):
                return function(*arguments), ready
            return wrapper

        ready = "library"
    """)
    m = module(f"""
        from {library.__name__} import logged
        from immutable import frozen

        @frozen
        @logged
        def ready():
            return ready
    """)
    assert m.ready() == (m.ready, "library")
    assert library.ready == "library"


def test_a_frozen_that_refuses_leaves_the_module_as_it_was(module):
    m = module("""
        from immutable import frozen

        before = refusing = "before"
        stream = (n for n in [])

        def try_it():
            return stream, refusing, never
    """)
    m.try_it.__name__ = m.try_it.__qualname__ = "refusing"
    with pytest.raises(NotFreezableError):
        frozen(m.try_it)
    assert m.refusing == "before"
    m.try_it.__name__ = m.try_it.__qualname__ = "never"
    with pytest.raises(NotFreezableError):
        frozen(m.try_it)
    assert not hasattr(m, "never")
    assert not is_frozen(m.try_it)


def test_captures_name_globals_that_are_reached_only_dynamically(module):
    m = module("""
        from immutable import frozen
        x = [1]
        y = [2]

        @frozen(captures=("x",))
        def dynamic(name):
            return globals().get(name)

        @frozen(captures=["x", "y"])
        class Reader:
            def read(self, name):
                return eval(name)

            @staticmethod
            def static(name):
                return globals()[name]
    """)
    assert m.dynamic("x") is m.x
    assert m.dynamic("y") is None
    assert is_frozen(m.x)
    assert m.Reader().read("y") is m.y
    assert m.Reader.static("x") is m.x
    x, m.x = m.x, None
    assert m.dynamic("x") is x


def test_captures_that_are_not_there_are_an_error(module):
    source = """
        from immutable import frozen

        @frozen(captures={captures})
        def f():
            pass
    """
    with pytest.raises(NameError) as raised:
        module(source.format(captures="('nothing',)"))
    assert raised.value.name == "nothing"
    with pytest.raises(TypeError):
        module(source.format(captures="'f'"))
    with pytest.raises(TypeError):
        module(source.format(captures="(1,)"))


# ---- Registration ----------------------------------------------------------


def test_register_freezable_is_a_decorator():
    @register_freezable
    class Yes:
        __freezable__ = FREEZABLE_NO

    @register_freezable(policy=FREEZABLE_NO)
    class No:
        pass

    assert refusal(No()).path == "root"
    assert isinstance(Yes, type)


def test_a_registration_is_for_the_instances():
    class Registered:
        pass

    register_freezable(Registered, FREEZABLE_NO)
    assert get_freezable(Registered) == FREEZABLE_NO
    assert is_frozen(freeze(Registered))
    assert refusal(Registered()).path == "root"


def test_a_registration_with_yes_permits_the_class_too():
    class No:
        __freezable__ = FREEZABLE_NO

    class Sub(No):
        pass

    register_freezable(Sub)
    assert is_frozen(freeze(Sub()))


def test_what_is_registered_last_counts():
    class Changing:
        pass

    set_freezable(Changing, FREEZABLE_NO)
    register_freezable(Changing)
    assert get_freezable(Changing) == FREEZABLE_YES
    set_freezable(Changing, FREEZABLE_NO)
    assert refusal(Changing()).path == "root"
    unset_freezable(Changing)
    assert is_frozen(freeze(Changing()))


def test_a_registration_does_not_keep_the_class():
    class Passing:
        pass

    register_freezable(Passing, FREEZABLE_NO)
    gone = weakref.ref(Passing)
    del Passing
    gc.collect()
    assert gone() is None


def test_registering_a_class_of_ones_own_does_not_warn():
    class Own:
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert register_freezable(Own) is Own


def test_registering_a_class_of_somebody_else_warns_once(module):
    m = module("""
        class Theirs:
            pass
    """)
    with pytest.warns(FreezabilityWarning, match="Theirs") as caught:
        register_freezable(m.Theirs)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_freezable(m.Theirs)


def test_refusing_for_somebody_else_needs_no_promise(module):
    m = module("class Theirs: pass")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_freezable(m.Theirs, FREEZABLE_NO)


def test_registering_a_static_type_always_warns(run_python):
    printed = run_python("""
        import itertools, warnings
        from immutable import FreezabilityWarning, freeze, is_frozen, register_freezable
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            register_freezable(itertools.count)
            register_freezable(itertools.count)
            register_freezable(itertools.chain)
        print([warning.category is FreezabilityWarning for warning in caught])
        print(is_frozen(freeze([itertools.count(1)])))
    """)
    assert printed == "[True, True]\nTrue\n"


def test_a_warning_that_is_an_error_registers_nothing(module):
    m = module("class Theirs: pass")
    set_freezable(m.Theirs, FREEZABLE_NO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FreezabilityWarning):
            register_freezable(m.Theirs)
    assert refusal(m.Theirs()).path == "root"


def test_a_shallow_immutable_type_is_frozen_and_looked_through(run_python):
    printed = run_python("""
        import types, warnings
        from immutable import freeze, is_frozen, register_shallow_immutable
        warnings.simplefilter("ignore")
        view = types.MappingProxyType(freeze({}))
        print(is_frozen(view))
        print(register_shallow_immutable(types.MappingProxyType) is types.MappingProxyType)
        print(is_frozen(types.MappingProxyType(freeze({}))), is_frozen(types.MappingProxyType({})))
        import itertools
        register_shallow_immutable(itertools.repeat)
        print(is_frozen(itertools.repeat(freeze([]))), is_frozen(itertools.repeat([])))
        print(is_frozen(freeze([itertools.repeat([])])))
    """)
    assert printed == "False\nTrue\nTrue False\nTrue False\nTrue\n"


def test_a_shallow_immutable_type_is_made_in_c():
    for wrong in (Plain, 3, "text"):
        with pytest.raises(TypeError):
            register_shallow_immutable(wrong)


# ---- Overrides -------------------------------------------------------------


@every_holder
def test_freeze_refuses_inside_require_mutable(make):
    value = make()
    with require_mutable(value) as inside:
        assert inside is value
        assert refusal([value]).obj is value
        assert not is_freezable(value)
        assert get_freezable(value) == FREEZABLE_NO
    assert is_frozen(freeze(value))


def test_require_mutable_is_for_classes_and_modules_too(module):
    m = module()

    class Local:
        pass

    with require_mutable(Local):
        assert refusal(Local).obj is Local
        assert refusal(Local()).path == "root"
    with require_mutable(m):
        assert refusal([m]).obj is m
    freeze([m, Local()])


@pytest.mark.parametrize("value", [freeze([1]), 3, "text", (1, 2), freeze(Plain())])
def test_require_mutable_of_what_is_frozen_is_a_type_error(value):
    with pytest.raises(TypeError), require_mutable(value):
        pytest.fail("was entered")


def test_require_mutable_notices_what_was_frozen_before_the_block_begins():
    value = []
    block = require_mutable(value)
    freeze(value)
    with pytest.raises(TypeError), block:
        pytest.fail("was entered")


def test_overrides_nest():
    value = []
    with FreezabilityOverride(value, FREEZABLE_NO):
        with FreezabilityOverride(value, FREEZABLE_EXPLICIT):
            assert get_freezable(value) == FREEZABLE_EXPLICIT
            with require_mutable(value):
                assert get_freezable(value) == FREEZABLE_NO
            assert get_freezable(value) == FREEZABLE_EXPLICIT
        assert get_freezable(value) == FREEZABLE_NO
    assert get_freezable(value) == FREEZABLE_YES


def test_overrides_may_end_in_any_order():
    value = []
    first, second = FreezabilityOverride(value, FREEZABLE_NO), FreezabilityOverride(value, FREEZABLE_EXPLICIT)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert get_freezable(value) == FREEZABLE_EXPLICIT
    second.__exit__(None, None, None)
    assert get_freezable(value) == FREEZABLE_YES


def test_one_override_can_be_entered_again():
    value = []
    override = FreezabilityOverride(value, FREEZABLE_NO)
    with override, override:
        assert get_freezable(value) == FREEZABLE_NO
        with override:
            pass
        assert get_freezable(value) == FREEZABLE_NO
    assert get_freezable(value) == FREEZABLE_YES


def test_an_override_goes_before_whatever_was_set():
    value = Plain()
    value.__freezable__ = FREEZABLE_NO
    set_freezable(value, FREEZABLE_EXPLICIT)
    with FreezabilityOverride(value, FREEZABLE_YES):
        set_freezable(value, FREEZABLE_NO)
        assert get_freezable(value) == FREEZABLE_YES
    assert get_freezable(value) == FREEZABLE_NO


def test_an_override_ends_when_the_block_raises():
    value = []
    with pytest.raises(ZeroDivisionError), require_mutable(value):
        1 / 0
    assert is_frozen(freeze(value))


def test_an_override_ends_without_a_trace_also_if_the_object_was_frozen():
    values = [[], Plain(), Slotted(), many_attributes()]
    for value in values:
        with FreezabilityOverride(value, FREEZABLE_YES):
            freeze(value)
        assert is_frozen(value)
    assert "__freezable__" not in vars(values[1])
    gone = [weakref.ref(value) for value in values if type(value) is Plain]
    del value, values
    assert [ref() for ref in gone] == [None, None]


def test_overrides_from_several_threads():
    value = [[]]
    entered, left = threading.Barrier(5), threading.Barrier(5)
    seen = []

    def run():
        for _ in range(200):
            with require_mutable(value):
                try:
                    freeze([value])
                except NotFreezableError:
                    pass
                else:
                    seen.append("frozen")
        with FreezabilityOverride(value, FREEZABLE_NO):
            entered.wait(30)
            left.wait(30)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    entered.wait(30)
    assert get_freezable(value) == FREEZABLE_NO
    left.wait(30)
    for thread in threads:
        thread.join()
    assert seen == []
    assert get_freezable(value) == FREEZABLE_YES
    assert is_frozen(freeze(value))


# ---- Everywhere ------------------------------------------------------------


def test_policies_in_a_subinterpreter():
    from concurrent import interpreters

    interpreter = interpreters.create()
    interpreter.exec("""if True:
        from immutable import *
        value = []
        with require_mutable(value):
            assert get_freezable(value) == FREEZABLE_NO
        set_freezable(value, FREEZABLE_NO)
        @frozen
        def f(n):
            return n and f(n - 1)
        assert f(3) == 0
        @unfreezable
        class C:
            pass
        assert not is_freezable(C())
    """)
    interpreter.close()


def test_a_policy_set_in_one_interpreter_says_nothing_in_another():
    """A frozen class passes with what is said in it, and not with what is kept beside it."""
    from concurrent import interpreters

    class Passed:
        pass

    set_freezable(Passed, FREEZABLE_YES)
    freeze(Passed)
    register_freezable(Passed, FREEZABLE_NO)
    interpreter = interpreters.create()
    interpreter.prepare_main(Passed=Passed)
    interpreter.exec("import immutable; assert immutable.is_freezable(Passed())")
    interpreter.close()
    assert not is_freezable(Passed())


def test_register_freezable_can_be_called_from_a_frozen_function(module):
    m = module("""
        from immutable import frozen, get_freezable, register_freezable

        @frozen
        def register(cls):
            register_freezable(cls)
            return get_freezable(cls)
    """)

    class Local:
        pass

    with pytest.warns(FreezabilityWarning):
        assert m.register(Local) == FREEZABLE_YES


def test_arrays_are_asked_by_their_type():
    assert get_freezable(array.array("i")) in (FREEZABLE_YES, FREEZABLE_NO)
    assert immutable.get_freezable(array.array("i")) == get_freezable(array.array)
