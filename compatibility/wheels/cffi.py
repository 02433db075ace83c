import cffi


def use(data):
    ffi = cffi.FFI()
    ffi.cdef("size_t strlen(const char *); typedef struct { int a; double b; } pair;")
    libc = ffi.dlopen(None)
    assert libc.strlen(data["bytes"]) == len(data["bytes"])
    array = ffi.new("int[]", data["numbers"])
    assert list(array) == data["numbers"]
    pair = ffi.new("pair *", data["pair"])
    assert (pair.a, pair.b) == (data["pair"]["a"], data["pair"]["b"])
    handle = ffi.new_handle(data)
    assert ffi.from_handle(handle) is data
