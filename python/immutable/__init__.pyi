from collections.abc import Callable
from typing import Any, Final, overload

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

FREEZABLE_YES: Final[int]
FREEZABLE_NO: Final[int]
FREEZABLE_EXPLICIT: Final[int]
FREEZABLE_PROXY: Final[int]

class MutationError(TypeError):
    obj: Any

class NotFreezableError(TypeError):
    obj: Any
    path: str
    reason: str

class InterpreterLocal[T]:
    @overload
    def __init__(self, default_or_factory: Callable[[], T], /) -> None: ...
    @overload
    def __init__(self, default_or_factory: T, /) -> None: ...
    def get(self) -> T: ...
    def set(self, value: T, /) -> None: ...
    def reset(self) -> None: ...

def freeze[T](obj: T, /, *objs: object) -> T: ...
def is_frozen(obj: object, /) -> bool: ...
def isfrozen(obj: object, /) -> bool: ...
def register_freezable[T: type](type: T, policy: int = ...) -> T: ...
def _stats() -> dict[str, int]: ...
