"""What the system tells of the other end of a connection, where this machine has it."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fishs2.server.wire.peers import Peer, look_at_peer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@contextmanager
def pair(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end and the server's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        with socket.create_connection((host, listener.getsockname()[1])) as client:
            accepted, _ = listener.accept()
            with accepted:
                yield client, accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_was_not_read_is_counted(host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with pair(host) as (client, server):
        assert look_at_peer(server) == Peer(0, is_held=True)
        server.sendall(b"x" * 30_000)
        client.recv(10_000, socket.MSG_WAITALL)

        assert look_at_peer(server) == Peer(20_000, is_held=True)


def test_a_client_of_ipv4_is_found_from_a_socket_for_both() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no such sockets here")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client:
            server, _ = listener.accept()
            with server:
                server.sendall(b"x" * 100)
                client.recv(60, socket.MSG_WAITALL)
                assert look_at_peer(server) == Peer(40, is_held=True)


def test_who_only_sends_no_more_can_still_read() -> None:
    with pair() as (client, server):
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""

        assert look_at_peer(server) == Peer(0, is_held=True)


def test_who_has_closed_its_end_cannot() -> None:
    with pair() as (client, server):
        client.close()
        assert server.recv(1) == b""
        peer = look_at_peer(server)

    assert peer is None or not peer.is_held


def test_nothing_is_known_of_what_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert look_at_peer(listener) is None
    ours, other = socket.socketpair()
    with ours, other:
        assert look_at_peer(ours) is None
    assert look_at_peer(ours) is None
