import os

import psutil


def use(data):
    process = psutil.Process(os.getpid())
    found = process.as_dict(attrs=["pid", "name", *data["attributes"]])
    assert found["pid"] == os.getpid()
    assert set(data["attributes"]) <= set(found)
    assert psutil.virtual_memory().total > 0
