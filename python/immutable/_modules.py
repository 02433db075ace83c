"""Modules that all interpreters share."""

__lazy_modules__ = ["importlib.machinery"]

import importlib.machinery
import sys
import types

from _immutable import InterpreterLocal, _share_module, freeze, is_frozen

__all__ = ["share_module"]

_OF_EACH_INTERPRETER = frozenset({"__main__", "builtins", "sys", "_immutable"})

_specs = InterpreterLocal(dict)
"""The specifications that an interpreter has found for shared modules, by name."""


class _SharedSpec:
    """What a shared module shows as its `__spec__`: that of a module as it was found, but for the loader.

    A loader belongs to an interpreter. So `loader` is found in the calling one, as for a first import.
    """

    _initializing = False
    loader_state = None

    def __init__(self, spec):
        self.name = spec.name
        self.origin = spec.origin
        self.cached = spec.cached
        self.has_location = spec.has_location
        self.parent = spec.parent
        locations = spec.submodule_search_locations
        self.submodule_search_locations = None if locations is None else list(locations)
        self._uninitialized = InterpreterLocal(list)

    @property
    def _uninitialized_submodules(self):
        return self._uninitialized.get()

    @property
    def loader(self):
        specs = _specs.get()
        if self.name not in specs:
            specs[self.name] = _find_spec(self.name, self.origin)
        spec = specs[self.name]
        return None if spec is None else spec.loader

    def __repr__(self):
        return f"<specification of the shared module {self.name!r} from {self.origin!r}>"


def _find_spec(name, origin):
    path = None
    if parent := name.rpartition(".")[0]:
        path = getattr(sys.modules.get(parent), "__path__", None)
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec if spec.origin == origin else None
    return None


def share_module(module, /):
    """Freeze module as a whole, and have every interpreter's import of its name find it; return module.

    Everything that it reaches is frozen with it: its namespace, functions, classes. What must stay mutable goes into
    InterpreterLocal or SharedField objects. There is one module then, with one set of classes, in all interpreters that
    import it from now on, also after this one has ended; where it was imported before, the next import statement
    replaces it in sys.modules, and who holds the older module or its classes keeps them. Modules that it refers to are
    not frozen, nor are its submodules, unless they are shared before.

    All or nothing: raises NotFreezableError, with the path to what cannot be frozen, and has changed nothing. Raises
    TypeError if module is no module, ValueError if it has no name, if another module of that name is shared, or if each
    interpreter must have its own one.
    """
    if not isinstance(module, types.ModuleType):
        raise TypeError(f"share_module() takes a module, not '{type(module).__name__}'")
    namespace = vars(module)
    name = namespace.get("__name__")
    if not isinstance(name, str) or not name:
        raise ValueError(f"share_module() takes a module that has a name, not {module!r}")
    if name in _OF_EACH_INTERPRETER:
        raise ValueError(f"each interpreter has a module {name!r} of its own, which cannot be shared")
    replaced = {} if is_frozen(namespace) else _make_sharable(namespace)
    try:
        _share_module(module, name)
    except BaseException:
        if not is_frozen(namespace):
            namespace.update(replaced)
        raise
    return module


def _make_sharable(namespace):
    """Takes out of a module's namespace what belongs to its interpreter. Returns what was there."""
    items = list(namespace.items())  # what an import runs may add some
    found = {name: value.resolve() for name, value in items if isinstance(value, types.LazyImportType)}
    spec = namespace.get("__spec__")
    if isinstance(spec, importlib.machinery.ModuleSpec):
        found["__spec__"] = freeze(_SharedSpec(spec))
    if namespace.get("__loader__") is not None:
        found["__loader__"] = None
    path = namespace.get("__path__")
    if path is not None and type(path) is not list:
        found["__path__"] = list(path)
    replaced = {name: namespace[name] for name in found}
    namespace.update(found)
    if "__builtins__" in namespace:
        replaced["__builtins__"] = namespace.pop("__builtins__")
    return replaced
