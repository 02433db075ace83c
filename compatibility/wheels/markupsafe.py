import markupsafe


def use(data):
    for name in data["names"]:
        assert markupsafe.escape(name) == name
    assert str(markupsafe.escape(data["markup"])) == "&lt;b&gt;"
