"""Says for each hunk of the series at which line it lands on other source trees of the 3.15 line.

usage: patches_landing.py [--git GIT_DIR REF...] [--tree DIRECTORY]... [--debian-headers]

With --debian-headers the hunks of header files are also placed on the headers that Debian's binary package
libpython3.15-dev carries. The exit status is 1 when a hunk does not land.
"""

import argparse
import pathlib
import re
import subprocess
import tempfile

import series
from layout import PRISTINE, PROJECT, Failure, run_tool


class Directory:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.title = str(root)

    def read(self, name):
        path = self.root / name
        return path.read_text() if path.is_file() else None


class GitRef:
    def __init__(self, git_dir, ref):
        self.git = ["git", f"--git-dir={git_dir}"]
        self.ref = ref
        command = [*self.git, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"]
        if subprocess.run(command, capture_output=True).returncode:
            raise Failure(f"{git_dir} has no commit named {ref}")
        version = re.search(r'PY_VERSION\s+"(.*)"', self.read("Include/patchlevel.h") or "")
        self.title = f"{ref} (CPython {version[1] if version else 'of unknown version'})"

    def read(self, name):
        result = subprocess.run([*self.git, "show", f"{self.ref}:{name}"], capture_output=True, text=True)
        return result.stdout if result.returncode == 0 else None


class InstalledHeaders(Directory):
    """An include folder as an installed Python has it, seen as the Include/ of a source tree."""

    def __init__(self, root, title):
        super().__init__(root)
        self.title = title

    def read(self, name):
        return super().read(name.removeprefix("Include/"))


def land(patches, source, only_headers=False):
    """Prints where each hunk lands on the source and returns how many do not."""
    print(f"== {source.title}")
    exact = moved = lost = 0
    for patch in patches:
        for name, hunks in patch.changes.items():
            if only_headers and not name.startswith("Include/"):
                continue
            text = source.read(name)
            new_file = not any(hunk.old for hunk in hunks)
            if new_file or text is None:
                if new_file and text is None:
                    report, exact = "new file", exact + 1
                else:
                    report, lost = ("EXISTS ALREADY" if new_file else "NO SUCH FILE"), lost + 1
                print(f"{patch.name}  {name}: {report}")
                continue
            for number, (hunk, line) in enumerate(zip(hunks, series.place(hunks, text), strict=True), start=1):
                if line is None:
                    report, lost = f"DOES NOT APPLY (made for line {hunk.start})", lost + 1
                elif line == hunk.start:
                    report, exact = f"line {line}", exact + 1
                else:
                    report, moved = f"line {line} (offset {line - hunk.start:+})", moved + 1
                print(f"{patch.name}  {name} #{number}: {report}")
    print(f"== {source.title}: {exact} hunks in place, {moved} moved, {lost} do not land\n")
    return lost


def debian_headers(folder):
    """The headers of Debian's libpython3.15-dev, downloaded into folder, or None with a word on why not."""
    fetched = subprocess.run(
        [PROJECT / "tools/debian-fetch", "binary", "libpython3.15-dev", folder], capture_output=True, text=True
    )
    if fetched.returncode:
        print(f"== Debian's libpython3.15-dev: not to be had here ({fetched.stderr.strip()})\n")
        return None
    (package,) = pathlib.Path(folder).glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return InstalledHeaders(pathlib.Path(folder) / "usr/include/python3.15", f"headers of {package.name}")


def main():
    parser = argparse.ArgumentParser(description="Where each hunk of the series lands on other source trees.")
    parser.add_argument("--git", nargs="+", default=[], metavar=("GIT_DIR", "REF"))
    parser.add_argument("--tree", action="append", default=[], metavar="DIRECTORY")
    parser.add_argument("--debian-headers", action="store_true")
    arguments = parser.parse_args()

    patches = series.read_series()
    git_dir, *refs = arguments.git or [None]
    sources = [GitRef(git_dir, ref) for ref in refs] + [Directory(root) for root in arguments.tree]
    if not sources:
        sources = [Directory(PRISTINE)]
    lost = sum(land(patches, source) for source in sources)
    if arguments.debian_headers:
        with tempfile.TemporaryDirectory() as folder:
            if headers := debian_headers(folder):
                lost += land(patches, headers, only_headers=True)
    return 1 if lost else 0


if __name__ == "__main__":
    run_tool(main)
