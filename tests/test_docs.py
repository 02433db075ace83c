"""Every Python snippet of the guide runs, top to bottom, and prints what the guide says."""

import doctest
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(document):
    """The Python blocks of a document, each with the number of its first line."""
    text = document.read_text()
    return [(text[: found.start(1)].count("\n") + 1, found[1]) for found in FENCED.finditer(text)]


@pytest.mark.parametrize("name", ["GUIDE.md", "DIFFERENCES.md", "README.md"])
def test_every_snippet_runs_and_prints_what_is_written_below_it(name, module):
    namespace = vars(module(name="snippets_of_" + name.removesuffix(".md").lower()))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    for line, source in snippets(PROJECT / name):
        if source.lstrip().startswith(">>>"):
            examples = doctest.DocTestParser().get_doctest(source, namespace, f"{name}:{line}", name, line - 1)
            examples.globs = namespace  # names carry over from one snippet to the next
            problems = []
            runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
            runner.run(examples, out=problems.append, clear_globs=False)
            assert not problems, "".join(problems)
        else:
            exec(compile("\n" * (line - 1) + source, name, "exec"), namespace)


def test_the_guide_has_snippets():
    assert len(snippets(PROJECT / "GUIDE.md")) >= 10


def test_the_guide_shows_every_name_of_the_surface():
    import immutable

    guide = (PROJECT / "GUIDE.md").read_text()
    assert [name for name in immutable.__all__ if name not in guide] == []
