"""The names that a user can rely on, and where they can be used."""

import ast
import gc
import inspect
import pydoc
import re
import subprocess
import sys
import threading
import tomllib
from concurrent import interpreters
from pathlib import Path

import pytest
from graphs import frozen_now

import immutable
from immutable import MutationError, NotFreezableError, freeze, is_frozen

SURFACE = {
    "FREEZABLE_EXPLICIT",
    "FREEZABLE_NO",
    "FREEZABLE_PROXY",
    "FREEZABLE_YES",
    "ChannelClosed",
    "ForeignExtension",
    "ForeignExtensionWarning",
    "Freezability",
    "FreezabilityOverride",
    "FreezabilityWarning",
    "ImmutableModule",
    "InterpreterLocal",
    "MutationError",
    "NotFreezableError",
    "Receiver",
    "Sender",
    "SharedField",
    "channel",
    "foreign_extensions",
    "explain",
    "explicitlyFreezable",
    "explicitly_freezable",
    "freezable",
    "freeze",
    "frozen",
    "get_freezable",
    "is_freezable",
    "is_frozen",
    "isfrozen",
    "register_freezable",
    "register_shallow_immutable",
    "require_mutable",
    "select",
    "set_freezable",
    "unfreezable",
    "unset_freezable",
    "share_module",
    "thaw",
}


MISUSES = [
    "freeze()",
    "freeze(mutable, deep=True)",
    "is_frozen()",
    "is_frozen(mutable, mutable)",
    "is_freezable()",
    "explain()",
    "explain(mutable, deep=True)",
    "register_freezable(mutable)",
    "register_freezable(list, 9)",
    "register_shallow_immutable(mutable)",
    "set_freezable(mutable)",
    "set_freezable(mutable, 'yes')",
    "set_freezable(mutable, 9)",
    "set_freezable(done, FREEZABLE_NO)",
    "get_freezable()",
    "unset_freezable()",
    "freezable(mutable)",
    "unfreezable(mutable)",
    "explicitly_freezable(mutable)",
    "frozen(mutable, captures=('name',))",
    "frozen(captures='name')",
    "frozen(captures=(1,))",
    "require_mutable()",
    "require_mutable(done)",
    "FreezabilityOverride(mutable)",
    "FreezabilityOverride(mutable, 9)",
    "SharedField()",
    "SharedField(mutable)",
    "SharedField(1).set(mutable)",
    "SharedField(1).compare_and_swap(1)",
    "InterpreterLocal()",
    "InterpreterLocal(mutable)",
    "channel(0)",
    "channel('many')",
    "channel()[0].send(mutable)",
    "channel()[1].recv(timeout=-1)",
    "select()",
    "select(mutable)",
    "Sender()",
    "Receiver()",
    "share_module(mutable)",
    "thaw()",
    "thaw(lock)",
]
"""Calls with arguments that cannot be right."""


def test_the_package_has_every_name_of_its_surface_and_no_other():
    assert set(immutable.__all__) == SURFACE
    assert [name for name in sorted(SURFACE) if not hasattr(immutable, name)] == []


def test_every_public_function_and_class_says_what_it_does():
    undocumented = [
        name
        for name in sorted(SURFACE)
        if callable(getattr(immutable, name)) and not inspect.getdoc(getattr(immutable, name))
    ]
    assert undocumented == []


@pytest.mark.parametrize("name", sorted(name for name in SURFACE if callable(getattr(immutable, name))))
def test_help_says_how_it_is_called_and_what_it_does(name):
    value = getattr(immutable, name)
    shown = pydoc.plain(pydoc.render_doc(value, "%s"))
    assert "(...)" not in shown.split("Data descriptors")[0].split("Methods inherited")[0]
    assert inspect.getdoc(value).splitlines()[0] in shown
    assert re.search(r" in module _?immutable\b", shown.splitlines()[0])


