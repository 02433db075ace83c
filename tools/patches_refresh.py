"""Writes the bodies of the patch series anew from an edited source tree. The headers stay as they are.

usage: patches_refresh.py TREE

TREE has the layout of build/patched. A file that differs from build/pristine must be owned by a patch, that is
named in the `Files:` list of a patch's header; a new patch starts as a file that has only its header.
"""

import pathlib
import subprocess
import sys

import series
import tree
from layout import OVERLAY, PATCHES, PRISTINE, Failure, run_tool, shown


def ours_or_generated(name):
    return name in series.REGENERATED or any(
        name == place or name.startswith(place + "/") for place in OVERLAY.values()
    )


def ignored_by_git(root, names):
    """Of the names, those that a git work tree at root ignores: leavings of a build that was made inside it."""
    if not names or not (pathlib.Path(root) / ".git").exists():
        return set()
    result = subprocess.run(
        ["git", "-C", root, "check-ignore", "-z", "--stdin"], input="\0".join(names), capture_output=True, text=True
    )
    return set(result.stdout.split("\0"))


def file_diff(name, root):
    """The part of a patch body that takes build/pristine's file to the one in root."""
    before, after = PRISTINE / name, pathlib.Path(root) / name
    if not before.exists():
        lines = [f"diff --git a/{name} b/{name}", "new file mode 100644"]
        labels, before = ("/dev/null", f"b/{name}"), "/dev/null"
    elif not after.exists():
        lines = [f"diff --git a/{name} b/{name}", "deleted file mode 100644"]
        labels, after = (f"a/{name}", "/dev/null"), "/dev/null"
    else:
        lines = [f"diff --git a/{name} b/{name}"]
        labels = (f"a/{name}", f"b/{name}")
    result = subprocess.run(
        ["diff", "-up", "--label", labels[0], "--label", labels[1], before, after], capture_output=True, text=True
    )
    if result.returncode != 1:
        raise Failure(f"{name} cannot be compared: {result.stderr or result.stdout}")
    return "\n".join(lines) + "\n" + result.stdout


def main():
    if len(sys.argv) != 2:
        raise Failure("usage: patches_refresh.py TREE")
    root = sys.argv[1]
    if tree.read_stamp(PRISTINE) is None:
        raise Failure("build/pristine is not there yet: run `make cpython-src` first.")
    if not (pathlib.Path(root) / "Include/patchlevel.h").exists():
        raise Failure(f"{root} is no CPython source tree. Name the edited one with PATCHED_TREE=.")
    patches = series.read_series()
    owners = {name: patch for patch in patches for name in patch.owned}

    in_tree, superfluous = tree.differing(root, PRISTINE)
    differing = [name for name in in_tree + superfluous if not ours_or_generated(name)]
    ignored = ignored_by_git(root, [name for name in differing if not (PRISTINE / name).exists()])
    differing = [name for name in differing if name not in ignored]
    if orphans := [name for name in differing if name not in owners]:
        raise Failure(
            f"Changed in {root}, but owned by no patch of {shown(PATCHES)}:\n  "
            + "\n  ".join(sorted(orphans))
            + "\nAdd each to the `Files:` list of a patch's header, or undo the change."
        )
    for patch in patches:
        owned = [name for name in patch.owned if name in differing]
        if unchanged := [name for name in patch.owned if name not in differing]:
            print(
                f"{patch.name}: unchanged in the tree, though listed in Files: {', '.join(unchanged)}", file=sys.stderr
            )
        text = patch.header.rstrip("\n") + "\n\n" + "".join(file_diff(name, root) for name in owned)
        if text != patch.path.read_text():
            patch.path.write_text(text)
            print(f"written: {shown(patch.path)}")


if __name__ == "__main__":
    run_tool(main)
