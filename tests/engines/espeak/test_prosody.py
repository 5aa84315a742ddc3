"""Pitch and pace: measured rightly, and imitated closely enough."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from fishs2.engines.base import Pcm, Reference, Utterance
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.espeak.pool import EspeakPool
from fishs2.engines.espeak.prosody import Prosody, measure_speech
from fishs2.engines.espeak.worker import SAMPLE_RATE_HZ, Order
from tests.recordings import make_whisper

TRANSCRIPT = "The old man walked slowly along the river, and nobody knew where he was going."
TEXT = "A bright morning made everyone in the village smile. We all laughed at the dog."


@pytest.fixture
async def pool() -> AsyncIterator[EspeakPool]:
    pool = EspeakPool(1)
    await pool.start()
    yield pool
    await pool.close()


@pytest.fixture
async def engine() -> AsyncIterator[BuiltinEngine]:
    engine = BuiltinEngine(num_workers=1)
    await engine.start()
    yield engine
    await engine.close()


async def render(pool: EspeakPool, order: Order) -> Pcm:
    pieces = [piece.pcm async for piece in pool.speak(order)]
    return np.frombuffer(b"".join(pieces), dtype=np.int16).astype(np.float32) / 32768.0


async def imitate(engine: BuiltinEngine, reference: Reference, text: str, language: str) -> Pcm:
    utterance = Utterance(text, voice=engine.find_voice(None, language), references=(reference,))
    return np.concatenate([chunk.pcm async for chunk in engine.speak(utterance)])


def measure(pcm: Pcm) -> Prosody:
    prosody = measure_speech(pcm, SAMPLE_RATE_HZ)
    assert prosody is not None
    return prosody


def make_pulses(f0_hz: float, rate_hz: int, *, duration_s: float = 2.0) -> Pcm:
    """A glottal pulse train: every harmonic up to half the rate, falling by 6 dB an octave."""
    phase = 2 * np.pi * f0_hz * np.arange(int(duration_s * rate_hz)) / rate_hz
    harmonics = range(1, int(rate_hz / 2 / f0_hz) + 1)
    pulses = sum((np.cos(number * phase) / number for number in harmonics), np.zeros_like(phase))
    return (0.2 * pulses).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("f0_hz", [62.0, 85.0, 120.0, 201.0, 333.0, 480.0])
def test_f0_of_a_pulse_train_is_found(f0_hz: float, rate_hz: int) -> None:
    prosody = measure_speech(make_pulses(f0_hz, rate_hz), rate_hz)

    assert prosody is not None
    assert prosody.median_f0_hz == pytest.approx(f0_hz, rel=0.02)
    assert prosody.active_s == pytest.approx(2.0, abs=0.1)


def test_pauses_do_not_count_as_speech() -> None:
    pulses = make_pulses(110.0, 16_000, duration_s=1.0)
    silence = np.zeros(24_000, np.float32)

    prosody = measure_speech(np.concatenate([silence, pulses, silence, pulses, silence]), 16_000)

    assert prosody is not None
    assert prosody.active_s == pytest.approx(2.0, abs=0.2)


def test_noise_beside_speech_does_not_change_its_pitch() -> None:
    pulses = make_pulses(140.0, 16_000)
    noise = np.random.default_rng(3).normal(scale=0.01, size=pulses.size).astype(np.float32)

    prosody = measure_speech(np.concatenate([noise, pulses + noise, noise]), 16_000)

    assert prosody is not None
    assert prosody.median_f0_hz == pytest.approx(140.0, rel=0.02)


@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
        np.zeros(48_000, np.float32),
        np.full(48_000, 0.5, np.float32),
        np.full(48_000, np.nan, np.float32),
        np.random.default_rng(1).normal(scale=0.1, size=80_000).astype(np.float32),
    ],
    ids=["empty", "short", "silence", "offset", "nan", "noise"],
)
def test_what_is_not_voiced_has_no_prosody(pcm: Pcm) -> None:
    assert measure_speech(pcm, 16_000) is None


@pytest.mark.parametrize(
    ("voice", "rate_wpm", "pitch"),
    [
        ("gmw/en-US", 175, 50),
        ("gmw/en-US", 120, 20),
        ("gmw/en-US", 260, 85),
        ("gmw/en-US+f3", 150, 60),
        ("gmw/en-US+f2", 320, 70),
        ("gmw/en-US+m3", 90, 10),
        ("gmw/en-US+f5", 200, 90),
    ],
)
async def test_pitch_and_pace_of_a_reference_are_imitated(
    pool: EspeakPool, engine: BuiltinEngine, voice: str, rate_wpm: int, pitch: int
) -> None:
    order = Order(voice=voice, text=TRANSCRIPT, rate_wpm=rate_wpm, pitch=pitch)
    reference = Reference(await render(pool, order), SAMPLE_RATE_HZ, TRANSCRIPT, key="k")
    same_speaker = measure(
        await render(pool, Order(voice=voice, text=TEXT, rate_wpm=rate_wpm, pitch=pitch))
    )

    heard = measure(await imitate(engine, reference, TEXT, "en"))

    wanted_f0_hz = measure(reference.pcm).median_f0_hz
    assert heard.median_f0_hz == pytest.approx(wanted_f0_hz, rel=0.10)
    assert heard.active_s == pytest.approx(same_speaker.active_s, rel=0.15)


@pytest.mark.parametrize(
    ("voice", "language", "transcript", "text"),
    [
        ("sit/cmn", "zh-CN", "今天天气很好，我们一起去公园散步吧。", "明天早上我要去学校上课。"),
        ("gmw/de", "de", "Der alte Mann ging langsam am Fluss.", "Wir haben alle laut gelacht."),
        ("zle/ru", "ru", "Старик медленно шёл вдоль реки.", "Мы все громко смеялись над ним."),
    ],
)
async def test_other_languages_are_imitated_too(
    pool: EspeakPool, engine: BuiltinEngine, voice: str, language: str, transcript: str, text: str
) -> None:
    order = Order(voice=voice, text=transcript, rate_wpm=240, pitch=75)
    reference = Reference(await render(pool, order), SAMPLE_RATE_HZ, transcript, key="k")
    same_speaker = measure(
        await render(pool, Order(voice=voice, text=text, rate_wpm=240, pitch=75))
    )

    heard = measure(await imitate(engine, reference, text, language))

    assert heard.median_f0_hz == pytest.approx(same_speaker.median_f0_hz, rel=0.10)
    assert heard.active_s == pytest.approx(same_speaker.active_s, rel=0.15)


async def test_same_reference_gives_same_samples(engine: BuiltinEngine) -> None:
    reference = Reference(make_pulses(190.0, 16_000), 16_000, TRANSCRIPT, key="k")

    first = await imitate(engine, reference, TEXT, "en")

    assert np.array_equal(await imitate(engine, reference, TEXT, "en"), first)


@pytest.mark.parametrize("transcript", ["", "…", " "])
async def test_reference_without_words_gives_its_pitch(
    engine: BuiltinEngine, transcript: str
) -> None:
    reference = Reference(make_pulses(240.0, 16_000), 16_000, transcript, key="k")

    heard = measure(await imitate(engine, reference, TEXT, "en"))

    assert heard.median_f0_hz == pytest.approx(240.0, rel=0.10)


async def test_whisper_is_spoken_in_the_voice_as_it_is(engine: BuiltinEngine) -> None:
    whisper = Reference(make_whisper().astype(np.float32), 16_000, TRANSCRIPT, key="whisper")

    plain = Utterance(TEXT, voice=engine.find_voice(None, "en"))
    pieces = [chunk.pcm async for chunk in engine.speak(plain)]

    assert np.array_equal(await imitate(engine, whisper, TEXT, "en"), np.concatenate(pieces))


async def test_very_quiet_reference_is_imitated(engine: BuiltinEngine) -> None:
    quiet = make_pulses(240.0, 16_000) * np.float32(3e-4)

    heard = measure(await imitate(engine, Reference(quiet, 16_000, "", key="quiet"), TEXT, "en"))

    assert heard.median_f0_hz == pytest.approx(240.0, rel=0.10)
