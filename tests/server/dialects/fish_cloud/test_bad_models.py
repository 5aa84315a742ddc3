"""Hostile requests to `/model`: a clear `{status, message}`, and nothing outside the store."""

import json
import struct
from pathlib import Path
from typing import Any

import httpx
import ormsgpack
import pytest

from fishs2.server.edge.msgpack import MAX_VALUES, unpack
from fishs2.store.voices import store as voices_module
from tests.server.dialects.fish_cloud.conftest import tiny_png
from tests.server.dialects.fish_cloud.test_errors import check_fish_error
from tests.server.recorded import Recorded, sine_wav
from tests.serving import Served, serving

MSGPACK = {"Content-Type": "application/msgpack"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LONG = "x" * 300


def packed(**fields: Any) -> bytes:
    """A body of POST /model."""
    body = {"title": "T", "voices": [sine_wav()], "texts": ["Said."], **fields}
    return ormsgpack.packb({key: value for key, value in body.items() if value != "absent"})


async def create(served: Served, **fields: Any) -> httpx.Response:
    return await served.client.post("/model", content=packed(**fields), headers=MSGPACK)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".log"
    }


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"title": "absent"}, "title"),
        ({"title": "  "}, "title is blank"),
        ({"title": LONG}, "title"),
        ({"title": "a\0b"}, "title has a control character"),
        ({"title": 5}, "title"),
        ({"title": ["a"]}, "title"),
        ({"voices": "absent"}, "voices is missing"),
        ({"voices": []}, "voices is missing"),
        ({"voices": [b""]}, "file 1 is empty"),
        ({"voices": [b"just text"]}, "file 1"),
        ({"voices": [sine_wav(), b"#!/bin/sh"]}, "file 2"),
        ({"voices": [sine_wav()] * 30}, "the limit is 16"),
        ({"voices": [5]}, "voices.0"),
        ({"voices": "not base64!"}, "base64"),
        ({"voices": {"a": 1}}, "voices"),
        ({"texts": ["a", "b"]}, "texts has 2 entries"),
        ({"texts": ["x" * 5_000]}, "the limit is 4,096"),
        ({"texts": ["\0"]}, "no text"),
        ({"texts": [1]}, "texts"),
        ({"tags": ["x"] * 100}, "tags"),
        ({"tags": ["x" * 65]}, "the limit is 64"),
        ({"description": "x" * 5_000}, "description"),
        ({"visibility": "secret"}, "visibility"),
        ({"type": "svc"}, "type"),
        ({"train_mode": "full"}, "train_mode"),
        ({"enhance_audio_quality": "perhaps"}, "enhance_audio_quality"),
        ({"cover_image": b"<svg onload=alert(1)>"}, "PNG, JPEG, WebP or GIF"),
        ({"cover_image": b"\x89PNG\r\n\x1a\n" + bytes(5_000_000)}, "4,194,304"),
    ],
)
def test_wrong_field_stores_nothing(server: Recorded, fields: dict[str, Any], says: str) -> None:
    before = snapshot(server.folder / "voices")
    answer = server.client.post("/model", content=packed(**fields), headers=MSGPACK)

    assert says in check_fish_error(answer, 400)
    assert len(answer.content) < 1_000
    assert snapshot(server.folder / "voices") == before


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", MSGPACK, 400),
        (b"\xc1", MSGPACK, 400),
        (b"\x82\xa5title", MSGPACK, 400),
        (b"\xdf\xff\xff\xff\xff", MSGPACK, 400),
        (b"\xc6\xff\xff\xff\xff", MSGPACK, 400),
        (b"\xdd\xff\xff\xff\xff", MSGPACK, 400),
        (b"\x9f" * MAX_VALUES, MSGPACK, 400),
        (b"\x91" * 5_000, MSGPACK, 400),
        (b"\xdc\xff\xff" + b"\x90" * 65_535 + b"\x90" * 65_535, MSGPACK, 400),
        (ormsgpack.packb([1]), MSGPACK, 400),
        (b"{bad", {"Content-Type": "application/json"}, 400),
        (b"[1]", {"Content-Type": "application/json"}, 400),
        (b'{"title":"\xff"}', {"Content-Type": "application/json"}, 400),
        (b"[" * 60_000, {"Content-Type": "application/json"}, 400),
        (b"&".join(b"a=%d" % n for n in range(2_000)), FORM, 400),
        (b"title=" + b"x" * 1_100_000, FORM, 413),
        (b"title=\xff\xfe", FORM, 400),
        (b"junk", {"Content-Type": "multipart/form-data; boundary=x"}, 400),
        (b"junk", {"Content-Type": "multipart/form-data"}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {}, 415),
    ],
)
def test_wrong_body_is_refused(
    server: Recorded, content: bytes, headers: dict[str, str], status: int
) -> None:
    for method, path in (("POST", "/model"), ("PATCH", "/model/sample_male")):
        answer = server.client.request(method, path, content=content, headers=headers)
        check_fish_error(answer, status)


