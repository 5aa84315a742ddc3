"""Addresses and networks that settings name."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

EVERYBODY = "*"

_PREFIX_BITS = 64
"""Of an IPv6 address: what follows its owner chooses at will. Source: RFC 4291 section 2.5.1."""


class Addresses:
    """Some networks. given: as `FISHS2_TRUSTED_PROXIES` has them, checked; `*` is everybody."""

    def __init__(self, given: tuple[str, ...]) -> None:
        self._has_everybody = EVERYBODY in given
        self._networks = [ip_network(each, strict=False) for each in given if each != EVERYBODY]

    def __contains__(self, address: str) -> bool:
        """Whether an address, as a socket or a proxy says it, is in one of them."""
        if self._has_everybody:
            return True
        found = _read(address)
        return found is not None and any(found in network for network in self._networks)


def owner_of(address: str) -> str:
    """What stands for everybody who can send from an address; "" for this machine itself."""
    found = _read(address)
    if found is None or found.is_loopback:
        return ""
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, _PREFIX_BITS), strict=False))
    return str(found)


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
