"""A server process for ElevenLabs' own clients, and what a WebSocket of theirs says."""

from collections.abc import Iterator

import httpx
import pytest
from elevenlabs.client import ElevenLabs

from tests.server.recorded import Recorded, recording_server
from tests.serving import PATIENCE_S


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recording_server(tmp_path_factory.mktemp("eleven")) as server:
        assert server.upload("alice", audio=None, name="Alice").status_code == 200
        yield server


@pytest.fixture(scope="package", params=["", "/elevenlabs", "/compat/elevenlabs"])
def sdk(server: Recorded, request: pytest.FixtureRequest) -> Iterator[ElevenLabs]:
    """The Python SDK with each address that it may be given."""
    with httpx.Client(timeout=PATIENCE_S) as http:
        yield _sdk(server, http, request.param)


def _sdk(server: Recorded, http: httpx.Client, root: str) -> ElevenLabs:
    client = ElevenLabs(api_key="any", base_url=server.url + root, httpx_client=http)
    # It knows no address without TLS.
    socket_url = server.url.replace("http", "ws", 1) + root
    client.text_to_speech._ws_base_url = socket_url  # noqa: SLF001 - it has no other way
    return client
