import regex

from immutable import freeze


def shout(match):
    return match[0].upper()


def use(data):
    freeze(shout)
    pattern = regex.compile(r"\L<names>", names=data["names"])
    text = " ".join(data["names"])
    assert pattern.sub(shout, text) == text.upper()
    assert pattern.findall(text) == data["names"]
    assert regex.fullmatch(r"(?P<word>\w+ ?)+", text).captures("word")[0].strip() == data["names"][0]
