"""Arrow record batches as frames of the feed (worker/CONTRACT.md), without a Python loop over rows.

Values are not copied: a frame is a list of buffers, the columns' own memory among them, ready for os.writev or
a PipeWriter.
"""
from __future__ import annotations

import re
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import pyarrow as pa

from .errors import DataError

MAGIC = b"DPF1"
SCHEMA, BATCH, END, HELD_OUT = 1, 2, 3, 4
MAX_BODY_BYTES = 64 << 20
_CHECK_VALUES = 1 << 16  # at once: an answer for each value of a whole batch would be fresh memory each time

_HEADER = struct.Struct("<4sHHQ")
_ROWS = struct.Struct("<II")

Frame = List[memoryview]


class DataType(NamedTuple):
    """A type of the feed: its number there, and what numpy calls it."""
    code: int
    dtype: np.dtype


U8 = DataType(1, np.dtype("u1"))
I32 = DataType(2, np.dtype("<i4"))
I64 = DataType(3, np.dtype("<i8"))
F32 = DataType(4, np.dtype("<f4"))
F64 = DataType(5, np.dtype("<f8"))

_LABEL_TYPES = {pa.uint8(): U8, pa.int8(): I32, pa.int16(): I32, pa.int32(): I32, pa.int64(): I64,
                pa.float32(): F32, pa.float64(): F64}
_FLOATS = {pa.float32(): F32, pa.float64(): F64}


class Columns(NamedTuple):
    """Which columns of a record batch are what.

    features: binary (bytes, one a value) or lists of float or double. label: classes, counted from 0, or numbers; None
    where there are none, as for predictions. weight: how much a row counts; None where all count the same. held_out:
    whether a row is only measured and not trained on; None for no row.
    """
    features: str
    label: Optional[str] = None
    weight: Optional[str] = None
    held_out: Optional[str] = None


class Shown(NamedTuple):
    """What messages call a DataFrame's columns. values: its features as one array, in Python, where that is not the column of
    this name; by it rows that cannot be taken are looked for."""
    columns: Columns
    values: str = ""

    def finder(self, tensor: str, what: str) -> str:
        """How a user finds rows of which this is true, F being pyspark.sql.functions. what: a condition on {column}, a
        Column, or on {values}, what makes one of the features."""
        name = getattr(self.columns, tensor)
        column = repr(name if re.fullmatch(r"\w+", name) else "`%s`" % name.replace("`", "``"))
        condition = what.format(column="F.col(%s)" % column, values=self.values or column)
        return " (df.filter(%s) finds such rows; F is pyspark.sql.functions)" % condition


