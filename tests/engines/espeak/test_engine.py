"""The builtin engine as the service sees it: through the seam, with real eSpeak processes."""

import asyncio
import os
import random
import sys
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fishs2.engines.base import AudioChunk, Pcm, SpeechEngine, Utterance
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.errors import EngineError, NotFoundError, SettingsError, UserError
from tests.engines.workers import find_workers

# Ten seconds of work for eSpeak: a test that waited for its end would fail.
ENDLESS = "one two three four " * 50_000


@pytest.fixture
async def engine() -> AsyncIterator[BuiltinEngine]:
    engine = BuiltinEngine(num_workers=2)
    await engine.start()
    yield engine
    await engine.close()


async def render(
    engine: SpeechEngine, text: str, *, voice: str | None = None, language: str | None = None
) -> Pcm:
    utterance = Utterance(text, voice=engine.find_voice(voice, language))
    chunks = [chunk.pcm async for chunk in engine.speak(utterance)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


async def read_first(speech: AsyncGenerator[AudioChunk]) -> AudioChunk:
    return await anext(speech)


def worker_pids() -> set[int]:
    return {worker.pid for worker in find_workers()}


async def test_chunks_are_float32_at_the_announced_rate(engine: BuiltinEngine) -> None:
    speech: SpeechEngine = engine

    chunks = [chunk async for chunk in speech.speak(Utterance("Good morning to all of you."))]

    assert len(chunks) > 2
    assert {chunk.pcm.dtype for chunk in chunks} == {np.dtype(np.float32)}
    assert {chunk.sample_rate_hz for chunk in chunks} == {speech.capabilities.sample_rate_hz}
    assert 0.1 < np.abs(np.concatenate([chunk.pcm for chunk in chunks])).max() <= 1.0


async def test_capabilities_name_the_default_voice_first(engine: BuiltinEngine) -> None:
    capabilities = engine.capabilities

    assert capabilities.voices[0] == "en-us"
    assert {"en-gb", "de", "fr-fr", "cmn", "ja", "pt-br"} <= set(capabilities.voices)
    assert len(set(capabilities.voices)) == len(capabilities.voices) > 100
    assert all(name == name.lower() for name in capabilities.voices)
    assert capabilities.cloning == "approximate"
    assert {"f3", "m7", "klatt"} <= set(engine.variants)
    assert {"de", "zh", "pt-br"} <= set(engine.capabilities.languages)


async def test_silence_around_an_utterance_is_short(engine: BuiltinEngine) -> None:
    pcm = await render(engine, "Hello there.")

    loud = np.flatnonzero(np.abs(pcm) > 0.002)

    assert loud[0] < 0.03 * 22_050
    assert pcm.size - loud[-1] < 0.03 * 22_050


async def test_speech_streams_before_the_text_is_done(engine: BuiltinEngine) -> None:
    async with aclosing(engine.speak(Utterance(ENDLESS))) as speech:
        first = await read_first(speech)

    assert first.pcm.size <= 22_050 // 5


async def test_voice_that_find_voice_did_not_return_is_refused(engine: BuiltinEngine) -> None:
    with pytest.raises(NotFoundError):
        await read_first(engine.speak(Utterance("text", voice="../phondata")))


async def test_slow_readers_delay_nobody(engine: BuiltinEngine) -> None:
    slow = [engine.speak(Utterance("Some text to speak. " * 20)) for _ in range(4)]
    for speech in slow:
        await read_first(speech)

    assert (await render(engine, "quick")).size

    for speech in slow:
        assert (await read_first(speech)).pcm.size
        await speech.aclose()


async def test_sixteen_at_once_each_get_their_own_audio(engine: BuiltinEngine) -> None:
    texts = [f"This is sentence number {number}. Is it?" for number in range(16)]
    alone = [await render(engine, text) for text in texts]

    together = await asyncio.gather(*(render(engine, text) for text in texts))

    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert len({pcm.tobytes() for pcm in together}) == 16


async def test_same_utterance_gives_same_samples_whatever_came_before(
    engine: BuiltinEngine,
) -> None:
    texts = ["a", "Really?!", "The end. And so on,", "(“[", "🙂 12", "\u2067שלום"]
    voices = ["en-us", "de", "cmn", "he", "en-us+f3", "fr-fr+whisper", "en-us+klatt5"]
    first: dict[tuple[str, str], bytes] = {}
    order = random.Random(7)

    async def speak_one() -> bool:
        text, voice = order.choice(texts), order.choice(voices)
        pcm = (await render(engine, text, voice=voice)).tobytes()
        return first.setdefault((text, voice), pcm) == pcm

    assert all(await asyncio.gather(*(speak_one() for _ in range(200))))


async def test_aborted_text_does_not_leak_into_the_next(engine: BuiltinEngine) -> None:
    alone = await render(engine, "And now this.")
    for _ in range(4):
        speech = engine.speak(Utterance("[[x]] <b> wait... what?!, 12 " + ENDLESS, voice="de+f2"))
        await read_first(speech)
        await speech.aclose()

    after = [await render(engine, "And now this.") for _ in range(4)]

    assert all(np.array_equal(alone, pcm) for pcm in after)


async def test_language_chooses_the_voice(engine: BuiltinEngine) -> None:
    text = "Guten Tag, wie geht es Ihnen?"
    german = await render(engine, text, voice="de")

    assert np.array_equal(await render(engine, text, language="de-AT"), german)
    assert not np.array_equal(await render(engine, text), german)
    assert np.array_equal(await render(engine, text, voice="DE", language="en"), german)


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("en", "en-us"),
        ("EN_gb", "en-gb"),
        ("en-AU", "en-us"),
        ("de-DE", "de"),
        ("zh", "cmn"),
        ("zh-Hans-CN", "cmn"),
        ("zh-yue", "yue"),
        ("pt", "pt"),
        ("pt-PT", "pt"),
        ("pt-BR", "pt-br"),
        ("fr-CA", "fr-fr"),
        ("es-MX", "es-419"),
        ("no", "nb"),
    ],
)
async def test_language_tags_find_the_best_voice(
    engine: BuiltinEngine, language: str, voice: str
) -> None:
    assert engine.find_voice(None, language) == voice


