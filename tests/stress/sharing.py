"""Frozen objects cross interpreters by reference, in every way that an object can be passed, and outlive them."""

import contextlib
import queue
import time
from concurrent import interpreters

from crew import Crew, switching_often
from lifetimes import Walker, check_node, frozen_graph
from scenario import SCENARIOS, Run, load_scenarios, maker, scenario

from immutable import freeze, is_frozen

ALONE = (
    "graphs_dropped_in_any_order",
    "counts_are_those_from_outside",
    "members_handed_between_threads",
    "graphs_frozen_onto_each_other_by_threads",
    "one_mutable_graph_frozen_by_several_threads",
    "containers_share_frozen_parts",
    "threads_that_come_and_go",
    "strings_and_numbers_are_shared",
    "weak_references_promoted_while_the_last_strong_one_goes",
    "weak_values_serve_as_a_cache_for_threads",
    "weak_keys_sets_and_proxies_follow_frozen_objects",
    "callbacks_that_do_things",
    "finalizers_run_once_each",
    "finalizers_run_once_each_under_threads",
    "resurrected_objects_are_ordinary",
    "functions_called_by_threads",
    "functions_released_while_they_run",
    "classes_used_by_threads",
    "refused_freezes_change_nothing",
    "freezes_without_memory",
    "exceptions_carry_frozen_objects",
)
"""Scenarios of one interpreter that look at nothing which other interpreters change."""


def run_alone(run, names, seconds):
    """Worker: runs scenarios that share nothing with the other interpreters but the process."""
    load_scenarios()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        inner = Run(run.random.choice(names), run.random.getrandbits(32), threads=2, interpreters=1)
        with switching_often(inner):
            SCENARIOS[inner.name].function(inner)
        run.steps += inner.steps


@scenario(weight=1)
def scenarios_in_every_interpreter(run):
    """The scenarios of one interpreter, in several at once: what the process has in common keeps them apart."""
    with Crew(run) as crew:
        crew.ask_all(run_alone, freeze(list(ALONE)), 1.0)


# ---- Graphs ----------------------------------------------------------------


class Inbox:
    """A queue of interpreters, as lifetimes.Walker wants it."""

    def __init__(self, shared):
        self.shared = shared
        self.put = shared.put
        self.get_nowait = shared.get_nowait

    def get(self, timeout):
        time.sleep(timeout)
        return self.shared.get_nowait()


def walk(run, planned, place, inboxes, steps):
    """Worker: walks a graph whose members arrive in an inbox, and passes members on."""
    boxes = list(map(Inbox, inboxes))
    Walker(run, planned, boxes[place], boxes).walk(run.random, steps)


def planned_graph(run, **shape):
    """A frozen graph, and its plan, frozen too."""
    planned, nodes = frozen_graph(run, run.random, **shape)
    return freeze(planned), nodes


def emptied(shared):
    """Everything that is left in a queue."""
    found = []
    with contextlib.suppress(queue.Empty):
        while True:
            found.append(shared.get_nowait())
    return found


@scenario(weight=8)
def members_handed_between_interpreters(run):
    """Interpreters hold, copy, pass on and drop members of one graph; the last one out releases it."""
    rng = run.random
    planned, nodes = planned_graph(run, code=False)
    with Crew(run) as crew:
        inboxes = [interpreters.create_queue() for _ in crew.members]
        for number in rng.sample(range(len(nodes)), rng.randint(1, len(nodes))):
            rng.choice(inboxes).put(nodes[number])
        if rng.random() < 0.7:
            nodes.clear()
        steps = rng.choice((200, 1000, 5000))
        crew.run.in_threads(
            *(
                lambda rng, place=place, member=member: crew.ask(
                    member, walk, planned, place, inboxes, steps, seed=rng.getrandbits(32)
                )
                for place, member in enumerate(crew.members)
            )
        )
        for inbox in inboxes:
            for node in emptied(inbox):
                check_node(run, node, planned)
        for node in nodes:
            check_node(run, node, planned)


def make_graph(run, shared):
    """Worker: makes and freezes a graph, and puts its plan and all nodes into a queue."""
    planned, nodes = planned_graph(run)
    # Frozen, since CPython has the interpreter that put a mutable tuple release what it made for that, and that
    # interpreter may end between the receiver's look at it and its call.
    shared.put(freeze((planned, tuple(nodes))))
    return freeze([planned, nodes])


def use_graph(run, planned, nodes, times):
    """Worker: checks nodes of a graph again and again."""
    for _ in range(times):
        run.step()
        check_node(run, run.random.choice(nodes), planned)


@scenario(weight=6)
def objects_outlive_their_interpreter(run):
    """The interpreter that froze a graph is closed before, while, or after others use it."""
    rng = run.random
    with Crew(run) as crew:
        shared = interpreters.create_queue()
        for _ in range(rng.randint(1, 4)):
            maker = rng.choice(crew.members)
            planned, nodes = crew.ask(maker, make_graph, shared)
            queued = shared.get()
            run.check(queued[0] is planned, "one object, two identities", queued[0], planned)
            run.check(list(map(id, queued[1])) == list(map(id, nodes)), "one object, two identities")
            run.check(is_frozen(nodes), "not frozen on the other side")
            del queued
            when = rng.choice(("before", "while", "after"))
            if when == "before":
                crew.replace(maker)
            use = [user for user in crew.members if user is not maker]
            times = rng.choice((10, 1000))
            workers = [
                lambda rng, user=user, planned=planned, nodes=nodes, times=times: crew.ask(
                    user, use_graph, planned, nodes, times, seed=rng.getrandbits(32)
                )
                for user in use
            ]
            if when == "while":
                workers.append(lambda rng, maker=maker: crew.replace(maker))
            run.in_threads(*workers)
            if when == "after":
                crew.replace(maker)
            if rng.random() < 0.5:
                use_graph(run, planned, nodes, 10)
            del planned, nodes, workers