async def test_body_over_the_limit_and_too_many_files_are_refused() -> None:
    async with serving(max_upload_bytes=50_000) as served:
        large = await create(served, voices=[sine_wav(seconds=2.0)])
        change = await served.client.patch("/model/sample_male", data={"title": "x" * 60_000})
        many = await served.client.post(
            "/model",
            data={"title": "T"},
            files=[("voices", (f"{n}.wav", b"x")) for n in range(50)],
        )

    check_fish_error(large, 413)
    check_fish_error(change, 413)
    assert "Too many files" in check_fish_error(many, 400)


@pytest.mark.parametrize(
    "model_id",
    [
        "%2e",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        "a%00b",
        "%00",
        ".lock",
        "%2elock",
        "meta.json",
        "sample_male%2fmeta.json",
        "sample_male%00",
        "sample_male%2f..",
        "sample_male%20",
        "sample-male",
        "%ef%bd%93ample_male",
        "%ff%fe",
        "x" * 5_000,
        "Titled%20",
        "t\u0456tled",
        " ",
        "%0d%0aX-Evil:1",
    ],
)
def test_hostile_id_finds_changes_and_deletes_nothing(server: Recorded, model_id: str) -> None:
    made = server.client.post("/model", content=packed(title="Titled"), headers=MSGPACK)
    before = snapshot(server.folder)
    answers = [
        server.client.get(f"/model/{model_id}"),
        server.client.get(f"/model/{model_id}/cover"),
        server.client.patch(f"/model/{model_id}", json={"title": "gone"}),
        server.client.delete(f"/model/{model_id}"),
    ]
    after = snapshot(server.folder)
    server.client.delete(f"/model/{made.json()['_id']}")

    for answer in answers:
        check_fish_error(answer, 404)
    assert after == before


async def test_refused_or_failed_update_leaves_the_voice_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(voices_dir=tmp_path / "voices") as served:
        made = (await create(served, cover_image=tiny_png())).json()
        address = f"/model/{made['_id']}"
        before = snapshot(tmp_path)
        refused = [
            await served.client.patch(address, json=change)
            for change in (
                {"title": " "},
                {"title": LONG},
                {"title": "New", "visibility": "secret"},
                {"title": "New", "tags": ["x"] * 40},
                {"title": "New", "texts": ["a", "b"]},
                {"title": "New", "cover_image": "bm8gaW1hZ2U="},
            )
        ]
        monkeypatch.setattr(voices_module, "write_meta", _fail)
        cover = {"cover_image": ("upload", tiny_png() + b" ")}
        failed = await served.client.patch(address, data={"title": "New"}, files=cover)
        monkeypatch.undo()
        found = (await served.client.get(address)).json()

        assert snapshot(tmp_path) == before
    for answer in refused:
        check_fish_error(answer, 400)
    check_fish_error(failed, 503)
    # What was found of its recordings is told once.
    assert found == {name: made[name] for name in found}


def _fail(*_: object) -> None:
    raise OSError("the disk is full")


async def test_new_cover_replaces_the_old_one(tmp_path: Path) -> None:
    async with serving(voices_dir=tmp_path / "voices") as served:
        address = f"/model/{(await create(served, cover_image=tiny_png())).json()['_id']}"
        for content in (b"GIF89a...", b"\xff\xd8\xff."):
            files = {"cover_image": ("x.exe", content)}
            assert (await served.client.patch(address, files=files)).status_code == 200
        shown = await served.client.get(f"{address}/cover")

        assert len(list((tmp_path / "voices").rglob(".cover-*"))) == 1
    assert (shown.content, shown.headers["content-type"]) == (b"\xff\xd8\xff.", "image/jpeg")


