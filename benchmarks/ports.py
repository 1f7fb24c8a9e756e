"""Ports of this machine, for the servers of tests and benchmarks."""

import socket


def reserved() -> socket.socket:
    """A socket that keeps a port from all other programs until it is closed.

    It does not listen, so whoever connects is refused until a server that reuses addresses listens at that port.
    """
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
    except BaseException:
        held.close()
        raise
    return held


def port_of(held: socket.socket) -> int:
    port: int = held.getsockname()[1]
    return port
