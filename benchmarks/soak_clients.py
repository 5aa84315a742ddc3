"""The clients of benchmarks.soak: what they ask for, how they leave, and what they heard.

They speak HTTP over bare sockets, as no client library can be made to behave this badly.
"""

import asyncio
import base64
import io
import json
import random
import socket
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

from fishs2.bench.texts import TextMaker

_MIN_FRAMES = 4
_SHOWN = ("voice", "response_format", "sample_rate", "speed", "stream", "stream_format")
_PATIENCE_S = 300.0
_SMALL_BUFFER_BYTES = 2_304  # the least that Linux gives

_SOUNDS: tuple[dict[str, object], ...] = (
    {"response_format": "wav"},
    {"response_format": "pcm"},
    {"response_format": "pcm", "sample_rate": 44_100},
    {"response_format": "mp3"},
    {"response_format": "opus"},
    {"response_format": "wav", "speed": 1.25},
    {"response_format": "flac", "prosody": {"normalize_loudness": True}},
)
_DELIVERIES: tuple[dict[str, object], ...] = (
    {"stream": False},
    {"stream": True},
    {"stream_format": "sse"},
)

Ending = Literal["reads", "reads slowly", "leaves in upload", "leaves early", "leaves midway"]
ENDINGS: dict[Ending, int] = {
    "reads": 40,
    "reads slowly": 10,
    "leaves in upload": 5,
    "leaves early": 20,
    "leaves midway": 25,
}
"""What clients do, and how often in a hundred times."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One request, word for word. name: for people."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer that was read to its end. content: without its chunk borders."""

    status: int
    content: bytes


class BrokenOffError(Exception):
    """The answer ended before its end."""


