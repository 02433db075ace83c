"""Frozen objects of library classes are taken for its own by every interpreter that has imported the class itself."""

import fractions
import textwrap

import pytest

from immutable import channel, freeze

# What makes an object, in an interpreter of its own, and what another one may assert of it.
VALUES = {
    "Fraction": (
        "fractions.Fraction(1, 3)",
        """
        own = fractions.Fraction(1, 3)
        assert isinstance(value, fractions.Fraction) and value.__class__ is fractions.Fraction
        assert value + own == own + value == fractions.Fraction(2, 3)
        assert value == own and hash(value) == hash(own) and {own: 1}[value] == 1
        assert not value < own and value <= own and own < value + 1
        assert math.floor(value * 7 / own) == 7
        """,
    ),
    "UUID": (
        "uuid.UUID(int=5)",
        """
        own = uuid.UUID(int=5)
        assert value == own and own == value and value in {own} and own in {value: 1}
        assert not value < own and sorted([uuid.UUID(int=7), value])[0] is value
        """,
    ),
    "IPv4Address": (
        "ipaddress.ip_address('10.0.0.1')",
        """
        own = ipaddress.ip_address("10.0.0.2")
        assert value < own and own > value and value + 1 == own
        assert value in ipaddress.ip_network("10.0.0.0/8")
        """,
    ),
    "PurePosixPath": (
        "pathlib.PurePosixPath('/a/b')",
        """
        assert value == pathlib.PurePosixPath("/a/b") and value < pathlib.PurePosixPath("/a/c")
        assert pathlib.PurePosixPath("/a") / value == value and value.is_relative_to(pathlib.PurePosixPath("/a"))
        """,
    ),
    "NormalDist": (
        "statistics.NormalDist(1, 2)",
        """
        own = statistics.NormalDist(1, 2)
        assert value == own and round(value.overlap(own), 6) == 1 and (value + own).mean == 2
        """,
    ),
    "Counter": (
        "collections.Counter('abb')",
        """
        own = collections.Counter("abb")
        assert value == own and own == value and value + own == own + value == collections.Counter("aabbbb")
        """,
    ),
    "ChainMap": ("collections.ChainMap({1: 2})", "assert value == collections.ChainMap({1: 2})"),
    "Namespace": ("argparse.Namespace(a=1)", "assert value == argparse.Namespace(a=1)"),
    "flag": (
        "re.IGNORECASE | re.MULTILINE",
        "assert re.I in value and value & re.M == re.M and isinstance(value, re.RegexFlag)",
    ),
    "alias": (
        "typing.List[str]",
        "assert typing.get_origin(value) is list and typing.get_args(value) == (str,) and value == typing.List[str]",
    ),
    "ExceptionGroup": (
        "ExceptionGroup('several', [ValueError(1), TypeError(2)])",
        """
        assert isinstance(value, ExceptionGroup)
        try:
            raise value
        except ExceptionGroup as caught:
            assert len(caught.exceptions) == 2
        try:
            raise value
        except* ValueError as caught:
            assert isinstance(caught, ExceptionGroup)
        except* TypeError:
            pass
        """,
    ),
    "InvalidOperation": (
        "decimal.InvalidOperation('no')",
        """
        for class_ in (decimal.InvalidOperation, decimal.DecimalException, ArithmeticError):
            try:
                raise value
            except class_ as caught:
                assert caught.args == ("no",)
        """,
    ),
    "JSONDecodeError": (
        "json.JSONDecodeError('no', 'text', 1)",
        """
        try:
            raise value
        except (KeyError, json.JSONDecodeError) as caught:
            assert caught.pos == 1
        """,
    ),
    "struct.error": (
        "struct.error('no')",
        """
        try:
            raise value
        except struct.error:
            pass
        """,
    ),
}
NUMBERS = "decimal fractions math statistics"
OTHERS = "argparse collections copy ipaddress json pathlib pickle re struct typing uuid"
IMPORTS = "".join(f"import {name}\n" for name in f"{NUMBERS} {OTHERS}".split())


@pytest.fixture
def maker(elsewhere):
    """Makes an object in an interpreter, freezes it there, and gives another interpreter that has it as `value`."""

    def make(expression):
        sender, receiver = channel()
        home, there = elsewhere(), elsewhere()
        home.run(f"{IMPORTS}from immutable import freeze\nsender.send(freeze({expression}))", sender=sender)
        there.run(f"{IMPORTS}value = receiver.recv()", receiver=receiver)
        return home, there

    return make


@pytest.mark.parametrize("name", VALUES)
def test_another_interpreter_takes_it_for_its_own(maker, name):
    expression, uses = VALUES[name]
    _, there = maker(expression)
    there.run(uses)
    there.run(uses)


@pytest.mark.parametrize("name", VALUES)
def test_it_does_so_when_the_maker_is_gone(maker, name):
    expression, uses = VALUES[name]
    home, there = maker(expression)
    home.close()
    there.run(uses)


@pytest.mark.parametrize("name", VALUES)
def test_copies_and_pickles_are_of_the_own_class(maker, name):
    _, there = maker(VALUES[name][0])
    there.run(
        """
        own = value.__class__
        for made in (copy.deepcopy(value), pickle.loads(pickle.dumps(value)), pickle.loads(pickle._dumps(value))):
            assert isinstance(made, own)
        """
    )


def test_the_answer_is_the_same_in_hot_code(maker):
    _, there = maker("fractions.Fraction(1, 3)")
    there.run(
        """
        def classes(values):
            return [value.__class__ for value in values]
        own = fractions.Fraction(1, 3)
        for _ in range(3000):
            assert classes([value, own, value]) == [fractions.Fraction] * 3
        """
    )


