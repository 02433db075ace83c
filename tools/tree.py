"""Source trees on disk: which files belong to one, what they hash to, and bringing one up to date with another.

A complete tree carries a stamp, a JSON file at its top. It is written last, and marked incomplete before anything is
changed, so a tree whose change was interrupted is never trusted.
"""

import hashlib
import json
import os
import shutil

STAMP = ".immutable-tree.json"
_SKIPPED_FOLDERS = {".git", "__pycache__"}
_SKIPPED_SUFFIXES = (".pyc", ".orig", ".rej", ".new")


def files(root):
    """Relative paths of the source files below root, sorted; what editors and interpreters leave is no source."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
        links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            if name != STAMP and not name.endswith(_SKIPPED_SUFFIXES):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(found)


def file_hash(path):
    if os.path.islink(path):
        return "link:" + os.readlink(path)
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def manifest(root):
    """Maps each source file of root to the hash of its content."""
    return {name: file_hash(os.path.join(root, name)) for name in files(root)}


def digest(*values):
    """One short hash of any JSON-like values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def read_stamp(root, even_incomplete=False):
    """The stamp of a complete tree, or None."""
    try:
        with open(os.path.join(root, STAMP)) as file:
            stamp = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return stamp if even_incomplete or not stamp.get("incomplete") else None


def write_stamp(root, stamp):
    temporary = os.path.join(root, STAMP + ".new")
    with open(temporary, "w") as file:
        json.dump(stamp, file)
    os.replace(temporary, os.path.join(root, STAMP))


def begin_change(root):
    """Marks the tree incomplete until write_stamp() is called."""
    write_stamp(root, read_stamp(root, even_incomplete=True) | {"incomplete": True})


def same(one, other):
    if os.path.islink(one) or os.path.islink(other) or not os.path.exists(other):
        return os.path.lexists(other) and file_hash(one) == file_hash(other)
    if os.path.getsize(one) != os.path.getsize(other):
        return False
    with open(one, "rb") as first, open(other, "rb") as second:
        return first.read() == second.read()


def differing(source, target):
    """Files of source that target lacks or has with another content, and files that only target has."""
    wanted = files(source)
    changed = [name for name in wanted if not same(os.path.join(source, name), os.path.join(target, name))]
    return changed, sorted(set(files(target)) - set(wanted))


def install(staged, target, stamp):
    """Makes target equal to the staged tree and stamps it.

    A new tree is moved into place. In an existing one only the files that differ are written, so that their new
    times, and no others, tell `make` what to compile again.
    """
    if read_stamp(target, even_incomplete=True) is None:
        shutil.rmtree(target, ignore_errors=True)
        _set_one_time(staged)
        write_stamp(staged, stamp)
        os.rename(staged, target)
        return
    changed, superfluous = differing(staged, target)
    begin_change(target)
    for name in superfluous:
        os.unlink(os.path.join(target, name))
    for name in changed:
        put(os.path.join(staged, name), os.path.join(target, name))
    write_stamp(target, stamp)


def put(source, target):
    """Copies one file by replacing it, with its mode and the present time."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = f"{target}.new"
    shutil.copy(source, temporary, follow_symlinks=False)
    os.replace(temporary, target)


def _set_one_time(root):
    # Extraction order must not make a generated file look older than its input, nor older than objects of a
    # build folder that outlived the tree it was built from.
    now = os.stat(root).st_ctime_ns
    for name in files(root):
        os.utime(os.path.join(root, name), ns=(now, now), follow_symlinks=False)
