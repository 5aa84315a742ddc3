"""One server process with a recording engine for all tests of Fish Audio's own API."""

from collections.abc import Iterator

import httpx
import ormsgpack
import pytest

from tests.server.wrapper.conftest import Recorded
from tests.serving import PATIENCE_S, server_process

CLOUD = {"model": "s2-pro"}
"""What makes a request one of the cloud's."""


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("fish")
    record = folder / "record.jsonl"
    record.touch()
    process = server_process(
        folder, module="tests.recording_server", arguments=(), RECORDING=str(record)
    )
    with process as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        server = Recorded(url, client, folder, record)
        for name in ("alice", "bob"):
            assert server.upload(name, audio=None).status_code == 200
        yield server


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
