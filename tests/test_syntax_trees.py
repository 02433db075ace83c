"""Syntax trees freeze, and each interpreter takes the nodes for its own."""

import ast
import textwrap

import pytest

from immutable import channel, freeze

SOURCE = "def double(number):\n    return 2 * number\n"


@pytest.fixture
def home(elsewhere):
    """An interpreter that has parsed and frozen SOURCE as `tree`, and its channel to another one."""
    made = elsewhere()
    made.run(
        """
        import ast
        from immutable import MutationError, freeze, is_frozen, thaw
        tree = freeze(ast.parse(SOURCE))
        """,
        SOURCE=SOURCE,
    )
    return made


@pytest.fixture
def pass_tree(home, elsewhere):
    """Passes `tree` to another interpreter, which is given back."""

    def passed():
        sender, receiver = channel()
        home.run("sender.send(tree)", sender=sender)
        there = elsewhere()
        there.run("tree = receiver.recv()", receiver=receiver)
        return there

    return passed


USES = {
    "isinstance": """
        import ast
        assert isinstance(tree, ast.AST) and isinstance(tree, ast.Module) and not isinstance(tree, ast.expr)
        assert isinstance(tree.body[0].body[0].value.op, ast.Mult)
        assert tree.__class__ is ast.Module
    """,
    "isinstance, hot": """
        import ast
        for _ in range(5000):
            assert isinstance(tree, ast.Module)
            assert tree.__class__ is ast.Module
    """,
    "match": """
        import ast
        match tree.body[0]:
            case ast.FunctionDef(name="double", body=[ast.Return(value=ast.BinOp(ast.Constant(2), ast.Mult(), right))]):
                assert right.id == "number"
            case _:
                raise AssertionError
    """,
    "compile": """
        namespace = {}
        exec(compile(tree, "<tree>", "exec"), namespace)
        assert namespace["double"](21) == 42
    """,
    "unparse": """
        import ast
        assert ast.unparse(tree) + "\\n" == SOURCE
    """,
    "walk": """
        import ast
        assert [type(node).__name__ for node in ast.walk(tree)][:3] == ["Module", "FunctionDef", "arguments"]
        assert len(list(ast.walk(tree))) == len(list(ast.walk(ast.parse(SOURCE))))
    """,
    "visit": """
        import ast
        class Names(ast.NodeVisitor):
            def visit_Name(self, node):
                found.append(node.id)
        found = []
        Names().visit(tree)
        assert found == ["number"]
    """,
    "dump and compare": """
        import ast
        assert ast.dump(tree, include_attributes=True) == ast.dump(ast.parse(SOURCE), include_attributes=True)
        assert ast.compare(tree, ast.parse(SOURCE)) and ast.compare(ast.parse(SOURCE), tree)
    """,
    "literal_eval": """
        import ast
        assert ast.literal_eval(tree.body[0].body[0].value.left) == 2
    """,
    "write": """
        from immutable import MutationError
        for write in (
            lambda: setattr(tree, "body", []),
            lambda: delattr(tree, "body"),
            lambda: tree.body.append(None),
            lambda: tree.__init__(body=[]),
            lambda: tree.__dict__.update(body=[]),
            lambda: setattr(tree, "__dict__", {}),
            lambda: setattr(type(tree), "_fields", ()),
            lambda: setattr(tree, "__class__", type(tree.body[0])),
        ):
            try:
                write()
            except MutationError:
                pass
            else:
                raise AssertionError(write)
        assert len(tree.body) == 1
    """,
    "copy": """
        import ast, copy
        from immutable import is_frozen, thaw
        for made in (copy.deepcopy(tree), thaw(tree)):
            assert not is_frozen(made) and ast.dump(made) == ast.dump(tree)
            made.body.clear()
            made.body.append(ast.Pass(lineno=1, col_offset=0))
            exec(compile(made, "<tree>", "exec"))
        assert len(tree.body) == 1
    """,
    "transform a copy": """
        import ast
        from immutable import thaw
        class Twice(ast.NodeTransformer):
            def visit_Constant(self, node):
                return ast.copy_location(ast.Constant(node.value * 2), node)
        namespace = {}
        exec(compile(Twice().visit(thaw(tree)), "<tree>", "exec"), namespace)
        assert namespace["double"](1) == 4
    """,
    "make trees of one's own": """
        import ast
        ast.Module.mark = "mine"
        own = ast.parse("a = 1")
        own.body.append(tree.body[0])
        exec(compile(own, "<own>", "exec"))
    """,
}


@pytest.mark.parametrize("use", USES)
def test_a_frozen_tree_is_used_by_another_interpreter_as_its_own(pass_tree, use):
    pass_tree().run(USES[use], SOURCE=SOURCE)


@pytest.mark.parametrize("use", [use for use in USES if use != "make trees of one's own"])
def test_a_frozen_tree_is_used_where_it_was_made(home, use):
    home.run(USES[use], SOURCE=SOURCE)


@pytest.mark.parametrize("use", USES)
def test_a_frozen_tree_outlives_the_interpreter_that_made_it(home, pass_tree, use):
    there = pass_tree()
    home.close()
    there.run(USES[use], SOURCE=SOURCE)


def test_trees_are_parsed_and_frozen_after_the_first_one_was(home):
    home.run(
        """
        again = ast.parse(SOURCE)
        assert not is_frozen(again) and isinstance(again, ast.Module)
        again.body.append(ast.parse("a = 1").body[0])
        again.extra = []
        exec(compile(ast.fix_missing_locations(again), "<again>", "exec"))
        assert is_frozen(freeze(again).extra)
        """
    )


def test_a_class_of_ones_own_stays_what_it_is(elsewhere):
    sender, receiver = channel()
    source = textwrap.dedent(
        """
        import ast
        from immutable import freeze
        class Name(ast.Name):
            pass
        sender.send(freeze(Name("a")))
        """
    )
    home, there = elsewhere(), elsewhere()
    home.run(source, sender=sender)
    there.run(
        """
        import ast
        node = receiver.recv()
        assert node.__class__ is type(node) and node.__class__ is not ast.Name
        assert node.__class__.__mro__[1].__name__ == "Name"
        """,
        receiver=receiver,
    )


def test_interpreters_use_one_tree_at_the_same_time(everywhere_at_once):
    everywhere_at_once(
        textwrap.dedent(
            """
            import ast
            for _ in range(300):
                namespace = {}
                exec(compile(shared, "<tree>", "exec"), namespace)
                assert namespace["double"](21) == 42
                assert ast.unparse(shared).startswith("def double(number):")
                assert len(ast.dump(shared)) > 100
            """
        ),
        freeze(ast.parse(SOURCE)),
    )
