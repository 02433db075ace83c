"""Proves that every patch applies, in order and without fuzz, to stock CPython, and reports the size of the series.

usage: patches_check.py
"""

import shutil

import cpython_source
import series
from layout import PRISTINE, Failure, preparing, run_tool


def main():
    cpython_source.acquire()
    patches = series.read_series()
    with preparing() as folder:
        for patch in patches:
            if set(patch.changes) != set(patch.owned):
                wrong = ", ".join(sorted(set(patch.changes) ^ set(patch.owned)))
                raise Failure(
                    f"{patch.name}: its Files: list and its diff do not name the same files: {wrong}\n"
                    "`make patches-refresh` writes the diff anew from the list."
                )
            for name in patch.changes:
                if (PRISTINE / name).exists():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(PRISTINE / name, folder / name)
            series.apply(patch, folder)
            print(f"{patch.name:<44} {len(patch.changes):>4} files  {patch.added:>5} added  {patch.removed:>5} removed")
    files = sum(len(patch.changes) for patch in patches)
    added, removed = sum(patch.added for patch in patches), sum(patch.removed for patch in patches)
    title = f"all {len(patches)} patches apply without fuzz"
    print(f"{title:<44} {files:>4} files  {added:>5} added  {removed:>5} removed")


if __name__ == "__main__":
    run_tool(main)
