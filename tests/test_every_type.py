"""Every type of the standard library is in TYPES.md, and what it says there is so.

type_table.py says how each type is tried: frozen, written in every way, sent to another interpreter, used, and dropped.
"""

import pathlib

import pytest
import type_table

DOCUMENT = pathlib.Path(__file__).parent.parent / "TYPES.md"
NOBODY_KNOWS = "nobody said that its writes respect freezing"


@pytest.fixture(scope="module")
def results():
    return type_table.try_all()


def test_no_type_changes_once_frozen_nor_ends_the_process(results):
    assert {name: result["fault"] for name, result in results.items() if result["fault"]} == {}


def test_every_refusal_names_the_way_out(results):
    unexplained = {
        name
        for name, result in results.items()
        if result.get("policy") == "refused" and NOBODY_KNOWS in result["reason"]
    }
    assert unexplained == set()


def test_an_instance_of_every_type_that_freezes_was_tried(results):
    not_tried = {
        name
        for name, result in results.items()
        if result.get("policy") == "freezable" and not result["shared"] and type_table.RECIPES.get(name, "") is not None
    }
    assert not_tried == set()


def test_the_table_is_up_to_date(results):
    lines = DOCUMENT.read_text().splitlines(keepends=True)
    written = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    rows = {name: type_table.row(name, result) for name, result in results.items()}
    assert {name: row for name, row in rows.items() if written.get(name) != row} == {}, "run `make type-table`"
    assert [line for line in lines if not line.startswith("| `")] == type_table.document({}).splitlines(keepends=True)
    # Types in the document alone are of modules that were not built here.
    modules = {name.rpartition(".")[0] for name in rows}
    assert {name for name in written if name not in rows and name.rpartition(".")[0] in modules} == set()
