"""Who may be frozen: policies of objects, classes and modules, and the decorators that set them."""

__lazy_modules__ = ["warnings", "weakref"]  # for who registers what is not theirs

import enum
import gc
import sys
import types
import warnings
import weakref

from _immutable import (
    FREEZABLE_EXPLICIT,
    FREEZABLE_NO,
    FREEZABLE_YES,
    InterpreterLocal,
    _begin_override,
    _end_override,
    _freeze_capturing,
    _register_shallow_immutable,
    _unset_freezable,
    freeze,
    is_frozen,
    set_freezable,
)
from _immutable import get_freezable as _get_freezable
from _immutable import register_freezable as _register_freezable

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


class Freezability(enum.IntEnum):
    """The policies, equal to the constants FREEZABLE_YES, FREEZABLE_NO, FREEZABLE_EXPLICIT and FREEZABLE_PROXY."""

    YES = 0
    NO = 1
    EXPLICIT = 2
    PROXY = 3


class FreezabilityWarning(UserWarning):
    """Somebody registered a type that is not theirs: its author has not promised that it can be frozen."""


def get_freezable(obj, /):
    """Return the policy that freeze() follows for obj, a member of Freezability; for a class, for its instances.

    It is the first that says something of: set_freezable(obj), the attribute __freezable__ of obj; the same of the
    classes in the method resolution order of its type, with register_freezable(); __freezable__ of the module of a
    Python class or a function; -X immutable_default, for Python classes; and what the runtime knows of types made in C.
    """
    return Freezability(_get_freezable(obj))


def unset_freezable(obj, /):
    """Forget what set_freezable(obj) has set, and remove the attribute __freezable__ of obj itself if it has one.

    What its class, or the module of that, says counts again. Does nothing if nothing was set, or obj is frozen.
    """
    _unset_freezable(obj)
    if is_frozen(obj):
        return
    delete = type.__delattr__ if isinstance(obj, type) else object.__delattr__
    try:  # noqa: SIM105 - contextlib is not needed for anything else
        delete(obj, "__freezable__")
    except AttributeError, TypeError:
        pass  # it has none, or is a type of CPython's own, which can have none


class FreezabilityOverride:
    """A context manager: inside the block the policy of obj is the one given, whatever else says otherwise.

    Blocks for one object may nest and overlap, also in several threads; the one entered last counts. The same
    manager may be entered again. Nothing remains of it afterwards, also if obj was frozen meanwhile. The block's value
    is obj. Entering raises as set_freezable() does.
    """

    __slots__ = ("_numbers", "obj", "policy")

    def __init__(self, obj, policy):
        self.obj = obj
        self.policy = Freezability(policy)
        self._numbers = []

    def __enter__(self):
        number = _begin_override(self.obj, self.policy)
        try:
            self._numbers.append(number)
        except MemoryError:
            _end_override(self.obj, number)
            raise
        return self.obj

    def __exit__(self, *exception):
        _end_override(self.obj, self._numbers.pop())


class require_mutable(FreezabilityOverride):
    """A context manager: freeze() refuses obj, as a root or reached, inside the block.

    Raises TypeError if obj is frozen already.
    """

    __slots__ = ()

    def __init__(self, obj):
        super().__init__(obj, FREEZABLE_NO)
        self._check()

    def __enter__(self):
        self._check()
        return super().__enter__()

    def _check(self):
        if is_frozen(self.obj):
            raise TypeError(f"this {type(self.obj).__name__!r} object is frozen already, and must be mutable here")


# ---- Registration ----------------------------------------------------------

_warned = InterpreterLocal(None)  # a WeakSet of classes; functions of this module may be frozen


def _warn_unless_owned(cls, caller):
    """Warns once for each class that the calling module does not own.

    A module owns the classes that name it as their module; nobody but CPython owns a static type.
    """
    warned = _warned.get()
    if warned is None:
        _warned.set(warned := weakref.WeakSet())
    if not isinstance(cls, type) or cls in warned:
        return
    if cls.__flags__ & _HEAP_TYPE and cls.__module__ == caller:
        return
    warnings.warn(
        f"{cls.__module__}.{cls.__qualname__} is registered by {caller}, which does not own it: whether it can be "
        "frozen safely is for its author to say",
        FreezabilityWarning,
        stacklevel=3,
    )
    warned.add(cls)


def register_freezable(type=None, policy=FREEZABLE_YES):
    """Set whether instances of type, and of its subclasses, may be frozen; return type.

    Usable as a decorator, also as @register_freezable(policy=...). For a type made in C it is a promise that each of
    its writes asks Py_CHECKWRITE. Opting in a type that the calling module does not own warns once
    (FreezabilityWarning), since its author made no such promise. Raises TypeError if type is no type, ValueError if
    policy is none of the constants.
    """
    caller = sys._getframemodulename(1)
    policy = Freezability(policy)

    def register(cls):
        if policy != FREEZABLE_NO:
            _warn_unless_owned(cls, caller)
        return _register_freezable(cls, policy)

    if type is None:
        return register
    if policy != FREEZABLE_NO:
        _warn_unless_owned(type, caller)
    return _register_freezable(type, policy)