@pytest.mark.parametrize("language", ["xx", "tlh", "", "-", "../etc", "x" * 10_000])
async def test_unknown_language_is_refused(engine: BuiltinEngine, language: str) -> None:
    with pytest.raises(UserError, match="does not speak") as caught:
        engine.find_voice(None, language)

    assert (caught.value.code, caught.value.param) == ("unsupported_language", "language")
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "voice", ["alloy", "", "+f3", "en-us+", "en-us+../../lang/gmw/de", "en-us+f3+f4"]
)
async def test_unknown_voice_is_refused(engine: BuiltinEngine, voice: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        engine.find_voice(voice, "de")

    assert (caught.value.code, caught.value.param) == ("voice_not_found", "voice")


async def test_variants_sound_different(engine: BuiltinEngine) -> None:
    voices = ["en-us", "en-us+f3", "EN-US+m7", "en-us+Gene2"]

    rendered = {(await render(engine, "Hello there", voice=voice)).tobytes() for voice in voices}

    assert len(rendered) == len(voices)


async def test_default_voice_must_exist() -> None:
    engine = BuiltinEngine(voice="en-us+nobody", num_workers=1)

    with pytest.raises(SettingsError, match="en-us\\+nobody"):
        await engine.start()

    assert not worker_pids()


async def test_default_voice_with_a_variant_speaks_its_language() -> None:
    engine = BuiltinEngine(voice="de+f3", num_workers=1)
    await engine.start()
    try:
        assert engine.capabilities.voices[0] == "de+f3"
        assert engine.find_voice(None, None) == engine.find_voice(None, "de-CH") == "de+f3"
        assert engine.find_voice(None, "en-GB") == "en-gb"
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("marked", "bare"),
    [
        ("hi <b>bold</b> there", "hi bold there"),
        ("<speak>hi there</speak>", "hi there"),
        ("hi <voice name='de'>Guten Tag</voice>", "hi Guten Tag"),
        ("hi <!-- secret --> there", "hi there"),
        ("a &lt; b", "a b"),
        ("say [[fi:S]]", "say fish"),
    ],
)
async def test_markup_is_read_aloud(engine: BuiltinEngine, marked: str, bare: str) -> None:
    assert (await render(engine, marked)).size > 1.1 * (await render(engine, bare)).size


