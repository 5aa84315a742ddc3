"""What every listener does: the fake one, and Whisper where its weights are."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.audio.pcm import Pcm
from fishs2.listening.base import LISTEN_RATE_HZ, Listener, Segment, Tongue, Wish, hear
from fishs2.listening.whisper import WhisperListener
from fishs2.service.listening import resampled
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.listeners import FakeListener
from tests.whisper import WHISPER_FOLDER, needs_weights

SAID = "On clear mornings, the harbor is already busy before the sun comes up."


def sample_voice() -> Pcm:
    source = next((SAMPLE_VOICES / "sample_female").glob("*.wav")).read_bytes()
    decoded = decode_audio(source, max_seconds=90)
    return resampled(decoded.pcm, decoded.sample_rate_hz)


@pytest.fixture(
    params=["fake", pytest.param("whisper", marks=needs_weights)],
)
async def listener(request: pytest.FixtureRequest) -> AsyncIterator[Listener]:
    made: Listener = (
        FakeListener(SAID)
        if request.param == "fake"
        else WhisperListener(WHISPER_FOLDER, "base", idle_s=300)
    )
    yield made
    await made.close()


async def test_language_comes_first_then_segments_in_order(listener: Listener) -> None:
    pcm = sample_voice()

    async with aclosing(listener.listen(pcm, Wish())) as heard:
        first, *others = [part async for part in heard]

    assert isinstance(first, Tongue)
    assert first.language == "en"
    assert 0 <= first.probability <= 1
    segments = [part for part in others if isinstance(part, Segment)]
    assert len(segments) == len(others) > 0
    times = [time for each in segments for time in (each.start_s, each.end_s)]
    assert times == sorted(times)
    assert times[-1] <= len(pcm) / LISTEN_RATE_HZ + 0.5
    assert not any(segment.words for segment in segments)


async def test_words_come_when_they_are_asked_for(listener: Listener) -> None:
    heard = await hear(listener, sample_voice(), Wish(with_words=True))

    assert "".join(word.text for word in heard.words).strip() == heard.text
    assert all(0 <= word.probability <= 1 for word in heard.words)
    assert all(word.start_s <= word.end_s for word in heard.words)
    assert "already busy before" in heard.text


async def test_language_that_is_asked_for_is_the_one_that_is_named(listener: Listener) -> None:
    heard = await hear(listener, sample_voice(), Wish(language="en"))

    assert heard.tongue.language == "en"


async def test_silence_is_heard_too(listener: Listener) -> None:
    heard = await hear(listener, np.zeros(LISTEN_RATE_HZ, np.float32), Wish())

    assert heard.seconds == 1.0


async def test_left_recording_is_followed_by_the_next(listener: Listener) -> None:
    async with aclosing(listener.listen(sample_voice(), Wish())) as left:
        await anext(left)

    assert (await hear(listener, sample_voice(), Wish())).text
