"""Pickles that refer to frozen objects, for what passes between interpreters and cannot be pickled as usual.

An instance of a frozen class that was made in another interpreter than the class, such as an exception that a frozen
function has raised in a worker, cannot be pickled there by the name of its class: under that name stands another class.
"""

import io
import pickle
from types import FunctionType

from _immutable import freeze, is_frozen

from immutable._freezability import _HEAP_TYPE


def _was_frozen(obj):
    """Whether somebody has frozen obj: what is immutable anyway is pickled as usual, or not at all."""
    if isinstance(obj, type):
        can_change = obj.__flags__ & _HEAP_TYPE
    else:
        can_change = type(obj) in (list, dict, set, bytearray, FunctionType) or type(obj).__flags__ & _HEAP_TYPE
    return can_change and is_frozen(obj)


class _Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.indices = {}
        self.references = []

    def persistent_id(self, obj):
        if not _was_frozen(obj):
            return None
        index = self.indices.setdefault(id(obj), len(self.references))
        if index == len(self.references):
            self.references.append(obj)
        return index


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, references):
        super().__init__(file)
        self.references = references

    def persistent_load(self, index):
        return self.references[index]


def dumps(obj):
    """Return a frozen object from which loads() makes a copy of obj that refers to the same frozen objects.

    Raises PicklingError or TypeError if what is not frozen cannot be pickled.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(obj)
    return freeze((file.getvalue(), tuple(pickler.references)))


def loads(pickled):
    """Return what dumps() was given, copied as far as it was not frozen."""
    data, references = pickled
    return _Unpickler(io.BytesIO(data), references).load()
