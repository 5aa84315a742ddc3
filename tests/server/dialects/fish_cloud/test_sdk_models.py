"""Fish Audio's own clients, new and legacy, on `/model` and `/wallet` (cases 45, 47)."""

import json
from pathlib import Path

import fish_audio_sdk
import fishaudio
import httpx
import ormsgpack
import pytest
from fishaudio import APIError, AsyncFishAudio, NotFoundError

from fishs2.runtime import open_database
from fishs2.store.accounts.keys import NewKey, create_key
from tests.server.dialects.fish_cloud.conftest import tiny_png
from tests.server.recorded import Recorded, sine_wav
from tests.serving import PATIENCE_S, make_settings, server_process


def test_voice_is_created_changed_and_deleted(sdk: fishaudio.FishAudio) -> None:
    made = sdk.voices.create(
        title="My Voice",
        voices=[sine_wav(), sine_wav(330)],
        texts=["What is said.", "And more."],
        description="A sine.",
        tags=["low", "male"],
        visibility="unlist",
        cover_image=tiny_png(),
    )
    sdk.voices.update(made.id, title="Another", tags=["q"], description="Two.")
    changed = sdk.voices.get(made.id)
    sdk.voices.delete(made.id)

    assert len(made.id) == 32
    assert int(made.id, 16)
    assert (made.title, made.state, made.type, made.visibility) == (
        "My Voice",
        "trained",
        "tts",
        "unlist",
    )
    assert [sample.text for sample in made.samples] == ["What is said.", "And more."]
    assert made.tags == ["low", "male"]
    assert made.cover_image == f"/model/{made.id}/cover"
    assert (changed.title, changed.tags, changed.description) == ("Another", ["q"], "Two.")
    assert changed.samples == made.samples
    assert (changed.visibility, changed.cover_image) == (made.visibility, made.cover_image)
    assert changed.created_at == made.created_at <= changed.updated_at
    for again in (sdk.voices.get, sdk.voices.delete):
        with pytest.raises(NotFoundError):
            again(made.id)
    with pytest.raises(NotFoundError):
        sdk.voices.update(made.id, title="x")


def test_legacy_client_creates_changes_and_deletes(legacy: fish_audio_sdk.Session) -> None:
    made = legacy.create_model(title="Old", voices=[sine_wav()], texts=["Said."])
    legacy.update_model(made.id)
    legacy.update_model(made.id, title="Older", cover_image=tiny_png())
    changed = legacy.get_model(made.id)
    listed = legacy.list_models(title="older")
    legacy.delete_model(made.id)

    assert (changed.title, changed.cover_image) == ("Older", f"/model/{made.id}/cover")
    assert [model.id for model in listed.items] == [made.id]
    with pytest.raises(fish_audio_sdk.HttpCodeErr) as missing:
        legacy.get_model(made.id)
    assert missing.value.status == 404


async def test_async_client_does_the_same(server: Recorded) -> None:
    async with AsyncFishAudio(api_key="any", base_url=server.url) as client:
        made = await client.voices.create(title="Async", voices=[sine_wav()], texts=["Said."])
        await client.voices.update(made.id, visibility="public")
        listed = await client.voices.list(title="async")
        credit = await client.account.get_credits()
        await client.voices.delete(made.id)
        with pytest.raises(NotFoundError):
            await client.voices.get(made.id)

    assert [(voice.id, voice.visibility) for voice in listed.items] == [(made.id, "public")]
    assert credit.credit > 0


def test_created_voice_is_used_and_listed_in_every_dialect(
    server: Recorded, sdk: fishaudio.FishAudio
) -> None:
    made = sdk.voices.create(title="Everywhere", voices=[sine_wav(330)], texts=["What is said."])

    spoken = server.speak(voice=made.id)
    by_title = server.speak(voice="everywhere")
    opened = server.client.post("/api/open/tts", json={"reference_id": made.id, "text": "Hi"})
    voices = server.client.get("/v1/audio/voices").json()["data"]
    models = server.client.post("/api/open/list-models", json={"pageSize": 1000}).json()["items"]
    sdk.voices.delete(made.id)

    assert [answer.status_code for answer in (spoken, by_title, opened)] == [200, 200, 200]
    reference = server.asked()["reference"]
    assert (reference["transcript"], reference["crossings_per_s"]) == ("What is said.", 330)
    assert made.id in [voice["voice_id"] for voice in voices]
    assert "Everywhere" in [model["title"] for model in models]


