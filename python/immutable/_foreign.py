"""Extension modules that were not built for this runtime."""

from typing import NamedTuple

from _immutable import _foreign_extensions


class ForeignExtension(NamedTuple):
    """An extension module that does not count its references to frozen objects."""

    name: str
    path: str
    reason: str


def foreign_extensions():
    """Return the foreign extension modules that this process has loaded, in order: a list of (name, path, reason).

    Once it is not empty, frozen objects are not released any more in this process: such a module may hold references
    to them that nobody counts.
    """
    return [ForeignExtension(*entry) for entry in _foreign_extensions()]
