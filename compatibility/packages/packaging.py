from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.version import Version

OBJECTS = {
    "Version": (lambda: Version("1.2.3rc1"), lambda version: version < Version("1.2.3") and version.is_prerelease),
    "SpecifierSet": (lambda: SpecifierSet(">=1,<2"), lambda specifiers: "1.5" in specifiers),
    "Marker": (lambda: Marker("python_version > '3'"), lambda marker: marker.evaluate()),
    "Requirement": (lambda: Requirement("a[b]>=1; os_name=='posix'"), lambda found: found.name == "a" and str(found)),
    "Tag": (lambda: Tag("py3", "none", "any"), lambda tag: tag.platform == "any"),
}
