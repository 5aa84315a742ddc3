"""`fishs2 mcp`: speech as tools for assistants that speak the Model Context Protocol."""

import asyncio
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import typer
from pydantic import Field

from fishs2.audio.effects import Effects
from fishs2.cli.planning import read_settings
from fishs2.cli.say import replace_file
from fishs2.errors import Fishs2Error, FlagError, UserError
from fishs2.listening.base import Wish
from fishs2.runtime import open_here
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.voices.choice import DEFAULT_VOICE

_MAX_INLINE_BYTES = 8_000_000
"""What an assistant is sent as part of a message; longer speech goes to a file."""

_MAX_HEARD_BYTES = 104_857_600
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f]{1,200}")
_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac"}

_INSTRUCTIONS = (
    "Speech on this machine. `voices` lists who can speak; `speak` turns text into an audio file, "
    "or into audio in its answer, and plays nothing; `transcribe` writes down what is said in a "
    "recording."
)

Folder = Annotated[
    Path | None,
    typer.Option(help="Where `speak` writes files; default: outputs, in the home folder."),
]
Engine = Annotated[str | None, typer.Option(help="auto, builtin, s2 or s2cpp (FISHS2_ENGINE).")]

Format = Literal["wav", "mp3", "opus", "flac"]
_P = ParamSpec("_P")
_R = TypeVar("_R")


def mcp(folder: Folder = None, engine: Engine = None) -> None:
    """Serve an assistant by the Model Context Protocol.

    On standard input and output; the assistant starts it by itself.
    """
    settings = read_settings(engine=engine)
    # Standard output belongs to the protocol.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    make_server(open_here(settings), folder or settings.home / "outputs").run("stdio")


def make_server(services: Services, folder: Path) -> Any:
    """An MCP server around services, which it starts and closes. Raises FlagError."""
    try:
        from mcp.server import MCPServer
    except ImportError:
        raise FlagError(
            "the Model Context Protocol needs its package: pip install 'fishs2[mcp]'"
        ) from None

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        services.start()
        try:
            yield
        finally:
            await services.close()

    server = MCPServer("fishs2", instructions=_INSTRUCTIONS, lifespan=lifespan)
    tools = Tools(services, folder)
    for tool in (tools.speak, tools.voices, tools.transcribe):
        server.tool(structured_output=False)(_told(tool))
    return server


def _told(tool: Callable[_P, Awaitable[_R]]) -> Callable[_P, Awaitable[_R]]:
    """A tool whose errors say what was wrong and nothing else."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    async def tell(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return await tool(*args, **kwargs)
        except Fishs2Error as error:
            raise ToolError(error.message) from error

    return tell


class Tools:
    """What an assistant can do; their texts are for it."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder

    async def speak(
        self,
        text: Annotated[str, Field(min_length=1, description="What to say.")],
        voice: Annotated[str, Field(description="A name from `voices`.")] = DEFAULT_VOICE,
        language: Annotated[
            str | None, Field(description="BCP 47 tag, for example de; a hint.")
        ] = None,
        speed: Annotated[float, Field(ge=0.25, le=4, description="Pace; 1 is usual.")] = 1.0,
        format: Annotated[Format, Field(description="Of the audio.")] = "wav",
        file_name: Annotated[
            str | None,
            Field(description="Write a file of this name; without it the audio is in the answer."),
        ] = None,
    ) -> list[Any]:
        """Turn text into speech: into a file, or into the answer. Nothing is played."""
        target = self._target(file_name, format) if file_name is not None else None
        request = SpeechRequest(
            dialect="mcp",
            request_id="mcp",
            text=text,
            voice=voice,
            language=language,
            format=format,
            effects=Effects(speed=speed),
        )
        desk = self._services.desk
        script = await desk.write(request)
        async with desk.speak(Principal(), script) as spoken, spoken.render() as sound:
            seconds = f"{spoken.report.audio_s:.1f} s of speech"
            if target is not None:
                await asyncio.to_thread(replace_file, target, sound.spool)
                return [f"{seconds} in {target}"]
            if sound.num_bytes > _MAX_INLINE_BYTES:
                raise UserError(
                    f"the speech has {sound.num_bytes:,} bytes, more than the "
                    f"{_MAX_INLINE_BYTES:,} that fit into an answer: give a file_name, or a format "
                    "such as mp3",
                    code="speech_too_long",
                )
            return [seconds, _audio(await sound.content(), format)]

    async def voices(self) -> list[dict[str, Any]]:
        """List the voices that can speak, stored ones first."""
        await self._services.wait_for_engine()
        stored = [
            {"name": voice.voice_id, "title": voice.name, "language": voice.language}
            for voice in await self._services.voices.list()
        ]
        capabilities = self._services.status().capabilities
        own = capabilities.voices if capabilities else ()
        return stored + [{"name": name} for name in dict.fromkeys((DEFAULT_VOICE, *own))]

    async def transcribe(
        self,
        path: Annotated[str, Field(description="A recording on this machine.")],
        language: Annotated[
            str | None, Field(description="What is spoken; without it, it is found out.")
        ] = None,
    ) -> str:
        """Write down what is said in a recording."""
        listening = self._services.listening

        async def read() -> bytes:
            return await asyncio.to_thread(_read, path)

        wish = Wish(listening.find_language(language) if language else None)
        return (await listening.transcribe(read, wish)).text

    def _target(self, file_name: str, format_name: str) -> Path:
        """The file of this name in our folder. Raises UserError."""
        if not _FILE_NAME.fullmatch(file_name) or file_name.startswith("."):
            raise UserError(
                f"file_name is a name without a path: the file goes to {self._folder}",
                code="invalid_file_name",
            )
        name = file_name if Path(file_name).suffix else f"{file_name}.{format_name}"
        target = self._folder / name
        if target.exists():
            raise UserError(
                f"{target} is there already; choose another file_name", code="file_exists"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        return target


def _audio(content: bytes, format_name: str) -> Any:
    """Audio as a part of an answer."""
    from base64 import b64encode

    from mcp_types import AudioContent

    data = b64encode(content).decode("ascii")
    return AudioContent(type="audio", data=data, mime_type=_TYPES[format_name])


def _read(name: str) -> bytes:
    """A file of a sensible size. Raises UserError."""
    path = Path(name).expanduser()
    try:
        if path.stat().st_size > _MAX_HEARD_BYTES:
            raise UserError(
                f"{path} has more than {_MAX_HEARD_BYTES:,} bytes", code="file_too_large"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code="cannot_read") from error