@scenario(weight=1)
def interpreters_come_and_go(run):
    """Interpreters start, receive, freeze, hand on and end in a loop, several at a time."""
    shared = interpreters.create_queue()

    def visit(rng):
        held = None
        for _ in range(rng.randint(1, 4)):
            inner = Run(run.name, rng.getrandbits(32), threads=1, interpreters=1)
            inner.step = run.step
            with Crew(inner, 1) as crew:
                planned, nodes = crew.ask(crew.members[0], make_graph, shared)
                if held is not None:
                    crew.ask(crew.members[0], use_graph, *held, 20)
                held = planned, nodes
                with contextlib.suppress(queue.Empty):
                    other, theirs = shared.get_nowait()
                    crew.ask(crew.members[0], use_graph, other, theirs, 20)
                    other = theirs = None
            use_graph(run_of(inner, rng), *held, 20)

    run.in_threads(*[visit] * run.interpreters)
    emptied(shared)


def run_of(inner, rng):
    """The run of a thread, with its random numbers."""
    inner.random = rng
    return inner


# ---- The ways to pass an object --------------------------------------------


def given(run, value, expected):
    """Worker: returns an argument, whose id must be the one that the caller saw."""
    run.check(id(value) == expected, "identity of an argument", value)
    return value


PREPARED = """
assert id(first) == first_id and id(second) == second_id, (first, second)
kept = [first, {"second": second}]
"""


@maker(1000)
def doubling(number):
    held = [number]

    def double(value):
        return value, held, id(value)

    return double


@scenario
def every_way_to_pass_an_object(run):
    """Arguments, results, attributes of `__main__`, queues, pools, shared variables: always the same object."""
    import _interpreters
    from concurrent.futures import InterpreterPoolExecutor

    rng = run.random
    double = freeze(doubling(rng.randint(1000, 10**6)))
    with Crew(run) as crew:
        for _ in range(rng.randint(5, 40)):
            run.step()
            member = rng.choice(crew.members)
            planned, nodes = planned_graph(run)
            node = rng.choice(nodes)
            match rng.randrange(6):
                case 0:
                    returned = crew.ask(member, given, node, id(node))
                    run.check(returned is node, "identity of a result", returned, node)
                case 1:
                    # Numbers above what an interpreter caches are objects like others: so the ids go as text.
                    member.prepare_main(first=node, second=planned)
                    member.exec(f"first_id, second_id = {id(node)}, {id(planned)}\n" + PREPARED)
                    if rng.random() < 0.5:
                        member.exec("del first, second, kept")
                case 2:
                    returned, held, seen = member.call(double, node)
                    run.check(returned is node and seen == id(node), "a frozen function called there", returned)
                    run.check(held is double.__closure__[0].cell_contents, "its closure", held)
                    thread = member.call_in_thread(double, node)
                    thread.join()
                case 3:
                    shared = interpreters.create_queue(maxsize=rng.choice((0, 3)))
                    shared.put(node)
                    shared.put(planned)
                    run.check(shared.get() is node and shared.get() is planned, "identity through a queue")
                    shared.put(node)  # left behind in a queue that is dropped
                    del shared
                case 4:
                    problem = _interpreters.run_func(member.id, run_function, shared={"node": node, "number": id(node)})
                    run.check(problem is None, "run_func", problem)
                case 5:
                    with InterpreterPoolExecutor(max_workers=2) as pool:
                        results = list(pool.map(double, (node, planned)))
                    run.check(results[0][0] is node and results[1][0] is planned, "identity in a pool", results)
                    for returned, held, seen in results:
                        run.check(seen == id(returned), "identity in a pool", returned)
                        run.check(held is double.__closure__[0].cell_contents, "a closure in a pool", held)
                    del results
            returned = held = thread = None
            check_node(run, node, planned)
            del planned, nodes, node


def run_function():
    assert id(node) == number, (node, number)  # noqa: F821


def hold(run, nodes):
    """Worker: keeps objects in its module, in a mutable cycle and in a thread-local, and lets them be."""
    import threading

    cycle = [nodes]
    cycle.append(cycle)
    held = threading.local()
    held.nodes = nodes
    globals()[f"held {run.seed}"] = [cycle, held, {node.number for node in nodes if hasattr(node, "number")}]


@scenario
def interpreters_that_end_with_references(run):
    """What an interpreter held when it ended, in modules, cycles and thread-local storage, is given up, and no more."""
    rng = run.random
    planned, nodes = planned_graph(run)
    for _ in range(rng.randint(1, 3)):
        with Crew(run, rng.randint(1, run.interpreters)) as crew:
            crew.ask_all(hold, tuple(rng.sample(nodes, rng.randint(1, len(nodes)))))
        for node in nodes:
            check_node(run, node, planned)
        del node
