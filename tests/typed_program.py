"""A program as type checkers see it: mypy and pyright must infer what `assert_type` says. It is never run."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, assert_type

from immutable import (
    FREEZABLE_NO,
    ForeignExtension,
    Freezability,
    FreezabilityOverride,
    InterpreterLocal,
    MutationError,
    NotFreezableError,
    Receiver,
    Sender,
    SharedField,
    channel,
    explain,
    explicitly_freezable,
    foreign_extensions,
    freezable,
    freeze,
    frozen,
    get_freezable,
    is_freezable,
    is_frozen,
    register_freezable,
    register_shallow_immutable,
    require_mutable,
    select,
    set_freezable,
    share_module,
    thaw,
    unfreezable,
    unset_freezable,
)


def freezing(config: dict[str, list[int]]) -> None:
    assert_type(freeze(config), dict[str, list[int]])
    assert_type(freeze(config, [], 1), dict[str, list[int]])
    assert_type(freeze(config, isolated=True), dict[str, list[int]])
    assert_type(is_frozen(config), bool)
    assert_type(is_freezable(config), bool)
    assert_type(thaw(config), dict[str, list[int]])
    freeze()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def errors(error: MutationError, refusal: NotFreezableError) -> tuple[Any, str, str]:
    raised: list[TypeError] = [error, refusal]
    assert_type(error.obj, Any)
    return raised, refusal.path, refusal.reason


def reports() -> None:
    report = explain([], {})
    assert_type(report.freezable, bool)
    assert_type(report.counts, dict[str, int])
    for path, type_name, short in report.objects:
        assert_type((path, type_name, short), tuple[str, str, str])
    for refusal in report.refusals:
        assert_type(refusal.reason, str)
    assert_type(report.to_dict(), dict[str, Any])
    assert_type(report.to_dot(), str)


def policies(obj: object) -> None:
    set_freezable(obj, FREEZABLE_NO)
    set_freezable(obj, Freezability.EXPLICIT)
    assert_type(get_freezable(obj), Freezability)
    unset_freezable(obj)
    with require_mutable([1]) as items:
        assert_type(items, list[int])
    with FreezabilityOverride("text", FREEZABLE_NO) as text:
        assert_type(text, str)


@frozen
class Decorated:
    def __init__(self, number: int) -> None:
        self.number = number


@frozen(captures=("table",))
def captured(number: int) -> str:
    return str(number)


@frozen
def plain(number: int) -> str:
    return str(number)


@freezable
@unfreezable
@explicitly_freezable
@register_freezable
@register_freezable(policy=Freezability.EXPLICIT)
class Registered:
    pass


def decorators() -> None:
    assert_type(Decorated(1), Decorated)
    assert_type(Decorated(1).number, int)
    assert_type(captured(1), str)
    assert_type(plain(1), str)
    assert_type(Registered(), Registered)
    assert_type(register_freezable(Registered), type[Registered])
    assert_type(register_shallow_immutable(Registered), type[Registered])


def cells(make: Callable[[], list[int]]) -> None:
    made = InterpreterLocal(make)
    assert_type(made.get(), list[int])
    made.set([1])
    made.reset()
    given: InterpreterLocal[dict[str, int] | None] = InterpreterLocal(None)
    assert_type(given.get(), dict[str, int] | None)
    field = SharedField(1)
    assert_type(field.get(), int)
    assert_type(field.swap(2), int)
    assert_type(field.compare_and_swap(1, 2), bool)
    field.set("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def channels(sender: Sender[int], receiver: Receiver[int]) -> None:
    assert_type(channel(), tuple[Sender[Any], Receiver[Any]])
    assert_type(channel(capacity=3)[0].capacity, int | None)
    sender.send(1, timeout=2.5)
    assert_type(sender.try_send(1), bool)
    assert_type(receiver.recv(timeout=1), int)
    assert_type(receiver.try_recv(), int)
    assert_type(receiver.try_recv(None), int | None)
    assert_type(list(receiver), list[int])
    assert_type(select(receiver, timeout=1), tuple[Receiver[int], int])
    assert_type((len(receiver), receiver.closed, receiver.qsize()), tuple[int, bool, int])


def modules(module: ModuleType) -> None:
    assert_type(share_module(module), ModuleType)
    assert_type(foreign_extensions(), list[ForeignExtension])
