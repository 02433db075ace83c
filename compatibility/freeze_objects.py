"""Freezes objects of one package, and uses them afterwards.

usage: python freeze_objects.py PROGRAM
PROGRAM is one of the files in `packages`: its OBJECTS are, by name, a function that makes an object and one that uses
it and returns something true. Prints one JSON object: what became of each.
"""

import json
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
        return ("works" if use(made) else "gives another result once frozen"), ""
    except Exception as error:
        return f"freezes, then raises {type(error).__name__}", str(error)


def main(program):
    """Prints what became of each object."""
    objects = runpy.run_path(program)["OBJECTS"]
    print(json.dumps({name: outcome(make, use) for name, (make, use) in objects.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
