"""The function explain()."""

from _immutable import _explain


def explain(*objs):
    """Return a Report of what freeze(*objs) would do. Changes nothing, and calls no __pre_freeze__.

    The search goes on after what refuses, so the report has every refusal. str() of it is for people, to_dict() for
    JSON, to_dot() for Graphviz; objects lists all that would be frozen, with paths. Raises MemoryError if there is no
    memory to look, TypeError without an argument.
    """
    from immutable._report import Report  # seldom needed, and not when an interpreter starts

    if not objs:
        raise TypeError("explain() takes at least one object")
    return Report(objs, _explain(*objs))
