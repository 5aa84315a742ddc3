"""Stored voices over HTTP (contract A.1, A.5, B.1, G-7, G-9; cases 31 to 38)."""

import json
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.recorded import TRANSCRIPT, Recorded, error_of, sine_wav
from tests.serving import PATIENCE_S, serving

LIST_PATHS = [
    prefix + path for prefix in ("/v1", "") for path in ("/audio/voices", "/voices", "/files")
]


def item(recorded: Recorded, voice_id: str) -> dict[str, object]:
    """The entry of a voice in the listing."""
    data = recorded.client.get("/v1/audio/voices").json()["data"]
    [found] = [entry for entry in data if entry["voice_id"] == voice_id]
    return dict(found)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_listings_are_the_same_bytes(recorded: Recorded) -> None:
    query = {"purpose": "user_data", "limit": "10000"}
    bodies = {recorded.client.get(path, params=query).content for path in LIST_PATHS}

    assert len(bodies) == 1
    listing = json.loads(bodies.pop())
    assert listing["object"] == "list"
    assert all(entry["id"] == entry["voice_id"] for entry in listing["data"])
    ids = [entry["id"] for entry in listing["data"]]
    assert [entry["id"] for entry in listing["voices"]][: len(ids)] == ids


def test_listing_has_the_fields_of_the_contract(recorded: Recorded) -> None:
    entry = item(recorded, "sample_male")

    assert isinstance(entry.pop("created"), int)
    assert entry == {
        "voice_id": "sample_male",
        "id": "sample_male",
        "name": "sample_male",
        "object": "voice",
        "files": [{"filename": "sample.wav", "size": len(sine_wav())}],
        "model": None,
        "language": None,
        "prompt_text": TRANSCRIPT,
        "transcript_source": "given",
    }


def test_upload_of_pandrator_counts_its_sample_once(recorded: Recorded) -> None:
    audio = sine_wav(230)
    answer = recorded.client.post(
        "/v1/audio/voices",
        files=[
            ("files", ("narrator.wav", audio, "audio/wav")),
            ("audio_sample", ("narrator.wav", audio, "audio/wav")),
        ],
        data={
            "voice_id": "pandrator-narrator-0123456789",
            "name": "pandrator-narrator-0123456789",
            "purpose": "user_data",
            "prompt_text": TRANSCRIPT,
        },
    )

    created = answer.json()
    assert (answer.status_code, created["id"]) == (200, "pandrator-narrator-0123456789")
    assert (created["object"], created["sample_count"]) == ("voice", 1)
    meta = recorded.folder / "voices" / "pandrator-narrator-0123456789" / "meta.json"
    assert json.loads(meta.read_text())["prompt_text"] == TRANSCRIPT
    assert recorded.speak(voice="pandrator-narrator-0123456789").status_code == 200
    assert recorded.asked()["reference"]["crossings_per_s"] == 230


@pytest.mark.parametrize("path", ["/v1/audio/voices", "/v1/files", "/audio/voices", "/files"])
@pytest.mark.parametrize("field", ["files", "audio_sample", "file"])
def test_every_upload_field_works_on_every_path(recorded: Recorded, path: str, field: str) -> None:
    answer = recorded.client.post(
        path, files={field: ("a.wav", sine_wav(), "audio/wav")}, data={"voice_id": "any-field"}
    )

    assert (answer.status_code, answer.json()["id"]) == (200, "any-field")


def test_first_uploaded_sample_is_the_reference(recorded: Recorded) -> None:
    recorded.client.post(
        "/v1/audio/voices",
        files=[
            ("files", ("z-first.wav", sine_wav(500), "audio/wav")),
            ("files", ("a-second.wav", sine_wav(600), "audio/wav")),
        ],
        data={"voice_id": "order", "prompt_text": "said"},
    )

    assert [f["filename"] for f in item(recorded, "order")["files"]] == [  # type: ignore[attr-defined]
        "z-first.wav",
        "a-second.wav",
    ]
    recorded.speak(voice="order")
    assert recorded.asked()["reference"]["crossings_per_s"] == 500


def test_upload_again_replaces_audio_and_transcript(recorded: Recorded) -> None:
    recorded.upload("again", audio=sine_wav(500), prompt_text="old")
    recorded.speak(voice="again")
    recorded.upload("again", audio=sine_wav(700), prompt_text="new")
    recorded.speak(voice="again")

    reference = recorded.asked()["reference"]
    assert (reference["crossings_per_s"], reference["transcript"]) == (700, "new")


