"""Databases as Caffe writes them, by LMDB's own library."""

import ctypes
import ctypes.util


class Value(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_char_p)]


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def datum(image, label):
    """A sample, {channels, height, width} of bytes, as a message of Caffe's."""
    sides = b"".join(bytes([field << 3]) + varint(side) for field, side in enumerate(image.shape, 1))
    data = image.tobytes()
    return sides + b"\x22" + varint(len(data)) + data + b"\x28" + varint(int(label))


def write(path, images, labels):
    """A folder with a database of these samples."""
    library = ctypes.CDLL(ctypes.util.find_library("lmdb"))
    path.mkdir()
    env, txn, table = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint()

    def call(name, *arguments):
        assert getattr(library, name)(*arguments) == 0, name

    call("mdb_env_create", ctypes.byref(env))
    call("mdb_env_set_mapsize", env, ctypes.c_size_t(1 << 30))
    call("mdb_env_open", env, str(path).encode(), ctypes.c_uint(0), 0o600)
    call("mdb_txn_begin", env, None, ctypes.c_uint(0), ctypes.byref(txn))
    call("mdb_dbi_open", txn, None, ctypes.c_uint(0), ctypes.byref(table))
    for i, (image, label) in enumerate(zip(images, labels)):
        key, record = b"%08d" % i, datum(image, label)
        call("mdb_put", txn, table, ctypes.byref(Value(len(key), key)), ctypes.byref(Value(len(record), record)), ctypes.c_uint(0))
    call("mdb_txn_commit", txn)
    library.mdb_env_close(env)
