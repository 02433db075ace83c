"""Tell which types of a package can be frozen, and which of its extension modules are foreign.

Imports the package; with --submodules all modules in it too. A type is freezable if a freeze takes its instances, as
far as the type decides: what an instance refers to may refuse all the same. A foreign extension module does not count
its references to frozen objects: once it is loaded, frozen memory is not released any more.

The exit status is 1 if a type refuses, or an extension module is foreign, and 2 if the package cannot be imported.
"""

import importlib
import pkgutil
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from _immutable import _reason_not_to_count, _treatment


class Verdict(NamedTuple):
    """What a freeze does with the instances of one type."""

    name: str
    treatment: str
    reason: str | None


class ExtensionFile(NamedTuple):
    """An extension module of a package; why it is foreign, or None."""

    path: Path
    reason: str | None


def add_arguments(parser):
    """Declares the arguments of the command."""
    parser.add_argument("package", help="the name to import")
    parser.add_argument("--submodules", action="store_true", help="import every module of the package")


def run(options):
    """Prints the report, and returns 1 if something in it refuses or is foreign, 2 if there is no such package."""
    if not all(map(str.isidentifier, options.package.split("."))):
        print(
            f"{options.package!r} is no name to import: for a file, name its module (vals for vals.py), in its folder",
            file=sys.stderr,
        )
        return 2
    try:
        importlib.import_module(options.package)
    except Exception as error:
        print(f"{options.package} cannot be imported: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    failed = import_submodules(options.package) if options.submodules else {}
    verdicts, files = types_of(options.package), extension_files(options.package)
    print("\n".join(report(options.package, verdicts, files, failed)))
    refuses = any(verdict.treatment == "refused" for verdict in verdicts)
    return int(refuses or any(file.reason for file in files))


def import_submodules(package):
    """Imports every module of a package; returns the exceptions of those that failed, by name."""
    failed = {}

    def note(name):
        failed[name] = sys.exception()

    path = getattr(sys.modules[package], "__path__", ())
    for found in pkgutil.walk_packages(path, f"{package}.", onerror=note):
        if found.name.rpartition(".")[2] == "__main__":
            continue
        try:
            importlib.import_module(found.name)
        except Exception as error:
            failed[found.name] = error
    return failed


def types_of(package):
    """What a freeze does with the types that the loaded modules of a package define, by name."""
    modules = {name: module for name, module in sys.modules.items() if f"{name}.".startswith(f"{package}.")}
    types = {
        value
        for module in modules.values()
        for value in tuple(vars(module).values())
        if isinstance(value, type) and is_of(value, package)
    }
    verdicts = [Verdict(f"{of.__module__}.{of.__qualname__}", *_treatment(of)[:2]) for of in types]
    return sorted(verdicts)


def is_of(of, package):
    """Whether a type belongs to a package: by the module that it names."""
    return isinstance(of.__module__, str) and f"{of.__module__}.".startswith(f"{package}.")


def extension_files(package):
    """The extension modules in the folder of a package, or that its distribution installed beside it."""
    module = sys.modules[package]
    paths = {path for folder in getattr(module, "__path__", ()) for path in Path(folder).rglob("*.so")}
    own = getattr(module, "__file__", None)
    if own is not None and own.endswith(".so"):
        paths.add(Path(own))
    for name in metadata.packages_distributions().get(package.partition(".")[0], ()):
        installed = metadata.files(name) or ()
        # Libraries that a wheel brings along have their version behind the suffix, or stand in a folder of that kind.
        paths |= {Path(file.locate()) for file in installed if file.suffix == ".so" and ".libs" not in str(file.parent)}
    return [ExtensionFile(path, _reason_not_to_count(path)) for path in sorted(paths) if path.exists()]


def report(package, verdicts, files, failed):
    """The lines of the report."""
    yield f"{package}: {len(verdicts)} types, {len(files)} extension modules"
    for treatment, title in TITLES.items():
        found = [verdict for verdict in verdicts if verdict.treatment == treatment]
        if found:
            yield ""
            yield f"{title} ({len(found)})"
            for verdict in found:
                yield f"  {verdict.name}" + (f": {verdict.reason}" if verdict.reason else "")
    for is_foreign, title in ((True, "foreign extension modules"), (False, "extension modules that count exactly")):
        found = [file for file in files if bool(file.reason) == is_foreign]
        if found:
            yield ""
            yield f"{title} ({len(found)})"
            for file in found:
                yield f"  {file.path}" + (f": {file.reason}" if file.reason else "")
    if failed:
        yield ""
        yield f"modules that could not be imported ({len(failed)})"
        for name, error in failed.items():
            yield f"  {name}: {type(error).__name__}: {error}"


TITLES = {
    "freezable": "freezable",
    "explicit": "freezable by name only",
    "proxy": "left mutable: each interpreter has its own",
    "refused": "refused",
}
