"""IDX files, the format of MNIST."""

import struct


def write_idx(path, values):
    """Writes an array of unsigned bytes."""
    sides = struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(struct.pack(">BBBB", 0, 0, 8, values.ndim) + sides + values.tobytes())
