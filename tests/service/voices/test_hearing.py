"""Voices that are stored without a transcript: heard where something listens, in every dialect."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fishs2.engines.base import Capabilities
from fishs2.runtime import open_voices
from fishs2.service.listening import Listening
from fishs2.store.voices.archive import pack_voice, unpack_voice
from fishs2.store.voices.store import VoiceStore
from tests.fakes import FakeEngine
from tests.listeners import AbsentListener, FakeListener
from tests.recordings import make_voice, write_wav
from tests.serving import Served, make_settings, serving

HEARD = "What was heard."
AUDIO = write_wav(make_voice(3.0))
CLONING = Capabilities(
    name="fake", backend="cpu", sample_rate_hz=24_000, num_turns=4, max_utterance_chars=200,
    voices=("fake",), cloning="full",
)  # fmt: skip


class CloningEngine(FakeEngine):
    """One that needs a transcript, or does without."""

    def __init__(self, *, needs_transcript: bool = True) -> None:
        super().__init__(capabilities=replace(CLONING, needs_transcript=needs_transcript))


async def upload(served: Served, dialect: str, **fields: str) -> dict[str, Any]:
    """Store a voice in a dialect; returns the answer."""
    await served.services.wait_for_engine()
    path, name, title = {
        "wrapper": ("/v1/audio/voices", "files", "name"),
        "fish_cloud": ("/model", "voices", "title"),
        "fish_open": ("/api/open/create-model", "audioFiles", "name"),
    }[dialect]
    answer = await served.client.post(
        path, files={name: ("a.wav", AUDIO)}, data={title: "Ada", **fields}
    )
    assert answer.status_code in (200, 201), answer.text
    stored: dict[str, Any] = answer.json()
    return stored


async def speak(served: Served, voice: str) -> int:
    body = {"model": "fishs2", "input": "Hello.", "voice": voice}
    return (await served.client.post("/v1/audio/speech", json=body)).status_code


@pytest.mark.parametrize("dialect", ["wrapper", "fish_cloud", "fish_open"])
async def test_voice_without_a_transcript_is_heard_and_can_be_spoken_in(dialect: str) -> None:
    engine, listener = CloningEngine(), FakeListener(HEARD)
    async with serving(engine, listener=listener) as served:
        stored = await upload(served, dialect)
        status = await speak(served, "Ada")
        listed = (await served.client.get("/v1/voices")).json()["data"]
        shown = (await served.client.get("/model/Ada")).json()

    assert stored.get("transcript_source", stored.get("transcriptSource")) == "heard"
    assert stored.get("notice") is None
    assert status == 200
    assert engine.utterances[0].references[0].transcript == HEARD
    [ada] = [voice for voice in listed if voice["name"] == "Ada"]
    assert (ada["prompt_text"], ada["transcript_source"]) == (HEARD, "heard")
    assert (shown["samples"][0]["text"], shown["transcript_source"]) == (HEARD, "heard")
    assert len(listener.wishes) == 1


async def test_corrected_transcript_is_no_longer_one_that_was_heard() -> None:
    async with serving(CloningEngine(), listener=FakeListener(HEARD)) as served:
        await upload(served, "wrapper")
        await served.client.patch("/model/Ada", json={"description": "A sailor."})
        before = (await served.client.get("/model/Ada")).json()
        await served.client.patch("/model/Ada", json={"texts": ["What was said."]})
        after = (await served.client.get("/model/Ada")).json()

    assert before["transcript_source"] == "heard"
    assert (after["samples"][0]["text"], after["transcript_source"]) == ("What was said.", "given")


async def test_transcript_that_is_given_is_taken_whatever_is_heard() -> None:
    listener = FakeListener(HEARD)
    async with serving(CloningEngine(), listener=listener) as served:
        stored = await upload(served, "wrapper", prompt_text="Given.", language="de")

    assert (stored["prompt_text"], stored["transcript_source"]) == ("Given.", "given")
    assert stored["findings"][-1]["grade"] == "poor"


async def test_language_of_the_voice_is_the_one_that_is_listened_for() -> None:
    listener = FakeListener(HEARD)
    async with serving(CloningEngine(), listener=listener) as served:
        await upload(served, "wrapper", language="de-AT")

    assert listener.wishes[0].language == "de"


@pytest.mark.parametrize("dialect", ["wrapper", "fish_cloud", "fish_open"])
async def test_upload_says_that_a_voice_cannot_be_cloned_and_how_it_could(dialect: str) -> None:
    async with serving(CloningEngine(), listener=AbsentListener()) as served:
        stored = await upload(served, dialect)
        status = await speak(served, "Ada")

    notice = stored.get("notice") or stored["message"]
    assert "cannot be cloned until it has a transcript" in notice
    assert "PATCH /model/" in notice
    assert "pip install 'fishs2[asr]'" in notice
    assert status == 422


@pytest.mark.parametrize("listener", [FakeListener(" "), FakeListener(fails=True)])
async def test_voice_in_which_nothing_is_understood_is_stored_without(
    listener: FakeListener,
) -> None:
    async with serving(CloningEngine(), listener=listener) as served:
        stored = await upload(served, "wrapper")

    assert (stored["prompt_text"], stored["transcript_source"]) == (None, None)
    assert "cannot be cloned" in stored["notice"]


async def test_engine_that_needs_no_transcript_says_nothing() -> None:
    engine = CloningEngine(needs_transcript=False)
    async with serving(engine, listener=AbsentListener()) as served:
        stored = await upload(served, "wrapper")
        status = await speak(served, "Ada")

    assert stored["notice"] is None
    assert status == 200


async def test_voice_of_an_older_version_is_heard_when_it_is_first_needed(tmp_path: Path) -> None:
    folder = tmp_path / "voices" / "ada"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(AUDIO)
    listener = FakeListener(HEARD)
    async with serving(
        CloningEngine(), listener=listener, voices_dir=tmp_path / "voices"
    ) as served:
        statuses = [await speak(served, "ada") for _ in range(2)]
        shown = (await served.client.get("/model/ada")).json()

    assert statuses == [200, 200]
    assert (shown["samples"][0]["text"], shown["transcript_source"]) == (HEARD, "heard")
    assert len(listener.wishes) == 1


async def test_archive_says_what_was_only_heard(tmp_path: Path) -> None:
    async with serving(
        CloningEngine(), listener=FakeListener(HEARD), voices_dir=tmp_path / "voices"
    ) as served:
        await upload(served, "wrapper")
        [voice] = [v for v in VoiceStore(tmp_path / "voices").list() if v.name == "Ada"]

    assert unpack_voice(pack_voice(voice, [AUDIO])).is_heard
    assert not unpack_voice(pack_voice(replace(voice, is_heard=False), [AUDIO])).is_heard


async def test_voice_that_is_being_written_to_is_heard_all_the_same(tmp_path: Path) -> None:
    """The start gives a folder its metadata while the first request looks for a transcript."""
    folder = tmp_path / "voices" / "ada"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(AUDIO)
    store = VoiceStore(tmp_path / "voices")
    listening = Listening(FakeListener(HEARD), max_seconds=60)
    settings = make_settings(voices_dir=tmp_path / "voices", home=tmp_path)
    voices = open_voices(settings, listening)
    before = store.find("ada")
    assert before is not None
    store.register_staged()

    reference = await voices.reference(before, None)

    assert reference.transcript == HEARD
    await voices.close()
    await listening.close()
