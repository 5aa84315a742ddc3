"""What proxies say of the client and of the address it used, and which of them are believed.

Source: RFC 7239 (Forwarded); X-Forwarded-For, -Proto, -Host, -Port and -Prefix as nginx, Caddy and
Traefik send them.
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from fishs2.server.wire.addresses import Addresses

_HOST = re.compile(r"(?:[A-Za-z0-9_.\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~@:+,=-]+)+")
_PAIR = re.compile(r'([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,\s"]*))', re.I)
_PORT = re.compile(r":\d+$")
_SCHEMES = {"http": "80", "https": "443"}
_LIES = re.compile(rb"x-forwarded-(?:for|proto|host|port|prefix)|forwarded")


@dataclass(frozen=True, slots=True)
class _Said:
    """What proxies say, "" where they do not. clients: whom each asked for, the farthest first."""

    clients: tuple[str, ...] = ()
    scheme: str = ""
    host: str = ""
    port: str = ""
    prefix: str = ""


class Proxies:
    """Puts what trusted proxies say into the scope, and takes its headers out of every request.

    So that nothing behind it can believe a stranger; `state.sent_host` keeps the Host that came,
    and `state.has_lost_port` says whether a proxy has left out the port that was asked for.
    prefix: under which path the server lies if no proxy says so. The path loses its prefix, which
    `state.prefix` has: keys and routes look at paths without it.
    """

    def __init__(self, app: ASGIApp, *, trusted: tuple[str, ...], prefix: str) -> None:
        self._app = app
        self._trusted = Addresses(trusted)
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            peer = scope["client"][0] if scope.get("client") else ""
            headers = Headers(scope=scope)
            is_trusted = peer in self._trusted
            said = _read(headers) if is_trusted else _Said()
            state = {
                **scope.get("state", {}),
                "sent_host": headers.get("host", ""),
                "has_lost_port": is_trusted and _has_lost_port(scope, headers, said),
            }
            scope = self._apply({**scope, "state": state}, said)
        await self._app(scope, receive, send)

    def _apply(self, scope: Scope, said: _Said) -> Scope:
        headers = [pair for pair in scope["headers"] if not _LIES.fullmatch(pair[0])]
        scope = {**scope, "headers": headers}
        client = next((each for each in reversed(said.clients) if each not in self._trusted), None)
        if client is None and said.clients:
            client = said.clients[0]
        if client is not None:
            scope["client"] = (client, 0)
        if said.scheme:
            is_socket = scope["type"] == "websocket"
            scope["scheme"] = said.scheme.replace("http", "ws") if is_socket else said.scheme
        if said.host or said.port:
            _set_host(scope, said)
        _take_prefix(scope, said.prefix or self._prefix)
        return scope


def prefix_of(public_url: str | None) -> str:
    """The path of an address, without a slash at its end."""
    return urlsplit(public_url or "").path.rstrip("/")


def address_of(connection: HTTPConnection, public_url: str | None) -> str:
    """Where clients reach this server, no slash at its end. public_url: what a setting says."""
    return (public_url or base_url(connection)).rstrip("/")


def preview_url(root: str, voice_id: str) -> str:
    """Where a voice can be heard. root: where clients reach this server."""
    return f"{root}/sample/{quote(voice_id, safe='')}.wav"


def base_url(connection: HTTPConnection) -> str:
    """The address that the client reached this server by, prefix included, no slash at its end.

    What a client writes into Host is checked: it goes back into JSON that others may trust.
    """
    scope = connection.scope
    host = connection.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{scope['scheme']}://{host}{path_prefix(connection)}"


def path_prefix(connection: HTTPConnection) -> str:
    """Under which path the client sees this server; "" if that is the root."""
    return str(connection.scope["state"].get("prefix", ""))


def _read(headers: Headers) -> _Said:
    """What is well-formed; the rest is as if it were not there."""
    said = _read_forwarded(headers)
    clients = tuple(_address(each) for each in _list(headers, "x-forwarded-for"))
    said = replace(
        said,
        clients=clients or said.clients,
        scheme=_first(headers, "x-forwarded-proto").lower() or said.scheme,
        host=_first(headers, "x-forwarded-host") or said.host,
        port=_first(headers, "x-forwarded-port"),
        prefix="".join(each.rstrip("/") for each in _list(headers, "x-forwarded-prefix")),
    )
    is_port = said.port.isascii() and said.port.isdigit() and len(said.port) <= 5
    return replace(
        said,
        scheme=said.scheme if said.scheme in _SCHEMES else "",
        host=said.host if _HOST.fullmatch(said.host) else "",
        port=said.port if is_port else "",
        prefix=said.prefix if _PREFIX.fullmatch(said.prefix) else "",
    )


def _read_forwarded(headers: Headers) -> _Said:
    hops = [
        {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(hop)}
        for hop in _list(headers, "forwarded")
    ]
    if not hops:
        return _Said()
    clients = tuple(_address(hop["for"]) for hop in hops if hop.get("for"))
    return _Said(clients, hops[0].get("proto", "").lower(), hops[0].get("host", ""))


def _has_lost_port(scope: Scope, headers: Headers, said: _Said) -> bool:
    """Whether the port that the client asked for may be another than the one that Host has.

    Browsers name every port but the usual ones: where none is named and this one is not usual, a
    proxy has left it out, as nginx does by `proxy_set_header Host $host`.
    """
    if said.port or _PORT.search(said.host or headers.get("host", "")):
        return False
    own_port = (scope.get("server") or ("", None))[1]
    return bool(said.host) or str(own_port) not in _SCHEMES.values()


def _list(headers: Headers, name: str) -> list[str]:
    parts = ",".join(headers.getlist(name)).split(",")
    return [part.strip() for part in parts if part.strip()]


def _first(headers: Headers, name: str) -> str:
    return next(iter(_list(headers, name)), "")


def _address(node: str) -> str:
    """An address without its port and brackets; other names pass as they are."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node


def _set_host(scope: Scope, said: _Said) -> None:
    """Make Host what the client asked for; the port is named where the scheme does not say it."""
    host = said.host or Headers(scope=scope).get("host", "")
    scheme = scope["scheme"].replace("ws", "http")
    if said.port and not _PORT.search(host) and said.port != _SCHEMES.get(scheme):
        host = f"{host}:{said.port}"
    others = [pair for pair in scope["headers"] if pair[0] != b"host"]
    scope["headers"] = [(b"host", host.encode("latin-1")), *others]


def _take_prefix(scope: Scope, prefix: str) -> None:
    """Move the prefix into `state`, whether or not the proxy took it off the path."""
    prefix = prefix or scope.get("root_path", "").rstrip("/")
    raw_path = scope.get("raw_path")
    if prefix and (scope["path"] + "/").startswith(f"{prefix}/"):
        scope["path"] = scope["path"].removeprefix(prefix) or "/"
        if raw_path is not None:
            scope["raw_path"] = raw_path.removeprefix(prefix.encode("ascii")) or b"/"
    scope["root_path"] = ""
    scope["state"] = {**scope.get("state", {}), "prefix": prefix}
