"""What programs are offered as voices, and voices that have no transcript."""

from pathlib import Path

import httpx
import pytest

from fishs2.service.voices.choice import SPEECH_PRESETS
from tests.recordings import make_voice, write_wav
from tests.server.recorded import error_of
from tests.serving import PATIENCE_S, Served, serving

OWN = ["default", *SPEECH_PRESETS]


async def store(served: Served, voice_id: str) -> None:
    files = {"files": ("a.wav", write_wav(make_voice()))}
    answer = await served.client.post(
        "/v1/audio/voices", files=files, data={"voice_id": voice_id, "prompt_text": "x"}
    )
    assert answer.status_code == 200


async def test_every_name_that_is_offered_is_a_voice_that_speaks(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path) as served:
        body = (await served.client.get("/v1/audio/voices")).json()
        statuses = [
            (
                await served.client.post(
                    "/v1/audio/speech", json={"model": "tts-1", "input": "Hi", "voice": entry["id"]}
                )
            ).status_code
            for entry in body["voices"]
        ]

    assert [entry["id"] for entry in body["voices"]] == OWN
    assert all(entry["name"] for entry in body["voices"])
    assert (body["data"], body["uploaded_voices"]) == ([], [])
    assert statuses == [200] * len(OWN)


async def test_stored_voices_come_first_and_take_the_place_of_presets(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path) as served:
        await store(served, "Mine")
        await store(served, "Nova")
        body = (await served.client.get("/v1/audio/voices")).json()

    others = [name for name in OWN if name != "nova"]
    assert [entry["id"] for entry in body["voices"]] == ["mine", "nova", *others]
    assert [entry["name"] for entry in body["voices"]][:2] == ["Mine", "Nova"]
    assert [entry["id"] for entry in body["data"]] == ["mine", "nova"]
    assert [entry["name"] for entry in body["uploaded_voices"]] == ["mine", "nova"]


async def test_strict_server_offers_no_presets(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path, strict_voices=True) as served:
        body = (await served.client.get("/v1/audio/voices")).json()

    assert [(entry["id"], entry["name"]) for entry in body["voices"]] == [("default", "default")]


@pytest.mark.parametrize("path", ["/v1/audio/voices", "/v1/voices", "/audio/voices", "/v1/files"])
async def test_list_is_plain_or_whole_for_who_asks(tmp_path: Path, path: str) -> None:
    async with serving(voices_dir=tmp_path) as served:
        await store(served, "mine")
        plain = (await served.client.get(f"{path}?legacy=true")).json()
        whole = (await served.client.get(f"{path}?all=true")).json()
        both = (await served.client.get(f"{path}?all=true&legacy=true")).json()
        wrong = await served.client.get(f"{path}?all=perhaps")

    assert plain["voices"] == ["mine", *OWN]
    assert plain["data"] == whole["data"]
    assert [entry["id"] for entry in whole["voices"]] == ["mine", *OWN, "fake", "other"]
    assert both["voices"] == ["mine", *OWN, "fake", "other"]
    assert wrong.status_code == 422


def test_builtin_speaks_in_a_voice_without_transcript(builtin_server: str) -> None:
    with httpx.Client(base_url=builtin_server, timeout=PATIENCE_S) as client:
        low, high = (
            client.post(
                "/v1/audio/voices",
                files={"files": ("a.wav", write_wav(make_voice(3, pitch_hz)))},
                data={"voice_id": f"untold-{pitch_hz}"},
            ).json()["id"]
            for pitch_hz in (90, 250)
        )
        body = {"model": "fishs2", "input": "Hello from a copy of what was never written down."}
        spoken = [
            client.post("/v1/audio/speech", json={**body, "voice": voice}) for voice in (low, high)
        ]
        blank = client.post(
            "/v1/audio/speech",
            json={**body, "voice": low, "reference_text": "  ", "prompt_text": ""},
        )
        fish = client.post("/v1/tts", json={"text": "Hi", "reference_id": low})
        for voice in (low, high):
            client.delete(f"/v1/voices/{voice}")

    assert [answer.status_code for answer in (*spoken, fish)] == [200] * 3
    assert spoken[0].headers["X-Fishs2-Cloning"] == "approximate"
    assert spoken[0].content != spoken[1].content
    assert error_of(blank)[:2] == (422, "missing_prompt_text")
