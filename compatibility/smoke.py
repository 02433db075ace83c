"""One package put to use with frozen data, in the main interpreter and in three others at once.

usage: python smoke.py PROGRAM
PROGRAM is one of the files in `wheels`: it imports a package and has a function use(data). Prints one JSON object.
"""

import gc
import json
import runpy
import sys
import threading
import warnings
import weakref
from concurrent import interpreters

from immutable import ForeignExtensionWarning, _stats, foreign_extensions, freeze, is_frozen

ROUNDS = 20


def make_data():
    """What the programs use: one of each kind of builtin, with a cycle."""
    nested = [[1, "one"], {"two": (2, 2.0)}]
    nested.append(nested)
    return {
        "names": ["alpha", "beta", "gamma"],
        "numbers": list(range(50)),
        "text": {"key": "value", "other": "text"},
        "pair": {"a": 1, "b": 2.5},
        "bytes": b"bytes",
        "markup": "<b>",
        "attributes": ["ppid", "status"],
        "nested": nested,
    }


class Probe:
    """Something that can be seen to die."""


def frozen_objects():
    sys._clear_internal_caches()
    gc.collect()
    return _stats()["frozen_objects"]


def in_other_interpreters(program, data):
    """Uses the package in three interpreters at once: "own GIL", or why a package does not allow it."""
    several = [interpreters.create() for _ in range(3)]
    outcomes = []

    def work(interpreter):
        interpreter.prepare_main(program=program, data=data, rounds=ROUNDS)
        try:
            interpreter.exec("import runpy; use = runpy.run_path(program)['use']; use(data)")
            interpreter.exec("for _ in range(rounds): use(data)")
        except interpreters.ExecutionFailed as failure:
            # Many modules may be imported once in a process; some are only when they are first used.
            refuses = failure.excinfo.type.__name__ == "ImportError"
            outcomes.append(f"{'refuses' if refuses else 'fails'}: {failure.excinfo.msg}")
        else:
            outcomes.append("own GIL")

    threads = [threading.Thread(target=work, args=(interpreter,)) for interpreter in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for interpreter in several:
        interpreter.close()
    assert len(outcomes) == 3, outcomes
    [outcome] = set(outcomes)
    return outcome


def main(program):
    """Prints what happened."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ForeignExtensionWarning)
        use = runpy.run_path(program)["use"]
        use(freeze(make_data()))  # fills the package's own caches
    in_other_interpreters(program, freeze(make_data()))  # names in their code are kept for later interpreters
    freeze(Probe)
    before = frozen_objects()
    data = freeze(make_data())
    assert is_frozen(data["nested"])
    for _ in range(ROUNDS):
        use(data)
    elsewhere = in_other_interpreters(program, data)
    assert data == data | {}
    probe = freeze(Probe())
    gone = weakref.ref(probe)
    del probe, data
    left = frozen_objects() - before
    stats = _stats()
    result = {
        "foreign": {entry.name: entry.reason for entry in foreign_extensions()},
        "warned": len([one for one in caught if one.category is ForeignExtensionWarning]),
        "probe is gone": gone() is None,
        "left": left,
        "pinned objects": stats["pinned_objects"],
        "pinned bytes": stats["pinned_bytes"],
        "interpreters": elsewhere,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
