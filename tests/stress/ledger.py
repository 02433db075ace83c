"""What finalizers of frozen objects write down, and classes with finalizers.

A frozen function reaches its module as it is at home, through the module object: so the methods below write to
`ledger.finalized` and see what this module holds.
"""

import weakref

import ledger

from immutable import freeze

finalized = []
"""The number of each object whose finalizer ran."""
resurrected = []
"""Objects that finalizers have saved."""
borrowed = []
"""Frozen objects that finalizers may drop, or have made."""
references = []
"""Weak references that finalizers have made to their own object."""


def reset():
    """Empties everything."""
    for each in (finalized, resurrected, borrowed, references):
        each.clear()


class Numbered:
    def __init__(self, number):
        self.number = number


class Finalized(Numbered):
    def __del__(self):
        ledger.finalized.append(self.number)


class Dropping(Numbered):
    """Drops other frozen objects."""

    def __del__(self):
        ledger.finalized.append(self.number)
        if ledger.borrowed:
            ledger.borrowed.pop()
        if len(ledger.borrowed) > 5:
            ledger.borrowed.clear()


class Failing(Numbered):
    """Raises."""

    def __del__(self):
        ledger.finalized.append(self.number)
        raise ValueError(self.number)


class Breeding(Numbered):
    """Makes other frozen objects, with a cycle."""

    def __del__(self):
        ledger.finalized.append(self.number)
        ring = [[1.5], {}]
        ring[1]["ring"] = ring
        ledger.borrowed.append(ledger.freeze(ring))


class Resurrecting(Numbered):
    """Lives on."""

    def __del__(self):
        ledger.finalized.append(self.number)
        ledger.resurrected.append(self)


class Refreezing(Numbered):
    """Lives on, and freezes itself meanwhile."""

    def __del__(self):
        ledger.finalized.append(self.number)
        ledger.resurrected.append(self)
        ledger.freeze(self)


class Circling(Numbered):
    """Notes its number if it can go round its ring."""

    def __del__(self):
        seen, each = 0, self
        while seen < self.length:
            if each.number != (self.number + seen) % self.length or type(each) is not type(self):
                return
            seen, each = seen + 1, each.other
        if each is self:
            ledger.finalized.append(self.number)


class Watching(Numbered):
    """Makes a weak reference to itself."""

    def __del__(self):
        ledger.finalized.append(self.number)
        ledger.references.append(weakref.ref(self))


freeze(Finalized, Dropping, Failing, Breeding, Resurrecting, Refreezing, Circling, Watching)
