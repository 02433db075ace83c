"""Frozen objects pass to other interpreters by reference, in every way that CPython 3.15 has to pass an object.

What frozen functions, classes and modules do there is in the files about those; tests/stress does all of it at once.
"""

import _interpchannels
import _interpqueues
import gc
import sys
import textwrap
import threading
import time
import weakref
from concurrent import interpreters
from concurrent.futures import InterpreterPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from graphs import frozen_now

from immutable import InterpreterLocal, SharedField, _stats, channel, freeze, is_frozen


class Node:
    def __init__(self, value):
        self.value = value
        self.itself = self


def node(value=1.5):
    """A frozen object that is equal to no other one, with a cycle."""
    return freeze(Node([value]))


@pytest.fixture
def other():
    interpreter = interpreters.create()
    yield interpreter
    if interpreter.id in {each.id for each in interpreters.list_all()}:
        interpreter.close()


def function(source, name="work"):
    """A frozen function."""
    namespace = {}
    exec(textwrap.dedent(source), namespace)
    return freeze(namespace[name])


def settled():
    """How much is frozen, once what collections drop is gone."""
    for _ in range(3):
        gc.collect()
    return frozen_now()


IDENTITY = """
    def work(value=None):
        return id(value), value
"""


# ---- Every way to pass an object ----------------------------------------------


def test_the_queues_beneath_pass_the_object_itself(other):
    queue = _interpqueues.create(0, 1)
    sent = node()
    _interpqueues.put(queue, sent, 1)
    other.exec(f"import _interpqueues; seen = _interpqueues.get({queue})[0]; _interpqueues.put({queue}, seen, 1)")
    assert _interpqueues.get(queue)[0] is sent
    _interpqueues.destroy(queue)


def test_the_channels_of_cpython_pass_the_object_itself(other):
    name = _interpchannels.create(1)
    sent = node()
    _interpchannels.send(name, sent, blocking=False)
    other.exec(
        f"import _interpchannels; seen = _interpchannels.recv({int(name)})[0];"
        f"_interpchannels.send({int(name)}, seen, blocking=False)"
    )
    assert _interpchannels.recv(name)[0] is sent
    _interpchannels.destroy(name)


def test_a_pool_of_interpreters_passes_the_objects_themselves():
    work = function(IDENTITY)
    sent = [node(value) for value in range(20)]
    with InterpreterPoolExecutor(max_workers=3) as pool:
        results = list(pool.map(work, sent))
        assert pool.submit(work, value=sent[0]).result()[1] is sent[0]
        mixed = function("def work(value, more, **named):\n    return value, named['last']\n")
        first, last = pool.submit(mixed, sent[0], [1], last=sent[1]).result()
        assert first is sent[0]
        assert last is sent[1]
    for (address, returned), each in zip(results, sent, strict=True):
        assert returned is each
        assert address == id(each)


def test_a_pool_is_initialised_with_the_objects_themselves():
    field, sent = SharedField(None), node()
    prepare = function("def work(field, value):\n    field.set(value)\n")
    with InterpreterPoolExecutor(max_workers=1, initializer=prepare, initargs=(field, sent)) as pool:
        pool.submit(function("def work():\n    pass\n")).result()
    assert field.get() is sent


def test_a_frozen_object_arrives_frozen_and_can_be_frozen_again(other):
    sent = node()
    other.prepare_main(sent=sent)
    other.exec("""if True:
        from immutable import MutationError, freeze, is_frozen
        assert is_frozen(sent) and is_frozen(sent.value) and is_frozen(type(sent))
        assert freeze(sent) is sent
        try:
            sent.value.append(2)
        except MutationError:
            pass
        else:
            raise AssertionError("a write went through")
    """)
    assert sent.value == [1.5]


