"""Whether a recording will do as a reference, over HTTP and on the command line."""

from pathlib import Path

import pytest

from fishs2.service.voices.doctor import judge_transcript
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.cli.running import run
from tests.listeners import AbsentListener, FakeListener
from tests.recordings import make_voice, write_wav
from tests.serving import serving

AUDIO = write_wav(make_voice(9.0))
SAID = "On clear mornings the harbour is already busy"


@pytest.mark.parametrize(
    ("transcript", "heard", "grade", "value"),
    [
        (SAID, SAID.upper(), "good", 0.0),
        (SAID, "On clear mornings the harbour is already", "good", 12.5),
        (SAID, "On clear mornings a harbour was already", "poor", 37.5),
        (SAID, "On clear mornings a harbour is already", "fair", 25.0),
        ("", SAID, "fair", 0.0),
        (None, None, "poor", 0.0),
    ],
)
def test_transcript_is_held_against_what_is_heard(
    transcript: str | None, heard: str | None, grade: str, value: float
) -> None:
    found = judge_transcript(transcript, heard)

    assert found is not None
    assert (found.grade, found.value) == (grade, value)
    assert f"{value:.0f}" in found.text


def test_transcript_that_nobody_can_check_is_not_judged() -> None:
    assert judge_transcript(SAID, None) is None


async def test_recording_is_checked_before_it_is_stored() -> None:
    async with serving(listener=FakeListener(SAID)) as served:
        await served.services.wait_for_stores()
        before = (await served.client.get("/v1/voices")).json()["data"]
        answer = await served.client.post(
            "/v1/voices/check", files={"file": ("a.wav", AUDIO)}, data={"prompt_text": SAID}
        )
        after = (await served.client.get("/v1/voices")).json()["data"]

    checked = answer.json()
    names = [finding["name"] for finding in checked["findings"]]
    assert names[0] == "length"
    assert names[-1] == "transcript"
    assert checked["findings"][0]["value"] == 9.0
    assert checked["heard"] == SAID
    assert before == after


async def test_without_a_listener_the_sound_alone_is_checked() -> None:
    async with serving(listener=AbsentListener()) as served:
        answer = await served.client.post(
            "/v1/voices/check", files={"file": ("a.wav", AUDIO)}, data={"prompt_text": SAID}
        )

    assert answer.json()["heard"] is None
    assert "transcript" not in [finding["name"] for finding in answer.json()["findings"]]


@pytest.mark.parametrize(
    ("audio", "code"), [(b"", "missing_files"), (b"%PDF-1.7 no audio", "invalid_audio")]
)
async def test_what_is_no_recording_is_refused(audio: bytes, code: str) -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/voices/check", files={"file": ("a.wav", audio)})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


async def test_uploads_say_what_was_found() -> None:
    async with serving(listener=FakeListener(SAID)) as served:
        wrapper = await served.client.post("/v1/audio/voices", files={"files": ("a.wav", AUDIO)})
        fish = await served.client.post(
            "/model", files={"voices": ("a.wav", AUDIO)}, data={"title": "Ada", "texts": SAID}
        )

    for answer in (wrapper, fish):
        findings = {finding["name"]: finding for finding in answer.json()["findings"]}
        assert findings["length"]["value"] == 9.0
        assert findings["transcript"]["grade"] == "good"


def test_command_checks_files_and_stored_voices(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(write_wav(make_voice(2.0)))
    sample = next((SAMPLE_VOICES / "sample_male").glob("*.wav"))
    added = run(tmp_path, "voices", "add", str(sample), "--id", "male", "--transcript", "Hello.")

    stored = run(tmp_path, "voices", "check", "male")
    both = run(tmp_path, "voices", "check", "male", str(path))
    missing = run(tmp_path, "voices", "check", "nobody")

    assert added.returncode == 0
    assert stored.returncode == 0, stored.stdout
    assert "fair  length      the recording has 7.4 s, which is short" in stored.stdout
    assert both.returncode == 1
    assert "poor  length      the recording has 2.0 s, which is very short" in both.stdout
    assert "there is no voice nobody" in missing.stderr


def test_transcript_is_corrected_from_the_command_line(tmp_path: Path) -> None:
    sample = next((SAMPLE_VOICES / "sample_male").glob("*.wav"))
    run(tmp_path, "voices", "add", str(sample), "--id", "male", "--transcript", "Wrong.")

    changed = run(tmp_path, "voices", "transcript", "male", " Right. ")

    assert changed.stdout == "changed male\n"
    assert "Right." in run(tmp_path, "voices", "show", "male").stdout
