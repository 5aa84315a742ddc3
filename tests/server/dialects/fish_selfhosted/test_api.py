"""fish-speech's own API server: references over the stored voices, codes of its codec."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import ormsgpack
import pytest

from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.messages import Recipe, to_plain
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine import recordings as codes_module
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2.model.codec import decode_pieces
from tests.engines.hosted.recipes import recipe
from tests.engines.s2.golden import MODEL_FILES
from tests.server.dialects.fish_cloud.test_errors import check_fish_error
from tests.server.recorded import Recorded, sine_wav
from tests.serving import Served, serving, until

ADD, LIST = "/v1/references/add", "/v1/references/list"
DELETE, UPDATE = "/v1/references/delete", "/v1/references/update"
MSGPACK = {"Content-Type": "application/msgpack"}
JSON = {"Accept": "application/json"}


def add(server: Recorded, name: str, **fields: Any) -> httpx.Response:
    """As fish-speech's page of examples has it."""
    data = {"id": name, "text": "What is said.", **fields}
    return server.client.post(ADD, data=data, files={"audio": ("a.wav", sine_wav(330))})


def listed(server: Recorded) -> list[str]:
    ids: list[str] = server.client.get(LIST, headers=JSON).json()["reference_ids"]
    return ids


def remove(server: Recorded, name: str) -> httpx.Response:
    return server.client.request("DELETE", DELETE, json={"reference_id": name})


def test_reference_is_added_listed_used_renamed_and_deleted(server: Recorded) -> None:
    added = add(server, "My Voice_1")
    ids = listed(server)
    shown = server.client.get("/model/my-voice_1").json()
    spoken = server.speak(voice="My Voice_1")
    renamed = server.client.post(
        UPDATE, json={"old_reference_id": "My Voice_1", "new_reference_id": "Other"}, headers=JSON
    )
    after = listed(server)
    deleted = remove(server, "Other")

    assert ormsgpack.unpackb(added.content) == {
        "success": True,
        "message": "stored",
        "reference_id": "My Voice_1",
    }
    assert added.headers["content-type"] == "application/msgpack"
    assert "My Voice_1" in ids
    assert shown["title"] == "My Voice_1"
    assert spoken.status_code == 200
    assert server.asked()["reference"]["transcript"] == "What is said."
    assert renamed.json()["new_reference_id"] == "Other"
    assert "Other" in after
    assert "My Voice_1" not in after
    assert ormsgpack.unpackb(deleted.content)["success"] is True
    assert "Other" not in listed(server)


def test_json_is_sent_to_who_asks_for_it(server: Recorded) -> None:
    kinds = {
        accept: server.client.get(LIST, headers={"Accept": accept}).headers["content-type"]
        for accept in ("*/*", "application/json", "application/json, application/msgpack")
    }
    by_query = server.client.get(f"{LIST}?format=json")

    assert kinds == {
        "*/*": "application/msgpack",
        "application/json": "application/json",
        "application/json, application/msgpack": "application/msgpack",
    }
    assert by_query.json()["success"] is True


def test_messagepack_may_hold_the_audio(server: Recorded) -> None:
    body = {"id": "packed", "text": "Said.", "audio": sine_wav()}
    added = server.client.post(ADD, content=ormsgpack.packb(body), headers=MSGPACK)
    removed = server.client.request(
        "DELETE", DELETE, content=ormsgpack.packb({"reference_id": "packed"}), headers=MSGPACK
    )

    assert (added.status_code, removed.status_code) == (200, 200)


def test_voices_of_other_dialects_are_references_under_what_finds_them(server: Recorded) -> None:
    server.upload("Erzähler Ä")
    made = server.client.post(
        "/model", data={"title": "Its Title"}, files={"voices": ("upload", sine_wav())}
    ).json()

    ids = listed(server)
    removed = [remove(server, name) for name in ("erzahler-a", "its title", made["_id"])]

    assert {"erzahler-a", made["_id"], "sample_male"} <= set(ids)
    assert [answer.status_code for answer in removed] == [200, 200, 404]


