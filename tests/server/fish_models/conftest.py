"""One server process with a recording engine, and the official clients for it."""

import struct
import zlib
from collections.abc import Iterator

import fish_audio_sdk
import fishaudio
import httpx
import pytest

from tests.server.wrapper.conftest import Recorded
from tests.serving import PATIENCE_S, server_process


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("fish")
    record = folder / "record.jsonl"
    record.touch()
    process = server_process(
        folder, module="tests.recording_server", arguments=(), RECORDING=str(record)
    )
    with process as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield Recorded(url, client, folder, record)


@pytest.fixture
def sdk(server: Recorded) -> Iterator[fishaudio.FishAudio]:
    client = fishaudio.FishAudio(api_key="any", base_url=server.url)
    yield client
    client.close()


@pytest.fixture
def legacy(server: Recorded) -> Iterator[fish_audio_sdk.Session]:
    with fish_audio_sdk.Session("any", base_url=server.url) as session:
        yield session


def tiny_png() -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")