# ---- Lifetime ----------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_an_object_outlives_the_interpreter_that_froze_it(when, other):
    before = settled()
    user = interpreters.create()
    queue = interpreters.create_queue()
    other.prepare_main(queue=queue)
    other.exec("""if True:
        from immutable import freeze
        class Made:
            def __init__(self):
                self.parts = [str(number) * 3 for number in range(100)]
                self.itself = self
            def total(self):
                return sum(map(len, self.parts))
        queue.put(freeze(Made()))
        del Made
    """)
    made = queue.get()
    user.prepare_main(made=made)
    if when == "before":
        other.close()
    thread = threading.Thread(target=user.exec, args=("for _ in range(2000): assert made.total() == 570",))
    thread.start()
    if when == "while":
        other.close()
    for _ in range(200):
        assert made.total() == 570
        assert made.itself is made
    thread.join()
    if when == "after":
        other.close()
    user.close()
    assert made.total() == 570
    watch = weakref.ref(made)
    del made, thread
    assert watch() is None
    assert settled() == before


def test_what_is_left_in_a_queue_goes_with_it():
    queue = interpreters.create_queue()
    left = node()
    watch = weakref.ref(left)
    queue.put(left)
    del left
    assert watch() is not None
    del queue
    gc.collect()
    assert watch() is None


def test_an_interpreter_gives_up_what_it_held_and_nothing_else(other):
    kept, dropped = node(1), node(2)
    watch = weakref.ref(dropped)
    count = sys.getrefcount(kept)
    other.prepare_main(kept=kept, dropped=dropped)
    other.exec("import sys; sys.modules['holder'] = [kept, kept, dropped]; cycle = [kept]; cycle.append(cycle)")
    del dropped
    assert watch() is not None
    other.close()
    assert watch() is None
    assert sys.getrefcount(kept) == count
    assert kept.value == [1]


# ---- Local views --------------------------------------------------------------


def test_a_view_is_made_once_and_dropped_with_the_interpreter(other):
    work = function("def work(x=0):\n    return x\n")
    before = settled()
    other.prepare_main(work=work)
    other.exec("""if True:
        from immutable import _stats
        before = _stats()["local_views"]
        for number in range(100):
            assert work(number) == number
        assert _stats()["local_views"] == before + 1
    """)
    here = _stats()["local_views"]
    assert [work(number) for number in range(3)] == [0, 1, 2]
    assert _stats()["local_views"] == here + 1
    other.close()
    assert work(3) == 3
    assert settled() == before


def test_generators_and_coroutines_of_frozen_functions_run_in_any_interpreter(other):
    made = function("""
        def work():
            held = [1, 2, 3]

            def generate():
                got = 0
                for each in held:
                    got = yield each + (got or 0)

            async def wait(depth):
                return held[depth] + (await wait(depth - 1) if depth else 0)

            async def several():
                for each in held:
                    yield each

            async def gather():
                return [each async for each in several()]

            def factorial(n):
                return n * factorial(n - 1) if n > 1 else 1

            return generate, wait, gather, factorial, [each * 2 for each in held]
    """)()
    freeze(made)
    source = textwrap.dedent("""
        generate, wait, gather, factorial, doubled = made

        def result(coroutine):
            try:
                coroutine.send(None)
            except StopIteration as stop:
                return stop.value

        for _ in range(50):
            running = generate()
            assert [next(running), running.send(10), running.send(20)] == [1, 12, 23]
            assert result(wait(2)) == 6 and result(gather()) == [1, 2, 3]
            assert factorial(10) == 3628800 and doubled == [2, 4, 6]
    """)
    other.prepare_main(made=made)
    thread = threading.Thread(target=other.exec, args=(source,))
    thread.start()
    exec(source, {"made": made})
    thread.join()
    other.exec("assert factorial(5) == 120")


# ---- What interpreters know of objects by address ---------------------------------


@pytest.mark.parametrize("kind", [dict, type("Derived", (dict,), {})])
def test_a_watcher_is_not_told_of_the_end_of_a_dict_that_another_interpreter_watched(kind, other):
    import _testcapi

    watcher = _testcapi.add_dict_watcher(0)
    try:
        watched = kind(a=[1])
        holder = Node(watched)
        _testcapi.watch_dict(watcher, watched)
        freeze(holder)
        other.prepare_main(holder=holder)
        other.exec(f"import _testcapi; assert _testcapi.add_dict_watcher(0) == {watcher}")
        watch = weakref.ref(holder)
        del watched, holder
        assert watch() is not None
        other.exec("del holder")
        assert watch() is None
        other.exec(f"""if True:
            assert _testcapi.get_dict_watcher_events() == [], _testcapi.get_dict_watcher_events()
            _testcapi.clear_dict_watcher({watcher})
        """)
        assert _testcapi.get_dict_watcher_events() == []
    finally:
        _testcapi.clear_dict_watcher(watcher)