def test_the_type_stubs_name_the_same_things():
    package = Path(immutable.__file__).parent
    assert (package / "py.typed").exists()
    stubs = ast.parse((package / "__init__.pyi").read_text())
    named = set()
    for node in stubs.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                named.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                named.add(name)
    assert {name for name in named if not name.startswith("_")} == SURFACE


def test_isfrozen_is_is_frozen():
    assert immutable.isfrozen is immutable.is_frozen


def test_freeze_returns_its_first_argument():
    first, second = [1], [2]
    assert freeze(first, second) is first
    assert is_frozen(first)
    assert is_frozen(second)


def test_freeze_without_an_argument_is_an_error_of_use():
    with pytest.raises(TypeError) as raised:
        freeze()
    assert not isinstance(raised.value, NotFreezableError)


def test_freezing_again_is_allowed_and_does_nothing():
    value = freeze([1, [2]])
    assert freeze(value) is value
    assert is_frozen(value)


def test_an_ordinary_object_is_not_frozen():
    assert not is_frozen([])
    assert not is_frozen({})
    assert not is_frozen(object.__new__(type("C", (), {})))


def test_a_write_raises_mutation_error_that_names_the_object():
    value = freeze([1, 2, 3])
    with pytest.raises(MutationError) as raised:
        value.append(4)
    assert isinstance(raised.value, TypeError)
    assert raised.value.obj is value
    assert "list" in str(raised.value)


def test_a_refusal_names_the_object_the_path_and_the_reason():
    culprit = (number for number in [])
    root = {"a": [1, 2, 3, culprit]}
    with pytest.raises(NotFreezableError) as raised:
        freeze(root)
    error = raised.value
    assert isinstance(error, TypeError)
    assert error.obj is culprit
    assert error.path == "root['a'][3]"
    assert isinstance(error.reason, str)
    assert error.reason
    assert "generator" in str(error)
    assert error.path in str(error)


def test_mutation_error_and_not_freezable_error_are_different_things():
    assert not issubclass(MutationError, NotFreezableError)
    assert not issubclass(NotFreezableError, MutationError)


def test_is_frozen_marks_a_shallow_immutable_whose_parts_are_frozen():
    parts = freeze([1]), freeze({2})
    assert is_frozen((*parts, "text", 3.5))
    assert not is_frozen((*parts, []))
    assert is_frozen(frozenset([1, "a", (2, 3)]))
    assert is_frozen(slice(1, (2, 3), None))


def test_what_is_frozen_counts_as_such_is_marked():
    part = freeze([1])
    value = (part, "text")
    assert gc.is_tracked(value)
    before = frozen_now()["frozen_objects"]
    assert is_frozen(value)
    assert frozen_now()["frozen_objects"] == before + 1
    assert not gc.is_tracked(value)
    assert list(immutable.explain(value).objects) == []


@pytest.mark.parametrize("call", MISUSES)
def test_an_error_of_use_is_an_exception_that_says_what_is_wrong(call):
    names = {name: getattr(immutable, name) for name in immutable.__all__}
    mutable = [1]
    with pytest.raises((TypeError, ValueError)) as raised:
        eval(call, names | {"mutable": mutable, "done": freeze([1]), "lock": threading.Lock()})
    assert not isinstance(raised.value, (MutationError, NotFreezableError))
    assert str(raised.value)
    assert not is_frozen(mutable)
    mutable.append(2)


def test_stats_count_what_is_frozen_now():
    assert set(immutable._stats()) == {
        "frozen_objects",
        "components",
        "record_bytes",
        "local_views",
        "pinned_objects",
        "pinned_bytes",
    }
    before = frozen_now()
    value = freeze([[], {}])
    during = frozen_now()
    assert during["frozen_objects"] == before["frozen_objects"] + 3
    assert during["components"] == before["components"]
    del value
    assert frozen_now() == before