@pytest.mark.parametrize(
    "cover", ["../../secret.png", "/etc/passwd", ".cover-1.png", "meta.json", 5]
)
async def test_metadata_of_others_names_no_file_outside(cover: object, tmp_path: Path) -> None:
    folder = tmp_path / "voices" / "theirs"
    folder.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(tiny_png())
    (folder / "a.wav").write_bytes(sine_wav())
    meta = {"cover": cover, "tags": [1, "ok"], "created": 10**30, "updated": "x", "texts": [1]}
    (folder / "meta.json").write_text(json.dumps(meta))
    async with serving(voices_dir=tmp_path / "voices") as served:
        listed = await served.client.get("/model")
        answer = await served.client.get("/model/theirs/cover")

    assert [model["tags"] for model in listed.json()["items"]] == [["ok"]]
    check_fish_error(answer, 404)


async def test_linked_cover_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "voices" / "theirs"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(sine_wav())
    (folder / ".cover-00000000.png").symlink_to(tmp_path / "secret")
    (folder / "meta.json").write_text(json.dumps({"cover": ".cover-00000000.png"}))
    async with serving(voices_dir=tmp_path / "voices") as served:
        check_fish_error(await served.client.get("/model/theirs/cover"), 404)


@pytest.mark.parametrize(
    "query",
    [
        "page_size=0",
        "page_size=1001",
        "page_size=x",
        "page_number=0",
        "page_number=99999999999999999999",
        "sort_by=likes",
        "self=perhaps",
        f"title={'x' * 1_000}",
        "&".join(["tag=a"] * 50),
    ],
)
def test_wrong_query_is_refused(server: Recorded, query: str) -> None:
    check_fish_error(server.client.get(f"/model?{query}"), 400)


def test_other_methods_are_refused_in_the_dialect(server: Recorded) -> None:
    for method, path in (
        ("PUT", "/model"),
        ("POST", "/model/x"),
        ("DELETE", "/wallet/self/package"),
        ("GET", "/v1/asr"),
    ):
        answer = server.client.request(method, path)
        check_fish_error(answer, 405)
        assert answer.headers["allow"]
    for path in ("/v1/voice-design", "/v1/agents/x/y"):
        check_fish_error(server.client.post(path), 501)


def test_packed_values_are_counted_before_they_are_made() -> None:
    value: dict[str, Any] = {
        "a": [1, -1, 70_000, -70_000, 2**40, 1.5, None, True],
        "b" * 40: "c" * 300,
    }
    value |= {"d": b"x" * 70_000, "e": "ü" * 40_000, "f": list(range(20)), "g": -(2**40)}
    content = ormsgpack.packb(value)
    full = b"\xdd" + struct.pack(">I", 49) + b"\xc0" * 49

    assert unpack(content) == value
    assert unpack(full, max_values=50) == [None] * 49
    for too_many in (full, b"\xdd\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff"):
        with pytest.raises(ValueError, match="more than 49"):
            unpack(too_many, max_values=49)
    for end in range(len(content) - 200, len(content)):
        with pytest.raises(ValueError, match=r"breaks off|MessagePack|EOF|invalid|unexpected"):
            unpack(content[:end])


def test_titles_and_tags_are_kept_as_one_line_each(server: Recorded) -> None:
    files = [("voices", ("a.wav", sine_wav(300.0), "audio/wav"))]
    fields = {"title": " Two\r\n\tlines ", "tags": ["", "  ", " a\nb ", "c"]}
    made = server.client.post("/model", data=fields, files=files).json()
    try:
        assert (made["title"], made["tags"]) == ("Two lines", ["a b", "c"])
        for wrong in ({"title": "bell\a"}, {"tags": ["\x1b[2J"]}, {"title": " \n "}):
            check_fish_error(server.client.patch(f"/model/{made['_id']}", json=wrong), 400)
    finally:
        server.client.delete(f"/model/{made['_id']}")
