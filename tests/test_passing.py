"""Frozen objects pass by reference wherever `concurrent.interpreters` passes objects; others as in stock CPython."""

import gc
import importlib
import itertools
import os
import subprocess
import sys
import threading
import weakref
from concurrent import futures, interpreters

import pytest

from immutable import channel, freeze, is_frozen


class Instance:
    def __init__(self):
        self.parts = [1, {"a": (2, [3])}]


def function(number):
    return number + 1


FROZEN = {
    "list": freeze([1, [2]]),
    "dict": freeze({"a": [1]}),
    "set": freeze({1, 2}),
    "tuple": freeze((1, [2])),
    "text": freeze("text of a length that no cache keeps"),
    "bytes": freeze(b"bytes of a length that no cache keeps"),
    "number": freeze(2**200),
    "float": freeze(1.25e100),
    "instance": freeze(Instance()),
    "class": freeze(Instance),
    "function": freeze(function),
    "sender": channel()[0],
    "module": freeze(itertools),
}

PLAIN = [None, True, 7, 2.5, "text", b"bytes", (1, "a", None), ["a", 1], {"a": 1}]
"""What stock CPython passes as well: by value, as an equal object."""


@freeze
def same(value):
    return value


@freeze
def place_of(value):
    return id(value)


def send_what_is_shared():
    sender.send((id(value), value))  # noqa: F821


@pytest.fixture
def other():
    interpreter = interpreters.create()
    yield interpreter
    interpreter.close()


@pytest.mark.parametrize("kind", FROZEN)
def test_prepare_main_keeps_identity(other, kind):
    value = FROZEN[kind]
    other.prepare_main(value=value, place=id(value))
    other.exec("""if True:
        from immutable import is_frozen
        assert id(value) == place
        assert is_frozen(value)
    """)


@pytest.mark.parametrize("kind", FROZEN)
def test_queues_keep_identity_both_ways(other, kind):
    value = FROZEN[kind]
    there, back = interpreters.create_queue(), interpreters.create_queue()
    other.prepare_main(there=there, back=back)
    there.put(value)
    other.exec("""if True:
        value = there.get()
        back.put(id(value))
        back.put(value)
    """)
    assert back.get() == id(value)
    assert back.get() is value


@pytest.mark.parametrize("kind", FROZEN)
def test_arguments_and_results_of_calls_keep_identity(other, kind):
    value = FROZEN[kind]
    assert other.call(place_of, value) == id(value)
    assert other.call(same, value) is value
    assert other.call(same, value=value) is value


def test_a_call_in_a_thread_of_its_own_takes_frozen_arguments(other):
    sender, receiver = channel()
    value = freeze({"a": [1]})

    @freeze
    def send(sender, value):
        sender.send(value)

    other.call_in_thread(send, sender, value).join(60)
    assert receiver.recv(timeout=60) is value


def test_run_func_shares_frozen_objects():
    import _interpreters

    value = freeze({"a": [1]})
    interpreter = _interpreters.create()
    sender, receiver = channel()
    assert _interpreters.run_func(interpreter, send_what_is_shared, shared={"value": value, "sender": sender}) is None
    place, returned = receiver.recv(timeout=60)
    assert place == id(value)
    assert returned is value
    _interpreters.destroy(interpreter)


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_what_is_not_frozen_passes_by_value(other, value):
    queue = interpreters.create_queue()
    queue.put(value)
    other.prepare_main(queue=queue)
    other.exec("value = queue.get(); queue.put(value)")
    assert queue.get() == value
    assert not is_frozen([value])


def test_a_copy_of_what_is_not_frozen_is_changed_elsewhere(other):
    mutable = [1]
    queue = interpreters.create_queue()
    queue.put(mutable)
    other.prepare_main(queue=queue)
    other.exec("value = queue.get(); value.append(2); queue.put(value)")
    assert queue.get() == [1, 2]
    assert mutable == [1]


def test_what_stock_cpython_refuses_is_refused(other):
    with pytest.raises(interpreters.NotShareableError):
        other.prepare_main(value=[1])
    with pytest.raises(interpreters.NotShareableError):
        interpreters.create_queue().put(threading.Lock())
    assert not interpreters.is_shareable([1])
    assert interpreters.is_shareable(freeze([1]))