class FrameEncoder:
    """Encodes the record batches of one partition. For one thread.

    Args:
      columns: their names.
      row_values: number of values that each sample must have.
      shown: what messages call the columns; None for rows that come from no DataFrame.

    What labels and weights must be is the worker's to say, which knows the net.
    """

    def __init__(self, columns: Columns, row_values: int, shown: Optional[Shown] = None):
        self.columns = columns
        self._shown = shown.columns if shown else columns
        self._finder = shown.finder if shown else lambda tensor, what: ""
        self.row_values = row_values
        self.rows = 0
        self._types: Optional[Dict[str, DataType]] = None  # by tensor

    def encode(self, batch: pa.RecordBatch) -> Iterator[Frame]:
        """The frames of one batch, the schema's before the first. They hold the batch's memory.

        Raises DataError for nulls, samples of a wrong width, features that are not finite and columns of other types; the
        row it names counts from 0 within the partition, as its rows came here.
        """
        found = {tensor: self._column(batch, tensor)
                 for tensor in ("features", "label", "weight") if getattr(self.columns, tensor) is not None}
        types = {tensor: self._type_of(tensor, column.type) for tensor, column in found.items()}
        if self._types is None:
            self._types = types
            yield self._schema()
        elif self._types != types:
            raise DataError("columns %s change their types between batches"
                            % " and ".join("'%s'" % getattr(self._shown, tensor) for tensor in types))
        if batch.num_rows == 0:
            return
        tensors = [self._values(column, types[tensor]) if tensor == "features" else
                   np.ascontiguousarray(column.to_numpy(zero_copy_only=False), types[tensor].dtype)
                   for tensor, column in found.items()]
        for kind, part in self._parts(batch, [values.reshape(batch.num_rows, -1) for values in tensors]):
            yield from self._batches(kind, part)
        self.rows += batch.num_rows

    def end(self) -> Iterator[Frame]:
        """The frames that close the feed; a partition without rows says its schema here."""
        if self._types is None:
            self._types = {"features": U8} if self.columns.label is None else {"features": U8, "label": I32}
            yield self._schema()
        yield [memoryview(_header(END, 8) + struct.pack("<Q", self.rows))]

    def _parts(self, batch: pa.RecordBatch, tensors: List[np.ndarray]) -> Iterator[Tuple[int, List[np.ndarray]]]:
        """By kind of frame, the rows that go into it."""
        if self.columns.held_out is None:
            yield BATCH, tensors
            return
        held_out = self._column(batch, "held_out")
        if not pa.types.is_boolean(held_out.type):
            raise DataError("column '%s' is of type %s: which rows are held out should be said by a boolean"
                            % (self._shown.held_out, held_out.type))
        mask = held_out.to_numpy(zero_copy_only=False)
        for kind, chosen in ((BATCH, ~mask), (HELD_OUT, mask)):
            if chosen.all():
                yield kind, tensors
            elif chosen.any():
                yield kind, [values[chosen] for values in tensors]

    def _batches(self, kind: int, tensors: List[np.ndarray]) -> Iterator[Frame]:
        rows = len(tensors[0])
        row_bytes = sum(values.itemsize * values.shape[1] for values in tensors)
        step = (MAX_BODY_BYTES - _ROWS.size) // row_bytes
        if step == 0:
            raise DataError("column '%s': one row of %d bytes is more than a frame may hold, %d bytes"
                            % (self._shown.features, row_bytes, MAX_BODY_BYTES))
        for begin in range(0, rows, step):
            end = min(begin + step, rows)
            head = _header(kind, _ROWS.size + (end - begin) * row_bytes) + _ROWS.pack(end - begin, 0)
            yield [memoryview(head)] + [_bytes_of(values[begin:end]) for values in tensors]

    def _schema(self) -> Frame:
        body = struct.pack("<I", len(self._types))
        for tensor, data_type in self._types.items():
            name = tensor.encode("ascii")
            body += struct.pack("<H", len(name)) + name + struct.pack("<B", data_type.code)
            body += struct.pack("<BI", 1, self.row_values) if tensor == "features" else struct.pack("<B", 0)
        return [memoryview(_header(SCHEMA, len(body)) + body)]

    def _column(self, batch: pa.RecordBatch, tensor: str) -> pa.Array:
        name = getattr(self.columns, tensor)
        index = batch.schema.get_field_index(name)
        if index < 0:
            raise DataError("there is no column '%s'; the columns are %s" % (name, ", ".join(batch.schema.names)))
        column = batch.column(index)
        if column.null_count:
            self._refuse(tensor, _first(column.is_null()), "is null", "{column}.isNull()")
        return column

    def _type_of(self, tensor: str, kind: pa.DataType) -> DataType:
        name = getattr(self._shown, tensor)
        if tensor == "features":
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
                return U8
            if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
                if kind.value_type in _FLOATS:
                    return _FLOATS[kind.value_type]
            raise DataError("column '%s' is of type %s: features must be binary, array<float> or array<double>"
                            " (pyspark.ml.functions.vector_to_array makes an array of a vector)" % (name, kind))
        known = _LABEL_TYPES if tensor == "label" else _FLOATS
        if kind not in known:
            raise DataError("column '%s' is of type %s: a %s must be of type %s"
                            % (name, kind, tensor, "tinyint, smallint, int, bigint, float or double"
                               if tensor == "label" else "float or double"))
        return known[kind]

    def _values(self, column: pa.Array, data_type: DataType) -> np.ndarray:
        """All values of a column of samples, as one flat view of its memory."""
        kind, rows = column.type, len(column)
        if pa.types.is_fixed_size_binary(kind):
            self._check_width(kind, kind.byte_width, self.rows)
            return np.frombuffer(column.buffers()[1], np.uint8, rows * self.row_values,
                                 column.offset * self.row_values)
        if pa.types.is_fixed_size_list(kind):
            self._check_width(kind, kind.list_size, self.rows)
            child, begin = column.values, column.offset * self.row_values
        else:
            large = pa.types.is_large_binary(kind) or pa.types.is_large_list(kind)
            offset_type = np.dtype("<i8" if large else "<i4")
            offsets = np.frombuffer(column.buffers()[1], offset_type, rows + 1, column.offset * offset_type.itemsize)
            wrong = np.diff(offsets) != self.row_values
            if wrong.any():
                row = int(wrong.argmax())
                self._check_width(kind, int(offsets[row + 1] - offsets[row]), self.rows + row)
            begin = int(offsets[0])
            if data_type is U8:
                return np.frombuffer(column.buffers()[2], np.uint8, rows * self.row_values, begin)
            child = column.values
        item, count = data_type.dtype.itemsize, rows * self.row_values
        if child.null_count:
            nulls = child.slice(begin, count).is_null()
            if nulls.true_count:
                self._refuse("features", _first(nulls) // self.row_values, "has a value that is null",
                             "F.exists({values}, F.isnull)")
        values = np.frombuffer(child.buffers()[1], data_type.dtype, count, (child.offset + begin) * item)
        for begin in range(0, count, _CHECK_VALUES):
            finite = np.isfinite(values[begin:begin + _CHECK_VALUES])
            if not finite.all():
                self._refuse("features", (begin + int(finite.argmin())) // self.row_values,
                             "has a value that is not finite (NaN or infinity)",
                             "F.exists({values}, lambda value: ~F.abs(value).between(0, 3.4e38))")
        return values

    def _check_width(self, kind: pa.DataType, width: int, row: int):
        if width != self.row_values:
            count = "F.size({values})" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else "F.length({values})"
            self._refuse("features", row - self.rows, "has %d values: the job's data.shape makes it %d"
                         % (width, self.row_values), "%s != %d" % (count, self.row_values))

    def _refuse(self, tensor: str, row: int, what: str, condition: str):
        raise DataError("column '%s', row %d of the partition, %s%s" % (
            getattr(self._shown, tensor), self.rows + row, what, self._finder(tensor, condition)))


