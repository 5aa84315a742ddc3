"""Server processes with a recording engine for Fish Audio's own API, and its official clients."""

import struct
import zlib
from collections.abc import Iterator

import fish_audio_sdk
import fishaudio
import httpx
import ormsgpack
import pytest

from tests.server.recorded import Recorded, recording_server

CLOUD = {"model": "s2-pro"}
"""What makes a request one of the cloud's."""


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A server with the voices `alice` and `bob`, for tests of speech."""
    with recording_server(tmp_path_factory.mktemp("fish")) as server:
        for name in ("alice", "bob"):
            assert server.upload(name, audio=None).status_code == 200
        yield server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A server without voices, for tests that make them."""
    with recording_server(tmp_path_factory.mktemp("fish_models")) as server:
        yield server


@pytest.fixture
def sdk(server: Recorded) -> Iterator[fishaudio.FishAudio]:
    client = fishaudio.FishAudio(api_key="any", base_url=server.url)
    yield client
    client.close()


@pytest.fixture
def legacy(server: Recorded) -> Iterator[fish_audio_sdk.Session]:
    with fish_audio_sdk.Session("any", base_url=server.url) as session:
        yield session


def post(client: httpx.Client, headers: dict[str, str] = CLOUD, **fields: object) -> httpx.Response:
    """POST /v1/tts in MessagePack, with a text unless `fields` have one."""
    body = ormsgpack.packb({"text": "Hi there.", **fields})
    kind = {"Content-Type": "application/msgpack"}
    return client.post("/v1/tts", content=body, headers={**kind, **headers})


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and message of an error, which must have nothing else."""
    body = answer.json()
    assert set(body) == {"status", "message"}
    assert body["status"] == answer.status_code
    return answer.status_code, body["message"]


def tiny_png() -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")
