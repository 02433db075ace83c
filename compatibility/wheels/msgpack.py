import msgpack


def use(data):
    document = {key: data[key] for key in ("names", "numbers", "text", "pair", "bytes")}
    assert msgpack.unpackb(msgpack.packb(document)) == document
    packer = msgpack.Packer(default=str)
    assert msgpack.unpackb(packer.pack([data["names"], data["numbers"]])) == [data["names"], data["numbers"]]