def unwritten(frame: Frame, written: int) -> Frame:
    """What is left of a frame after `written` of its bytes."""
    for index, part in enumerate(frame):
        if written < len(part):
            return [part[written:], *frame[index + 1:]]
        written -= len(part)
    return []


class Answer(NamedTuple):
    """One batch frame of answers: by tensor name, its rows."""
    rows: int
    values: Dict[str, np.ndarray]


class AnswerDecoder:
    """Decodes a predictor's frames from bytes as they come (worker/CONTRACT.md). For one thread."""

    def __init__(self):
        self.ended = False
        self._bytes = bytearray()
        self._tensors: List[Tuple[str, int]] = []

    def decode(self, data: bytes) -> Iterator[Answer]:
        """The batches that are complete once `data` is there too. ValueError for what is no such frame."""
        self._bytes += data
        while len(self._bytes) >= _HEADER.size:
            magic, kind, _, length = _HEADER.unpack_from(self._bytes)
            if magic != MAGIC:
                raise ValueError("not a frame")
            if len(self._bytes) < _HEADER.size + length:
                return
            body = bytes(memoryview(self._bytes)[_HEADER.size:_HEADER.size + length])
            del self._bytes[:_HEADER.size + length]
            if kind == SCHEMA:
                self._tensors = list(_read_schema(body))
            elif kind == BATCH:
                yield self._batch(body)
            else:
                self.ended = True

    def _batch(self, body: bytes) -> Answer:
        rows, _ = _ROWS.unpack_from(body)
        at, values = _ROWS.size, {}
        for name, width in self._tensors:
            values[name] = np.frombuffer(body, F32.dtype, rows * width, at).reshape(rows, width)
            at += rows * width * F32.dtype.itemsize
        return Answer(rows, values)


def _read_schema(body: bytes) -> Iterator[Tuple[str, int]]:
    """Names and values a row of a schema's tensors."""
    (count,) = struct.unpack_from("<I", body)
    at = 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", body, at)
        name = body[at + 2:at + 2 + length].decode("utf-8")
        at += 2 + length
        code, rank = struct.unpack_from("<BB", body, at)
        if code != F32.code:
            raise ValueError("tensor %s is not of floats" % name)
        sides = struct.unpack_from("<%dI" % rank, body, at + 2)
        at += 2 + 4 * rank
        yield name, int(np.prod(sides, dtype=np.int64))


def _header(kind: int, length: int) -> bytes:
    return _HEADER.pack(MAGIC, kind, 0, length)


def _bytes_of(values: np.ndarray) -> memoryview:
    return memoryview(values.reshape(-1).view(np.uint8))


def _first(mask: pa.BooleanArray) -> int:
    return int(mask.to_numpy(zero_copy_only=False).argmax())
