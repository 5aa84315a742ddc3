"""Who may connect, and who gives way."""

from asyncio import BaseTransport
from typing import Any

import pytest

from fishs2.errors import BusyError, NoRoomError
from fishs2.server.wire.addresses import Addresses, owner_of
from fishs2.server.wire.connections import Connections


class FakeTransport(BaseTransport):
    """A connection from an address."""

    def __init__(self, address: str = "203.0.113.9") -> None:
        super().__init__({"peername": (address, 1)})
        self.has_given_way = False

    def give_way(self) -> None:
        self.has_given_way = True


def make(**more: Any) -> Connections:
    given: dict[str, Any] = {
        "most": 100,
        "most_per_address": 2,
        "exempt": Addresses(("10.0.0.0/8",)),
        "stall_s": 1.0,
    }
    return Connections(**{**given, **more})


def come(
    connections: Connections, address: str = "203.0.113.9"
) -> tuple[FakeTransport, BusyError | None]:
    transport = FakeTransport(address)
    return transport, connections.open(transport, transport.give_way)


def work(connections: Connections, address: str = "203.0.113.9") -> FakeTransport:
    transport, refusal = come(connections, address)
    assert refusal is None
    connections.note(transport, "head")
    connections.note(transport, "work")
    return transport


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.8", False),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_addresses_of_one_owner_count_together(one: str, other: str, is_same: bool) -> None:
    assert (owner_of(one) == owner_of(other)) is is_same


def test_one_address_may_not_have_more_than_its_share() -> None:
    connections = make()
    first = work(connections)
    work(connections)

    _, refusal = come(connections)
    assert type(refusal) is BusyError
    assert refusal.code == "too_many_connections"
    assert "FISHS2_MAX_CONNECTIONS_PER_ADDRESS" in refusal.message
    assert come(connections, "203.0.113.8")[1] is None

    connections.close(first)
    assert come(connections)[1] is None


def test_an_address_closes_its_own_idle_connection_first() -> None:
    connections = make()
    other, _ = come(connections, "203.0.113.8")
    mine, _ = come(connections)
    work(connections)

    assert come(connections)[1] is None
    assert mine.has_given_way
    assert not other.has_given_way


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", ""])
def test_this_machine_and_proxies_may_have_any_number(address: str) -> None:
    connections = make()
    assert all(work(connections, address) for _ in range(5))


def test_without_room_and_without_idle_the_next_is_refused() -> None:
    connections = make(most=2, most_per_address=100)
    work(connections)
    work(connections)

    assert isinstance(come(connections)[1], NoRoomError)


def test_a_head_that_has_just_begun_does_not_give_way() -> None:
    connections = make(most=1, most_per_address=100)
    transport, _ = come(connections)
    connections.note(transport, "head")

    assert isinstance(come(connections)[1], NoRoomError)
    assert not transport.has_given_way


def test_those_who_are_refused_are_bounded_and_the_oldest_idle_gives_way() -> None:
    connections = make(most=1, most_per_address=10_000)
    work(connections)
    refused = [come(connections)[0] for _ in range(200)]
    assert refused[0].has_given_way
    assert not refused[-1].has_given_way

    for each in refused:
        connections.note(each, "work")
    with pytest.raises(NoRoomError):
        come(connections)
    for each in refused:
        connections.close(each)
    assert isinstance(come(connections)[1], NoRoomError)
