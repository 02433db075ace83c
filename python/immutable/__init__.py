"""Deep immutability: freeze object graphs in place, and share them by reference."""

# Imported when one of their names is used (PEP 810): a program that only freezes starts without them.
__lazy_modules__ = [f"immutable._{name}" for name in ("explain", "foreign", "freezability", "modules", "thaw")]

from _immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    FREEZABLE_PROXY,
    FREEZABLE_YES,
    ChannelClosed,
    ForeignExtensionWarning,
    ImmutableModule,
    InterpreterLocal,
    MutationError,
    NotFreezableError,
    Receiver,
    Sender,
    SharedField,
    _begin,
    _stats,
    channel,
    freeze,
    is_freezable,
    is_frozen,
    select,
    set_freezable,
)

from immutable._explain import explain
from immutable._foreign import ForeignExtension, foreign_extensions
from immutable._freezability import (
    Freezability,
    FreezabilityOverride,
    FreezabilityWarning,
    explicitly_freezable,
    explicitlyFreezable,
    freezable,
    frozen,
    get_freezable,
    register_freezable,
    register_shallow_immutable,
    require_mutable,
    unfreezable,
    unset_freezable,
)
from immutable._modules import share_module
from immutable._thaw import thaw

_begin()

isfrozen = is_frozen

__all__ = [
    "FREEZABLE_EXPLICIT",
    "FREEZABLE_NO",
    "FREEZABLE_PROXY",
    "FREEZABLE_YES",
    "ChannelClosed",
    "ForeignExtension",
    "ForeignExtensionWarning",
    "Freezability",
    "FreezabilityOverride",
    "FreezabilityWarning",
    "ImmutableModule",
    "InterpreterLocal",
    "MutationError",
    "NotFreezableError",
    "Receiver",
    "Sender",
    "SharedField",
    "channel",
    "explain",
    "explicitlyFreezable",
    "explicitly_freezable",
    "foreign_extensions",
    "freezable",
    "freeze",
    "frozen",
    "get_freezable",
    "is_freezable",
    "is_frozen",
    "isfrozen",
    "register_freezable",
    "register_shallow_immutable",
    "require_mutable",
    "select",
    "set_freezable",
    "share_module",
    "thaw",
    "unfreezable",
    "unset_freezable",
]
