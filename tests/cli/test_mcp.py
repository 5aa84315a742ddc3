"""The tools of an assistant, called by the protocol's own client, in a process of their own."""

import base64
import io
import os
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from fishs2.audio.decode import decode_audio
from fishs2.cli.mcp import make_server
from fishs2.errors import FlagError
from tests.fakes import FakeEngine
from tests.serving import make_services, make_settings


@asynccontextmanager
async def assistant(home: Path) -> AsyncIterator[ClientSession]:
    env = {"FISHS2_HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "fishs2", "mcp", "--engine", "builtin", "--folder", str(home / "spoken")],
        env=env,
    )
    async with stdio_client(program) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield session


async def call(session: ClientSession, name: str, **arguments: Any) -> Any:
    return await session.call_tool(name, arguments)


def message(result: Any) -> str:
    assert result.is_error
    return str(result.content[0].text)


async def test_assistant_speaks_and_lists_voices(tmp_path: Path) -> None:
    (tmp_path / "spoken").mkdir()
    (tmp_path / "spoken" / "mine.wav").write_bytes(b"mine")
    async with assistant(tmp_path) as session:
        tools = {tool.name for tool in (await session.list_tools()).tools}
        assert tools == {"speak", "voices", "transcribe"}

        said = await call(session, "speak", text="Hello from an assistant.")
        sound = next(part for part in said.content if part.type == "audio")
        assert sound.mime_type == "audio/wav"
        with wave.open(io.BytesIO(base64.b64decode(sound.data))) as file:
            assert file.getnframes() > file.getframerate()

        written = await call(session, "speak", text="Hello.", format="mp3", file_name="hello")
        assert str(tmp_path / "spoken" / "hello.mp3") in written.content[0].text
        decoded = decode_audio((tmp_path / "spoken" / "hello.mp3").read_bytes(), max_seconds=10)
        assert len(decoded.pcm) > decoded.sample_rate_hz / 4

        voices = " ".join(part.text for part in (await call(session, "voices")).content)
        assert '"default"' in voices
        assert '"de"' in voices

        wrong: list[tuple[dict[str, str], str]] = [
            ({"voice": "nobody"}, "nobody"),
            ({"file_name": "../x.wav"}, "without a path"),
            ({"file_name": "a/b"}, "without a path"),
            ({"file_name": ".hidden"}, "without a path"),
            ({"file_name": "mine.wav"}, "is there already"),
            ({"text": " ... "}, "nothing"),
        ]
        for more, says in wrong:
            refused = await call(session, "speak", **{"text": "Hello.", **more})
            assert says in message(refused), more
        unread = await call(session, "transcribe", path=str(tmp_path / "missing.wav"))
        assert message(unread)
    assert (tmp_path / "spoken" / "mine.wav").read_bytes() == b"mine"
    assert sorted(file.name for file in (tmp_path / "spoken").iterdir()) == [
        "hello.mp3",
        "mine.wav",
    ]


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    services = make_services(FakeEngine(), make_settings(data_dir=tmp_path, voices_dir=tmp_path))

    with pytest.raises(FlagError, match=r"fishs2\[mcp\]"):
        make_server(services, tmp_path)