def test_failed_upload_leaves_the_old_voice(recorded: Recorded) -> None:
    recorded.upload("kept", audio=sine_wav(500))
    before = files_of(recorded.folder / "voices" / "kept")

    answer = recorded.upload("kept", audio=b"this is no audio")

    assert error_of(answer)[:2] == (400, "invalid_audio")
    assert files_of(recorded.folder / "voices" / "kept") == before


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "missing_files"),
        ({"files": ("a.wav", b"", "audio/wav")}, "missing_files"),
        ({"sound": ("a.wav", b"RIFF", "audio/wav")}, "missing_files"),
        ({"files": ("a.txt", b"hello, this is text", "text/plain")}, "invalid_audio"),
        ({"files": ("a.wav", sine_wav()[:30], "audio/wav")}, "invalid_audio"),
    ],
)
def test_upload_without_audio_is_400_and_stores_nothing(
    recorded: Recorded, files: dict[str, tuple[str, bytes, str]], code: str
) -> None:
    answer = recorded.client.post(
        "/v1/audio/voices", files=files, data={"voice_id": "nothing-stored"}
    )

    assert error_of(answer)[:2] == (400, code)
    assert not (recorded.folder / "voices" / "nothing-stored").exists()


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"", ""),
    ],
)
def test_body_that_is_no_upload_is_a_clear_400(
    recorded: Recorded, content: bytes, content_type: str
) -> None:
    answer = recorded.client.post(
        "/v1/audio/voices", content=content, headers={"Content-Type": content_type}
    )

    assert error_of(answer)[0] == 400


def test_broken_form_is_not_told_to_be_json(recorded: Recorded) -> None:
    answer = recorded.upload("narrator", description="y" * 1_100_000)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the form cannot be read: Part exceeded")


def test_too_long_audio_is_refused_with_the_limit(recorded: Recorded) -> None:
    answer = recorded.upload("long", audio=sine_wav(seconds=91, rate_hz=8_000))

    assert error_of(answer)[1] == "audio_too_long"
    assert "90" in answer.json()["error"]["message"]


def test_id_is_normalised_and_the_voice_found_under_its_original_name(recorded: Recorded) -> None:
    answer = recorded.upload("Café Voice!!", audio=sine_wav(510))

    assert answer.json()["id"] == "cafe-voice"
    for name in ("cafe-voice", "Café Voice!!", "CAFE\u0301 VOICE!!"):
        assert recorded.speak(voice=name).status_code == 200
        assert recorded.asked()["reference"]["crossings_per_s"] == 510
    assert recorded.speak(voice="Cafe Voice").status_code == 404


def test_id_comes_from_the_name_or_the_file(recorded: Recorded) -> None:
    audio = {"files": ("My Recording.wav", sine_wav(), "audio/wav")}

    named = recorded.client.post("/v1/files", files=audio, data={"name": "Old Man"})
    unnamed = recorded.client.post("/v1/files", files=audio)

    assert (named.json()["id"], unnamed.json()["id"]) == ("old-man", "my-recording")


def test_voice_without_transcript_is_stored_and_refused_when_used(recorded: Recorded) -> None:
    audio = {"files": ("a.wav", sine_wav(), "audio/wav")}
    stored = recorded.client.post("/v1/files", files=audio, data={"voice_id": "silent"})

    answer = recorded.speak(voice="silent")

    assert stored.status_code == 200
    assert error_of(answer) == (422, "missing_prompt_text", "reference_text")


def test_stored_voice_may_have_the_name_of_a_preset(recorded: Recorded) -> None:
    recorded.upload("nova", audio=sine_wav(520))
    recorded.speak(voice="nova")
    with_voice = recorded.asked()["reference"]
    recorded.client.delete("/v1/voices/nova")
    recorded.speak(voice="nova")

    assert with_voice["crossings_per_s"] == 520
    assert recorded.asked()["reference"] is None


@pytest.mark.parametrize("path", ["/v1/voices", "/v1/audio/voices", "/voices", "/audio/voices"])
def test_voice_is_deleted_on_every_path_and_then_missing(recorded: Recorded, path: str) -> None:
    recorded.upload("to-delete")

    first = recorded.client.delete(f"{path}/to-delete")
    second = recorded.client.delete(f"{path}/to-delete")

    gone: dict[str, object] = {"deleted": True, "id": "to-delete"}
    if "audio" in path:
        gone["object"] = "audio.voice.deleted"
    assert (first.status_code, first.json()) == (200, gone)
    assert error_of(second) == (404, "voice_not_found", "voice_id")
    assert error_of(recorded.speak(voice="to-delete")) == (404, "voice_not_found", "voice")


