"""Recordings without a voice in them are refused in every dialect, by every engine."""

import base64
import json
from pathlib import Path

import httpx
import numpy as np
import ormsgpack
import pytest

from tests.cli.running import run
from tests.recordings import (
    BROKEN,
    NO_SPEECH,
    RATE_HZ,
    Samples,
    make_voice,
    make_whisper,
    write_wav,
)
from tests.server.dialects.fish_cloud.live_client import live
from tests.server.recorded import TRANSCRIPT, Recorded, error_of
from tests.serving import PATIENCE_S, serving

KINDS = {
    **{kind: write_wav(samples) for kind, samples in NO_SPEECH.items()},
    **{kind: write_wav(samples, codec="pcm_f32le") for kind, samples in BROKEN.items()},
}
MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.mark.parametrize("kind", KINDS)
def test_upload_without_speech_is_refused_and_stores_nothing(recorded: Recorded, kind: str) -> None:
    wav, client = KINDS[kind], recorded.client
    before = recorded.client.get("/v1/audio/voices").content
    good = write_wav(make_voice())

    wrapper = recorded.upload("silent", audio=wav)
    second = client.post(
        "/v1/audio/voices",
        files=[("files", ("a.wav", good)), ("files", ("b.wav", wav))],
        data={"voice_id": "silent"},
    )
    model = client.post("/model", data={"title": "silent"}, files={"voices": ("a.wav", wav)})
    added = client.post(
        "/v1/references/add", data={"id": "silent", "text": "x"}, files={"audio": ("a.wav", wav)}
    )
    opened = client.post(
        "/api/open/create-model", data={"name": "silent"}, files={"audioFiles": ("a.wav", wav)}
    )

    answers = (wrapper, second, model, added, opened)
    assert [answer.status_code for answer in answers] == [400] * 5
    assert error_of(wrapper)[1] == error_of(second)[1] == opened.json()["code"] == "invalid_audio"
    assert "file 2" in error_of_message(second)
    assert client.get("/v1/audio/voices").content == before


def error_of_message(answer: httpx.Response) -> str:
    message: str = answer.json()["error"]["message"]
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_reference_without_speech_is_refused_and_spoken_in_no_voice(
    recorded: Recorded, kind: str
) -> None:
    wav, client = KINDS[kind], recorded.client
    encoded = base64.b64encode(wav).decode()
    before = recorded.record.read_text()

    url = recorded.speak(reference_audio=f"data:audio/wav;base64,{encoded}", reference_text="x")
    listed = recorded.speak(references=[{"audio": encoded, "text": "x"}])
    references = [{"audio": wav, "text": "x"}]
    fish = client.post(
        "/v1/tts",
        content=ormsgpack.packb({"text": "Hi", "references": references}),
        headers=MSGPACK,
    )

    assert error_of(url)[:2] == error_of(listed)[:2] == (422, "invalid_reference_audio")
    assert fish.status_code == 400
    assert recorded.record.read_text() == before


async def test_live_reference_without_speech_ends_in_an_error(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path) as served, live(served) as client:
        await client.start(references=[{"audio": KINDS["white noise"], "text": "x"}])
        finish = await client.hear_all()

    assert finish["reason"] == "error"
    assert not served.engine.utterances


def test_builtin_engine_refuses_them_too(builtin_server: str) -> None:
    with httpx.Client(base_url=builtin_server, timeout=PATIENCE_S) as client:
        answers = [
            client.post(
                "/v1/audio/voices",
                files={"files": ("a.wav", wav)},
                data={"voice_id": "x", "prompt_text": "x"},
            )
            for wav in KINDS.values()
        ]

    assert [answer.status_code for answer in answers] == [400] * len(KINDS)


@pytest.mark.parametrize(
    "samples",
    [make_whisper(), make_voice() * 1e-3, make_voice(pitch_hz=700)],
    ids=["a whisper", "very quiet", "higher than eSpeak"],
)
def test_what_is_let_in_is_spoken_by_the_builtin_engine(
    builtin_server: str, samples: Samples
) -> None:
    audio = base64.b64encode(write_wav(samples)).decode()

    answer = httpx.post(
        f"{builtin_server}/v1/tts",
        json={"text": "Hello.", "references": [{"audio": audio, "text": TRANSCRIPT}]},
        timeout=PATIENCE_S,
    )

    assert answer.status_code == 200, answer.text


def test_command_line_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(KINDS["silence"])

    done = run(tmp_path, "voices", "add", "a.wav", "--transcript", "x")

    assert done.returncode == 1
    assert "no speech" in done.stderr
    assert not list(tmp_path.rglob("meta.json"))


def test_stored_voice_without_speech_is_refused_when_it_is_to_speak(recorded: Recorded) -> None:
    folder = recorded.folder / "voices" / "from-elsewhere"
    folder.mkdir()
    (folder / "a.wav").write_bytes(KINDS["silence"])
    (folder / "meta.json").write_text(json.dumps({"prompt_text": "x"}))

    answer = recorded.speak(voice="from-elsewhere")
    recorded.client.delete("/v1/voices/from-elsewhere")

    assert error_of(answer)[:2] == (422, "invalid_reference_audio")


@pytest.mark.parametrize(
    ("layout", "gains"),
    [
        ("mono", [1]),
        ("stereo", [1, 0]),
        ("stereo", [1, -1]),
        ("5.1", [0, 0, 1, 0, 0, 0]),
        ("mono", [5]),
    ],
)
def test_voice_in_any_channel_is_stored_and_spoken(
    recorded: Recorded, layout: str, gains: list[float]
) -> None:
    voice = make_voice(2.0)[:, np.newaxis] * np.array(gains)
    wav = write_wav(voice, codec="pcm_f32le", layout=layout, rate_hz=RATE_HZ)

    stored = recorded.upload("channels", audio=wav)
    spoken = recorded.speak(voice="channels")

    assert (stored.status_code, spoken.status_code) == (200, 200)
    assert recorded.asked()["reference"]["transcript"] == TRANSCRIPT
    assert recorded.asked()["reference"]["peak"] == (1.0 if gains == [5] else 0.5)
