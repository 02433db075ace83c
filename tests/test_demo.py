"""`python -m immutable.demo` does the main job on the standard library."""

import os
import pickle
import pty
import re
import subprocess
import sys

import pytest

from immutable import demo, freeze


@pytest.fixture(scope="module")
def output():
    """What a short run prints."""
    done = subprocess.run(
        [sys.executable, "-m", "immutable.demo", "--files", "60"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # no progress bar where there is no terminal
    return done.stdout


def number(output, label):
    return int(re.search(rf"{re.escape(label)}\s+([\d,]+)", output)[1].replace(",", ""))


def test_it_reports_what_was_indexed_and_frozen(output):
    assert number(output, "files parsed") == 60
    assert number(output, "lines") > 10_000
    assert number(output, "positions") > 10_000
    assert number(output, "objects frozen") > number(output, "positions")


def test_it_shows_that_nothing_changed_and_every_write_is_refused(output):
    assert re.search(r"reads as before .* ok", output)
    assert re.search(r"unchanged after all of them .* ok", output)
    assert len(re.findall("MutationError:", output)) == len(demo.writes({"x": [demo.Position("f", 1, 0)]}))
    assert "WENT THROUGH" not in output


def test_it_shows_that_the_memory_came_back(output):
    assert number(output, "frozen objects left of the index") == 0
    assert re.search(r"frozen objects left of the index\s+0  ok", output)


def test_it_compares_with_pickle_in_the_same_run(output):
    for label in "time to freeze", "time to pickle and unpickle", "ratio":
        assert re.search(rf"{label}\s+[\d,.]+ ", output)


def test_it_compares_searches_of_the_index_and_of_copies_by_several_interpreters(output):
    assert re.search(r"Searched for every identifier by \d+ interpreters at once", output)
    assert re.search(r"all found the same\s+[\d,]+ words  ok", output)
    for label in "frozen", "pickled":
        for what in r"time to share\s+[\d,.]+ ms", r"time to search\s+[\d,.]+ ms", r"memory per worker\s+-?[\d,.]+ MB":
            assert re.search(f"{label}, {what}", output)


def test_the_number_of_workers_can_be_chosen():
    done = subprocess.run(
        [sys.executable, "-m", "immutable.demo", "--files", "3", "--workers", "3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "by 3 interpreters at once" in done.stdout


def test_searches_find_what_is_in_the_index():
    position = demo.Position
    index = {
        "x": [position("b", 1, 0), position("a", 1, 0), position("a", 2, 0), position("b", 9, 4)],
        "y": [position("c", 7, 3)],
    }
    assert demo.look_up(index, "x") == ("x", 4, "a", 2)
    freeze(index, demo.look_up, demo.serve, demo.serve_copy)
    workers = demo.Workers(2)
    try:
        for task, data in (demo.serve, index), (demo.serve_copy, pickle.dumps(index)):
            search = demo.search(workers, task, data, [freeze(("y",)), freeze(("x",))])
            assert search.found == [("x", 4, "a", 2), ("y", 1, "c", 1)]
    finally:
        workers.close()


def test_it_shows_a_progress_bar_on_a_terminal():
    terminal, screen = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "immutable.demo", "--files", "3"],
            stdout=subprocess.DEVNULL,
            stderr=screen,
            check=True,
            timeout=300,
        )
        shown = os.read(terminal, 1 << 16).decode()
    finally:
        os.close(screen)
        os.close(terminal)
    assert re.search(r"parsing \[#{40}\] 3/3", shown)


def test_the_index_finds_identifiers_where_they_stand(tmp_path):
    (tmp_path / "sample.py").write_text("import os.path as p\n\ndef f(x, *, y=1):\n    return x.size + f(x, y=p)\n")
    (tmp_path / "broken.py").write_text("def (:\n")
    files = demo.source_files(tmp_path, None)
    index, parsed = demo.build_index(tmp_path, files)
    at = {word: [(p.file, p.line, p.column) for p in positions] for word, positions in index.items()}
    assert at == {
        "p": [("sample.py", 1, 7), ("sample.py", 4, 27)],
        "f": [("sample.py", 3, 0), ("sample.py", 4, 20)],
        "x": [("sample.py", 3, 6), ("sample.py", 4, 11), ("sample.py", 4, 22)],
        "y": [("sample.py", 3, 12), ("sample.py", 4, 25)],
        "size": [("sample.py", 4, 13)],
    }
    assert (parsed.files, parsed.lines, parsed.unparsable) == (1, 4, ["broken.py"])


def test_third_party_packages_are_not_the_standard_library(tmp_path):
    for folder in "json", "site-packages", "dist-packages":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").touch()
    assert demo.source_files(tmp_path, None) == [tmp_path / "json" / "module.py"]
