"""Writing large buffers to a pipe without copying them."""
from __future__ import annotations

import array
import collections
import ctypes
import errno
import fcntl
import os
import termios
from typing import Deque, List, Sequence, Tuple

import numpy as np

_SPLICE_F_NONBLOCK = 2
_PARTS = 16  # at most in one call


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class PipeWriter:
    """Writes to a non-blocking pipe, which stays the caller's. For one thread.

    Where the system can (vmsplice), the pipe refers to the buffers' own memory, so the reader's copy is the only one.
    They must then not change any more, and are kept until the reader has had them. Elsewhere they are copied.
    """

    def __init__(self, fd: int):
        self._fd = fd
        self._splice = getattr(ctypes.CDLL(None, use_errno=True), "vmsplice", None)
        if self._splice is not None:
            self._splice.restype = ctypes.c_ssize_t
            self._splice.argtypes = [ctypes.c_int, ctypes.POINTER(_IoVec), ctypes.c_size_t, ctypes.c_uint]
        self._written = 0
        self._held: Deque[Tuple[int, List[memoryview]]] = collections.deque()  # until the reader is past that byte

    def write(self, parts: Sequence[memoryview]) -> int:
        """Writes some bytes of the parts, none of which is empty, and gives their number. Raises as os.writev:
        BlockingIOError while the pipe is full, BrokenPipeError once nobody reads any more."""
        if self._splice is None:
            return os.writev(self._fd, parts)
        self._release()
        parts = list(parts[:_PARTS])
        vectors = (_IoVec * len(parts))(*((np.frombuffer(part, np.uint8).ctypes.data, len(part)) for part in parts))
        written = self._splice(self._fd, vectors, len(parts), _SPLICE_F_NONBLOCK)
        if written < 0:
            number = ctypes.get_errno()
            if number in (errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EPERM):  # no pipe, or not allowed here
                self._splice = None
                return os.writev(self._fd, parts)
            raise OSError(number, os.strerror(number))
        self._written += written
        self._held.append((self._written, parts))
        return written

    def _release(self) -> None:
        """Lets go of what the reader has had."""
        unread = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, unread)
        while self._held and self._held[0][0] <= self._written - unread[0]:
            self._held.popleft()
