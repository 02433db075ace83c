"""Extension modules that were not built for this runtime."""

import collections

from _immutable import _foreign_extensions


# Not typing.NamedTuple, which takes longer to import than all the rest.
class ForeignExtension(collections.namedtuple("ForeignExtension", ["name", "path", "reason"])):
    """An extension module that does not count its references to frozen objects."""

    __slots__ = ()


def foreign_extensions():
    """Return the foreign extension modules that this process has loaded, in order: a list of (name, path, reason).

    Once it is not empty, frozen objects are not released any more in this process: such a module may hold references
    to them that nobody counts.
    """
    return [ForeignExtension(*entry) for entry in _foreign_extensions()]
