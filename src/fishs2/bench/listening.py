"""One request for streamed speech, and what came of it.

Audio is counted in samples that came, with the rate that the WAV file itself says; for raw PCM, the
rate that was asked for, which the server must confirm. A whole answer is one that ended as HTTP and
as audio; everything else is a failure.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

import httpx2

from fishs2.advice import start_server
from fishs2.bench.figures import Answer, Failure, Piece, play
from fishs2.bench.voices import Voice
from fishs2.errors import UserError

SPEECH_PATH = "/v1/audio/speech"
PCM_RATE_HZ = 44_100

AudioFormat = Literal["wav", "pcm"]

_SILENCE_S = 600.0
"""Without a byte for so long a request has failed: longer than the first audio of a full queue."""

_CONNECT_S = 10.0
_ENDLESS_BYTES = 0xFFFFFFFF
_MAX_ERROR_CHARS = 300


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask. key: sent as a bearer token; None sends none."""

    url: str
    key: str | None = None

    def connect(self, num_connections: int) -> httpx2.AsyncClient:
        """Connections that the caller closes. No proxy: it would be measured too."""
        headers = {"Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return httpx2.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(_SILENCE_S, connect=_CONNECT_S),
            limits=httpx2.Limits(
                max_connections=num_connections, max_keepalive_connections=num_connections
            ),
            trust_env=False,
        )


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask for."""

    text: str
    voice: Voice
    seed: int


@dataclass(frozen=True, slots=True)
class Manner:
    """How every request asks. max_new_tokens: longest utterance in frames; None does not say."""

    format: AudioFormat = "wav"
    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 30
    max_new_tokens: int | None = None

    def body(self, question: Question) -> dict[str, object]:
        """The body of a request."""
        body: dict[str, object] = {
            "model": "fishs2",
            "input": question.text,
            "stream": True,
            "response_format": self.format,
            "seed": question.seed,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            **question.voice.fields,
        }
        if self.format == "pcm":
            body["sample_rate"] = PCM_RATE_HZ
        if self.max_new_tokens is not None:
            body["max_new_tokens"] = self.max_new_tokens
        return body


class _BadAudioError(Exception):
    """What came is not speech."""


class Sound:
    """16-bit PCM, bare or in a WAV file, as it comes."""

    def __init__(self, sample_rate_hz: int | None) -> None:
        """sample_rate_hz: of bare PCM; None reads a WAV file."""
        self.sample_rate_hz = sample_rate_hz
        self._head = b""
        self._rest = b""
        self._frame_bytes = 2
        self._num_missing: int | None = None
        self._is_silent = True

    def take(self, content: bytes) -> float:
        """Take what came; returns the seconds of sound in it. Raises _BadAudioError."""
        if self.sample_rate_hz is None:
            self._head += content
            content = self._read_header()
            if self.sample_rate_hz is None:
                return 0.0
        if self._num_missing is not None:
            self._num_missing -= len(content)
        content = self._rest + content
        num_whole = len(content) // self._frame_bytes
        cut = num_whole * self._frame_bytes
        whole, self._rest = content[:cut], content[cut:]
        self._is_silent = self._is_silent and not whole.strip(b"\0")
        return num_whole / self.sample_rate_hz

    def check_end(self) -> None:
        """Raises _BadAudioError unless there was sound, and all of it."""
        if self.sample_rate_hz is None:
            raise _BadAudioError("the answer ended inside the header of its WAV file")
        if self._rest or (self._num_missing or 0) > 0:
            raise _BadAudioError("the audio ends in the middle")
        if self._is_silent:
            raise _BadAudioError("the answer is nothing but silence")

    def _read_header(self) -> bytes:
        """Find format and samples; returns what is there of the latter. Source: RIFF, fmt chunk."""
        head = self._head
        if len(head) >= 12 and (head[:4] != b"RIFF" or head[8:12] != b"WAVE"):
            raise _BadAudioError("the answer is not a WAV file")
        at, rate_hz = 12, 0
        while len(head) >= at + 8:
            name, num_bytes = struct.unpack_from("<4sI", head, at)
            at += 8
            if name == b"data" and rate_hz:
                self.sample_rate_hz = rate_hz
                self._num_missing = None if num_bytes == _ENDLESS_BYTES else num_bytes
                return head[at:]
            if name == b"fmt " and len(head) >= at + 16:
                kind, num_channels, rate_hz, _, _, num_bits = struct.unpack_from(
                    "<HHIIHH", head, at
                )
                if kind != 1 or num_bits != 16 or not num_channels or not rate_hz:
                    raise _BadAudioError("the WAV file does not hold 16-bit PCM")
                self._frame_bytes = 2 * num_channels
            at += num_bytes + num_bytes % 2
        return b""


async def listen(
    client: httpx2.AsyncClient,
    question: Question,
    manner: Manner,
    *,
    began_s: float,
    now_s: Callable[[], float] = time.perf_counter,
) -> Answer:
    """Ask, and listen to the end. Failures are part of the answer; raises nothing for them.

    began_s: of the measurement, on the clock `now_s`.
    """
    sent_s = now_s()
    sound = Sound(PCM_RATE_HZ if manner.format == "pcm" else None)
    pieces: list[Piece] = []
    failure = None
    try:
        async with client.stream("POST", SPEECH_PATH, json=manner.body(question)) as answer:
            if answer.status_code != HTTPStatus.OK:
                await answer.aread()
                failure = describe_refusal(answer)
            else:
                _check_rate(answer, manner)
                async for content in answer.aiter_raw():
                    audio_s = sound.take(content)
                    if audio_s:
                        pieces.append(Piece(now_s() - sent_s, audio_s))
                sound.check_end()
    except (_BadAudioError, httpx2.TransportError) as error:
        failure = _describe_break(error, has_begun=bool(pieces))
    return Answer(
        at_s=sent_s - began_s,
        num_chars=len(question.text),
        voice=question.voice.name,
        seed=question.seed,
        total_s=now_s() - sent_s,
        heard=None if failure else play(pieces),
        sample_rate_hz=None if failure else sound.sample_rate_hz,
        failure=failure,
    )


def _describe_break(error: _BadAudioError | httpx2.TransportError, *, has_begun: bool) -> Failure:
    match error:
        case _BadAudioError():
            return Failure(HTTPStatus.OK, "bad_audio", str(error))
        case httpx2.ConnectError():
            return Failure(None, "no_connection", "nobody listens there")
    code = "broke_off" if has_begun else "no_answer"
    return Failure(None, code, str(error)[:_MAX_ERROR_CHARS] or type(error).__name__)


def describe_refusal(answer: httpx2.Response) -> Failure:
    """What an error answer says, which has been read."""
    code, message = "http_error", answer.reason_phrase
    try:
        error = answer.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        pass  # not an answer of ours; the status says enough
    if wait := answer.headers.get("retry-after"):
        message = f"{message} (Retry-After: {wait})"
    return Failure(answer.status_code, code, message[:_MAX_ERROR_CHARS])


def raise_for(failure: Failure) -> None:
    """Raise UserError for a failure that makes measuring pointless."""
    if failure.status == HTTPStatus.UNAUTHORIZED:
        advice = "give a key of the server with --key"
    elif failure.status == HTTPStatus.FORBIDDEN:
        advice = "the key must have the scope `speech`"
    elif failure.code == "no_connection":
        advice = f"start it with `{start_server()}`, or measure one of our own with --engine"
    else:
        advice = "nothing was measured"
    status = f"{failure.status} " if failure.status else ""
    raise UserError(
        f"the server does not speak: {status}{failure.code}: {failure.message}; {advice}",
        code="bench_failed",
    )


def _check_rate(answer: httpx2.Response, manner: Manner) -> None:
    said = answer.headers.get("x-audio-sample-rate")
    if manner.format == "pcm" and said != str(PCM_RATE_HZ):
        raise _BadAudioError(
            f"raw PCM at {PCM_RATE_HZ} Hz was asked for, and the server says {said}; use wav"
        )
