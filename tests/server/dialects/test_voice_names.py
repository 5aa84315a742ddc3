"""Which voice a name means: one rule in every dialect."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import ormsgpack
import pytest

from tests.cli.running import run
from tests.server.dialects.fish_cloud.live_client import live
from tests.server.recorded import TRANSCRIPT, Recorded, error_of, sine_wav
from tests.serving import serving


def names_of(recorded: Recorded) -> list[str]:
    return [entry["name"] for entry in recorded.client.get("/v1/audio/voices").json()["data"]]


def pitch_of(recorded: Recorded, name: str) -> int:
    """The pitch of the recording that speaks under a name; 0 if it is no voice."""
    answer = recorded.speak(voice=name)
    if answer.status_code == 404:
        return 0
    assert answer.status_code == 200, answer.text
    pitch: int = recorded.asked()["reference"]["crossings_per_s"]
    return pitch


@pytest.mark.parametrize("field", ["voice_id", "name"])
@pytest.mark.parametrize(
    "names",
    [
        ("José", "Jose", "jose\u200b"),
        ("josé", "ｊｏｓｅ", "jose ", "jose"),
        ("Narrator 1", "Narrator #1", "Narrator-1!"),
        ("Bob 😀", "Bob 😎"),
        ("小明", "小红", "!!!", "???"),
        ("Maße", "Mae", "Ma e"),
        ("Ⅳ", "IV", "iv "),
        ("CON", "con.", "NUL"),
        ("a" * 100, "a" * 101),
    ],
)
def test_different_names_stay_different_voices(
    recorded: Recorded, names: tuple[str, ...], field: str
) -> None:
    ids = []
    for number, name in enumerate(names):
        answer = recorded.client.post(
            "/v1/audio/voices",
            files={"files": ("a.wav", sine_wav(300 + 20 * number))},
            data={field: name, "prompt_text": TRANSCRIPT},
        )
        assert answer.status_code == 200, answer.text
        ids.append(answer.json()["id"])

    pitches = [pitch_of(recorded, name) for name in names]
    by_id = [pitch_of(recorded, voice_id) for voice_id in ids]
    for name in names:
        assert recorded.client.delete(f"/v1/voices/{quote(name, safe='')}").status_code == 200

    assert len(set(ids)) == len(names)
    assert all(set(voice_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for voice_id in ids)
    assert pitches == by_id == [300 + 20 * number for number in range(len(names))]


@pytest.mark.parametrize(
    "names",
    [
        ("小明", "小明"),
        ("José", "JOSE\u0301"),
        ("Straße", "STRASSE"),
        ("Sample Voice", "SAMPLE VOICE"),
    ],
)
def test_upload_of_an_equal_name_replaces(recorded: Recorded, names: tuple[str, str]) -> None:
    before = len(names_of(recorded))

    first = recorded.upload(names[0], audio=sine_wav(300))
    second = recorded.upload(names[1], audio=sine_wav(400))
    after = len(names_of(recorded))
    pitches = {pitch_of(recorded, name) for name in names}
    recorded.client.delete(f"/v1/voices/{quote(names[1], safe='')}")

    assert first.json()["id"] == second.json()["id"]
    assert after == before + 1
    assert pitches == {400}
    assert len(names_of(recorded)) == before


def test_voice_that_is_uploaded_again_by_its_id_keeps_its_name(recorded: Recorded) -> None:
    made = recorded.upload("Old Näme", audio=sine_wav(300)).json()
    again = recorded.upload(made["id"], audio=sine_wav(400)).json()

    # The recordings differ.
    assert again == {**made, "created": again["created"], "findings": again["findings"]}
    assert pitch_of(recorded, "old näme") == pitch_of(recorded, made["id"]) == 400
    recorded.client.delete(f"/v1/voices/{made['id']}")


def test_name_that_is_the_id_of_another_voice_replaces_nobody(recorded: Recorded) -> None:
    recorded.upload("Old Man", audio=sine_wav(300))
    audio = {"files": ("a.wav", sine_wav(400))}
    fields = {"name": "old-man", "prompt_text": TRANSCRIPT}
    named = recorded.client.post("/v1/audio/voices", files=audio, data=fields)
    filed = recorded.client.post("/v1/files", files={"file": ("old-man.wav", sine_wav(400))})
    pitch = pitch_of(recorded, "Old Man")
    recorded.client.delete("/v1/voices/old-man")

    assert [error_of(answer)[:2] for answer in (named, filed)] == [(409, "voice_exists")] * 2
    assert pitch == 300


def test_file_that_is_uploaded_without_a_name_gives_its_own(recorded: Recorded) -> None:
    for number, name in enumerate(("小明.wav", "小红.wav")):
        files = {"files": (name, sine_wav(300 + 20 * number))}
        recorded.client.post("/v1/files", files=files, data={"prompt_text": TRANSCRIPT})

    assert (pitch_of(recorded, "小明"), pitch_of(recorded, "小红")) == (300, 320)


def test_no_dialect_creates_a_second_voice_of_a_name(recorded: Recorded) -> None:
    recorded.upload("Taken Näme", audio=sine_wav(300))
    wav, name = sine_wav(500), "TAKEN NÄME"
    post = recorded.client.post
    model = post("/model", data={"title": name, "texts": "x"}, files={"voices": ("a", wav)})
    opened = post("/api/open/create-model", data={"name": name}, files={"audioFiles": ("a", wav)})
    other = post("/model", data={"title": "Other", "texts": "x"}, files={"voices": ("a", wav)})
    renamed = recorded.client.patch(f"/model/{other.json()['_id']}", json={"title": name})
    uploaded = recorded.upload("another id", name=name)
    by_title = recorded.client.patch("/model/taken näme", json={"description": "Found."})
    recorded.client.delete("/v1/voices/other")

    assert [answer.status_code for answer in (model, opened, renamed)] == [409] * 3
    assert opened.json()["code"] == "voice_exists"
    assert error_of(uploaded)[:2] == (409, "voice_exists")
    assert (by_title.status_code, by_title.json()["description"]) == (200, "Found.")
    assert pitch_of(recorded, name) == 300
    assert "Other" not in names_of(recorded)


TRICKS = [
    "../sample_male",
    "sample_male/..",
    "./sample_male",
    "sample_male/",
    "sample_male\0",
    " sample_male ",
    "sample_male\n",
    "sample-male",
    "sample_male.",
    "sample_male.wav",
    "ｓample_male",
    "sample_mále",
    "sample_male\u200b",
    "voices/sample_male",
    "sample_male/sample.wav",
]


@pytest.mark.parametrize("name", TRICKS)
def test_what_only_looks_like_a_voice_is_unknown_everywhere(recorded: Recorded, name: str) -> None:
    before = names_of(recorded)
    client, encoded = recorded.client, quote(name, safe="")

    speech = recorded.speak(voice=name)
    packed = ormsgpack.packb({"text": "Hi", "reference_id": name})
    headers = {"Content-Type": "application/msgpack"}
    fish = client.post("/v1/tts", content=packed, headers=headers)
    opened = client.post("/api/open/tts", json={"reference_id": name, "text": "Hi"})
    compat = client.post(
        "/compat/v1/audio/speech", json={"model": "s2-pro", "input": "Hi", "voice": name}
    )
    others: list[httpx.Response] = [
        client.get(f"/model/{encoded}"),
        client.patch(f"/model/{encoded}", json={"title": "stolen"}),
        client.delete(f"/model/{encoded}"),
        client.delete(f"/v1/voices/{encoded}"),
        client.delete(f"/v1/audio/voices/{encoded}"),
    ]
    reference: dict[str, Any] = {"reference_id": name}
    removed = client.request("DELETE", "/v1/references/delete", json=reference)
    said = run(recorded.folder, "voices", "show", name) if "\0" not in name else None

    assert error_of(speech) == (404, "voice_not_found", "voice")
    assert fish.status_code == 400
    assert (opened.status_code, opened.json()["code"]) == (404, "model_not_found")
    assert compat.status_code == 404
    if not name.endswith("/"):  # in a path that is a slash like any other
        assert [answer.status_code for answer in others] == [404] * 5
    assert removed.status_code in (400, 404)
    assert said is None or (said.returncode == 1 and "there is no voice" in said.stderr)
    assert names_of(recorded) == before


@pytest.mark.parametrize("name", TRICKS[:6])
async def test_live_speech_knows_no_tricks_either(tmp_path: Path, name: str) -> None:
    async with serving(voices_dir=tmp_path) as served:
        await served.client.post(
            "/v1/files",
            files={"file": ("a.wav", sine_wav())},
            data={"voice_id": "sample_male", "prompt_text": TRANSCRIPT},
        )
        async with live(served) as client:
            await client.start(reference_id=name)
            finish = await client.hear_all()

    assert finish["reason"] == "error"
    assert not served.engine.utterances


def test_every_dialect_finds_a_voice_by_its_name_in_any_case(recorded: Recorded) -> None:
    made = recorded.upload("Übung Macht", audio=sine_wav(360)).json()
    name, client = "u\u0308BUNG MACHT", recorded.client

    answers = [
        recorded.speak(voice=name),
        client.post("/v1/tts", json={"text": "Hi", "reference_id": name}),
        client.post("/api/open/tts", json={"reference_id": name, "text": "Hi"}),
        client.post(
            "/compat/v1/audio/speech", json={"model": "s2-pro", "input": "Hi", "voice": name}
        ),
        client.get(f"/model/{quote(name)}"),
        client.patch(f"/model/{quote(name)}", json={"tags": ["x"]}),
    ]
    shown = run(recorded.folder, "voices", "show", name)
    removed = client.delete(f"/v1/audio/voices/{quote(name)}")

    assert [answer.status_code for answer in answers] == [200] * 6
    assert f"id          {made['id']}" in shown.stdout
    assert removed.json() == {"deleted": True, "id": made["id"], "object": "audio.voice.deleted"}