def test_interpreters_ask_for_the_hash_of_one_object_at_the_same_time(everywhere_at_once):
    """Each object computes it when it is first asked for; ThreadSanitizer tells if that is a race."""

    def row(n):
        moment = datetime(2000, 1, 1, n % 24, tzinfo=UTC)
        times = (moment, moment.date(), moment.timetz(), timedelta(n))
        return bytes([n, 1]), (n, 1), frozenset([n]), frozendict(a=n), Decimal(n), *times  # noqa: F821

    source = """
        import time
        rows, hashes, start = shared
        while time.monotonic() < start:
            pass
        assert [list(map(hash, row)) for row in rows] == hashes
    """
    hashes = [list(map(hash, row(n))) for n in range(200)]
    everywhere_at_once(textwrap.dedent(source), freeze(([row(n) for n in range(200)], hashes, time.monotonic() + 0.5)))


# ---- What would be unsafe -------------------------------------------------------


@pytest.mark.parametrize("make", [list, dict, set, lambda: Node([1]), lambda: (1, []), lambda: iter([]), object])
def test_mutable_objects_go_into_no_channel_and_no_field(make):
    sender, receiver = channel()
    field = SharedField(None)
    value = make()
    for put in (sender.send, sender.try_send, field.set, field.swap, SharedField):
        with pytest.raises(TypeError, match="frozen"):
            put(value)
    with pytest.raises(TypeError, match="frozen"):
        field.compare_and_swap(None, value)
    assert field.get() is None
    assert receiver.qsize() == 0
    assert not is_frozen(value)


def test_an_object_of_a_type_that_nobody_registered_is_not_shared():
    import _testcapi

    value = _testcapi.HeapGcCType()
    with pytest.raises(TypeError, match="register_freezable"):
        freeze(value)
    with pytest.raises(TypeError, match="frozen"):
        channel()[0].send(value)


SHARING = {
    "queue": "interpreters.create_queue().put(value)",
    "prepare_main": "interpreters.create().prepare_main(value=value)",
    "argument": "interpreters.create().call(print, value)",
    "named argument": "interpreters.create().call(dict, end=value)",
    "pool": "with InterpreterPoolExecutor(1) as pool: pool.submit(id, value).result()",
    "channel": "sender.send(value)",
    "field": "SharedField(value)",
    "shared module": "share_module(module)",
}


@pytest.mark.parametrize("way", SHARING)
@pytest.mark.parametrize("allocator", ["pymalloc", "pymalloc_debug", "mimalloc", "mimalloc_debug", "malloc"])
def test_an_allocator_that_belongs_to_an_interpreter_shares_nothing(allocator, way, run_python, monkeypatch):
    monkeypatch.setenv("PYTHONMALLOC", allocator)
    shown = run_python(f"""
        import traceback, types
        from concurrent import interpreters
        from concurrent.futures import InterpreterPoolExecutor
        from immutable import SharedField, channel, freeze, share_module
        value = freeze([{{"a": 1}}])
        module = types.ModuleType("shared")
        sender, receiver = channel()
        try:
            {SHARING[way]}
        except (RuntimeError, interpreters.NotShareableError):
            print("refused:", traceback.format_exc())
        assert value == [{{"a": 1}}]
    """)
    assert ("refused:" in shown) == ("PYTHONMALLOC=mimalloc" in shown) == allocator.startswith("pymalloc"), shown


# ---- InterpreterLocal -------------------------------------------------------------


def test_each_interpreter_has_its_own_value_which_goes_with_it(other):
    make = function("def work():\n    return []\n")
    local = freeze(InterpreterLocal(make))
    local.get().append("here")
    held = node()
    watch = weakref.ref(held)
    other.prepare_main(local=local, held=held)
    other.exec("assert local.get() == []; local.get().append(held); assert local.get() == [held]; del held")
    del held
    assert local.get() == ["here"]
    assert watch() is not None
    other.close()
    assert watch() is None
    assert local.get() == ["here"]
