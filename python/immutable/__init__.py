"""Deep immutability: freeze object graphs in place, and share them by reference."""

from _immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    FREEZABLE_PROXY,
    FREEZABLE_YES,
    ChannelClosed,
    ForeignExtensionWarning,
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

from ._foreign import ForeignExtension, foreign_extensions

isfrozen = is_frozen

__all__ = [
    "FREEZABLE_EXPLICIT",
    "FREEZABLE_NO",
    "FREEZABLE_PROXY",
    "FREEZABLE_YES",
    "ChannelClosed",
    "ForeignExtension",
    "ForeignExtensionWarning",
    "InterpreterLocal",
    "MutationError",
    "NotFreezableError",
    "Receiver",
    "Sender",
    "SharedField",
    "channel",
    "foreign_extensions",
    "freeze",
    "is_frozen",
    "isfrozen",
    "register_freezable",
    "select",
]
