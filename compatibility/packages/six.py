import six


@six.add_metaclass(type)
class Plain:
    pass


OBJECTS = {
    "text functions": (lambda: six.ensure_str, lambda ensure: ensure(b"a") == "a"),
    "iteration functions": (lambda: six.iteritems, lambda items: list(items({"a": 1})) == [("a", 1)]),
    "class with a metaclass": (lambda: Plain, lambda plain: plain() is not None),
    "moved names": (lambda: six.moves.urllib.parse.urlsplit, lambda split: split("http://host/").netloc == "host"),
}