def test_voices_of_other_dialects_are_shown_and_changed(
    server: Recorded, sdk: fishaudio.FishAudio
) -> None:
    assert server.upload("Der Erzähler", language="de-AT").status_code == 200

    shown = sdk.voices.get("der-erzahler")
    sdk.voices.update("der-erzahler", title="Neu", tags=["tief"])
    listed = sdk.voices.list(tags=["tief"], language="de").items
    spoken = server.speak(voice="der-erzahler")
    sdk.voices.delete("der-erzahler")

    assert (shown.title, shown.languages, shown.state) == ("Der Erzähler", ["de-AT"], "trained")
    assert [(voice.id, voice.title) for voice in listed] == [("der-erzahler", "Neu")]
    assert spoken.status_code == 200
    assert server.speak(voice="der-erzahler").status_code == 404


def test_metadata_survives_in_the_wrappers_format(
    server: Recorded, sdk: fishaudio.FishAudio
) -> None:
    made = sdk.voices.create(
        title="Kept", voices=[sine_wav(), sine_wav(300)], texts=["One.", "Two."], tags=["a"]
    )
    sdk.voices.update(made.id, tags=["a", "b"], visibility="public")
    meta = json.loads((server.folder / "voices" / made.id / "meta.json").read_text())
    sdk.voices.delete(made.id)

    assert meta["voice_id"] == made.id
    assert meta["prompt_text"] == "One."
    assert [set(item) for item in meta["files"]] == [{"filename", "size"}] * 2
    assert meta["texts"] == {"upload-2.wav": "Two."}
    assert (meta["tags"], meta["visibility"], meta["name"]) == (["a", "b"], "public", "Kept")


def test_voice_without_texts_is_stored_and_speaks_once_it_has_them(
    server: Recorded, sdk: fishaudio.FishAudio
) -> None:
    made = sdk.voices.create(title="Silent", voices=[sine_wav()])
    refused = server.speak(voice=made.id)
    added = server.client.patch(f"/model/{made.id}", data={"texts": "What is said."})
    spoken = server.speak(voice=made.id)
    sdk.voices.delete(made.id)

    assert made.state == "created"
    assert refused.json()["error"]["code"] == "missing_prompt_text"
    assert f"PATCH /model/{made.id}" in refused.json()["error"]["message"]
    assert added.json()["state"] == "trained"
    assert spoken.status_code == 200
    assert server.asked()["reference"]["transcript"] == "What is said."


def test_body_may_be_messagepack_json_or_a_form(server: Recorded) -> None:
    packed = {"title": "Packed", "voices": [sine_wav()], "texts": ["Said."], "tags": None}
    headers = {"Content-Type": "application/msgpack"}

    made = server.client.post("/model", content=ormsgpack.packb(packed), headers=headers)
    address = f"/model/{made.json()['_id']}"
    changes = [
        server.client.patch(address, json={"title": "J", "tags": ["a", "b"]}),
        server.client.patch(address, content=ormsgpack.packb({"tags": []}), headers=headers),
        server.client.patch(address, data={"title": "F", "tags": ["c", "d"]}),
        server.client.patch(
            address, data={"title": "M"}, files={"cover_image": ("upload", tiny_png())}
        ),
    ]
    cover = server.client.get(changes[-1].json()["cover_image"])
    deleted = server.client.delete(address)

    assert made.status_code == 201
    assert [answer.status_code for answer in changes] == [200] * 4
    assert [answer.json()["title"] for answer in changes] == ["J", "J", "F", "M"]
    assert [answer.json()["tags"] for answer in changes] == [["a", "b"], [], ["c", "d"], ["c", "d"]]
    assert cover.content == tiny_png()
    assert cover.headers["content-type"] == "image/png"
    assert cover.headers["x-content-type-options"] == "nosniff"
    assert deleted.status_code == 200