def register_shallow_immutable(type, /):
    """Say that instances of type, made in C, never change after construction, though their parts may; return type.

    They can be frozen, and is_frozen() looks through them as through a tuple: one all of whose parts are frozen counts.
    It holds for instances of exactly this type. The type itself is frozen with this. Warns as register_freezable()
    does. Raises TypeError for a Python class, NotFreezableError if the type refuses.
    """
    _warn_unless_owned(type, sys._getframemodulename(1))
    _register_shallow_immutable(type)
    return freeze(type)


# ---- Decorators ------------------------------------------------------------


def _declare(target, policy, name):
    if isinstance(target, type):
        if not target.__flags__ & _HEAP_TYPE:
            set_freezable(target, policy)
        else:
            type.__setattr__(target, "__freezable__", policy)
    elif isinstance(target, types.FunctionType):
        target.__freezable__ = policy
    else:
        raise TypeError(f"@{name} takes a class or a function, not a {type(target).__name__!r} object")
    return target


def freezable(target, /):
    """Decorate a class or function that may be frozen, also where its module or the process says otherwise."""
    return _declare(target, FREEZABLE_YES, "freezable")


def unfreezable(target, /):
    """Decorate a class or function that must never be frozen, nor, of a class, its instances."""
    return _declare(target, FREEZABLE_NO, "unfreezable")


def explicitly_freezable(target, /):
    """Decorate a class or function that is frozen only when it, or an instance of the class, is named to freeze()."""
    return _declare(target, FREEZABLE_EXPLICIT, "explicitly_freezable")


explicitlyFreezable = explicitly_freezable  # as PEP 795 spells it


def frozen(target=None, /, *, captures=()):
    """Decorate a class or function that is frozen as soon as it is defined.

    Its own name can be used inside, as by a recursive function. captures names more globals of its module to be frozen
    with it: those that its code reaches only dynamically, as in globals()["x"]. Raises NotFreezableError, or
    NameError if there is no such global.
    """
    if isinstance(captures, str):
        raise TypeError(f"captures must be a tuple of names: ({captures!r},)")
    names = tuple(captures)
    if not all(isinstance(name, str) for name in names):
        raise TypeError("captures must be a tuple of names")

    caller = sys._getframe(1).f_globals

    def decorate(target):
        if not isinstance(getattr(target, "__qualname__", None), str) or not hasattr(target, "__module__"):
            if names:
                raise TypeError(f"captures= is for a class or a function, not for a {type(target).__name__!r} object")
            return freeze(target)
        functions = [part for part in _functions(target) if part.__globals__.get("__name__") == target.__module__]
        for function in functions if names else ():
            for name in names:
                if name not in function.__globals__:
                    raise NameError(f"captures names {name!r}, and {function.__module__} has no such global", name=name)
        with _bound(target, functions, caller):
            return _freeze_capturing(target, dict.fromkeys(functions, names) if names else None)

    return decorate if target is None else decorate(target)


def _functions(target):
    """The functions that a decorated target consists of: itself, and those in the body of the class.

    They may stand in something else there, such as a cached property, a wrapper or a list.
    """
    pending, seen = [target], {id(None)}
    while pending:
        part = pending.pop()
        if id(part) in seen or is_frozen(part):
            continue
        seen.add(id(part))
        if type(part) is types.FunctionType:
            yield part
            pending += (cell.cell_contents for cell in part.__closure__ or () if not _is_empty(cell))
            pending += (part.__defaults__, part.__kwdefaults__, vars(part))
        elif issubclass(type(part), type):
            if part is target or part.__qualname__.startswith(f"{target.__qualname__}."):
                pending += vars(part).values()
        elif not issubclass(type(part), types.ModuleType):
            pending += gc.get_referents(part)


class _bound:
    """While it is decorated, a class or function has its name already, as it will have when the statement is done."""

    def __init__(self, target, functions, caller):
        self.target = target
        self.functions = functions
        self.caller = caller
        self.namespace = None
        self.cells = []

    def __enter__(self):
        name, target = self.target.__name__, self.target
        for function in self.functions:
            for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                if free == name and _is_empty(cell):
                    cell.cell_contents = target
                    self.cells.append(cell)
        if target.__qualname__ == name:
            self.namespace = self._defining()
            if self.namespace is not None:
                self.before = self.namespace.get(name, self)
                self.namespace[name] = target

    def _defining(self):
        """The globals that the decorated statement is in, or None if they are not known."""
        if self.caller.get("__name__") == self.target.__module__:
            return self.caller
        return self.functions[0].__globals__ if self.functions else None

    def __exit__(self, *exception):
        if self.namespace is not None:
            if self.before is self:
                del self.namespace[self.target.__name__]
            else:
                self.namespace[self.target.__name__] = self.before
        for cell in self.cells:
            del cell.cell_contents


def _is_empty(cell):
    try:
        cell.cell_contents
    except ValueError:
        return True
    return False
