"""Freezes objects of one package, and uses them afterwards.

usage: python freeze_objects.py PROGRAM
PROGRAM is one of the files in `packages`: its OBJECTS are, by name, a function that makes an object and one that uses
it and returns something true. Each is tried in a process of its own, since freezing one freezes what others need.
Prints one JSON object: what became of each.
"""

import json
import os
import runpy
import sys

from immutable import NotFreezableError, freeze, is_frozen


def outcome(make, use):
    """What happens to one object: "works", or what does not, in short and in full."""
    assert use(make()), "it does not work unfrozen"
    made = make()
    try:
        freeze(made)
    except NotFreezableError as error:
        assert not is_frozen(made)
        return f"reaches a '{type(error.obj).__name__}'", str(error)
    assert is_frozen(made)
    try:
        if not use(made):
            return "gives another result once frozen", ""
    except Exception as error:
        return f"freezes, then raises {type(error).__name__}", str(error)
    try:
        assert use(make()), "it gives another result"
    except Exception as error:
        return f"works, but the next one raises {type(error).__name__}", str(error)
    return "works", ""


def in_a_process(make, use):
    """The same, in a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writer, "w") as answer:
            json.dump(outcome(make, use), answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found = answer.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the process ended with status {status}"
    return json.loads(found)


def main(program):
    """Prints what became of each object."""
    objects = runpy.run_path(program)["OBJECTS"]
    print(json.dumps({name: in_a_process(make, use) for name, (make, use) in objects.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
