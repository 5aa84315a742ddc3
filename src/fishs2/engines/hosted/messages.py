"""What the server and an engine's child process say to each other, and how it is written.

A message is a header (kind, number, payload bytes) and a payload; the number is the order's (an
utterance, or a recording to encode or decode), 0 where it is about none. Here live the kinds, the
framing, and dataclasses and errors as plain values for MessagePack; who says what and when is
`hosted.link`'s (in the server) and `hosted.child`'s matter.

    server -> child   RECIPE     a Recipe: which engine to make; the first message
                      SAMPLES    a Samples: a piece of a reference's audio
                      FORGET     the key of a reference that is not mentioned again
                      SPEAK      an Utterance, its references without their audio
                      PIECE      some bytes of what the ENCODE or DECODE of that number is about
                      ENCODE     sample rate; its float32 samples have come in PIECEs
                      DECODE     nothing; its int32 codes [K, T] have come in PIECEs
                      ABORT      nothing; stop that order
                      SPEECH_END the name of a speech of which no more parts come
                      PING       nothing
                      CLOSE      nothing; leave
    child -> server   READY      a Profile: the engine has started
                      PCM        sample rate, then float32 samples; of a SPEAK or DECODE
                      CODES      int32 codes of an ENCODE: the next bytes of [K, T]
                      FAILED     a Failure; of the start (the child leaves) or of that order
                      DONE       nothing; that order has ended, by itself or by ABORT
                      PONG       an EngineStats, or nil
                      LOG        a LogRecord

Both ends are the same build on the same machine: no versions, and this machine's byte order in
samples and codes.
"""

import asyncio
import dataclasses
import socket
import struct
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
import ormsgpack
from numpy.typing import NDArray

from fishs2 import errors
from fishs2.engines.base import AudioChunk, Capabilities, CodecLayout, EngineStats, Pcm
from fishs2.errors import EngineError, Fishs2Error

_HEADER = struct.Struct("<BII")  # kind, number, payload bytes
_RATE = struct.Struct("=I")
MAX_PIECE_BYTES = 1 << 20
"""Largest piece of audio in one message, so that nobody waits long behind it."""

_MAX_PAYLOAD_BYTES = 1 << 26
_INT64 = range(-(2**63), 2**64)  # what MessagePack can hold

T = TypeVar("T")


class Kind(IntEnum):
    """What a message says."""

    RECIPE = 1
    SAMPLES = 2
    FORGET = 3
    SPEAK = 4
    ABORT = 5
    PING = 6
    CLOSE = 7
    READY = 8
    PCM = 9
    FAILED = 10
    DONE = 11
    PONG = 12
    LOG = 13
    SPEECH_END = 14
    PIECE = 15
    ENCODE = 16
    DECODE = 17
    CODES = 18


class Message(NamedTuple):
    """One message as it was read."""

    kind: Kind
    number: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the child makes its engine: a function by name, and what it is called with.

    module is imported in the child only, so it may need what the server must not load. arguments:
    plain values, by name; it is for the function to check them. environment: variables that the
    child starts with, beside those of the server. library_folders: where the system looks for
    shared libraries before anywhere else.
    """

    module: str
    function: str
    arguments: dict[str, object] = dataclasses.field(default_factory=dict)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    library_folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A piece of a reference's audio. key: of the reference; pieces come in order."""

    key: str
    pcm: Pcm


@dataclass(frozen=True, slots=True)
class Failure:
    """A Fishs2Error on its way. name: of its class; fields: its attributes beside the message."""

    name: str
    message: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class Profile:
    """What the server must know of a started engine without asking it again.

    default_voice: what `find_voice(None, None)` gave. found_voices: what it gives for each of the
    engine's own, in lower case. unknown_voice: how it refuses `NOBODY`. codec_layout: of its codes;
    None if it is no CodesEngine.
    """

    capabilities: Capabilities
    default_voice: str
    found_voices: dict[str, str]
    unknown_voice: Failure
    codec_layout: CodecLayout | None = None


