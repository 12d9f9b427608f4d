"""IDX files as a DataFrame."""
import gzip
import pathlib
import struct

import numpy as np
import pytest

from downpour import idx
from downpour.errors import DataError
from downpour.idx import read_idx

COUNT, SIDE = 250, 3
IMAGES = np.random.default_rng(1).integers(0, 256, (COUNT, SIDE, SIDE), np.uint8)
LABELS = np.arange(COUNT, dtype=np.uint8) % 10
IMAGE_BYTES = struct.pack(">IIII", 0x803, COUNT, SIDE, SIDE) + IMAGES.tobytes()
LABEL_BYTES = struct.pack(">II", 0x801, COUNT) + LABELS.tobytes()


@pytest.fixture
def write(tmp_path):
    def write_files(images=IMAGE_BYTES, labels=LABEL_BYTES, wrap=lambda data: data):
        paths = []
        for name, data in (("images", images), ("labels", labels)):
            paths.append(str(tmp_path / name))
            (tmp_path / name).write_bytes(wrap(data))
        return paths
    return write_files


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("partitions, limit", [(1, 0), (3, 0), (2, 130)])
def test_every_sample_once(spark, write, wrap, partitions, limit):
    data = read_idx(spark, *write(wrap=wrap), partitions, limit)
    assert data.rdd.getNumPartitions() == partitions
    rows = data.collect()
    assert [row.id for row in rows] == list(range(limit or COUNT))
    assert all(row.features == IMAGES[row.id].tobytes() and row.label == LABELS[row.id] for row in rows)


@pytest.mark.parametrize("images, labels, message", [
    (LABEL_BYTES, IMAGE_BYTES, "begins with 0x00000801: not an IDX file of images .* swapped"),
    (IMAGE_BYTES, IMAGE_BYTES, "begins with 0x00000803: not an IDX file of labels .* swapped"),
    (b"GIF89a", LABEL_BYTES, "not an IDX file"),
    (b"\0\0\x0d\x03" + bytes(12), LABEL_BYTES, "not an IDX file"),
    (b"", LABEL_BYTES, "truncated or damaged: it ends within its header"),
    (IMAGE_BYTES[:10], LABEL_BYTES, "truncated or damaged: it ends within its header"),
    (IMAGE_BYTES, struct.pack(">II", 0x801, 9) + bytes(9), "has 250 images, but .* has 9 labels"),
])
def test_wrong_headers(write, images, labels, message):
    with pytest.raises(DataError, match=message):
        read_idx(None, *write(images, labels), 2)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_idx(None, str(tmp_path / "a"), str(tmp_path / "b"), 2)


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("images, labels, message", [
    (IMAGE_BYTES[:-1], LABEL_BYTES, "truncated or damaged: it ends within items"),
    (IMAGE_BYTES, LABEL_BYTES[:-100], "truncated or damaged: it ends within"),
    (IMAGE_BYTES + b"x", LABEL_BYTES, "is longer than its header says"),
])
def test_files_of_a_wrong_length(spark, write, wrap, images, labels, message):
    with pytest.raises(Exception, match=message):
        read_idx(spark, *write(images, labels, wrap), 2).collect()


def test_images_beyond_what_a_batch_may_have_come_in_smaller_ones(spark, write, monkeypatch):
    paths = write()
    expected = read_idx(spark, *paths, 2).collect()
    monkeypatch.setattr(idx, "_BATCH_BYTES", 3 * len(expected[0].features))
    assert read_idx(spark, *paths, 2).collect() == expected


def cut(data):
    return data[:1500]


def with_a_flipped_byte(data):
    return data[:1500] + bytes([data[1500] ^ 0xFF]) + data[1501:]


@pytest.mark.parametrize("damage", [cut, with_a_flipped_byte])
def test_a_damaged_gzip_file(spark, write, damage):
    paths = write(wrap=gzip.compress)
    path = pathlib.Path(paths[0])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Exception, match="truncated or damaged"):
        read_idx(spark, *paths, 2).collect()
