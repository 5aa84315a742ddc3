"""Requests written byte by byte, for what no HTTP library would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. body: without its chunks; rest: what is there behind it, if known."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send each piece by itself, as far as the kernel lets us."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def receive(self, *, has_body: bool = True) -> Answer:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        body = await self._receive_body(headers) if has_body else b""
        return Answer(int(first.split()[1]), headers, body)

    async def _receive_body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body


@asynccontextmanager
async def connecting(url: str) -> AsyncIterator[Connection]:
    """Open a connection to the server at `url`."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


def request(
    method: str, path: str, headers: dict[str, str], body: bytes = b"", *, version: str = "1.1"
) -> bytes:
    """The bytes of a request, with a Content-Length unless it is chunked or has no body."""
    given = {"Host": "test", **headers}
    if body and "Transfer-Encoding" not in given:
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/{version}", *(f"{k}: {v}" for k, v in given.items()), "", ""]
    return "\r\n".join(lines).encode() + body