async def test_lines_of_a_list_are_set_apart_by_a_pause(engine: BuiltinEngine) -> None:
    assert len(await render(engine, "Milk\nEggs\nBread")) > 1.2 * len(
        await render(engine, "Milk Eggs Bread")
    )


async def test_break_tag_is_words_not_a_pause(engine: BuiltinEngine) -> None:
    short = await render(engine, "hi <break time='1s'/> there")
    long = await render(engine, "hi <break time='9s'/> there")

    assert abs(long.size - short.size) < 22_050


@pytest.mark.skipif(sys.platform == "win32", reason="needs a FIFO")
async def test_audio_tag_opens_no_file(engine: BuiltinEngine, tmp_path: Path) -> None:
    trap = tmp_path / "trap.wav"
    os.mkfifo(trap)  # whoever opens it for reading waits for ever

    pcm = await render(engine, f"<audio src='{trap}'/> hello")

    assert pcm.size > 22_050


@pytest.mark.parametrize("command", ["\x01300S", "\x01+90P", "[\x02h@'loU]]", "\x01V", "\ue03c"])
async def test_control_characters_are_no_commands(engine: BuiltinEngine, command: str) -> None:
    visible = "".join(char for char in command if unicodedata.category(char) not in ("Cc", "Co"))
    visible = visible.replace("[", "[ ")

    assert np.array_equal(
        await render(engine, f"{command} hello"), await render(engine, f"{visible} hello")
    )


@pytest.mark.parametrize("text", [" ", "\n\t", "\x01", "\ue000", "\ud800"])
async def test_text_without_a_character_gives_no_chunk(engine: BuiltinEngine, text: str) -> None:
    assert (await render(engine, text)).size == 0


@pytest.mark.parametrize("text", ["…", "(", "\u200d", "<>"])
async def test_text_without_a_sound_is_silent(engine: BuiltinEngine, text: str) -> None:
    assert not (await render(engine, text)).any()


@pytest.mark.parametrize(
    "text",
    ["a", "7", "W" * 500, "9" * 100, "1" * 1_000, "😀" * 50, "你好" * 50, "こんにちは", "مرحبا 12"],
)
async def test_odd_text_is_spoken(engine: BuiltinEngine, text: str) -> None:
    assert (await render(engine, text)).size > 2_000


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(max_size=60),
    voice=st.sampled_from(["en-us", "de", "cmn", "ar", "ja", "hi", "ko", "th", "hu", "jbo", "hyw"]),
)
@example(text="`", voice="vi")  # crashes eSpeak NG 1.52
async def test_no_text_stops_the_engine(engine: BuiltinEngine, text: str, voice: str) -> None:
    with suppress(EngineError):
        await render(engine, text, voice=voice)

    assert (await render(engine, "hello")).size > 5_000


async def test_close_during_speech_ends_it_and_leaves_nothing() -> None:
    tasks_before = asyncio.all_tasks()
    engine = BuiltinEngine(num_workers=1)
    await engine.start()
    speech = engine.speak(Utterance(ENDLESS))
    await read_first(speech)
    waiting = [asyncio.create_task(render(engine, "hello")) for _ in range(3)]
    await asyncio.sleep(0)

    await engine.close()

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, EngineError) for outcome in outcomes)
    with pytest.raises(EngineError):
        async for _ in speech:
            pass
    assert not worker_pids()
    assert asyncio.all_tasks() == tasks_before


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.01, 0.02])
async def test_cancelled_start_leaves_nothing(delay_s: float) -> None:
    tasks_before = asyncio.all_tasks()
    engine = BuiltinEngine(num_workers=2)
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(delay_s)
    starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        pass
    else:
        # It had started before it was cancelled: a fast machine.
        await engine.close()

    assert not worker_pids()
    assert asyncio.all_tasks() == tasks_before
