"""IDX files, the format of MNIST and its kin, as a DataFrame: each task reads only its own samples."""
from __future__ import annotations

import gzip
import os
import struct
import zlib
from typing import Any, BinaryIO, Callable, Iterator, NamedTuple

import numpy as np
import pyarrow as pa

from .errors import DataError
from .local_python import use_this_python

SCHEMA = "id long, features binary, label int"
_UINT8 = 8
_BATCH_BYTES = 64 << 20  # of a batch's images, whose offsets have 32 bits


class IdxHeader(NamedTuple):
    """Beginning of an IDX file of bytes: number of items, bytes of each, where the first begins."""
    count: int
    item_bytes: int
    begin: int


def open_idx(path: str) -> BinaryIO:
    """Opens a file, gzip or plain."""
    try:
        file = open(path, "rb")
    except OSError as error:
        raise DataError("%s cannot be read: %s" % (path, error.strerror)) from error
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return gzip.open(path, "rb")
    file.seek(0)
    return file


def read_header(file: BinaryIO, path: str, dimensions: range) -> IdxHeader:
    """Reads the header; DataError if it is not one of bytes with a number of dimensions within `dimensions`."""
    start = _read(file, 4, path, "its header")
    zero, kind, rank = struct.unpack(">HBB", start)
    if zero != 0 or kind != _UINT8 or rank not in dimensions:
        raise DataError("%s begins with 0x%s: not an IDX file of %s" % (path, start.hex(), (
            "labels (0x00000801); are images and labels swapped?" if dimensions == LABELS
            else "images (0x00000803); are images and labels swapped?")))
    shape = struct.unpack(">%dI" % rank, _read(file, 4 * rank, path, "its header"))
    return IdxHeader(shape[0], int(np.prod(shape[1:], dtype=np.int64)), 4 + 4 * rank)


LABELS = range(1, 2)
IMAGES = range(2, 5)


def read_idx(spark, images: str, labels: str, partitions: int, limit: int = 0):
    """A DataFrame (id long, features binary, label int) of `partitions` partitions, in the files' order.

    Args:
      images, labels: paths, gzip or plain; every executor's host must have the files.
      limit: take only the first so many samples; 0 for all.

    Raises DataError if the headers are wrong or do not fit each other; a file that is too short or too long is
    noticed by the task that reads its end.
    """
    with open_idx(images) as file:
        image_header = read_header(file, images, IMAGES)
    with open_idx(labels) as file:
        label_header = read_header(file, labels, LABELS)
    if image_header.count != label_header.count:
        raise DataError("%s has %d images, but %s has %d labels"
                        % (images, image_header.count, labels, label_header.count))
    use_this_python(spark)
    count = min(limit, image_header.count) if limit else image_header.count
    reader = slice_reader(os.path.abspath(images), image_header, os.path.abspath(labels), label_header)
    return spark.range(0, count, 1, partitions).mapInArrow(reader, SCHEMA)


def slice_reader(images: str, image_header: IdxHeader, labels: str, label_header: IdxHeader):
    """A function for mapInArrow: batches of ascending ids become batches of SCHEMA."""
    most = max(1, _BATCH_BYTES // max(1, image_header.item_bytes))

    def read(batches):
        with open_idx(images) as image_file, open_idx(labels) as label_file:
            for ids in (part for batch in batches for part in _parts(batch.column(0), most)):
                first, count = ids[0].as_py(), len(ids)
                pixels = _items(image_file, images, image_header, first, count)
                classes = np.frombuffer(_items(label_file, labels, label_header, first, count), np.uint8)
                offsets = np.arange(count + 1, dtype=np.int32) * np.int32(image_header.item_bytes)
                features = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(pixels)])
                yield pa.RecordBatch.from_arrays([ids, features, pa.array(classes.astype(np.int32))],
                                                 names=["id", "features", "label"])
    return read


def _parts(array: pa.Array, most: int) -> Iterator[pa.Array]:
    """A batch's array in parts of so many rows at most."""
    return (array.slice(begin, most) for begin in range(0, len(array), most))


def _items(file: BinaryIO, path: str, header: IdxHeader, first: int, count: int) -> bytes:
    _unpacked(lambda: file.seek(header.begin + first * header.item_bytes), path, "item %d" % first)
    items = _read(file, count * header.item_bytes, path, "items %d to %d of %d" % (first, first + count - 1,
                                                                                   header.count))
    if first + count == header.count and _unpacked(lambda: file.read(1), path, "its end"):
        raise DataError("%s is longer than its header says: %d items of %d bytes"
                        % (path, header.count, header.item_bytes))
    return items


def _read(file: BinaryIO, size: int, path: str, what: str) -> bytes:
    data = _unpacked(lambda: file.read(size), path, what)
    if len(data) != size:
        raise _truncated(path, what)
    return data


def _unpacked(step: Callable[[], Any], path: str, what: str) -> Any:
    """A step in a file that may be packed."""
    try:
        return step()
    except (EOFError, OSError, zlib.error) as error:
        raise _truncated(path, what) from error


def _truncated(path: str, what: str) -> DataError:
    return DataError("%s is truncated or damaged: it ends within %s" % (path, what))