LOST_STATUS = 70
"""Exit status of a child whose engine can work in another process only. Source: sysexits.h."""

NOBODY = "nobody-7f3a"
"""A voice that no engine has; stands in `Profile.unknown_voice` for the name that is asked for."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A line of the child's log. level: as `logging` numbers them."""

    level: int
    logger: str
    text: str


async def open_streams(
    connection: socket.socket,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams around one end of the channel."""
    limit_bytes = 2 * MAX_PIECE_BYTES
    if sys.platform == "win32":  # where a pair of sockets is TCP
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return await asyncio.open_connection(sock=connection, limit=limit_bytes)
    return await asyncio.open_unix_connection(sock=connection, limit=limit_bytes)


async def read_message(reader: asyncio.StreamReader) -> Message:
    """The next message. Raises IncompleteReadError at the end, EngineError for what is none."""
    kind, number, payload_bytes = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if payload_bytes > _MAX_PAYLOAD_BYTES or kind not in list(Kind):
        raise EngineError("a message between the server and its engine is damaged")
    return Message(Kind(kind), number, await reader.readexactly(payload_bytes))


def write_message(
    writer: asyncio.StreamWriter, kind: Kind, number: int = 0, *payload: bytes
) -> None:
    """Send a message made of parts; never waits."""
    writer.writelines([_HEADER.pack(kind, number, sum(map(len, payload))), *payload])


def write_pcm(writer: asyncio.StreamWriter, number: int, chunk: AudioChunk) -> None:
    """Send the samples of a chunk, in pieces if it is large; never waits."""
    # A copy: what cannot be sent at once is kept, and the engine may use its array again.
    raw = chunk.pcm.astype(np.float32, copy=False).tobytes()
    rate = pack_rate(chunk.sample_rate_hz)
    for start in range(0, len(raw), MAX_PIECE_BYTES):
        write_message(writer, Kind.PCM, number, rate, raw[start : start + MAX_PIECE_BYTES])


def write_pieces(
    writer: asyncio.StreamWriter, kind: Kind, number: int, array: NDArray[np.float32 | np.int32]
) -> Iterator[None]:
    """Send what is in an array, piece by piece: one before each step of the iterator."""
    raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    for start in range(0, len(raw), MAX_PIECE_BYTES):
        write_message(writer, kind, number, raw[start : start + MAX_PIECE_BYTES].tobytes())
        yield


def read_pcm(payload: bytes) -> AudioChunk:
    """The chunk in the payload of a PCM message. Raises EngineError for what is none."""
    try:
        pcm = np.frombuffer(payload, np.float32, offset=_RATE.size)
    except ValueError as error:
        raise EngineError("samples between server and engine are damaged") from error
    # A copy: callers may write into their samples, and nobody may write into bytes.
    return AudioChunk(pcm.copy(), read_rate(payload))


def read_stats(payload: bytes) -> EngineStats | None:
    """The stats in the payload of a PONG."""
    return None if payload == pack(None) else unpack(EngineStats, payload)


def pack_rate(sample_rate_hz: int) -> bytes:
    """The payload of an ENCODE."""
    return _RATE.pack(sample_rate_hz)


def read_rate(payload: bytes) -> int:
    """The sample rate at the start of a payload."""
    rate_hz: int = _RATE.unpack_from(payload)[0]
    return rate_hz


def pack(value: object) -> bytes:
    """A dataclass, or None, as MessagePack, with all of its fields. Raises TypeError."""
    return ormsgpack.packb(to_plain(value))


def unpack(kind: type[T], payload: bytes) -> T:
    """The dataclass in a payload of `pack`. Raises EngineError for anything else."""
    try:
        return from_plain(kind, ormsgpack.unpackb(payload))
    except (TypeError, ValueError, KeyError) as error:
        raise EngineError(f"a {kind.__name__} between server and engine is damaged") from error


def from_plain(kind: type[T], plain: object) -> T:
    """Build `kind` from plain values, by the types of its fields. Raises TypeError."""
    # mypy does not see that a class can be hashed, nor that the reader of a kind makes that kind.
    return cast("T", _reader(kind)(plain))  # type: ignore[arg-type]


def failure_of(error: Fishs2Error) -> Failure:
    """An error for the other side."""
    fields: dict[str, object] = {
        name: value
        for name, value in vars(error).items()
        if name != "message" and isinstance(value, str | int | float | None)
    }
    return Failure(type(error).__name__, error.message, fields)


def error_of(failure: Failure) -> Fishs2Error:
    """The error that the other side has raised, of the same class and with the same fields."""
    kind = getattr(errors, failure.name, None)
    if isinstance(kind, type) and issubclass(kind, Fishs2Error):
        try:
            # Whatever the constructor wants is among the attributes, or this is no class of ours.
            return kind(failure.message, **failure.fields)
        except TypeError:
            pass  # its constructor takes something else; what was said matters more
    return EngineError(failure.message)


def to_plain(value: object) -> object:
    """Lists, dicts and scalars that MessagePack can hold."""
    match value:
        case str():
            # Half of a surrogate pair is no UTF-8, and still what somebody has sent.
            return value if value.isascii() or _is_utf8(value) else _encode(value)
        case bool() | None | bytes() | float():
            return value
        case int():
            return value if value in _INT64 else str(value)
        case Path():
            return to_plain(str(value))
        case np.ndarray():
            return np.ascontiguousarray(value, np.float32).tobytes()
        case tuple() | list() | frozenset():
            return [to_plain(item) for item in value]
        case Mapping():
            return {str(name): to_plain(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_plain(getattr(value, name)) for name in names}
    raise TypeError(f"no message can hold a {type(value).__name__}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_Reader = Callable[[object], object]


@cache
def _reader(kind: Hashable) -> _Reader:
    """A function that makes a `kind` of a plain value; TypeError for kinds it does not know."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if origin in (Union, UnionType):
        (inner,) = [_reader(each) for each in arguments if each is not NoneType]
        return lambda plain: None if plain is None else inner(plain)
    if origin in (tuple, frozenset):
        item = _reader(arguments[0])
        collection: Callable[..., object] = origin
        return lambda plain: collection(item(each) for each in _check(plain, list))
    if origin is dict:
        item = _reader(arguments[1])
        return lambda plain: {name: item(each) for name, each in _check(plain, dict).items()}
    if origin is Literal:
        return lambda plain: _check_choice(plain, arguments)
    if (origin or kind) not in _SIMPLE_READERS:
        raise TypeError(f"no message can hold a {kind}")
    return _SIMPLE_READERS[origin or kind]


def _dataclass_reader(kind: type) -> _Reader:
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    readers = {name: _reader(hints[name]) for name in names}

    def read(plain: object) -> object:
        values = _check(plain, dict)
        return kind(**{name: readers[name](value) for name, value in values.items()})

    return read


def _read_text(plain: object) -> str:
    if isinstance(plain, bytes):
        return plain.decode("utf-8", "surrogatepass")
    return _check(plain, str)


def _read_int(plain: object) -> int:
    return int(plain) if isinstance(plain, str) else _check(plain, int)


_SIMPLE_READERS: dict[object, _Reader] = {
    str: _read_text,
    int: _read_int,
    float: lambda plain: float(plain) if isinstance(plain, int) else _check(plain, float),
    bool: lambda plain: _check(plain, bool),
    bytes: lambda plain: _check(plain, bytes),
    Path: lambda plain: Path(_read_text(plain)),
    np.ndarray: lambda plain: np.frombuffer(_check(plain, bytes), np.float32).copy(),
    object: lambda plain: plain,
}


def _check(plain: object, kind: type[T]) -> T:
    if not isinstance(plain, kind):
        raise TypeError(f"{type(plain).__name__} in place of {kind.__name__}")
    return plain


def _check_choice(plain: object, choices: tuple[object, ...]) -> object:
    if plain not in choices:
        raise TypeError("none of the choices")
    return plain
