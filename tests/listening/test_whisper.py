"""The process that hears: how it comes and goes, and what happens when it is lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.listening import WHAT, WHO, speak
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.errors import ListenerMissingError, ListeningError
from fishs2.listening.base import Wish, hear
from fishs2.listening.comparing import compare
from fishs2.listening.models import FILES
from fishs2.listening.whisper import WhisperListener
from fishs2.listening.whisper_child import RATE_HZ, cut
from tests.listening.steered_listener import make_broken, make_steered
from tests.listening.test_conformance import sample_voice
from tests.serving import until
from tests.whisper import WHISPER_FOLDER, needs_weights

PCM = np.zeros(RATE_HZ, np.float32)


@pytest.fixture
async def steered(tmp_path: Path) -> AsyncIterator[WhisperListener]:
    made = WhisperListener(tmp_path, "base", idle_s=300, make_program=make_steered)
    yield made
    await made.close()


async def test_process_starts_with_the_first_recording_and_ends_when_it_is_idle(
    tmp_path: Path,
) -> None:
    listener = WhisperListener(tmp_path, "base", idle_s=0.01, make_program=make_steered)
    assert not listener.is_loaded

    assert (await hear(listener, PCM, Wish(prompt="hello"))).text == "hello"
    await until(lambda: not listener.is_loaded)

    assert (await hear(listener, PCM, Wish(prompt="again"))).text == "again"
    await listener.close()
    assert not listener.is_loaded


async def test_lost_process_is_one_error_and_the_next_recording_is_heard(
    steered: WhisperListener,
) -> None:
    with pytest.raises(ListeningError, match="could not be heard"):
        await hear(steered, PCM, Wish(prompt="crash"))

    assert (await hear(steered, PCM, Wish(prompt="hello"))).text == "hello"


async def test_what_the_process_refuses_is_said(steered: WhisperListener) -> None:
    with pytest.raises(ListeningError, match="more memory than a recording may"):
        await hear(steered, PCM, Wish(prompt="refuse"))


async def test_model_that_cannot_be_loaded_is_an_error_without_its_path(tmp_path: Path) -> None:
    listener = WhisperListener(tmp_path, "base", idle_s=300, make_program=make_broken)

    with pytest.raises(ListeningError, match="cannot load its model") as caught:
        await hear(listener, PCM, Wish())

    assert "/a/path" not in caught.value.message
    await listener.close()


def test_missing_model_is_said_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    listener = WhisperListener(tmp_path, "small", idle_s=300)

    with pytest.raises(ListenerMissingError, match=r"fishs2 fetch --asr small") as caught:
        listener.check()

    assert caught.value.code == "asr_model_missing"
    assert str(tmp_path) not in caught.value.message


def test_missing_package_is_said_with_the_command_that_installs_it(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).touch()
    listener = WhisperListener(tmp_path, "base", idle_s=300, has_package=lambda: False)

    with pytest.raises(ListenerMissingError, match=r"pip install 'fishs2\[asr\]'") as caught:
        listener.check()

    assert caught.value.code == "asr_not_installed"
    WhisperListener(tmp_path, "base", idle_s=300).check()


def test_long_recording_is_cut_where_it_is_quiet() -> None:
    pcm = np.ones(700 * RATE_HZ, np.float32)
    pcm[585 * RATE_HZ : 586 * RATE_HZ] = 0

    place = cut(pcm, 0)

    assert 585 * RATE_HZ <= place <= 586 * RATE_HZ
    assert cut(pcm, place) == len(pcm)
    assert cut(PCM, 0) == len(PCM)


@needs_weights
async def test_speech_of_the_builtin_engine_is_understood() -> None:
    """The benchmark has 100 sentences; these are ten of them."""
    engine = BuiltinEngine(num_workers=1)
    await engine.start()
    listener = WhisperListener(WHISPER_FOLDER, "base", idle_s=300)
    num_words = num_errors = 0
    try:
        for who, what in zip(WHO, WHAT, strict=True):
            text = f"{who} {what}"
            heard = await hear(listener, await speak(engine, text), Wish("en"))
            difference = compare(text, heard.text)
            num_words += difference.num_words
            num_errors += difference.num_errors
    finally:
        await listener.close()
        await engine.close()

    assert num_errors / num_words < 0.2


@needs_weights
async def test_long_recording_is_heard_to_its_end_with_times_of_the_whole() -> None:
    recording = sample_voice()
    long = np.concatenate([recording, np.zeros(30 * RATE_HZ, np.float32), recording])
    listener = WhisperListener(WHISPER_FOLDER, "base", idle_s=300)
    try:
        heard = await hear(listener, long, Wish("en"))
    finally:
        await listener.close()

    assert heard.text.count("before the sun") == 2
    # Whisper is vague about where speech begins after a long silence.
    assert heard.segments[-1].start_s > 30
    assert heard.segments[-1].end_s <= heard.seconds
