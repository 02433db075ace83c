"""What a freeze would do: the report of explain()."""

import array
import builtins
import collections
import types
from collections.abc import Sequence
from typing import NamedTuple

_module_of = type.__dict__["__module__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_SHORT = 60  # characters of a text that stands for an object


class FoundObject(NamedTuple):
    """An object that would be frozen. path is a Python expression in which root stands for the object given.

    Of several objects given, roots is the tuple.
    """

    path: str
    type: str
    short: str


class Refusal(NamedTuple):
    """An object that refuses, and why."""

    path: str
    type: str
    reason: str


class Detachment(NamedTuple):
    """A function that would be detached from its module, and the names of the globals that it would keep."""

    path: str
    name: str
    captures: tuple[str, ...]


class Hook(NamedTuple):
    """An object whose __pre_freeze__ would be called first."""

    path: str
    type: str


class _Paths(Sequence):
    """The paths of the objects found, put together on demand from that of the object each was reached from."""

    def __init__(self, steps, names):
        self._steps = steps
        self._names = names  # of the objects given, by place

    def __len__(self):
        return len(self._steps)

    def __getitem__(self, place):
        before, behind = [], []
        while True:
            base, step_before, step_behind = self._steps[place]
            before.append(step_before)
            behind.append(step_behind)
            if base is None:
                return "".join(before) + self._names[place] + "".join(reversed(behind))
            place = base


def _names(given, entries):
    """What the objects given are called in paths, by their place among the entries."""
    names = ["root"] if len(given) == 1 else [f"roots[{place}]" for place in range(len(given))]
    name_of = {id(obj): name for obj, name in zip(reversed(given), reversed(names), strict=True)}
    return {place: name_of[id(obj)] for place, (obj, base, _, _) in enumerate(entries) if base is None}


class Objects(Sequence):
    """The objects that would be frozen, as FoundObject, nearest to the roots first."""

    def __init__(self, places, paths, type_names, shorts):
        self._places = places
        self._paths = paths
        self._type_names = type_names
        self._shorts = shorts

    def __len__(self):
        return len(self._places)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = self._places[index]
        return FoundObject(self._paths[place], self._type_names[place], self._shorts[place])


class Report:
    """What freeze() would do with some objects, as explain() found it. It keeps none of them.

    - freezable: nothing refuses.
    - objects: each object that would be frozen.
    - counts: how many of each type.
    - components, largest_component: how many groups of objects that refer to each other in a cycle, and the number of
      objects in the largest.
    - detached: functions that would be detached from their module, with what they capture.
    - modules: names of modules that are reached, and stay mutable.
    - proxies: other objects that stay mutable.
    - hooks: objects whose __pre_freeze__ would be called first; it was not called, so what it changes is not in the
      report.
    - refusals: every object that refuses.
    """

    def __init__(self, given, found):
        entries = found["objects"]
        self._reasons = found["refusals"]
        self._edges = found["edges"]
        self._type_names = [_type_name(type(obj)) for obj, _, _, _ in entries]
        self._shorts = [_short(obj) for obj, _, _, _ in entries]
        paths = self._paths = _Paths([entry[1:] for entry in entries], _names(given, entries))
        proxies = set(found["proxies"])
        kept = [place for place in range(len(entries)) if place not in proxies and place not in self._reasons]
        self.objects = Objects(kept, paths, self._type_names, self._shorts)
        self.counts = dict(collections.Counter(self._type_names[place] for place in kept).most_common())
        self.components = found["components"]
        self.largest_component = found["largest"]
        self.detached = [
            Detachment(paths[place], entries[place][0].__qualname__, _captures(names))
            for place, names in sorted(found["detached"].items())
        ]
        modules, others = [], []
        for place in sorted(proxies):
            obj = entries[place][0]
            if isinstance(obj, types.ModuleType):
                modules.append(_module_name(obj))
            else:
                others.append(FoundObject(paths[place], self._type_names[place], self._shorts[place]))
        self.modules = sorted(modules)
        self.proxies = others
        self.hooks = [Hook(paths[place], self._type_names[place]) for place in sorted(found["hooks"])]
        self.refusals = [
            Refusal(paths[place], self._type_names[place], reason) for place, reason in sorted(self._reasons.items())
        ]

    @property
    def freezable(self):
        """Whether freeze() would succeed, hooks aside."""
        return not self.refusals

    def __repr__(self):
        verdict = "freezable" if self.freezable else f"{len(self.refusals)} refusals"
        return f"<immutable report: {len(self.objects)} objects, {verdict}>"

    def __str__(self):
        objects = _many(len(self.objects), "object")
        if self.freezable:
            lines = [f"freeze() would freeze {objects}"]
        else:
            refusing = _many(len(self.refusals), "object")
            lines = [f"freeze() would refuse: {refusing} cannot be frozen, beside {objects} that could"]
        lines += _section("refused", (f"{path}: {type} object: {reason}" for path, type, reason in self.refusals))
        lines += _section("types", (f"{count:>8} {name}" for name, count in self.counts.items()))
        if self.components:
            lines += _section(
                "cycles", [f"{self.components}, the largest of {_many(self.largest_component, 'object')}"]
            )
        capturing = [f"{name}: {', '.join(captures)}" for _, name, captures in self.detached if captures]
        if others := len(self.detached) - len(capturing):
            capturing.append(f"{_many(others, 'function')} that {'captures' if others == 1 else 'capture'} nothing")
        lines += _section("functions to be detached, with the globals that they keep", capturing)
        lines += _section("modules, which stay mutable", self.modules)
        lines += _section("others that stay mutable", (f"{path}: {type} object" for path, type, _ in self.proxies))
        lines += _section(
            "hooks to be called before", (f"{path}: {type}.__pre_freeze__()" for path, type in self.hooks)
        )
        return "\n".join(lines)

    def to_dict(self):
        """Return the report as dicts, lists, strings, numbers and booleans."""
        return {
            "freezable": self.freezable,
            "objects": [found._asdict() for found in self.objects],
            "counts": dict(self.counts),
            "components": {"cycles": self.components, "largest": self.largest_component},
            "detached": [{"path": path, "name": name, "captures": list(names)} for path, name, names in self.detached],
            "modules": list(self.modules),
            "proxies": [found._asdict() for found in self.proxies],
            "hooks": [hook._asdict() for hook in self.hooks],
            "refusals": [refusal._asdict() for refusal in self.refusals],
        }

    def to_dot(self):
        """Return the graph for Graphviz: a node for each object, red if it refuses, grey if it stays mutable."""
        proxies = set(range(len(self._paths))) - set(self.objects._places) - set(self._reasons)
        lines = ["digraph immutable {", "  node [shape=box, fontname=monospace];"]
        for place, (type_name, short) in enumerate(zip(self._type_names, self._shorts, strict=True)):
            color = ", color=red" if place in self._reasons else ", color=grey" if place in proxies else ""
            tooltip = self._reasons.get(place, self._paths[place])
            lines.append(f"  n{place} [label={_quoted(f'{type_name}\n{short}')}, tooltip={_quoted(tooltip)}{color}];")
        places = array.array("I", self._edges)
        lines += sorted({f"  n{here} -> n{there};" for here, there in zip(places[::2], places[1::2], strict=True)})
        lines.append("}")
        return "\n".join(lines)


def _captures(names):
    """The globals among the captured names: relative imports need the others."""
    return tuple(sorted(name for name in names if name not in ("__name__", "__package__")))


def _module_name(module):
    name = types.ModuleType.__getattribute__(module, "__dict__").get("__name__")
    return name if isinstance(name, str) else "?"


def _type_name(cls):
    module = _module_of(cls)
    return _qualname_of(cls) if module == "builtins" else f"{module}.{_qualname_of(cls)}"


def _short(obj):
    """A short text for an object. Runs no code but that of the builtin types."""
    match type(obj):
        case kind if kind in (str, bytes, int, float, complex, bool, type(None), range):
            text = repr(obj[:_SHORT] if kind in (str, bytes) else obj) if kind is not int else _number(obj)
        case kind if kind in (list, tuple, dict, set, frozenset, builtins.frozendict, bytearray):
            text = _many(len(obj), "byte" if kind is bytearray else "item")
        case types.FunctionType:
            text = f"def {obj.__qualname__}"
        case types.CodeType:
            text = f"code of {obj.co_qualname}"
        case types.ModuleType:
            text = _module_name(obj)
        case kind if issubclass(kind, type):
            text = f"class {_type_name(obj)}"
        case kind:
            text = f"<{_qualname_of(kind)} object>"
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _number(number):
    return repr(number) if number.bit_length() < 200 else f"int of {number.bit_length()} bits"


def _many(count, noun):
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _section(title, lines):
    lines = list(lines)
    return [f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
