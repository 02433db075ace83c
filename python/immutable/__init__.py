"""Deep immutability: freeze object graphs in place, and share them by reference."""

from _immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    FREEZABLE_PROXY,
    FREEZABLE_YES,
    InterpreterLocal,
    MutationError,
    NotFreezableError,
    _stats,
    freeze,
    is_frozen,
    register_freezable,
)

isfrozen = is_frozen

__all__ = [
    "FREEZABLE_EXPLICIT",
    "FREEZABLE_NO",
    "FREEZABLE_PROXY",
    "FREEZABLE_YES",
    "InterpreterLocal",
    "MutationError",
    "NotFreezableError",
    "freeze",
    "is_frozen",
    "isfrozen",
    "register_freezable",
]