def test_taken_ids_are_a_conflict_and_change_nothing(server: Recorded) -> None:
    add(server, "Taken")
    add(server, "free")
    again = add(server, "taken", text="Something else.")
    onto = {"old_reference_id": "free", "new_reference_id": "TAKEN"}
    renamed = server.client.post(UPDATE, json=onto)
    spelled = {"old_reference_id": "Taken", "new_reference_id": "taken"}
    respelled = server.client.post(UPDATE, json=spelled)
    ids = listed(server)
    text = server.client.get("/model/taken").json()["samples"][0]["text"]
    for name in ("taken", "free"):
        assert remove(server, name).status_code == 200

    check_fish_error(again, 409)
    check_fish_error(renamed, 409)
    assert respelled.status_code == 200
    assert {"taken", "free"} <= set(ids)
    assert "Taken" not in ids
    assert text == "What is said."


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "--",
        "..",
        ".",
        "../up",
        "a/b",
        "a\\b",
        "a\0b",
        "é",
        "a\n",
        "x" * 256,
        ".lock",
        "%2e",
    ],
)
def test_wrong_ids_are_refused(server: Recorded, name: str) -> None:
    before = listed(server)
    renames = (
        {"old_reference_id": name, "new_reference_id": "new"},
        {"old_reference_id": "sample_male", "new_reference_id": name},
    )

    check_fish_error(add(server, name), 400)
    check_fish_error(remove(server, name), 400)
    for rename in renames:
        check_fish_error(server.client.post(UPDATE, json=rename), 400)
    assert listed(server) == before


def test_wrong_references_are_refused(server: Recorded) -> None:
    client = server.client
    same = {"old_reference_id": "sample_male", "new_reference_id": "sample_male"}
    missing = {"old_reference_id": "nobody", "new_reference_id": "new"}

    check_fish_error(add(server, "new", text="  "), 400)
    check_fish_error(add(server, "new", text="x" * 5_000), 400)
    for audio in (b"", b"no audio"):
        body = {"id": "new", "text": "Said.", "audio": audio}
        check_fish_error(client.post(ADD, content=ormsgpack.packb(body), headers=MSGPACK), 400)
    check_fish_error(client.post(ADD, data={"id": "new", "text": "Said."}), 400)
    check_fish_error(client.post(UPDATE, json=same), 400)
    check_fish_error(client.post(UPDATE, json=missing), 404)
    check_fish_error(remove(server, "nobody"), 404)
    check_fish_error(client.delete(f"{DELETE}?reference_id=sample_male"), 415)
    check_fish_error(client.get(ADD), 405)
    check_fish_error(client.post("/v1/references/nothing"), 404)
    assert "new" not in listed(server)


def test_engine_without_a_codec_says_which_has_one(server: Recorded) -> None:
    for name in ("encode", "decode"):
        answer = server.client.post(f"/v1/vqgan/{name}", json={})
        assert "FISHS2_ENGINE=s2" in check_fish_error(answer, 501)


async def pack(served: Served, name: str, **body: object) -> httpx.Response:
    content = ormsgpack.packb(body)
    return await served.client.post(f"/v1/vqgan/{name}", content=content, headers=MSGPACK)


def s2_engine() -> Any:
    return S2Engine(MODEL_FILES, Precision())


def hosted_s2_engine() -> Any:
    arguments = {"files": to_plain(MODEL_FILES), "place": {}, "wishes": {}}
    return HostedEngine(Recipe("fishs2.engines.s2.engine.make", "open_s2_by_values", arguments))


async def test_hosted_engine_without_a_codec_says_which_has_one() -> None:
    async with serving(HostedEngine(recipe())) as served:
        for name in ("encode", "decode"):
            answer = await served.client.post(f"/v1/vqgan/{name}", json={})
            assert "FISHS2_ENGINE=s2" in check_fish_error(answer, 501)


