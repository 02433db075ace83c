"""The patch series: its form, and where its hunks land on a given text.

A patch file is a header for people and a body for machines. The header says what the patch changes, why it
cannot live outside CPython and what breaks without it, and lists the files that the patch owns:

    Files: Include/object.h
     Objects/object.c

(any number a line; a continuation line starts with a blank). No two patches own the same file, so that the
series can be written from an edited tree. The body is what `diff -up` says about these files, each part
opened by a `diff --git a/FILE b/FILE` line.
"""

import dataclasses
import pathlib
import re
import subprocess

from layout import PATCHES, PROJECT, Failure, shown

# Files that the build generates from files of the series. They are never in a patch.
REGENERATED = frozenset(
    line
    for line in (PROJECT / "tools/cpython-regenerated.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


@dataclasses.dataclass
class Hunk:
    start: int  # first line in the file before the patch, from 1; 0 where the file is new
    old: list[str]  # context and removed lines
    new: list[str]  # context and added lines
    added: int
    removed: int


@dataclasses.dataclass
class Patch:
    path: pathlib.Path
    header: str
    owned: list[str]  # what the header's Files: says
    changes: dict[str, list[Hunk]]

    @property
    def name(self):
        return self.path.name

    @property
    def added(self):
        return sum(hunk.added for hunks in self.changes.values() for hunk in hunks)

    @property
    def removed(self):
        return sum(hunk.removed for hunks in self.changes.values() for hunk in hunks)


def read_series():
    """The patches in order; a Failure where two own one file, or one owns a file that is generated."""
    patches = [parse(path) for path in sorted(PATCHES.glob("[0-9]*.patch"))]
    if not patches:
        raise Failure(f"There is no patch in {shown(PATCHES)}.")
    owners = {}
    for patch in patches:
        for name in patch.owned:
            if name in owners:
                raise Failure(f"{name} is owned by two patches, {owners[name]} and {patch.name}. Leave it to one.")
            if name in REGENERATED:
                raise Failure(f"{patch.name} owns {name}, which the build generates. Take it out of Files:.")
            owners[name] = patch.name
    return patches


def parse(path):
    text = path.read_text()
    header, marker, body = text.partition("diff --git ")
    owned, inside = [], False
    for line in header.splitlines():
        if line.startswith("Files:"):
            inside = True
            owned += line.removeprefix("Files:").split()
        elif inside and line[:1].isspace() and line.strip():
            owned += line.split()
        else:
            inside = False
    if not owned:
        raise Failure(f"The header of {shown(path)} has no `Files:` list of the files that the patch owns.")
    changes = {}
    for part in (marker + body).split("\ndiff --git ") if marker else ():
        name, hunks = _parse_file(part.removeprefix("diff --git "), path)
        changes[name] = hunks
    return Patch(path, header, owned, changes)


def _parse_file(part, path):
    lines = part.split("\n")
    opening = re.fullmatch(r"a/(\S+) b/(\S+)", lines[0])
    if opening is None or opening[1] != opening[2]:
        raise Failure(f"{shown(path)}: `diff --git {lines[0]}` is not of the form `diff --git a/FILE b/FILE`.")
    hunks = []
    position = next((at for at, line in enumerate(lines) if line.startswith("@@ ")), len(lines))
    while position < len(lines) and lines[position].startswith("@@ "):
        start, old_left, new_left = _range(lines[position], path)
        hunk = Hunk(start, [], [], 0, 0)
        position += 1
        while old_left or new_left:
            # Some editors strip the blank of an empty context line.
            sign, content = lines[position][:1] or " ", lines[position][1:]
            if sign in " -":
                hunk.old.append(content)
                old_left -= 1
                hunk.removed += sign == "-"
            if sign in " +":
                hunk.new.append(content)
                new_left -= 1
                hunk.added += sign == "+"
            if sign not in " -+\\":
                raise Failure(f"{shown(path)}: hunk of {opening[1]} ends early, at: {lines[position]}")
            position += 1
        while position < len(lines) and lines[position].startswith("\\"):
            position += 1
        hunks.append(hunk)
    return opening[1], hunks


def _range(line, path):
    found = re.match(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
    if found is None:
        raise Failure(f"{shown(path)}: not a hunk: {line}")
    return int(found[1]), int(found[2] or 1), int(found[3] or 1)


def place(hunks, text):
    """Where each hunk lands in text, without fuzz: its first line (from 1), or None where it does not apply.

    As `patch -F0` does it: every line of context must be there, in the neighbourhood of where the hunk before
    landed, the nearest place first.
    """
    lines = text.split("\n")
    landings, earliest, offset = [], 0, 0
    for hunk in hunks:
        wanted = hunk.start - 1 + offset
        last = len(lines) - len(hunk.old)
        fitting = (
            at
            for at in sorted(range(earliest, last + 1), key=lambda at: abs(at - wanted))
            if lines[at : at + len(hunk.old)] == hunk.old
        )
        at = next(fitting, None)
        if at is not None:
            earliest, offset = at + len(hunk.old), at - (hunk.start - 1)
        landings.append(None if at is None else at + 1)
    return landings


def apply(patch, root):
    """Applies the patch to the tree at root, without fuzz."""
    if not patch.changes:
        return
    result = subprocess.run(
        ["patch", "-p1", "--fuzz=0", "--batch", "--forward", "--no-backup-if-mismatch", "--silent"],
        cwd=root,
        input=patch.path.read_text(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        raise Failure(
            f"{patch.name} does not apply:\n{result.stdout.rstrip()}\n"
            "`make patches-landing` says where each hunk would land."
        )
