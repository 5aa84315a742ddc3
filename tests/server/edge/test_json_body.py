"""Large JSON is what `json.loads` says it is, whatever is cut out of it meanwhile."""

import asyncio
import base64
import json
import threading

import pytest

from fishs2.server.edge.json_body import count_values, decode_base64, do_aside, parse
from tests.serving import serving

LONG = "abcDEF012/+=" * 20_000
LARGE = "x" * 1_100_000


@pytest.mark.parametrize(
    "given",
    [
        {"text": "Hi.", "references": [{"audio": LONG + LARGE, "text": "What is said."}]},
        {"a": LARGE, "b": [LARGE + "1", {"c": LARGE + "2"}], "d": None, "e": 1.5, "f": True},
        {LARGE: LARGE},
        [LARGE, "short", ["a"]],
        {"a": 'with "quotes" and \\ slashes ' * 60_000, "b": LONG, "c": LARGE},
        {"a": "\\" * 70_000, "b": LONG * 5, "c": '\\"'},
        {"a": "Grüße, \n 世界 😀" * 100_000, "b": LONG},
        {"a": "\x00\x1f\x7f" + LARGE},
        {"a": '"' * 600_000, "b": LARGE},
        LARGE,
    ],
    ids=[
        "audio",
        "several",
        "name",
        "list",
        "escaped",
        "slashes",
        "wide",
        "control",
        "many",
        "one",
    ],
)
@pytest.mark.parametrize("is_ascii", [False, True])
def test_large_json_is_read_as_the_library_reads_it(given: object, is_ascii: bool) -> None:
    content = json.dumps(given, ensure_ascii=is_ascii, indent=1).encode()

    assert parse(content) == given
    assert parse(b"\n" + content) == given
    # As PHP writes it.
    assert parse(content.replace(b"/", b"\\/")) == given


def test_small_json_and_other_encodings_are_read_too() -> None:
    assert parse(b'{"a": [1, "b"]}') == {"a": [1, "b"]}
    assert parse(json.dumps({"a": LARGE}).encode("utf-16")) == {"a": LARGE}
    assert parse(json.dumps({"a": LARGE}).encode("utf-16-le")) == {"a": LARGE}
    assert parse(json.dumps({"a": LARGE}).encode("utf-8-sig")) == {"a": LARGE}


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "%s}',
        b'{"a": "%s"',
        b'{"a": "%s" "b"}',
        b'{"a": "%s\n"}',
        b'{"a": "%s\x01"}',
        b'{"a": %s}',
        b'{"a": "%s\\q"}',
        b'{"a": "\xff%s"}',
        b"[" * 1_100_000,
    ],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    whole = content.replace(b"%s", LARGE.encode())
    with pytest.raises((ValueError, RecursionError)):
        json.loads(whole)
    with pytest.raises((ValueError, RecursionError)):
        parse(whole)


@pytest.mark.parametrize("num_bytes", [0, 1, 2, 3, 196_607, 196_608, 196_609, 3_000_000])
def test_base64_is_decoded_in_pieces(num_bytes: int) -> None:
    content = (bytes(range(256)) * (num_bytes // 256 + 1))[:num_bytes]

    assert decode_base64(base64.b64encode(content).decode()) == content


@pytest.mark.parametrize(
    "encoded", ["A", "AB", "ABC", "A?==", "AB==CDEF", "A" * 262_142 + "==" + "ABCD", "äöü="]
)
def test_what_is_no_base64_is_refused(encoded: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its messages are the library's
        decode_base64(encoded)


def test_values_are_counted() -> None:
    assert count_values(b'{"a": [1, 2], "b": {}}') == 5


@pytest.mark.parametrize(("size", "is_aside"), [(1_000, False), (2_000_000, True)])
async def test_only_large_work_goes_to_a_thread(size: int, is_aside: bool) -> None:
    thread = await do_aside(threading.get_ident, size=size)

    assert (thread != threading.get_ident()) == is_aside


async def test_large_bodies_of_json_work_over_http() -> None:
    audio = base64.b64encode(bytes(3_000_000)).decode()
    plain = {"model": "fishs2", "input": "Hi.", "unknown": audio}
    broken = {**plain, "reference_audio": f"data:audio/wav;base64,{audio}?"}
    async with serving() as served:
        spoken, refused = await asyncio.gather(
            served.client.post("/v1/audio/speech", json=plain),
            served.client.post("/v1/audio/speech", json=broken),
        )
        torn = await served.client.post(
            "/v1/audio/speech",
            content=json.dumps(plain).encode()[:-1],
            headers={"Content-Type": "application/json"},
        )

    assert spoken.status_code == 200
    assert refused.json()["error"]["code"] == "invalid_reference_audio"
    assert torn.status_code in (400, 422)