@pytest.mark.parametrize("make", [s2_engine, hosted_s2_engine])
async def test_audio_becomes_codes_and_audio_again(make: Callable[[], Any]) -> None:
    async with serving(make()) as served:
        encoded = await pack(served, "encode", audios=[sine_wav(), sine_wav(seconds=2.0)])
        tokens = ormsgpack.unpackb(encoded.content)["tokens"]
        decoded = await pack(served, "decode", tokens=tokens)
        as_json = await served.client.post(
            "/v1/vqgan/decode", json={"tokens": tokens}, headers=JSON
        )
        form = await served.client.post(
            "/v1/vqgan/encode", files=[("audios", ("a.wav", sine_wav()))], headers=JSON
        )

    audios = ormsgpack.unpackb(decoded.content)["audios"]
    assert [np.array(item).shape for item in tokens] == [(10, 22), (10, 44)]
    assert [len(np.frombuffer(audio, "<f2")) for audio in audios] == [22 * 2048, 44 * 2048]
    assert [base64.b64decode(audio) for audio in as_json.json()["audios"]] == audios
    assert form.json()["tokens"] == tokens[:1]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("encode", {}, "audios"),
    ("encode", {"audios": []}, "1 to 8"),
    ("encode", {"audios": [b"a"] * 9}, "1 to 8"),
    ("encode", {"audios": [b"no audio"]}, "not audio"),
    ("encode", {"audios": [sine_wav(seconds=91, rate_hz=8_000)]}, "90 seconds"),
    ("encode", {"audios": 5}, "audios"),
    ("decode", {}, "tokens"),
    ("decode", {"tokens": []}, "1 to 8"),
    ("decode", {"tokens": "text"}, "tokens"),
    ("decode", {"tokens": [[]]}, "10 lists"),
    ("decode", {"tokens": [[[1]] * 9]}, "10 lists"),
    ("decode", {"tokens": [[[]] * 10]}, "all as many"),
    ("decode", {"tokens": [[[1]] * 9 + [[1, 2]]]}, "all as many"),
    ("decode", {"tokens": [[[1]] * 9 + ["x"]]}, "all as many"),
    ("decode", {"tokens": [[["x"]] * 10]}, "whole numbers"),
    ("decode", {"tokens": [[[True]] * 10]}, "whole numbers"),
    ("decode", {"tokens": [[[-1]] * 10]}, "codebook 0"),
    ("decode", {"tokens": [[[0]] * 9 + [[2**60]]]}, "codebook 9"),
    ("decode", {"tokens": [[[0] * 1_938] * 10]}, "limit is 1,937"),
    ("decode", {"tokens": [[[0] * 2_000] * 10] * 8}, "cannot be read"),
]


async def test_wrong_codes_and_audio_are_refused() -> None:
    async with serving(s2_engine()) as served:
        for name, body, says in WRONG:
            assert says in check_fish_error(await pack(served, name, **body), 400)


async def test_client_that_leaves_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    num_made = 0

    def count(*arguments: Any) -> Any:
        nonlocal num_made
        for piece in decode_pieces(*arguments):
            num_made += 1
            yield piece

    monkeypatch.setattr(codes_module, "decode_pieces", count)
    async with serving(s2_engine()) as served:
        asking = asyncio.create_task(pack(served, "decode", tokens=[[[0] * 1_900] * 10]))
        await until(lambda: num_made > 0)
        asking.cancel()
        await asyncio.wait([asking])
        last = await pack(served, "decode", tokens=[[[0]] * 10])

    assert last.status_code == 200
    assert num_made < 1_900 / 32


def test_long_ids_are_not_taken_for_each_other(server: Recorded) -> None:
    def add(name: str) -> int:
        fields = {"id": name, "text": "What is said."}
        files = {"audio": ("a.wav", sine_wav(300.0), "audio/wav")}
        answer = server.client.post("/v1/references/add", data=fields, files=files)
        return answer.status_code

    assert add("a" * 255) == 200
    assert add("a" * 254) == 200
    assert add("a" * 255) == 409
    for wanted, status in (("a" * 254, 200), ("a" * 200, 400), ("a" * 80, 400)):
        body = {"text": "Hi.", "reference_id": wanted}
        assert server.client.post("/v1/tts", json=body).status_code == status
    for name in ("a" * 255, "a" * 254):
        body = {"reference_id": name}
        deleted = server.client.request("DELETE", "/v1/references/delete", json=body)
        assert deleted.status_code == 200
