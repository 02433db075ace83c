"""Mutable copies of frozen objects.

A copy is made as `copy.deepcopy` makes one, by the same protocols, but without recursion: a thousand nested lists and a
million are the same to it. What deepcopy refuses and a frozen graph may hold (modules, and what the runtime made for
several interpreters) is shared.
"""

import copyreg
import types
import weakref
from builtins import frozendict

from _immutable import InterpreterLocal, Receiver, Sender, SharedField

__all__ = ["thaw"]

_SHARED_TYPES = frozenset(
    {
        type(None),
        type(NotImplemented),
        type(Ellipsis),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        range,
        property,
        classmethod,
        staticmethod,
        weakref.ref,
        types.CodeType,
        types.FunctionType,
        types.BuiltinFunctionType,
        types.MethodDescriptorType,
        types.ClassMethodDescriptorType,
        types.WrapperDescriptorType,
        types.GetSetDescriptorType,
        types.MemberDescriptorType,
        types.GenericAlias,
        types.UnionType,
        InterpreterLocal,
        Receiver,
        Sender,
        SharedField,
    }
)

_SHARED_BASES = type, types.ModuleType, types.BuiltinFunctionType

_MISSING = object()


def thaw(obj, /):
    """Return a deep mutable copy of obj.

    Cycles and parts that occur several times are kept. Classes, functions, modules and what cannot change are shared
    with obj, and so are InterpreterLocal and SharedField objects and the ends of channels. Objects take part in it as
    in copy.deepcopy: with __deepcopy__, __reduce_ex__ or copyreg. Raises TypeError, as deepcopy does, for what cannot
    be copied, such as a lock.
    """
    if _is_shared(obj):
        return obj
    memo = {}
    # Each step is suspended while the parts that it asked for are copied by those above it.
    steps = [_step(obj, memo)]
    copied = None
    while steps:
        try:
            part = steps[-1].send(copied)
        except StopIteration as done:
            steps.pop()
            copied = done.value
            continue
        copied = memo.get(id(part), _MISSING)
        if copied is _MISSING:
            if _is_shared(part):
                copied = part
            else:
                steps.append(_step(part, memo))
                copied = None
    return copied


def _is_shared(obj):
    return type(obj) in _SHARED_TYPES or isinstance(obj, _SHARED_BASES)


def _step(obj, memo):
    """A generator that yields the parts of obj, is sent their copies, and returns the copy of obj."""
    return _STEPS.get(type(obj), _instance)(obj, memo)


def _list(obj, memo):
    memo[id(obj)] = copied = []
    for item in obj:
        copied.append((yield item))
    return copied


def _dict(obj, memo):
    memo[id(obj)] = copied = {}
    for key, value in obj.items():
        key = yield key
        copied[key] = yield value
    return copied


def _set(obj, memo):
    memo[id(obj)] = copied = set()
    for item in obj:
        copied.add((yield item))
    return copied


def _bytearray(obj, memo):
    memo[id(obj)] = copied = bytearray(obj)
    return copied
    yield  # a generator, as the others


def _tuple(obj, memo):
    items = []
    for item in obj:
        items.append((yield item))
    return _finish(obj, memo, items, tuple)


def _frozenset(obj, memo):
    items = []
    for item in obj:
        items.append((yield item))
    return _finish(obj, memo, items, frozenset)


def _finish(obj, memo, items, make):
    """The copy of something that cannot be filled after it was made: obj itself if no part has changed."""
    # One that is part of itself was copied on the way.
    copied = memo.get(id(obj), _MISSING)
    if copied is _MISSING:
        unchanged = all(item is before for item, before in zip(items, obj, strict=True))
        memo[id(obj)] = copied = obj if unchanged else make(items)
    return copied


def _frozendict(obj, memo):
    items = []
    for key, value in obj.items():
        key = yield key
        items.append((key, (yield value)))
    copied = memo.get(id(obj), _MISSING)
    if copied is _MISSING:
        unchanged = all(new[0] is old[0] and new[1] is old[1] for new, old in zip(items, obj.items(), strict=True))
        memo[id(obj)] = copied = obj if unchanged else frozendict(items)
    return copied


def _method(obj, memo):
    memo[id(obj)] = copied = types.MethodType(obj.__func__, (yield obj.__self__))
    return copied


def _mapping_proxy(obj, memo):
    mapping = obj.copy()
    _keep(memo, mapping)
    memo[id(obj)] = copied = types.MappingProxyType((yield mapping))
    return copied


def _instance(obj, memo):
    cls = type(obj)
    deepcopy = getattr(obj, "__deepcopy__", None)
    if deepcopy is not None:
        copied = deepcopy(memo)
        if copied is not obj:
            memo[id(obj)] = copied
        return copied
    reducer = copyreg.dispatch_table.get(cls)
    reduced = obj.__reduce_ex__(4) if reducer is None else reducer(obj)
    if isinstance(reduced, str):
        return obj
    # What was made for this occasion must not go away while its address is in the memo.
    _keep(memo, reduced)
    function, arguments, state, items, pairs, set_state = (*reduced, None, None, None, None)[:6]
    copied_arguments = []
    for argument in arguments:
        copied_arguments.append((yield argument))
    if id(obj) in memo:
        return memo[id(obj)]
    memo[id(obj)] = copied = function(*copied_arguments)
    if state is not None:
        state = yield state
        if set_state is not None:
            set_state(copied, state)
        elif hasattr(copied, "__setstate__"):
            copied.__setstate__(state)
        else:
            slots = None
            if isinstance(state, tuple) and len(state) == 2:
                state, slots = state
            if state is not None:
                copied.__dict__.update(state)
            for name, value in (slots or {}).items():
                setattr(copied, name, value)
    for item in items or ():
        _keep(memo, item)
        copied.append((yield item))
    for key, value in pairs or ():
        _keep(memo, (key, value))
        key = yield key
        copied[key] = yield value
    return copied


def _keep(memo, obj):
    """Keeps obj while the memo is used, in the place where copy.deepcopy does."""
    memo.setdefault(id(memo), []).append(obj)


_STEPS = {
    list: _list,
    dict: _dict,
    set: _set,
    bytearray: _bytearray,
    tuple: _tuple,
    frozenset: _frozenset,
    frozendict: _frozendict,
    types.MethodType: _method,
    types.MappingProxyType: _mapping_proxy,
}
