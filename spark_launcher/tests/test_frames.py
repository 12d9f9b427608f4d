"""The feed, byte by byte against worker/CONTRACT.md."""
import struct

import numpy as np
import pyarrow as pa
import pytest

from downpour import frames
from downpour.errors import DataError
from downpour.frames import Columns, FrameEncoder

ROWS, VALUES = 6, 4
PIXELS = np.arange(ROWS * VALUES, dtype=np.uint8).reshape(ROWS, VALUES)


def batch(features, labels=None, label_type=None):
    labels = pa.array(list(range(len(features))) if labels is None else labels, label_type or pa.int32())
    return pa.RecordBatch.from_arrays([features, labels], names=["features", "label"])


def encode(*batches, values=VALUES, end=True):
    encoder = FrameEncoder(Columns("features", "label"), values)
    written = [frame for one in batches for frame in encoder.encode(one)]
    return written + (list(encoder.end()) if end else [])


def joined(frame):
    return b"".join(bytes(part) for part in frame)


def header(kind, length):
    return b"DPF1" + struct.pack("<HHQ", kind, 0, length)


def schema_frame(feature_code, label_code, values=VALUES):
    body = (struct.pack("<I", 2) + struct.pack("<H", 8) + b"features" + bytes([feature_code, 1])
            + struct.pack("<I", values) + struct.pack("<H", 5) + b"label" + bytes([label_code, 0]))
    return header(1, len(body)) + body


def batch_frame(features, labels):
    body = struct.pack("<II", len(features), 0) + features.tobytes() + labels.tobytes()
    return header(2, len(body)) + body


def end_frame(rows):
    return header(3, 8) + struct.pack("<Q", rows)