@dataclass(slots=True)
class Tally:
    """What became of the requests. wrong: one line for each answer that is not as it was alone."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def make_kinds(
    voices: Sequence[str],
    *,
    num: int,
    seed: int,
    max_frames: int = 24,
    has_references: bool = True,
    has_long_texts: bool = True,
) -> list[Kind]:
    """Different requests: voices, formats, deliveries, lengths, effects, and some that are refused.

    voices: that the server has stored. max_frames: of an utterance. has_references: whether some
    bring a recording of their own. has_long_texts: whether some need several utterances.
    """
    pick, texts = random.Random(seed), TextMaker(seed)
    recording = "data:audio/wav;base64," + base64.b64encode(make_recording(330, 0.6)).decode()
    spoken_by: list[dict[str, object]] = [{"voice": name} for name in ("default", *voices)]
    if has_references:
        spoken_by.append({"reference_audio": recording, "reference_text": "What is said in it."})
    kinds = []
    for index in range(num):
        fields = {
            **spoken_by[index % len(spoken_by)],
            **pick.choice(_SOUNDS),
            **_DELIVERIES[index % len(_DELIVERIES)],
            # Random weights may end before they have begun, or never.
            "fishs2": {"min_tokens_before_end": _MIN_FRAMES},
            "max_new_tokens": pick.randint(_MIN_FRAMES, max_frames),
        }
        # Every fourth is long enough for several utterances.
        is_long = has_long_texts and index % 4 == 0
        num_chars = pick.randint(180, 350) if is_long else pick.randint(25, 90)
        if index % 10 == 9:
            fields["voice"] = "nobody"
            fields.pop("reference_audio", None)
        said = {"model": "fishs2", "input": texts.make(num_chars), "seed": index}
        body = {**said, "chunk_length": 100, **fields}
        name = ", ".join(f"{k}={v}" for k, v in fields.items() if k in _SHOWN)
        kinds.append(Kind(f"{index}: {name}", json.dumps(body).encode()))
    return kinds


def make_recording(frequency_hz: float, seconds: float) -> bytes:
    """A WAV file with a tone."""
    times = np.arange(round(seconds * 22_050)) / 22_050
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(22_050)
        wav.writeframes((9_000 * np.sin(2 * np.pi * frequency_hz * times)).astype("<i2").tobytes())
    return file.getvalue()


class Connection:
    """One request on one connection, and as much of its answer as is wanted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, *, is_slow: bool = False) -> "Connection":
        """is_slow: with so small a buffer that what is not read stays with the server."""
        address = urlsplit(url)
        connection = socket.socket()
        if is_slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(connection, (address.hostname, address.port))
        except BaseException:
            connection.close()
            raise
        # asyncio holds on to twice the limit at most.
        limit = 512 if is_slow else 1 << 20
        return cls(*await asyncio.open_connection(sock=connection, limit=limit))

    async def send(self, body: bytes, *, share: float = 1.0, headers: str = "") -> None:
        """Send a request, or only the first `share` of its body. headers: more lines of them."""
        head = (
            "POST /v1/audio/speech HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        )
        self._writer.write(head.encode() + body[: int(share * len(body))])
        await self._writer.drain()

    async def read_some(self, num_bytes: int) -> int:
        """Read so many bytes, or as many as there are; returns how many."""
        num_read = 0
        while num_read < num_bytes and (piece := await self._reader.read(num_bytes - num_read)):
            num_read += len(piece)
        return num_read

    async def read_all(self, *, piece_bytes: int = 1 << 16) -> Heard:
        """Read to the end, so many bytes at a time. Raises BrokenOffError."""
        received = bytearray()
        while piece := await self._reader.read(piece_bytes):
            received += piece
            if piece_bytes == 1 and len(received) % 1_024 == 0:
                await asyncio.sleep(0.001)
        return parse_answer(bytes(received))

    async def close(self, *, is_rude: bool = False) -> None:
        """End the connection; rudely without reading what is still to come."""
        if is_rude:
            self._writer.transport.abort()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


def parse_answer(received: bytes) -> Heard:
    """The answer in what came over a connection. Raises BrokenOffError unless it is whole."""
    head, mark, rest = received.partition(b"\r\n\r\n")
    if not mark:
        raise BrokenOffError("the connection ended before the answer began")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    status = int(lines[0].split()[1])
    if headers.get("transfer-encoding") == "chunked":
        content = b"".join(_read_chunks(rest))
    else:
        content = rest
        if len(content) != int(headers["content-length"]):
            raise BrokenOffError("the answer is shorter than announced")
    if headers["content-type"].startswith("text/event-stream"):
        return Heard(status, _audio_of_events(content))
    return Heard(status, without_serial(content))


def without_serial(content: bytes) -> bytes:
    """Ogg pages without the number that each file draws, and their checksums. Source: RFC 3533."""
    if not content.startswith(b"OggS"):
        return content
    pages, at = [], 0
    while at < len(content):
        num_segments = content[at + 26]
        ends = at + 27 + num_segments + sum(content[at + 27 : at + 27 + num_segments])
        pages += [content[at : at + 14], content[at + 18 : at + 22], content[at + 26 : ends]]
        at = ends
    return b"".join(pages)


def _read_chunks(rest: bytes) -> Iterator[bytes]:
    while True:
        line, mark, rest = rest.partition(b"\r\n")
        num_bytes = int(line or b"-1", 16)
        if not mark or num_bytes < 0 or len(rest) < num_bytes + 2:
            raise BrokenOffError("the answer has no last chunk")
        if num_bytes == 0:
            return
        yield rest[:num_bytes]
        rest = rest[num_bytes + 2 :]


def _audio_of_events(content: bytes) -> bytes:
    """What was said; where it was cut into events depends on time and is nobody's business."""
    events = [json.loads(event[6:]) for event in content.split(b"\n\n") if event]
    if events[-1]["type"] != "speech.audio.done":
        raise BrokenOffError(f"the last event is {events[-1]['type']}")
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    return without_serial(audio) + json.dumps(events[-1]).encode()


async def hear_alone(url: str, kinds: Sequence[Kind]) -> list[Heard]:
    """Make every request once, one after the other."""
    return [await _hear(url, kind) for kind in kinds]


async def _hear(url: str, kind: Kind) -> Heard:
    connection = await Connection.open(url)
    try:
        await connection.send(kind.body)
        return await connection.read_all()
    finally:
        await connection.close()


async def soak(
    url: str,
    kinds: Sequence[Kind],
    alone: Sequence[Heard],
    *,
    num_requests: int,
    num_at_once: int,
    seed: int,
) -> Tally:
    """Make so many requests, with random ends. The same seed makes the same ones."""
    pick, tally = random.Random(seed), Tally()
    plans = [
        (
            pick.randrange(len(kinds)),
            pick.choices(list(ENDINGS), list(ENDINGS.values()))[0],
            random.Random(pick.random()),
        )
        for _ in range(num_requests)
    ]

    async def work() -> None:
        while plans:
            index, ending, chance = plans.pop()
            await _meet(url, kinds[index], alone[index], ending, chance, tally)

    await asyncio.gather(*(work() for _ in range(num_at_once)))
    return tally


async def _meet(
    url: str, kind: Kind, expected: Heard, ending: Ending, chance: random.Random, tally: Tally
) -> None:
    """One client from its connection to its end."""
    connection = await Connection.open(url, is_slow=ending == "reads slowly")
    is_rude = chance.random() < 0.5
    try:
        async with asyncio.timeout(_PATIENCE_S):
            match ending:
                case "reads" | "reads slowly":
                    is_rude = False
                    await connection.send(kind.body)
                    piece_bytes = 1 if ending == "reads slowly" else 1 << 16
                    heard = await connection.read_all(piece_bytes=piece_bytes)
                    _compare(kind, expected, heard, tally)
                case "leaves in upload":
                    await connection.send(kind.body, share=chance.random())
                case "leaves early":
                    await connection.send(kind.body)
                    await asyncio.sleep(chance.expovariate(5))
                case "leaves midway":
                    await connection.send(kind.body)
                    await connection.read_some(chance.randint(1, 2 * len(expected.content)))
    except (BrokenOffError, OSError, TimeoutError) as error:
        tally.wrong.append(f"{kind.name}: {ending}: {type(error).__name__}: {error}")
        is_rude = True
    finally:
        await connection.close(is_rude=is_rude)
    tally.outcomes[ending] += 1


def _compare(kind: Kind, expected: Heard, heard: Heard, tally: Tally) -> None:
    if heard.status != expected.status:
        tally.wrong.append(f"{kind.name}: status {heard.status}, alone {expected.status}")
    elif heard.content != expected.content:
        pairs = zip(heard.content, expected.content, strict=False)
        same = next((at for at, (a, b) in enumerate(pairs) if a != b), -1)
        tally.wrong.append(
            f"{kind.name}: other content from byte {same} on: {len(heard.content)} bytes, alone "
            f"{len(expected.content)}"
        )
