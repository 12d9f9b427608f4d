"""Just enough of IDX to know how much data there is, and to cut a file short."""

import gzip
import pathlib
import struct


def _open(path):
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")


def count(path):
    """Samples that an IDX file says it has."""
    with _open(path) as file:
        return struct.unpack(">2i", file.read(8))[1]


def cut(path, samples, out):
    """Writes the first samples of a file of bytes as a file of its own."""
    with _open(path) as file:
        magic, total = struct.unpack(">2i", file.read(8))
        dimensions = file.read(4 * ((magic & 0xFF) - 1))
        size = 1
        for (dimension,) in struct.iter_unpack(">i", dimensions):
            size *= dimension
        kept = min(samples, total)
        pathlib.Path(out).write_bytes(struct.pack(">2i", magic, kept) + dimensions + file.read(kept * size))


def cut_folder(data, samples, folder):
    """Makes a folder for ps-run --data: all that a job trains on, and the first samples that it holds out."""
    folder.mkdir()
    for kind, ending in (("images", "images-idx3-ubyte"), ("labels", "labels-idx1-ubyte")):
        (folder / f"train-{ending}").symlink_to(data["train"][kind])
        cut(data["test"][kind], samples, folder / f"t10k-{ending}")
