import setuptools
from setuptools.discovery import PackageFinder

OBJECTS = {
    "Extension": (lambda: setuptools.Extension("a", ["a.c"]), lambda extension: extension.sources == ["a.c"]),
    "Distribution": (lambda: setuptools.Distribution({"name": "a"}), lambda found: found.get_name() == "a"),
    "PackageFinder": (lambda: PackageFinder, lambda finder: finder.find("no-such-folder") == []),
}