HOSTILE_IDS = [
    ".",
    "..",
    "%2e",
    "%2e%2e",
    "%2e%2e%2fvoices",
    "..%2f..%2f",
    "%2f",
    "%2fetc",
    "sample_male%2f",
    "sample_male%2f..%2fsample_male",
    "sample_male%00",
    "%00",
    "sample_male.",
    "sample_male%20",
    "sample_male%5c..",
    "SAMPLE_MALE%2fmeta.json",
    "%ff%fe",
    "%ef%bc%8e%ef%bc%8e",
    "~",
    "*",
    "a" * 5000,
    "",
]


@pytest.mark.parametrize("voice_id", HOSTILE_IDS)
@pytest.mark.parametrize("path", ["/v1/voices", "/audio/voices"])
def test_no_id_deletes_anything_else(recorded: Recorded, path: str, voice_id: str) -> None:
    before = files_of(recorded.folder / "voices")
    host, port = recorded.client.base_url.host, recorded.client.base_url.port
    assert port is not None

    # Raw, because HTTP clients tidy up dot segments before they send them.
    status = _raw_delete(host, port, f"{path}/{voice_id}")

    assert status in (400, 404, 405, 307)
    assert files_of(recorded.folder / "voices") == before


def _raw_delete(host: str, port: int, target: str) -> int:
    import socket

    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        connection.sendall(
            f"DELETE {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        return int(connection.makefile("rb").readline().split()[1])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.text(max_size=40))
def test_any_name_in_a_request_is_a_voice_or_a_clear_error(recorded: Recorded, name: str) -> None:
    before = files_of(recorded.folder / "voices")
    body = json.dumps({"model": "fishs2", "input": "Hi", "voice": name})

    spoken = recorded.client.post(
        "/v1/audio/speech", content=body, headers={"Content-Type": "application/json"}
    )
    try:
        encoded = quote(name, safe="")
    except UnicodeEncodeError:
        encoded = "surrogate"
    deleted = recorded.client.delete(f"/v1/voices/unknown-{encoded}")

    assert spoken.status_code in (200, 404, 422)
    assert deleted.status_code == 404
    assert files_of(recorded.folder / "voices") == before


async def test_broken_voice_folders_fail_nothing(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    (good / "a.wav").write_bytes(sine_wav())
    for name, meta in (("bad", "{oops"), ("list", "[]"), ("nest", "[" * 100_000), ("type", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text(meta)
        (tmp_path / name / "a.wav").write_bytes(sine_wav())
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "meta.json").mkdir()

    async with serving(voices_dir=tmp_path) as served:
        listing = (await served.client.get("/v1/voices")).json()
        # Counts what the list has found, also if the disk is too slow for a count of its own.
        health = (await served.client.get("/health")).json()

    assert health["status"] == "ok"
    assert "good" in [entry["id"] for entry in listing["data"]]
    assert health["voice_count"] == len(listing["data"])


async def test_folder_with_audio_only_is_registered_with_its_sidecar(tmp_path: Path) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "b.wav").write_bytes(sine_wav(500))
    (folder / "a.wav").write_bytes(sine_wav(600))
    (folder / "a.txt").write_text("What is said.\n")

    async with serving(voices_dir=tmp_path) as served:
        [entry] = (await served.client.get("/v1/voices")).json()["data"]

    assert entry["id"] == "staged"
    assert [file["filename"] for file in entry["files"]] == ["a.wav", "b.wav"]
    assert entry["prompt_text"] == "What is said."


async def test_upload_over_the_limit_is_413_and_stores_nothing(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path, max_upload_bytes=10_000) as served:
        answer = await served.client.post(
            "/v1/audio/voices", files={"files": ("a.wav", sine_wav(), "audio/wav")}
        )

    assert error_of(answer)[:2] == (413, "body_too_large")
    assert not files_of(tmp_path)


async def test_engine_that_cannot_clone_refuses_a_stored_voice(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path) as served:
        await served.client.post(
            "/v1/files",
            files={"file": ("a.wav", sine_wav(), "audio/wav")},
            data={"voice_id": "mine", "prompt_text": "said"},
        )
        answer = await served.client.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": "Hi", "voice": "mine"}
        )

    assert error_of(answer) == (422, "cloning_not_supported", "voice")


def test_builtin_engine_clones_approximately_and_says_so(builtin_server: str) -> None:
    with httpx.Client(base_url=builtin_server, timeout=PATIENCE_S) as client:
        listed = [voice["id"] for voice in client.get("/v1/voices").json()["data"]]
        answer = client.post(
            "/v1/audio/speech",
            json={"model": "fishs2", "input": "Hello from a copy.", "voice": "sample_male"},
        )

    assert {"sample_male", "sample_female"} <= set(listed)
    assert answer.status_code == 200
    assert answer.headers["X-Fishs2-Cloning"] == "approximate"
