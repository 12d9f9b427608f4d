"""Listens where a job's servers are to listen, and tells who connects the time."""
from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from typing import Dict, Iterator, Sequence, Tuple

from ..placement import join_address, split_address


class _Clock(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(5.0)
        with contextlib.suppress(OSError):
            if self.request.recv(1):
                self.request.sendall(repr(time.time()).encode())


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # whoever connected is gone; its own probe says so


@contextlib.contextmanager
def listening(addresses: Sequence[str]) -> Iterator[Tuple[Dict[str, bool], Dict[str, str]]]:
    """While it lasts, listens at these addresses, whose ports may be 0.

    Gives the addresses at which it listens, each with True, and by address why it could not be listened there.
    """
    open_at, unopened = {}, {}
    with contextlib.ExitStack() as stack:
        for address in addresses:
            try:
                host, port = split_address(address)
                family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
                listener = type("Listener", (_Listener,), {"address_family": family})((host, port), _Clock)
            except (OSError, ValueError) as error:
                unopened[address] = str(error)
                continue
            stack.enter_context(listener)
            threading.Thread(target=listener.serve_forever, args=(0.1,), daemon=True).start()
            stack.callback(listener.shutdown)
            open_at[join_address(host, listener.server_address[1])] = True
        yield open_at, unopened