FLOATS = PIXELS.astype(np.float32)
COLUMNS = {
    "binary": (pa.array([row.tobytes() for row in PIXELS], pa.binary()), 1, PIXELS),
    "large_binary": (pa.array([row.tobytes() for row in PIXELS], pa.large_binary()), 1, PIXELS),
    "fixed_size_binary": (pa.array([row.tobytes() for row in PIXELS], pa.binary(VALUES)), 1, PIXELS),
    "list_float": (pa.array(FLOATS.tolist(), pa.list_(pa.float32())), 4, FLOATS),
    "list_double": (pa.array(FLOATS.tolist(), pa.list_(pa.float64())), 5, FLOATS.astype(np.float64)),
    "large_list_float": (pa.array(FLOATS.tolist(), pa.large_list(pa.float32())), 4, FLOATS),
    "fixed_size_list": (pa.array(FLOATS.tolist(), pa.list_(pa.float32(), VALUES)), 4, FLOATS),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("begin, end", [(0, ROWS), (2, 5), (5, 6)])
def test_columns_and_slices_of_them(name, begin, end):
    column, code, expected = COLUMNS[name]
    labels = np.arange(ROWS, dtype="<i4")
    written = encode(batch(column).slice(begin, end - begin))
    assert [joined(frame) for frame in written] == [
        schema_frame(code, 2), batch_frame(expected[begin:end], labels[begin:end]), end_frame(end - begin)]


@pytest.mark.parametrize("kind, code, dtype", [
    (pa.uint8(), 1, "u1"), (pa.int8(), 2, "<i4"), (pa.int16(), 2, "<i4"), (pa.int32(), 2, "<i4"),
    (pa.int64(), 3, "<i8"), (pa.float32(), 4, "<f4"), (pa.float64(), 5, "<f8")])
def test_labels(kind, code, dtype):
    column = COLUMNS["binary"][0]
    written = encode(batch(column, [0, 1, 2, 9, 0, 7], kind), end=False)
    assert joined(written[0]) == schema_frame(1, code)
    assert joined(written[1]) == batch_frame(PIXELS, np.array([0, 1, 2, 9, 0, 7], dtype))


def test_several_batches_share_one_schema_and_the_end_counts_all_rows():
    one = batch(COLUMNS["binary"][0])
    kinds = [struct.unpack_from("<H", joined(frame), 4)[0] for frame in encode(one, one.slice(0, 0), one)]
    assert kinds == [1, 2, 2, 3]
    assert joined(encode(one, one)[-1]) == end_frame(2 * ROWS)


@pytest.mark.parametrize("batches", [[], [batch(COLUMNS["binary"][0]).slice(0, 0)]])
def test_no_rows(batches):
    assert [joined(frame) for frame in encode(*batches)] == [schema_frame(1, 2), end_frame(0)]


def test_values_are_not_copied():
    column = COLUMNS["binary"][0]
    frame = encode(batch(column))[1]
    assert np.frombuffer(frame[1], np.uint8).ctypes.data == column.buffers()[2].address


def test_a_batch_of_more_than_a_frame_holds_is_split(monkeypatch):
    monkeypatch.setattr(frames, "MAX_BODY_BYTES", 8 + 2 * (VALUES + 4))
    written = encode(batch(COLUMNS["binary"][0].slice(1)))
    labels = np.arange(5, dtype="<i4")
    assert [joined(frame) for frame in written[1:]] == [
        batch_frame(PIXELS[1:3], labels[:2]), batch_frame(PIXELS[3:5], labels[2:4]), batch_frame(PIXELS[5:], labels[4:]),
        end_frame(5)]


def test_a_row_larger_than_a_frame(monkeypatch):
    monkeypatch.setattr(frames, "MAX_BODY_BYTES", 12)
    with pytest.raises(DataError, match="one row of 8 bytes"):
        encode(batch(COLUMNS["binary"][0]))


GOOD = batch(COLUMNS["binary"][0])
FLOAT_LIST = pa.list_(pa.float32())


@pytest.mark.parametrize("wrong, message", [
    (batch(pa.array([b"1234", None], pa.binary())), "column 'features', row 7 of the partition, is null"),
    (batch(pa.array([b"1234", b"12345"], pa.binary())), "'features', row 7 .* has 5 values: .* makes it 4"),
    (batch(pa.array([b"12345", b"123"], pa.binary())), "row 6 .* has 5 values"),
    (batch(pa.array([b"12345"], pa.binary(5))), "row 6 .* has 5 values"),
    (batch(COLUMNS["binary"][0], [0, 1, None, 3, 4, 5]), "column 'label', row 8 of the partition, is null"),
])
def test_refused_rows_are_named_within_the_partition(wrong, message):
    with pytest.raises(DataError, match=message):
        encode(GOOD, wrong)


@pytest.mark.parametrize("wrong, message", [
    (batch(pa.array([[1, 2, 3, 4], [1, 2, 3, float("nan")]], FLOAT_LIST)), "row 1 .* not finite"),
    (batch(pa.array([[1, 2, 3, float("inf")]], FLOAT_LIST)), "row 0 .* not finite"),
    (batch(pa.array([[1, 2, 3, 4], [1, None, 3, 4]], FLOAT_LIST)), "row 1 .* has a value that is null"),
    (batch(pa.array([[1, 2, 3, 4], [1, 2, 3, None]], pa.list_(pa.float32(), 4))), "row 1 .* a value that is null"),
    (batch(pa.array([[1, 2, 3, 4], []], FLOAT_LIST)), "row 1 .* has 0 values"),
    (batch(pa.array([[1, 2, 3, 4]], pa.list_(pa.int32()))), "column 'features' is of type list<.*int32>"),
    (batch(pa.array(["1234"])), "column 'features' is of type string"),
    (batch(pa.array([b"1234"]), ["cat"], pa.string()), "column 'label' is of type string"),
    (batch(pa.array([b"1234"]), [True], pa.bool_()), "column 'label' is of type bool"),
    (GOOD.rename_columns(["features", "y"]), "no column 'label'; the columns are features, y"),
])
def test_refused_columns(wrong, message):
    with pytest.raises(DataError, match=message):
        encode(wrong)


def test_weights_and_held_out_rows():
    labels, weights = np.arange(ROWS, dtype="<i4"), np.arange(ROWS, dtype="<f8") / 2
    held_out = np.array([False, True, True, False, False, False])
    one = pa.RecordBatch.from_arrays([COLUMNS["binary"][0], pa.array(labels), pa.array(weights), pa.array(held_out)],
                                     names=["pixels", "digit", "count", "test"])
    encoder = FrameEncoder(Columns("pixels", "digit", "count", "test"), VALUES)
    schema, train, test = map(joined, encoder.encode(one))
    assert schema.endswith(struct.pack("<H", 6) + b"weight" + bytes([5, 0]))

    def body(rows):
        return (struct.pack("<II", rows.sum(), 0) + PIXELS[rows].tobytes() + labels[rows].tobytes()
                + weights[rows].tobytes())
    assert train == header(2, len(body(~held_out))) + body(~held_out)
    assert test == header(4, len(body(held_out))) + body(held_out)
    # Where all rows of a batch are of one kind, nothing is copied, and there is no empty frame.
    (alone,) = encoder.encode(one.slice(3))
    assert joined(alone)[4] == 2 and np.frombuffer(alone[1], np.uint8).ctypes.data == (
        COLUMNS["binary"][0].buffers()[2].address + 3 * VALUES)
    (alone,) = encoder.encode(one.slice(1, 2))
    assert joined(alone)[4] == 4
    assert [joined(frame) for frame in encoder.end()] == [end_frame(ROWS + 5)]
    wrong = one.set_column(2, "count", pa.array(["x"] * ROWS))
    with pytest.raises(DataError, match="column 'count' is of type string: a weight must be of type float or double"):
        list(FrameEncoder(Columns("pixels", "digit", "count"), VALUES).encode(wrong))
    nulls = one.set_column(3, "test", pa.array([None] * ROWS, pa.bool_()))
    with pytest.raises(DataError, match="column 'test', row 0 of the partition, is null"):
        list(FrameEncoder(encoder.columns, VALUES).encode(nulls))


def test_types_must_not_change():
    with pytest.raises(DataError, match="change their types"):
        encode(GOOD, batch(COLUMNS["list_float"][0]))


def test_sliced_lists_with_nulls_outside_the_slice():
    column = pa.array([[1, None, 3, 4], [1, 2, 3, 4], None], FLOAT_LIST)
    assert len(encode(batch(column).slice(1, 1))) == 3
