import numpy

from immutable import freeze


def use(data):
    numbers = numpy.array(data["numbers"])
    assert numbers.sum() == sum(data["numbers"])
    assert (numpy.linalg.inv(numpy.eye(3) * 4) == numpy.eye(3) / 4).all()
    # Object arrays take and give up references by themselves.
    objects = numpy.array([data, data["names"], data["nested"]] * 100, dtype=object)
    assert objects[3] is data
    assert objects[::-1].copy()[0] is data["nested"]
    objects.fill(data["names"])
    assert objects.tolist()[7] is data["names"]
    buffer = freeze(bytearray(range(16)))
    view = numpy.frombuffer(buffer, dtype="u1")
    assert view.sum() == 120
    assert not view.flags.writeable
