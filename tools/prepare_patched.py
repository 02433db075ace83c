"""Keeps build/patched: stock CPython with the patch series, our header and our Python package in it.

usage: prepare_patched.py

Only files whose content changes are written, so that `make` compiles no more than it must. Edits made in
build/patched that are not in the series are never overwritten: the tool stops and names them.
"""

import os
import shutil
import subprocess

import cpython_source
import regenerate
import series
import tree
from layout import OVERLAY, PATCHED, PATCHES, PRISTINE, Failure, preparing, run_tool, shown


def overlay_files():
    """Maps places in the prepared tree to our files that go there."""
    placed = {}
    for source, place in OVERLAY.items():
        if source.is_file():
            placed[place] = source
        elif source.is_dir():
            placed |= {f"{place}/{name}": source / name for name in tree.files(source)}
        else:
            raise Failure(f"{shown(source)} is missing; it is part of the prepared CPython tree.")
    return placed


def keys(pristine):
    """What the prepared tree depends on: (key of the patched source, key of our files in it)."""
    patches = [[path.name, tree.file_hash(path)] for path in sorted(PATCHES.glob("[0-9]*.patch"))]
    ours = {place: tree.file_hash(source) for place, source in overlay_files().items()}
    return tree.digest(pristine["content"], patches), tree.digest(ours)


def stage(staged):
    patches = series.read_series()
    subprocess.run(["cp", "-a", PRISTINE, staged], check=True)
    os.unlink(staged / tree.STAMP)
    for patch in patches:
        series.apply(patch, staged)
    before = tree.manifest(staged)
    regenerate.regenerate(staged)
    generated = {name for name, content in tree.manifest(staged).items() if before.get(name) != content}
    if unknown := generated - series.REGENERATED:
        raise Failure(f"Generated, but not listed in tools/cpython-regenerated.txt: {', '.join(sorted(unknown))}")
    for place, source in overlay_files().items():
        target = staged / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def refuse_lost_edits(staged, stamp):
    changed, superfluous = tree.differing(staged, PATCHED)
    edited = [
        name
        for name in changed + superfluous
        if name not in series.REGENERATED
        and (PATCHED / name).exists()
        and tree.file_hash(PATCHED / name) != stamp["files"].get(name)
    ]
    if edited:
        raise Failure(
            f"These files of {shown(PATCHED)} were edited and the series does not have the edits:\n  "
            + "\n  ".join(edited)
            + "\nTake them into the series with `make patches-refresh`, or remove the folder to drop them."
        )


def replace_overlay(stamp):
    """Brings only our own files up to date in a tree whose patches did not change."""
    ours = overlay_files()
    tree.begin_change(PATCHED)
    for place, source in ours.items():
        if not tree.same(source, PATCHED / place):
            tree.put(source, PATCHED / place)
    for source, place in OVERLAY.items():
        if source.is_dir():
            for name in set(tree.files(PATCHED / place)) - set(tree.files(source)):
                os.unlink(PATCHED / place / name)
    kept = {name: content for name, content in stamp["files"].items() if not _is_ours(name)}
    stamp["files"] = kept | {place: tree.file_hash(source) for place, source in ours.items()}
    tree.write_stamp(PATCHED, stamp)


def _is_ours(name):
    return any(name == place or name.startswith(place + "/") for place in OVERLAY.values())


def prepare():
    pristine = cpython_source.acquire()
    source_key, overlay_key = keys(pristine)
    stamp = tree.read_stamp(PATCHED)
    if stamp and (stamp["source"], stamp["overlay"]) == (source_key, overlay_key):
        return
    with preparing() as folder:
        if stamp and stamp["source"] == source_key:
            replace_overlay(stamp | {"overlay": overlay_key})
            return
        print(f"applying the patch series in {shown(PATCHES)}", flush=True)
        staged = folder / "tree"
        stage(staged)
        if previous := tree.read_stamp(PATCHED, even_incomplete=True):
            refuse_lost_edits(staged, previous)
        new = {"version": pristine["version"], "source": source_key, "overlay": overlay_key}
        tree.install(staged, PATCHED, new | {"files": tree.manifest(staged)})


if __name__ == "__main__":
    run_tool(prepare)
