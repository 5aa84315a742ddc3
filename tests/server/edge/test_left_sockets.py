"""WebSocket clients that leave while their handshake is answered: nobody calls that a defect."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeEngine
from tests.serving import make_app, make_services, make_settings


class LeftError(OSError):
    """What ASGI servers raise on sending to a client that has left."""


@pytest.mark.parametrize("path", ["/v1/tts/live", "/v1/tts/live/with-timestamp", "/nowhere"])
async def test_client_that_leaves_before_the_handshake_is_no_defect(
    path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_settings(voices_dir=tmp_path / "voices", data_dir=tmp_path / "data")
    app = make_app(make_services(FakeEngine(), made), made)
    scope: dict[str, Any] = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(_: object) -> None:
        raise LeftError

    with caplog.at_level(logging.INFO):
        async with app.router.lifespan_context(app):
            with pytest.raises(LeftError):
                await app(scope, receive, send)

    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