def test_a_cycle_is_one_component_with_a_record():
    before = frozen_now()
    ring = [[]]
    ring[0].append(ring)
    freeze(ring)
    during = frozen_now()
    assert during["frozen_objects"] == before["frozen_objects"] + 2
    assert during["components"] == before["components"] + 1
    assert during["record_bytes"] > before["record_bytes"]
    del ring
    assert frozen_now() == before


@pytest.mark.allocator
def test_memory_comes_from_an_allocator_that_any_interpreter_may_return_it_to(run_python):
    name = run_python("import _testinternalcapi; print(_testinternalcapi.pymem_getallocatorsname())").strip()
    assert name.removesuffix("_debug") == "mimalloc"


# ---- register_freezable ----------------------------------------------------


def test_a_registered_policy_decides_for_instances_of_a_type():
    class Refusing:
        pass

    class OnlyByName:
        pass

    immutable.register_freezable(Refusing, immutable.FREEZABLE_NO)
    immutable.register_freezable(OnlyByName, immutable.FREEZABLE_EXPLICIT)

    refusing = Refusing()
    with pytest.raises(NotFreezableError) as raised:
        freeze(refusing)
    assert raised.value.obj is refusing
    assert raised.value.path == "root"

    reached = OnlyByName()
    with pytest.raises(NotFreezableError) as raised:
        freeze([reached])
    assert raised.value.obj is reached
    assert not is_frozen(reached)
    freeze(reached)
    assert is_frozen(reached)


def test_a_type_can_be_registered_back_to_freezable():
    class Changing:
        pass

    immutable.register_freezable(Changing, immutable.FREEZABLE_NO)
    with pytest.raises(NotFreezableError):
        freeze(Changing())
    immutable.register_freezable(Changing)
    assert is_frozen(freeze(Changing()))


def test_a_c_type_that_refuses_can_be_registered(run_python):
    assert "refused\nfrozen True\n" in run_python("""
        import itertools
        from immutable import NotFreezableError, freeze, is_frozen, register_freezable
        try:
            freeze(itertools.count(1))
        except NotFreezableError:
            print("refused")
        register_freezable(itertools.count)
        print("frozen", is_frozen(freeze(itertools.count(1))))
    """)


def test_register_freezable_takes_a_type_and_a_policy():
    with pytest.raises(TypeError):
        immutable.register_freezable("not a type")
    with pytest.raises((TypeError, ValueError)):
        immutable.register_freezable(type("C", (), {}), 99)


# ---- InterpreterLocal ------------------------------------------------------


def test_an_interpreter_local_holds_a_value_that_may_change():
    local = immutable.InterpreterLocal(0)
    assert local.get() == 0
    local.set([1])
    local.get().append(2)
    assert local.get() == [1, 2]
    local.reset()
    assert local.get() == 0


def test_an_interpreter_local_makes_its_value_on_first_use():
    def empty():
        return []

    local = immutable.InterpreterLocal(freeze(empty))
    first = local.get()
    first.append(1)
    assert local.get() is first


def test_a_frozen_interpreter_local_still_takes_values():
    class Cached:
        def __init__(self):
            self.cache = immutable.InterpreterLocal(None)

    cached = freeze(Cached())
    cached.cache.set({"a": 1})
    assert cached.cache.get() == {"a": 1}
    with pytest.raises(MutationError):
        cached.cache = None


# ---- Where it works --------------------------------------------------------

IN_AN_INTERPRETER = """
import _immutable, immutable
value = immutable.freeze({"a": [1, 2]})
assert immutable.is_frozen(value["a"])
try:
    value["a"].append(3)
except immutable.MutationError:
    pass
else:
    raise AssertionError("a write went through")
try:
    immutable.freeze([iter([])])
except immutable.NotFreezableError as error:
    assert error.path == "root[0]", error.path
else:
    raise AssertionError("an iterator was frozen")
"""


def test_it_works_in_every_subinterpreter():
    several = [interpreters.create() for _ in range(4)]
    for interpreter in several:
        interpreter.exec(IN_AN_INTERPRETER)
    for interpreter in several:
        interpreter.close()


