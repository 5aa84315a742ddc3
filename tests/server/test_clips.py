"""Cached audio over HTTP: conditions, ranges, and files that go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.server.clips import _find_part
from fishs2.service.clips import Clips, Keep
from fishs2.store.clips import Clip, OpenClip
from tests.serving import Served, serving, until

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)


@asynccontextmanager
async def serving_clip(
    content: bytes = CONTENT, audio_format: str = "mp3", **settings: Any
) -> AsyncIterator[tuple[Served, str]]:
    """A server with one clip; yields it and the clip's path in the URL."""

    async def make(keep: Keep) -> Clip:
        return await keep(content)

    async with serving(**settings) as served:
        clip = await served.services.clips.get_or_make("key", audio_format, make)
        yield served, f"/clips/{clip.name}"


async def fetch(**headers: str) -> httpx.Response:
    async with serving_clip() as (served, path):
        return await served.client.get(path, headers=headers)


async def test_whole_clip_says_all_about_itself() -> None:
    answer = await fetch()

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Type"] == "audio/mpeg"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Cache-Control"] in (
        "private, max-age=86400, immutable",
        "private, max-age=86399, immutable",
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["ETag"].startswith('"')
    assert parsedate_to_datetime(answer.headers["Last-Modified"]).year >= 2025


async def test_pcm_says_how_it_is_laid_out() -> None:
    async with serving_clip(audio_format="pcm") as (served, path):
        answer = await served.client.get(path)

    assert answer.headers["Content-Type"] == "audio/pcm"
    assert answer.headers["X-Audio-Sample-Rate"] == "44100"
    assert answer.headers["X-Audio-Channels"] == "1"
    assert answer.headers["X-Audio-Encoding"] == "pcm_s16le"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        ("bytes=-99999", 0, SIZE),
        ("bytes=1020-99999", 1020, SIZE),
    ],
)
async def test_range_gives_that_part(asked: str, start: int, end: int) -> None:
    answer = await fetch(Range=asked)

    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize(
    "asked", ["items=0-5", "bytes=5-2", "bytes=x-y", "bytes", "bytes=-", "bytes=0-1,4-5", "", "²"]
)
async def test_range_that_makes_no_sense_gives_the_whole(asked: str) -> None:
    async with serving_clip() as (served, path):
        answer = await served.client.get(path, headers=[(b"Range", asked.encode("latin-1"))])

    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=99999-", "bytes=-0"])
async def test_range_behind_the_end_is_an_error_with_the_size(asked: str) -> None:
    answer = await fetch(Range=asked)

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert answer.json()["error"]["code"] == "range_not_satisfiable"


@given(st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True))
def test_any_range_is_within_the_clip_or_empty(asked: str) -> None:
    part = _find_part(asked, SIZE)

    assert part is None or part.start >= part.end or 0 <= part.start < part.end <= SIZE


async def test_client_that_has_it_already_gets_no_body() -> None:
    async with serving_clip() as (served, path):
        etag = (await served.client.get(path)).headers["ETag"]
        answers = [
            await served.client.get(path, headers={"If-None-Match": known, "Range": "bytes=0-1"})
            for known in (etag, f"W/{etag}", f'"other", {etag}', "*", '"other"', etag.strip('"'))
        ]

    assert [answer.status_code for answer in answers] == [304, 304, 304, 304, 206, 206]
    assert answers[0].content == b""
    assert answers[0].headers["ETag"] == etag


async def test_part_is_sent_only_of_the_same_audio() -> None:
    async with serving_clip() as (served, path):
        whole = await served.client.get(path)
        answers = [
            await served.client.get(path, headers={"If-Range": known, "Range": "bytes=0-1"})
            for known in (whole.headers["ETag"], whole.headers["Last-Modified"], '"other"')
        ]

    assert [answer.status_code for answer in answers] == [206, 206, 200]


async def test_audio_made_again_has_another_etag() -> None:
    async with serving_clip() as (served, path):
        first = await served.client.get(path)
        clip = await served.services.clips.open(path.rpartition("/")[2])
        assert clip is not None
        clip.file.close()
        clip.clip.path.write_bytes(b"other audio")
        second = await served.client.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert (second.status_code, second.content) == (200, b"other audio")


async def test_clip_larger_than_a_piece_arrives_whole_and_in_part() -> None:
    content = CONTENT * 1_000
    async with serving_clip(content) as (served, path):
        whole = await served.client.get(path)
        part = await served.client.get(path, headers={"Range": "bytes=1-"})
        head = await served.client.head(path)

    assert whole.content == content
    assert part.content == content[1:]
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(content)))


async def test_clip_that_is_removed_while_it_is_asked_for_is_still_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving_clip() as (served, path):

        async def open_and_remove(name: str) -> OpenClip | None:
            opened = await Clips.open(served.services.clips, name)
            assert opened is not None
            opened.clip.path.unlink()
            return opened

        monkeypatch.setattr(served.services.clips, "open", open_and_remove)
        answer = await served.client.get(path)
        monkeypatch.undo()
        gone = await served.client.get(path)

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "audio_not_found")


@pytest.mark.parametrize("name", ["secret", "..%2Fsecret", ".lock", "0" * 64 + ".mp3", "%00", "x"])
async def test_nothing_else_in_the_folder_can_be_had(name: str) -> None:
    async with serving_clip() as (served, _):
        answer = await served.client.get(f"/clips/{name}")

    assert answer.status_code == 404


async def test_client_that_takes_nothing_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    content = bytes(32_000_000)  # more than the kernel's buffers take
    async with serving_clip(content, client_stall_s=0.05) as (served, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(served.url).port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: "took nothing" in caplog.text)
        received = await reader.read()
        writer.close()

    assert received.startswith(b"HTTP/1.1 200")
    assert len(received) < len(content)