def test_list_is_filtered_and_paged(server: Recorded, sdk: fishaudio.FishAudio) -> None:
    made = [
        sdk.voices.create(title=f"Page {n}", voices=[sine_wav()], tags=["paged", f"n{n}"])
        for n in range(3)
    ]

    def ids(**query: object) -> list[str]:
        page = sdk.voices.list(**{"tags": "paged", **query})
        return [voice.id for voice in page.items]

    pages = [ids(page_size=2, page_number=number) for number in (1, 2, 3)]
    narrowed = [
        ids(tags=["PAGED", "n1"]),
        ids(title="age 2"),
        ids(author_id="local", sort_by="created_at"),
        ids(author_id="somebody"),
        ids(language="en"),
        ids(title_language=["en", "de"]),
    ]
    total = sdk.voices.list(tags="paged", page_size=1).total
    for voice in made:
        sdk.voices.delete(voice.id)

    everything = {voice.id for voice in made}
    assert [len(page) for page in pages] == [2, 1, 0]
    assert {*pages[0], *pages[1]} == everything
    assert total == 3
    assert narrowed[:2] == [[made[1].id], [made[2].id]]
    assert set(narrowed[2]) == everything
    assert narrowed[3:] == [[], [], []]


def test_wrong_requests_are_the_clients_own_errors(
    sdk: fishaudio.FishAudio, legacy: fish_audio_sdk.Session
) -> None:
    for voices in ([], [b"no audio"], [b""], [sine_wav(), b"%PDF-1.7"]):
        with pytest.raises(APIError) as refused:
            sdk.voices.create(title="x", voices=voices)
        with pytest.raises(fish_audio_sdk.HttpCodeErr) as legacy_refused:
            legacy.create_model(title="x", voices=voices)
        assert refused.value.status == legacy_refused.value.status == 400
        assert refused.value.message == legacy_refused.value.message
    assert "file 2" in refused.value.message


def test_account_without_keys_is_unlimited(
    sdk: fishaudio.FishAudio, legacy: fish_audio_sdk.Session
) -> None:
    package = sdk.account.get_package()

    assert sdk.account.get_credits(check_free_credit=True).credit == 999_999_999
    assert (package.type, package.balance, package.finished_at) == ("unlimited", package.total, "")
    assert legacy.get_api_credit().credit == 999_999_999
    assert legacy.get_package().balance == package.balance


def test_keys_quotas_and_scopes_are_the_clients_own_errors(tmp_path: Path) -> None:
    database = open_database(make_settings(data_dir=tmp_path / "data"))
    database.migrate()
    _, reader = create_key(database, NewKey("reader", granted=1_000))
    _, writer = create_key(database, NewKey("writer", scopes=frozenset({"voices:write"})))
    database.close()
    with server_process(tmp_path, FISHS2_DATA_DIR=str(tmp_path / "data")) as url:
        stranger = fishaudio.FishAudio(api_key="any", base_url=url)
        speaker = fishaudio.FishAudio(api_key=reader, base_url=url)
        keeper = fishaudio.FishAudio(api_key=writer, base_url=url)
        with pytest.raises(fishaudio.AuthenticationError) as unknown:
            stranger.voices.list()
        with pytest.raises(fishaudio.AuthenticationError):
            stranger.account.get_credits()
        with pytest.raises(fishaudio.PermissionError):
            speaker.voices.create(title="x", voices=[sine_wav()])
        with pytest.raises(fishaudio.PermissionError):
            speaker.voices.delete("sample_male")
        with pytest.raises(fishaudio.PermissionError):
            keeper.tts.convert(text="Hi.")
        assert keeper.voices.list().items is not None
        made = keeper.voices.create(title="x", voices=[sine_wav()])
        credit, package = speaker.account.get_credits(), speaker.account.get_package()
        keeper_credit = keeper.account.get_credits()
        raw = httpx.get(f"{url}/model", timeout=PATIENCE_S)
        found = speaker.voices.get(made.id)
        for client in (stranger, speaker, keeper):
            client.close()

    assert unknown.value.status == 401
    assert raw.headers["www-authenticate"] == "Bearer"
    assert raw.json() == {"status": 401, "message": unknown.value.message}
    assert found.id == made.id
    assert credit.credit == package.balance == package.total == 1_000
    assert (package.type, credit.user_id) == ("quota", package.user_id)
    assert keeper_credit.credit == 999_999_999