@pytest.mark.parametrize("config", ["isolated", "legacy"])
def test_it_works_in_an_interpreter_of_either_kind(config):
    import _interpreters

    interpreter = _interpreters.create(config)
    try:
        assert _interpreters.exec(interpreter, IN_AN_INTERPRETER) is None
    finally:
        _interpreters.destroy(interpreter)


def test_exceptions_of_a_subinterpreter_are_type_errors_there():
    interpreter = interpreters.create()
    interpreter.exec("""if True:
        import immutable
        assert issubclass(immutable.MutationError, TypeError)
        assert issubclass(immutable.NotFreezableError, TypeError)
        try:
            immutable.freeze([]).append(1)
        except TypeError as error:
            assert type(error) is immutable.MutationError
            assert error.obj == []
    """)
    interpreter.close()


def test_it_works_in_a_virtual_environment(tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    subprocess.run([environment / "bin" / "python", "-c", IN_AN_INTERPRETER], check=True)


def test_a_program_that_only_freezes_loads_nothing_else(run_python):
    loaded = run_python(
        """
        import sys
        before = set(sys.modules)
        from immutable import channel, freeze, is_frozen
        sender, receiver = channel()
        sender.send(freeze({"a": [1]}))
        assert is_frozen(receiver.recv()["a"])
        print(*set(sys.modules) - before)
        """,
        options=("-I", "-S"),
    )
    assert set(loaded.split()) == {"_immutable", "immutable"}


def test_a_program_that_freezes_nothing_loads_nothing(run_python):
    assert run_python("import sys; print('_immutable' in sys.modules)", options=("-I", "-S")) == "False\n"


def test_an_interpreter_that_loads_nothing_refuses_writes_as_others_do(run_python):
    source = """
        from concurrent import interpreters
        from immutable import freeze
        other = interpreters.create()
        other.prepare_main(value=freeze([1]))
        other.exec('''if True:
            import sys
            def attempt():
                try:
                    value.append(2)
                except TypeError as error:
                    return type(error).__module__, type(error).__name__, error.obj is value
            told = attempt()
            print(*told, "_immutable" in sys.modules)
            from immutable import MutationError
            try:
                value.append(2)
            except MutationError:
                print("the same class")
        ''')
        other.close()
    """
    assert run_python(source, options=("-I", "-S")) == "immutable MutationError True False\nthe same class\n"


# ---- Every promise has its test -------------------------------------------

PROMISES = {
    # The package
    "works in every interpreter, own GIL or not": "surface.it_works_in_an_interpreter_of_either_kind",
    "works in a virtual environment": "surface.it_works_in_a_virtual_environment",
    "is typed": "surface.the_type_stubs_name_the_same_things surface.the_type_stubs_are_checked",
    "has these names": "surface.the_package_has_every_name_of_its_surface_and_no_other",
    # The table
    "freeze() freezes everything reachable": "properties.exactly_what_the_roots_reach_is_frozen",
    "freeze() is all or nothing": "all_or_nothing.a_refusal_leaves_every_object_as_it_was",
    "freeze() works in place": "freeze_types.freeze_works_in_place_and_is_seen",
    "freeze() returns the first argument": "surface.freeze_returns_its_first_argument",
    "isolated= demands that nothing outside refers in": "isolated.a_reference_from_outside_refuses_with_the_path",
    "isolated= allows the caller's reference": "isolated.the_callers_own_reference_to_the_root_is_allowed",
    "isolated= freezes nothing when it refuses": "isolated.nothing_is_frozen_by_a_refusal",
    "isfrozen is is_frozen": "surface.isfrozen_is_is_frozen",
    "is_frozen() is true if deeply immutable": "properties.exactly_what_the_roots_reach_is_frozen",
    "is_frozen() looks through tuples": "surface.is_frozen_marks_a_shallow_immutable_whose_parts_are_frozen",
    "is_frozen() marks what counts": "surface.what_is_frozen_counts_as_such_is_marked",
    "is_freezable() is a dry run": "explain.is_freezable_says_no_where_freeze_refuses "
    "explain.is_freezable_says_yes_where_freeze_succeeds explain.explaining_leaves_no_trace",
    "explain() counts by type": "explain.counts_per_type_come_most_first",
    "explain() counts components": "explain.components_are_counted_and_the_largest_told",
    "explain() tells what detaches": "explain.functions_that_would_be_detached_are_told_with_what_they_capture",
    "explain() tells what becomes a proxy": "explain.what_would_stay_mutable_is_told",
    "explain() tells each refusal": "explain.every_object_that_would_refuse_is_told_with_path_and_reason",
    "explain() prints well": "explain.a_report_prints_as_lines_for_a_terminal",
    "explain().to_dict()": "explain.a_report_goes_through_json",
    "explain().to_dot()": "explain.a_report_as_a_graph_has_a_node_for_each_object_and_an_edge_for_each_reference",
    "register_freezable() opts in": "surface.a_registered_policy_decides_for_instances_of_a_type",
    "register_freezable() is for C types too": "surface.a_c_type_that_refuses_can_be_registered",
    "register_freezable() is a decorator": "freezability.register_freezable_is_a_decorator",
    "register_shallow_immutable()": "freezability.a_shallow_immutable_type_is_frozen_and_looked_through",
    "set_freezable(), get_freezable(), unset_freezable()": "freezability.what_is_set_is_what_is_got_until_it_is_unset",
    "FREEZABLE_YES": "freezability.yes_is_frozen_when_reached_and_as_a_root",
    "FREEZABLE_NO": "freezability.no_refuses_when_reached_and_as_a_root",
    "FREEZABLE_EXPLICIT": "freezability.explicit_refuses_when_reached_and_is_frozen_as_a_root",
    "FREEZABLE_PROXY": "freezability.proxy_is_for_modules",
    "Freezability is an enum of the policies": "freezability.the_constants_equal_the_members_of_the_enum",
    "@frozen": "freezability.frozen_freezes_what_it_decorates",
    "@frozen(captures=)": "freezability.captures_name_globals_that_are_reached_only_dynamically",
    "@freezable, @unfreezable, @explicitly_freezable": "freezability.the_decorators_set_the_policy "
    "freezability.the_decorators_return_what_they_decorate freezability.an_unfreezable_function_refuses",
    "explicitlyFreezable is @explicitly_freezable": "freezability.the_decorators_return_what_they_decorate",
    "require_mutable() refuses inside the block": "freezability.freeze_refuses_inside_require_mutable",
    "require_mutable() raises if it is too late": "freezability.require_mutable_of_what_is_frozen_is_a_type_error",
    "FreezabilityOverride": "freezability.an_override_goes_before_whatever_was_set freezability.overrides_nest",
    "FreezabilityWarning": "freezability.registering_a_class_of_somebody_else_warns_once",
    "__pre_freeze__ is called before": "pre_freeze.the_hook_is_called_before_the_object_is_frozen",
    "__pre_freeze__ is called once": "pre_freeze.the_hook_is_called_once_for_each_object_however_often_it_is_reached",
    "__pre_freeze__ may abort": "pre_freeze.a_hook_that_raises_aborts_the_freeze_with_its_exception",
    "__freezable__ of an object": "freezability.the_attribute_of_an_instance",
    "__freezable__ of a class": "freezability.the_attribute_of_a_class_is_for_its_instances_and_itself",
    "__freezable__ of a module": "freezability.a_module_is_the_default_for_its_classes_and_functions",
    "SharedField is one cell for all interpreters": "shared_field.every_interpreter_sees_the_same_shared_field",
    "SharedField takes frozen values only": "shared_field.a_shared_field_takes_frozen_values_only",
    "SharedField.get(), set(), swap()": "shared_field.a_shared_field_holds_what_it_is_given",
    "SharedField.compare_and_swap() by identity": "shared_field.compare_and_swap_goes_by_identity",
    "SharedField is atomic": "shared_field.no_update_of_a_shared_field_is_lost",
    "InterpreterLocal has a value per interpreter": "shared_field.each_interpreter_has_its_own_value_of_a_local",
    "InterpreterLocal.get(), set(), reset()": "surface.an_interpreter_local_holds_a_value_that_may_change",
    "InterpreterLocal runs a factory in each": "shared_field.a_frozen_factory_runs_on_first_use_in_each_interpreter",
    "channel() returns frozen ends, Sender and Receiver": "channel.both_ends_are_frozen",
    "ends pass between interpreters": "channel.ends_and_messages_pass_between_interpreters",
    "send() takes frozen objects only": "channel.a_mutable_object_is_not_sent",
    "send() moves a pointer": "channel.what_arrives_is_the_object_that_was_sent",
    "channel(capacity)": "channel.a_channel_takes_as_much_as_its_capacity",
    "try_recv()": "channel.try_recv_does_not_wait",
    "recv(timeout=)": "channel.a_wait_ends_after_the_time_given",
    "iteration over a receiver": "channel.iteration_ends_when_the_channel_is_closed_and_empty",
    "close() and ChannelClosed": "channel.a_closed_channel_can_be_received_from_until_it_is_empty",
    "many producers and consumers": "channel.many_producers_and_consumers_lose_and_double_nothing",
    "fair blocking": "channel.those_who_wait_are_served_in_the_order_in_which_they_came",
    "blocking releases the GIL": "channel.other_threads_run_while_one_waits",
    "Ctrl-C ends a wait": "channel.a_keyboard_interrupt_ends_a_wait",
    "select()": "channel.select_takes_from_whichever_has_something",
    "ImmutableModule": "modules.a_module_keeps_its_identity_and_is_an_immutable_module",
    "MutationError.obj": "surface.a_write_raises_mutation_error_that_names_the_object",
    "MutationError says type and operation": "trace.the_message_names_the_type_and_the_operation",
    "MutationError says where": "trace.under_trace_the_message_says_where_the_object_was_frozen",
    "NotFreezableError.obj, .path, .reason": "surface.a_refusal_names_the_object_the_path_and_the_reason",
    "a path is a Python expression": "all_or_nothing.the_path_leads_from_the_root_to_the_culprit",
    "share_module() freezes whole": "share_module.a_shared_module_is_frozen_as_a_whole",
    "share_module() serves every import": "share_module.every_interpreter_imports_the_very_module "
    "share_module.an_interpreter_that_imported_it_before_gets_it_with_the_next_import",
    "share_module() leaves room for state": "share_module.state_that_must_stay_mutable_has_its_places",
    "foreign_extensions() and ForeignExtension": "foreign.a_foreign_extension_is_listed_with_its_file_and_the_reason",
    "ForeignExtensionWarning": "foreign.a_warning_tells_once_in_the_process",
    "thaw() is a deep mutable copy": "thaw.builtin_containers_become_mutable_all_the_way_down",
    "thaw() keeps cycles and shared parts": "thaw.cycles_and_shared_parts_are_kept",
    "thaw() shares classes and functions": "thaw.enumerations_classes_functions_and_modules_stay_shared",
    # Errors of use
    "wrong arguments": "surface.an_error_of_use_is_an_exception_that_says_what_is_wrong",
    "states that forbid freezing": "reentrancy.a_list_cannot_be_frozen_while_it_is_sorted "
    "reentrancy.a_bytearray_cannot_be_frozen_while_a_view_outside_could_write_to_it",
    "allocators that forbid sharing": "passing.an_allocator_of_one_interpreter_forbids_passing_and_says_what_to_do",
    "no half-frozen graph": "memory_errors.a_freeze_that_finds_no_memory_changes_nothing",
    # Copies and reading
    "copy.copy": "freeze_types.copies_of_a_frozen_container_are_mutable",
    "copy.deepcopy": "freeze_types.a_deep_copy_is_mutable_all_the_way_down",
    "pickle": "freeze_types.pickling_works_as_before thaw.copies_and_pickles_of_frozen_objects_are_mutable_and_equal",
    "==": "freeze_types.a_frozen_value_equals_a_mutable_one",
    "hash": "freeze_types.hashes_stay_what_they_were",
    "iteration": "freeze_types.reading_gives_the_same_as_before",
    "formatting and JSON": "freeze_types.json_and_formatting_see_no_difference",
    "unhashable stays unhashable": "freeze_types.freezing_an_unhashable_does_not_make_it_hashable",
    # Semantics
    "an instance freezes class, bases, metaclass": "classes.freezing_an_instance_freezes_its_class_its_bases_"
    "and_its_metaclass",
    "a class does not freeze its subclasses": "classes.freezing_a_class_does_not_freeze_its_subclasses",
    "mutable subclasses are allowed": "classes.a_class_made_from_a_frozen_one_is_mutable",
    "a bound method freezes its instance": "freeze_types.a_bound_method_freezes_its_instance",
    "super()": "classes.super_and_multiple_inheritance_work",
    "properties": "classes.properties_compute_and_their_setters_are_stopped",
    "slots": "classes.slots_read_and_refuse_writes",
    "descriptors": "classes.descriptors_keep_working",
    "__getattr__": "classes.getattr_and_getattribute_keep_working",
    "dataclasses": "classes.dataclasses_work_frozen classes.ordered_and_hashed_dataclasses_work",
    "enums": "classes.freezing_an_enum_member_freezes_its_enum classes.flags_combine_when_frozen",
    "named tuples": "classes.named_tuples_work_frozen",
    "abstract classes": "classes.abstract_classes_work_frozen",
    "generics": "classes.generic_classes_work_frozen",
    "protocols": "classes.protocols_work_frozen",
    "typing constructs": "classes.typing_constructs_work_frozen",
    "locks and thread locals": "classes.locks_and_thread_locals_inside_a_frozen_object_keep_working",
    "what runs refuses": "all_or_nothing.the_object_itself_refuses",
    "refusals name the escape hatch": "all_or_nothing.the_message_names_the_type_and_says_what_to_do",
    "functions of every kind, anywhere": "functions.a_function_of_every_kind_works_in_any_interpreter",
    "annotations": "functions.annotations_are_told_in_every_way_as_before "
    "functions.annotations_are_those_of_the_calling_interpreter",
    "isinstance and issubclass anywhere": "library.another_interpreter_knows_them_too",
    "importing imports here": "modules.importing_inside_a_frozen_function_imports_into_the_calling_interpreter",
    # concurrent.interpreters
    "Queue": "passing.queues_keep_identity_both_ways",
    "prepare_main()": "passing.prepare_main_keeps_identity",
    "Interpreter.call()": "passing.arguments_and_results_of_calls_keep_identity",
    "run_func()": "passing.run_func_shares_frozen_objects",
    "what is not frozen passes as ever": "passing.what_is_not_frozen_passes_by_value "
    "passing.what_stock_cpython_refuses_is_refused",
    # C
    "Py_CHECKWRITE(), PyErr_WriteToImmutable()": "extensions.a_registered_type_changes_until_an_instance_is_frozen",
    "PyImmutable_Freeze(), PyImmutable_IsFrozen()": "extensions.the_interface_works_from_cpp",
    "PyImmutable_RegisterFreezable()": "extensions.an_instance_freezes_when_it_is_reached",
    "PyImmutable_RegisterShallowImmutable()": "extensions.a_shallow_immutable_is_frozen_when_its_parts_are",
    "PyImmutable_RegisterReachable()": "extensions.a_reference_outside_the_collectors_view_is_frozen_with_its_owner",
    "the header serves C++": "extensions.the_header_serves_cpp",
    "the header documents, and guards itself": "surface.the_header_declares_and_documents_its_functions",
    # Rust
    "invariants are documented, unsafe blocks justified": "surface.the_core_denies_what_is_undocumented",
    "pyo3 counts by calls": "surface.the_core_denies_what_is_undocumented",
    "module state is of the interpreter": "surface.exceptions_of_a_subinterpreter_are_type_errors_there",
    # Command line
    "-X immutable_default and PYTHONIMMUTABLE_DEFAULT": "freezability.the_default_for_python_classes_can_be_set_for_"
    "the_process",
    "-X immutable_foreign and PYTHONIMMUTABLE_FOREIGN": "foreign.foreign_extensions_can_be_refused "
    "foreign.the_option_stands_above_the_environment",
    "-X immutable_trace and PYTHONIMMUTABLE_TRACE": "trace.under_trace_the_message_says_where_the_object_was_frozen",
    "python -m immutable explain": "explain.the_command_explains_an_object_by_name",
    "python -m immutable check": "check.a_module_in_c_that_does_not_opt_in_refuses_and_says_why "
    "check.a_foreign_extension_file_is_named_with_the_reason",
    "python -m immutable bench": "bench.every_benchmark_runs_and_leaves_its_results_with_the_circumstances",
}
"""What the surface promises -> the tests that show it, as module.name without the `test_` of both."""

TESTS = Path(__file__).parent


def defined_in(module):
    tree = ast.parse((TESTS / f"test_{module}.py").read_text())
    return {node.name.removeprefix("test_") for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_a_test(promise):
    named = PROMISES[promise].split()
    assert named
    assert [test for test in named if test.partition(".")[2] not in defined_in(test.partition(".")[0])] == []


def test_every_name_of_the_surface_is_in_a_promise():
    promised = set(re.findall(r"\w+", " ".join(PROMISES)))
    assert SURFACE - promised == set()


# ---- What no program can see -----------------------------------------------


def test_the_type_stubs_are_checked():
    checks = (TESTS.parent / "tools" / "lint-python").read_text()
    for checker in ("-m mypy tests/typed_program.py", "-m mypy.stubtest immutable", "/basedpyright"):
        assert checker in checks
    imported = {
        alias.name
        for node in ast.parse((TESTS / "typed_program.py").read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module == "immutable"
        for alias in node.names
    }
    assert callable_names() - imported == {
        "ChannelClosed",
        "ForeignExtensionWarning",
        "FreezabilityWarning",
        "ImmutableModule",
        "explicitlyFreezable",
        "isfrozen",
    }


def callable_names():
    return {name for name in SURFACE if callable(getattr(immutable, name))}


def test_the_header_declares_and_documents_its_functions():
    header = (TESTS.parent / "src" / "capi" / "include" / "immutability.h").read_text()
    assert "#define Py_IMMUTABILITY 1" in header
    assert "#  define Py_CHECKWRITE(op) PyImmutable_CheckWrite(" in header
    for name in (
        "PyImmutable_CheckWrite",
        "PyErr_WriteToImmutable",
        "PyImmutable_Freeze",
        "PyImmutable_IsFrozen",
        "PyImmutable_RegisterFreezable",
        "PyImmutable_RegisterShallowImmutable",
        "PyImmutable_RegisterReachable",
    ):
        assert re.search(rf"\*/\nPyAPI_FUNC\(int\) {name}\(", header), f"{name} is not declared below a comment"


def test_the_core_denies_what_is_undocumented():
    manifest = tomllib.loads((TESTS.parent / "Cargo.toml").read_text())
    assert manifest["lints"]["rust"]["missing_docs"] == "deny"
    assert manifest["lints"]["rust"]["unsafe_op_in_unsafe_fn"] == "deny"
    assert manifest["lints"]["clippy"]["undocumented_unsafe_blocks"] == "deny"
    assert any(feature.startswith("abi3") for feature in manifest["dependencies"]["pyo3"]["features"])