def test_a_queue_keeps_what_its_maker_has_dropped(other):
    queue = interpreters.create_queue()
    other.prepare_main(queue=queue)
    other.exec("from immutable import freeze; queue.put(freeze({'made': ['there']}))")
    value = queue.get()
    other.exec("del queue")
    assert value == {"made": ["there"]}
    assert is_frozen(value)


@pytest.mark.parametrize("allocator", ["pymalloc", "pymalloc_debug"])
def test_an_allocator_of_one_interpreter_forbids_passing_and_says_what_to_do(allocator):
    source = """if True:
        from concurrent import interpreters
        from immutable import channel, freeze
        value = freeze({"a": [1]})
        sender, receiver = channel()
        other = interpreters.create()
        for use in (
            lambda: interpreters.create_queue().put(value),
            lambda: other.prepare_main(value=value),
            lambda: sender.send(value),
        ):
            try:
                use()
            except RuntimeError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"PYTHONMALLOC": allocator},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [("PYTHONMALLOC=mimalloc" in line) for line in done.stdout.splitlines()] == [True, True, True], done.stdout


# ---- What has a frozen class of another interpreter ------------------------------------------------------------------

PROGRAM = """
from dataclasses import dataclass

class Fault(Exception):
    pass

@dataclass
class Result:
    parts: list
    of: object = None

def fail(data):
    raise Fault("no", Result([data["list"]]))

def compute(data):
    return [Result([data["list"], "text"], Result), {"of": Result([1], data)}]

def compute_what_cannot_be_pickled(data):
    return Result([lambda: 1])
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A module that interpreters can import, whose functions are frozen here."""
    (tmp_path / "a_program_of_workers.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("a_program_of_workers")
    freeze(module.fail, module.compute, module.compute_what_cannot_be_pickled)
    yield module
    del sys.modules["a_program_of_workers"]


class Data(dict):
    """A dict to which there can be weak references."""


@pytest.fixture
def data():
    return freeze(Data(list=[1, [2]]))


def check_computed(computed, program, data):
    first, second = computed
    assert type(first) is type(second["of"]) is first.of is program.Result
    assert first.parts[0] is data["list"]
    assert second["of"].of is data
    assert first == program.Result([[1, [2]], "text"], program.Result)
    first.parts.append(3)  # a copy that is not frozen


def test_a_pool_gives_results_and_exceptions_of_frozen_classes(program, data):
    with futures.InterpreterPoolExecutor(1) as pool:
        check_computed(pool.submit(program.compute, data).result(60), program, data)
        with pytest.raises(program.Fault) as raised:
            pool.submit(program.fail, data).result(60)
        text, result = raised.value.args
        assert text == "no"
        assert type(result) is program.Result
        assert result.parts[0] is data["list"]


def test_calls_and_queues_pass_instances_of_frozen_classes(program, other):
    data = freeze(Data(list=[1, [2]]))
    check_computed(other.call(program.compute, data), program, data)
    queue = interpreters.create_queue()
    other.prepare_main(queue=queue, compute=program.compute, data=data)
    for _ in range(2):
        other.exec("queue.put(compute(data))")
    check_computed(queue.get(), program, data)
    gone = weakref.ref(data, lambda _: None)
    other.exec("del data")
    del data  # a message that is left in the queue has another
    gc.collect()
    assert gone() is not None
    del queue
    other.exec("del queue")
    gc.collect()
    assert gone() is None


def test_a_message_of_an_interpreter_that_has_ended_is_read(program, data):
    other, queue = interpreters.create(), interpreters.create_queue()
    other.prepare_main(queue=queue, compute=program.compute, data=data)
    other.exec("queue.put(compute(data))")
    kept = queue.get()
    other.close()
    check_computed(kept, program, data)


def test_what_cannot_be_pickled_is_refused_as_before(program, data, other):
    with pytest.raises(interpreters.NotShareableError):
        other.call(program.compute_what_cannot_be_pickled, data)
    with pytest.raises(interpreters.NotShareableError):
        interpreters.create_queue().put(program.Result([lambda: 1]))
    assert other.call(program.compute, data)
