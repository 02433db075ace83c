"""Deep immutability: freeze object graphs in place, and share them by reference."""

from _immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    FREEZABLE_PROXY,
    FREEZABLE_YES,
    ChannelClosed,
    ImmutableModule,
    InterpreterLocal,
    MutationError,
    NotFreezableError,
    Receiver,
    Sender,
    SharedField,
    _stats,
    channel,
    freeze,
    is_frozen,
    register_freezable,
    select,
)

from ._modules import share_module
from ._thaw import thaw

isfrozen = is_frozen

__all__ = [
    "FREEZABLE_EXPLICIT",
    "FREEZABLE_NO",
    "FREEZABLE_PROXY",
    "FREEZABLE_YES",
    "ChannelClosed",
    "ImmutableModule",
    "InterpreterLocal",
    "MutationError",
    "NotFreezableError",
    "Receiver",
    "Sender",
    "SharedField",
    "channel",
    "freeze",
    "is_frozen",
    "isfrozen",
    "register_freezable",
    "select",
    "share_module",
    "thaw",
]
