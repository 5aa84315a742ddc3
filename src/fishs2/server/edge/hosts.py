"""Under which names browsers may call this server.

Whoever owns a domain can let its name point here once a page of it has been loaded (DNS rebinding):
for the browser, page and server are then one site, and the page may do whatever its owner may. The
name that it asks for is the one thing it cannot choose freely. Other programs are not concerned:
they are under nobody else's control, and know this server by any name.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from fishs2.errors import WrongHostError

_LOCAL_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
"""Names that no public DNS gives out. Source: RFC 6761, 6762, 8375; ICANN's resolution of 2024 for
`.internal`; `.lan` is what routers call their network."""

_PORT = re.compile(r":\d*$")


class Hosts:
    """The names of a server. allowed: more of them; `*.example.com` is all below it, `*` is any."""

    def __init__(self, allowed: Iterable[str], *, public_url: str | None) -> None:
        names = {name_of(each) for each in allowed}
        self._allows_any = "*" in names
        self._endings = tuple(each[1:] for each in names if each.startswith("*."))
        own = {name_of(socket.gethostname()), name_of(urlsplit(public_url or "").netloc)} - {""}
        self._names = names | own

    def check(self, host: str) -> None:
        """Raises WrongHostError for a name that may belong to somebody else.

        host: as a Host header has it.
        """
        name = name_of(host)
        if self._allows_any or name in self._names or name.endswith(self._endings):
            return
        if not name or not (_is_address(name) or "." not in name or name.endswith(_LOCAL_ENDINGS)):
            raise WrongHostError(
                "browsers may call this server by its address, by localhost and by names of a "
                "local network, not by this name: the owner of this server can allow it, such as "
                "FISHS2_ALLOWED_HOSTS=tts.example.com",
                code="host_not_allowed",
            )


def is_browser(headers: Headers) -> bool:
    """Whether a browser sent it: it says of which page, or in which way the page asks."""
    return "origin" in headers or any(name.startswith("sec-fetch-") for name in headers)


def name_of(host: str) -> str:
    """A name without port, brackets and the root's dot, in lower case."""
    return _PORT.sub("", host).strip("[]").rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
