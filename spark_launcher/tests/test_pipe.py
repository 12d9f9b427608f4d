"""Buffers that are given to a pipe."""
import os
import socket
import threading
import time

import numpy as np
import pytest

from downpour.frames import unwritten
from downpour.pipe import PipeWriter


def write_all(writer, parts):
    left = [memoryview(part).cast("B") for part in parts]
    while left:
        try:
            left = unwritten(left, writer.write(left))
        except BlockingIOError:
            time.sleep(0.0002)


def test_memory_is_not_used_again_before_it_was_read():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    seen = []

    def read():
        while True:
            data = os.read(read_end, 100_000)
            if not data:
                return
            seen.append(data)
            time.sleep(0.0002)  # so that the writer is ahead
    reader = threading.Thread(target=read)
    reader.start()
    writer = PipeWriter(write_end)
    for number in range(60):
        # Freed when the loop goes on, and then the next one's place, if nobody kept it.
        write_all(writer, [b"head %03d" % number, np.full(50_000, number, np.int32)])
    os.close(write_end)
    reader.join()
    os.close(read_end)
    expected = b"".join(b"head %03d" % number + np.full(50_000, number, np.int32).tobytes() for number in range(60))
    assert b"".join(seen) == expected


def test_a_full_pipe_and_a_closed_one_are_told_apart():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    writer, part = PipeWriter(write_end), [memoryview(bytes(1 << 20))]
    assert 0 < writer.write(part) < 1 << 20
    with pytest.raises(BlockingIOError):
        writer.write(part)
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        writer.write(part)
    os.close(write_end)


def test_what_is_no_pipe_is_written_to_all_the_same():
    ours, theirs = socket.socketpair()
    writer = PipeWriter(ours.fileno())
    assert writer.write([memoryview(b"abc"), memoryview(b"def")]) == 6
    assert theirs.recv(10) == b"abcdef"
    ours.close()
    theirs.close()
