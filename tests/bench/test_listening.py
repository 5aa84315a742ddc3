"""One request, against scripted answers and a clock that the script moves: no time passes."""

import json
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.bench.figures import Answer
from fishs2.bench.listening import AudioFormat, Manner, Question, Sound, listen, raise_for
from fishs2.bench.voices import stored_voice
from fishs2.errors import UserError

RATE_HZ = 1_000
TONE = struct.pack("<h", 9_000)
QUESTION = Question("The text.", stored_voice("mine"), seed=7)


def wav_header(*, num_bytes: int = 0xFFFFFFFF, num_bits: int = 16, extra: bytes = b"") -> bytes:
    shape = struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, num_bits)
    return (
        b"RIFF\xff\xff\xff\xffWAVE"
        + extra
        + struct.pack("<4sI", b"fmt ", 16)
        + shape
        + struct.pack("<4sI", b"data", num_bytes)
    )


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


class Script(httpx2.AsyncByteStream):
    """Sends pieces, each so many seconds after the one before; breaks off where one is None."""

    def __init__(self, clock: Clock, pieces: Sequence[tuple[float, bytes | None]]) -> None:
        self._clock = clock
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for wait_s, content in self._pieces:
            self._clock.now_s += wait_s
            if content is None:
                raise httpx2.ReadError("the connection was cut")
            yield content


async def ask(
    *pieces: tuple[float, bytes | None],
    status: int = 200,
    headers: dict[str, str] | None = None,
    audio_format: AudioFormat = "wav",
    seen: Callable[[httpx2.Request], None] = lambda _: None,
) -> Answer:
    clock = Clock()

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen(request)
        return httpx2.Response(status, headers=headers, stream=Script(clock, pieces))

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        return await listen(
            client, QUESTION, Manner(format=audio_format), began_s=98.0, now_s=clock
        )


async def test_times_and_seconds_are_those_of_the_samples_that_came() -> None:
    answer = await ask(
        (0.1, wav_header()),  # no sound yet: this is not first audio
        (0.2, 100 * TONE),
        (0.3, 100 * TONE),
        (0.05, 300 * TONE),
        (0.5, b""),
    )

    assert answer.failure is None
    assert answer.heard is not None
    assert answer.at_s == pytest.approx(2.0)
    assert answer.heard.first_audio_s == pytest.approx(0.3)
    assert answer.heard.audio_s == pytest.approx(0.5)
    assert (answer.heard.num_gaps, answer.sample_rate_hz) == (1, RATE_HZ)
    assert answer.heard.worst_gap_s == pytest.approx(0.2)
    assert answer.total_s == pytest.approx(1.15)


async def test_question_is_asked_with_everything_that_decides_the_sound() -> None:
    bodies = []
    await ask(
        (0, wav_header() + TONE), seen=lambda request: bodies.append(json.loads(request.content))
    )

    assert bodies == [
        {
            "model": "fishs2",
            "input": "The text.",
            "voice": "mine",
            "stream": True,
            "response_format": "wav",
            "seed": 7,
            "temperature": 0.8,
            "top_p": 0.8,
            "top_k": 30,
        }
    ]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([(0, b"<html>so sorry</html>")], "not a WAV file"),
        ([(0, wav_header()[:30])], "inside the header"),
        ([(0, wav_header(num_bits=24) + 9 * b"\1")], "16-bit PCM"),
        ([(0, wav_header() + 50 * TONE + b"\1")], "ends in the middle"),
        ([(0, wav_header(num_bytes=200) + 50 * TONE)], "ends in the middle"),
        ([(0, wav_header() + 5_000 * b"\0")], "nothing but silence"),
        ([(0, wav_header())], "nothing but silence"),
        ([(0, b"")], "inside the header"),
    ],
)
async def test_audio_that_is_none_is_a_failure(
    pieces: list[tuple[float, bytes | None]], message: str
) -> None:
    answer = await ask(*pieces)

    assert answer.heard is None
    assert answer.failure is not None
    assert (answer.failure.status, answer.failure.code) == (200, "bad_audio")
    assert message in answer.failure.message


async def test_answer_that_breaks_off_is_a_failure_with_its_time() -> None:
    answer = await ask((0.1, wav_header() + 100 * TONE), (0.4, None))

    assert answer.failure is not None
    assert (answer.failure.status, answer.failure.code) == (None, "broke_off")
    assert answer.heard is None
    assert answer.total_s == pytest.approx(0.5)


async def test_refusal_carries_status_code_message_and_how_long_to_wait() -> None:
    body = b'{"error": {"message": "the server is busy", "code": "server_busy"}}'

    answer = await ask((0, body), status=429, headers={"Retry-After": "3"})

    assert answer.failure is not None
    assert (answer.failure.status, answer.failure.code) == (429, "server_busy")
    assert answer.failure.message == "the server is busy (Retry-After: 3)"


@pytest.mark.parametrize("body", [b"Bad Gateway", b"[]", b'{"error": "no"}', b"\xff"])
async def test_refusal_in_another_shape_is_told_by_its_status(body: bytes) -> None:
    answer = await ask((0, body), status=502)

    assert answer.failure is not None
    assert (answer.failure.status, answer.failure.code) == (502, "http_error")


async def test_raw_pcm_is_counted_only_at_the_rate_that_was_asked_for() -> None:
    pcm = (0.1, 44_100 * TONE)

    confirmed = await ask(pcm, audio_format="pcm", headers={"X-Audio-Sample-Rate": "44100"})
    other = await ask(pcm, audio_format="pcm", headers={"X-Audio-Sample-Rate": "24000"})

    assert confirmed.heard is not None
    assert (confirmed.heard.audio_s, confirmed.sample_rate_hz) == (1.0, 44_100)
    assert other.failure is not None
    assert "says 24000" in other.failure.message


@given(st.lists(st.integers(0, 80)), st.booleans())
def test_wav_is_read_alike_however_it_is_cut(cuts: list[int], has_extra: bool) -> None:
    extra = struct.pack("<4sI", b"LIST", 3) + b"odd\0" if has_extra else b""
    file = wav_header(extra=extra) + 10 * TONE
    borders = [0, *sorted(cut % len(file) for cut in cuts), len(file)]
    sound = Sound(None)

    seconds = sum(sound.take(file[start:stop]) for start, stop in pairwise(borders))

    sound.check_end()
    assert seconds == pytest.approx(10 / RATE_HZ)
    assert sound.sample_rate_hz == RATE_HZ


async def test_refused_warm_up_says_what_to_do() -> None:
    answer = await ask((0, b'{"error": {"message": "no key", "code": "no_key"}}'), status=401)

    assert answer.failure is not None
    with pytest.raises(UserError, match="401 no_key: no key; give a key of the server with --key"):
        raise_for(answer.failure)
