"""`python -m immutable check PACKAGE`."""

import subprocess
import sys

import pytest
from extensions import FOREIGN, compiled, tally


@pytest.fixture
def check(tmp_path):
    """Runs the command on the packages in a folder, and returns its status and what it printed."""

    def run(*arguments, paths=()):
        search = [str(tmp_path), *map(str, paths)]
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path[:0] = {search!r}; from immutable.__main__ import main; "
                "sys.exit(main(sys.argv[1:]))",
                "check",
                *arguments,
            ],
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_package_of_python_classes_is_freezable(check, tmp_path):
    package = tmp_path / "plain"
    package.mkdir()
    (package / "__init__.py").write_text("class One: pass\n")
    (package / "more.py").write_text("from threading import Thread\nclass Two(Thread): pass\n")
    status, shown = check("plain")
    assert (status, shown) == (0, "plain: 1 types, 0 extension modules\n\nfreezable (1)\n  plain.One\n")
    status, shown = check("plain", "--submodules")
    assert status == 1
    assert "freezable (1)\n  plain.One\n" in shown
    assert "refused (1)\n  plain.more.Two: it " in shown
    assert "threading.Thread" not in shown


def test_a_module_that_cannot_be_imported_is_told(check, tmp_path):
    package = tmp_path / "halved"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text("import no_such_module")
    status, shown = check("halved", "--submodules")
    assert status == 0
    assert "modules that could not be imported (1)\n  halved.broken: ModuleNotFoundError" in shown
    status, shown = check("no_such_package")
    assert status == 2
    assert "no_such_package cannot be imported" in shown


@pytest.mark.parametrize("name", ["./vals.py", "folder/vals", ".relative", ""])
def test_what_is_no_name_of_a_module_is_told_so(check, name):
    status, shown = check(name)
    assert (status, len(shown.splitlines())) == (2, 1)
    assert "is no name to import: for a file, name its module" in shown


def test_a_package_that_fails_in_any_way_is_told(check, tmp_path):
    (tmp_path / "failing.py").write_text("1 / 0")
    status, shown = check("failing")
    assert (status, shown) == (2, "failing cannot be imported: ZeroDivisionError: division by zero\n")


def test_the_decoder_of_json_is_listed_as_freezable_and_freezes(check, run_python):
    status, shown = check("json.decoder")
    assert (status, "json.decoder.JSONDecoder\n" in shown) == (0, True), shown
    run_python("""if True:
        import json
        from concurrent import interpreters
        from immutable import freeze
        decoder = freeze(json.JSONDecoder(parse_float=str, object_pairs_hook=tuple))
        text = '{"a": [1, 2.50, {"a": NaN}]}'
        interpreter = interpreters.create()
        assert decoder.decode(text)[0][1][1] == "2.50"
        interpreter.prepare_main(decoder=decoder, text=text, expected=repr(decoder.decode(text)))
        interpreter.exec("for _ in range(9): assert repr(decoder.decode(text)) == expected")
        interpreter.close()
        assert json.loads(text)["a"][1] == 2.5
    """)


def test_a_module_in_c_that_opts_in_is_freezable_and_exact(check):
    status, shown = check("tally", paths=[tally().parent])
    assert status == 0
    assert "freezable (3)\n  tally.Box\n  tally.Counter\n  tally.Point\n" in shown
    assert f"extension modules that count exactly (1)\n  {tally()}\n" in shown


def test_a_module_in_c_that_does_not_opt_in_refuses_and_says_why(check):
    status, shown = check("itertools")
    assert status == 1
    assert "refused" in shown
    assert "itertools.count: an iterator is consumed by use" in shown


def test_a_foreign_extension_file_is_named_with_the_reason(check):
    path = compiled(FOREIGN / "uncounted.c", of="stock")
    status, shown = check("uncounted", paths=[path.parent])
    assert status == 1
    assert f"foreign extension modules (1)\n  {path}: it was not compiled with the headers" in shown


def test_a_file_is_looked_at_although_nobody_imported_it(check, tmp_path):
    package = tmp_path / "mixed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    foreign = compiled(FOREIGN / "uncounted.c", of="stock")
    (package / foreign.name).symlink_to(foreign)
    status, shown = check("mixed")
    assert status == 1
    assert "mixed: 0 types, 1 extension modules" in shown


def test_help_lists_the_commands():
    done = subprocess.run([sys.executable, "-m", "immutable", "--help"], capture_output=True, text=True, check=True)
    assert "check" in done.stdout
    assert "Tell which types of a package can be frozen" in done.stdout