def test_of_a_class_that_a_module_has_in_c_and_in_python_each_is_its_own(run_python):
    run_python("""
        import _pydatetime, datetime, zoneinfo._zoneinfo
        from immutable import freeze

        for made, in_c in (
            (_pydatetime.date(2024, 2, 29), datetime.date),
            (zoneinfo._zoneinfo.ZoneInfo.no_cache("UTC"), zoneinfo.ZoneInfo),
        ):
            freeze(made)
            assert made.__class__ is type(made)
            assert not isinstance(made, in_c)
    """)


def test_classes_of_programs_stay_strangers(elsewhere, tmp_path):
    (tmp_path / "a_program.py").write_text("class Thing: pass")
    sender, receiver = channel()
    home, there = elsewhere(), elsewhere()
    home.run("import a_program\nfrom immutable import freeze\nsender.send(freeze(a_program.Thing()))", sender=sender)
    there.run(
        """
        import a_program
        thing = receiver.recv()
        assert thing.__class__ is type(thing) and not isinstance(thing, a_program.Thing)
        """,
        receiver=receiver,
    )


def test_a_namesake_that_is_gone_is_not_answered_with(maker):
    _, there = maker("fractions.Fraction(1, 3)")
    there.run(
        """
        assert value.__class__ is fractions.Fraction
        import gc
        gc.collect()
        kept, fractions.Fraction = fractions.Fraction, None
        assert value.__class__ is type(value)
        fractions.Fraction = kept
        assert value.__class__ is kept
        """
    )


def test_interpreters_do_so_at_the_same_time(everywhere_at_once):
    everywhere_at_once(
        textwrap.dedent(
            """
            import fractions
            own = fractions.Fraction(1, 3)
            for _ in range(2000):
                assert shared + own == fractions.Fraction(2, 3) and isinstance(shared, fractions.Fraction)
                assert shared.__class__ is fractions.Fraction
            """
        ),
        freeze(fractions.Fraction(1, 3)),
    )


DERIVED = {
    "generic": (
        "class Shared[T]: pass",
        """
        class Own(value): pass
        class Narrowed(value[int]): pass
        class Wide[U](value[U]): pass
        assert Own() and Narrowed() and Wide[int]() and Wide[int].__origin__ is Wide
        """,
    ),
    "generic of old": (
        "T = typing.TypeVar('T')\nclass Shared(typing.Generic[T]): pass",
        """
        class Own(value): pass
        class Narrowed(value[int]): pass
        assert Own() and Narrowed() and issubclass(Narrowed, typing.Generic)
        """,
    ),
    "protocol": (
        "class Shared(typing.Protocol):\n    def size(self): ...",
        """
        class Own(value):
            def size(self): return 3
        class Both(value, collections.abc.Sized):
            def size(self): return 4
            def __len__(self): return 4
        assert Own().size() == 3 and Both().size() == 4
        """,
    ),
    "abstract class": (
        "class Shared(abc.ABC):\n    @abc.abstractmethod\n    def size(self): ...",
        """
        class OwnAbstract(abc.ABC): pass
        class Own(value, OwnAbstract):
            def size(self): return 3
        class Other(OwnAbstract, value):
            def size(self): return 4
        class Sized(value, collections.abc.Sized):
            def size(self): return 5
            def __len__(self): return 5
        assert (Own().size(), Other().size(), len(Sized())) == (3, 4, 5)
        assert isinstance(Own(), value) and isinstance(Own(), OwnAbstract) and issubclass(Sized, collections.abc.Sized)
        try:
            value()
        except TypeError as error:
            assert "abstract" in str(error)
        else:
            raise AssertionError
        """,
    ),
    "Fraction": (
        "class Shared(fractions.Fraction):\n    def twice(self): return self * 2",
        """
        class Own(value):
            def thrice(self): return super().twice() + self
        own = Own(1, 3)
        assert own.thrice() == 1 and isinstance(own, fractions.Fraction) and issubclass(value, fractions.Fraction)
        assert own + fractions.Fraction(1, 3) == fractions.Fraction(2, 3) == fractions.Fraction(1, 3) + own
        """,
    ),
    "enumeration": (
        "class Shared(enum.Enum):\n    def describe(self): return self.name.lower()",
        """
        class Own(value):
            RED = 1
        assert Own.RED.describe() == "red" and isinstance(Own.RED, enum.Enum) and Own(1) is Own.RED
        """,
    ),
    "exception": (
        "class Shared(json.JSONDecodeError): pass",
        """
        class Own(value): pass
        for class_ in (Own, value, json.JSONDecodeError, ValueError):
            try:
                raise Own("no", "text", 0)
            except class_:
                pass
        """,
    ),
    "dataclass": (
        "@dataclasses.dataclass\nclass Shared:\n    a: int",
        """
        @dataclasses.dataclass
        class Own(value):
            b: list
        assert Own(1, []) == Own(1, []) and dataclasses.asdict(Own(1, [2])) == {"a": 1, "b": [2]}
        """,
    ),
}


@pytest.mark.parametrize("name", DERIVED)
def test_a_frozen_class_of_anothers_library_classes_is_derived_from(elsewhere, name):
    definition, uses = DERIVED[name]
    imports = f"{IMPORTS}import abc\nimport collections.abc\nimport dataclasses\nimport enum\n"
    sender, receiver = channel()
    home, there = elsewhere(), elsewhere()
    home.run(f"{imports}from immutable import freeze\n{definition}\nsender.send(freeze(Shared))", sender=sender)
    there.run(f"{imports}value = receiver.recv()", receiver=receiver)
    there.run(uses)
    home.close()
    there.run(uses)
