"""The child process of `host`: makes an engine, and lets the server speak with it.

    python -m fishs2.engines.hosted.child CHANNEL FOLDER

CHANNEL is an inherited socket, or on Windows `-`: then what the socket is made of comes first at
stdin. Nothing else ever comes there; its end says that the server is gone, whatever the engine is
doing, and a thread ends this process then. FOLDER is for temporary files and goes with the process.
Nobody reads stdout and stderr but the log, so whatever a library prints there harms nothing.
"""

import asyncio
import contextlib
import faulthandler
import importlib
import logging
import os
import shutil
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import aclosing

import numpy as np

from fishs2.engines.base import AudioChunk, CodesEngine, SpeechEngine, Utterance
from fishs2.engines.hosted.messages import (
    LOST_STATUS,
    NOBODY,
    Kind,
    LogRecord,
    Message,
    Profile,
    Recipe,
    Samples,
    failure_of,
    open_streams,
    pack,
    read_message,
    read_rate,
    unpack,
    write_message,
    write_pcm,
    write_pieces,
)
from fishs2.engines.hosted.references import ReferenceStock
from fishs2.errors import EngineError, EngineUnavailableError, Fishs2Error, UserError
from fishs2.processes.inside import ignore_signals

logger = logging.getLogger("fishs2.engines.hosted.child")  # __name__ is __main__ here

_NO_LANGUAGE = "x-nobody"
"""A valid language tag (BCP 47, private use) of a language that nobody speaks."""

_MAX_LOG_CHARS = 4_000


def main() -> None:
    """Run until the server says CLOSE or goes away."""
    channel, folder = sys.argv[1:]
    ignore_signals()
    faulthandler.enable()  # a crash in a C library names the Python lines that led there
    connection = _open_channel(channel)
    threading.Thread(target=_end_with_server, args=(folder,), daemon=True).start()
    status = 1
    try:
        asyncio.run(_run(connection))
        status = 0
    except Exception:  # noqa: BLE001 - the server reads it in the log
        # As Python would; but a library's threads may hang, and it would wait for them.
        traceback.print_exc()
    finally:
        _remove(folder)
        sys.stderr.flush()
        os._exit(status)


def _open_channel(channel: str) -> socket.socket:
    if sys.platform == "win32":
        num_bytes = int.from_bytes(os.read(0, 4), "little")
        shared = b""
        while len(shared) < num_bytes:
            shared += os.read(0, num_bytes - len(shared))
        return socket.fromshare(shared)
    connection = socket.socket(fileno=int(channel))
    # Else a process that a library starts would hold the channel open after our end.
    connection.set_inheritable(False)
    return connection


def _end_with_server(folder: str) -> None:
    """Wait for the end of stdin; the server never writes there."""
    while os.read(0, 1024):
        pass
    _remove(folder)
    os._exit(1)


def _remove(folder: str) -> None:
    """Remove our folder, and the server's around it if it is empty: the server may be gone."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(folder))


async def _run(connection: socket.socket) -> None:
    reader, writer = await open_streams(connection)
    log = _LogSender(asyncio.get_running_loop(), writer)
    logging.basicConfig(level=logging.INFO, handlers=[log])
    recipe = unpack(Recipe, (await read_message(reader)).payload)
    engine: SpeechEngine | None = None
    try:
        engine = _make_engine(recipe)
        await engine.start()
        profile = _describe(engine)
    except Fishs2Error as error:
        write_message(writer, Kind.FAILED, 0, pack(failure_of(error)))
    except Exception as error:
        # Whatever it is, the server must hear of it.
        logger.exception("the engine cannot be started")
        reason = EngineUnavailableError(f"the engine cannot be started: {type(error).__name__}")
        write_message(writer, Kind.FAILED, 0, pack(failure_of(reason)))
    else:
        write_message(writer, Kind.READY, 0, pack(profile))
        await _Server(engine, reader, writer).serve()
    if engine is not None:
        await engine.close()
    # Records that the closing engine has logged are still on their way to the loop.
    await asyncio.sleep(0)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _make_engine(recipe: Recipe) -> SpeechEngine:
    try:
        make: Callable[..., SpeechEngine] = getattr(
            importlib.import_module(recipe.module), recipe.function
        )
    except ImportError as error:
        raise EngineUnavailableError(f"{error.name} cannot be imported") from error
    return make(**recipe.arguments)


def _describe(engine: SpeechEngine) -> Profile:
    """What the server needs to know. Raises EngineUnavailableError for an engine it cannot know.

    The server must find voices without waiting for this process, so it learns all of them now.
    Voices that depend on the language are more than a table can hold.
    """
    default = engine.find_voice(None, None)
    try:
        speaks_anything = engine.find_voice(None, _NO_LANGUAGE) == default
    except UserError:
        speaks_anything = False
    if not speaks_anything:
        raise EngineUnavailableError(
            "this engine chooses voices by language and cannot run in a process of its own"
        )
    names = engine.capabilities.voices
    try:
        engine.find_voice(NOBODY, None)
    except UserError as error:
        refusal = failure_of(error)
    else:
        raise EngineUnavailableError("this engine finds voices that it does not have")
    found = {name.lower(): engine.find_voice(name, None) for name in names}
    layout = engine.codec_layout if isinstance(engine, CodesEngine) else None
    return Profile(engine.capabilities, default, found, refusal, layout)


class _Server:
    """Answers the messages of the server until it says CLOSE, or is gone."""

    def __init__(
        self, engine: SpeechEngine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._references = ReferenceStock()
        # Of recordings and codes that have not come whole.
        self._pieces: dict[int, bytearray] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = await read_message(self._reader)
                if message.kind == Kind.CLOSE:
                    break
                self._take(message)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, message: Message) -> None:
        match message.kind:
            case Kind.SPEAK:
                utterance = self._references.complete(unpack(Utterance, message.payload))
                self._start(message.number, self._speak(message.number, utterance))
            case Kind.PIECE:
                self._pieces.setdefault(message.number, bytearray()).extend(message.payload)
            case Kind.ENCODE:
                rate_hz = read_rate(message.payload)
                self._start(message.number, self._encode(message.number, rate_hz))
            case Kind.DECODE:
                self._start(message.number, self._decode(message.number))
            case Kind.ABORT:
                self._pieces.pop(message.number, None)
                if message.number in self._tasks:
                    self._tasks[message.number].cancel()
            case Kind.SAMPLES:
                self._references.add(unpack(Samples, message.payload))
            case Kind.FORGET:
                self._references.forget(message.payload.decode())
            case Kind.SPEECH_END:
                self._engine.end_speech(message.payload.decode())
            case Kind.PING:
                self._leave_if_lost()
                write_message(self._writer, Kind.PONG, 0, pack(self._engine.stats()))
            case _:
                raise EngineError(f"the server sent a {message.kind.name}")

    def _start(self, number: int, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[number] = task
        # Not in the task: one that is cancelled before its first step runs no line of its own.
        task.add_done_callback(lambda ended: self._end(number, ended))

    async def _speak(self, number: int, utterance: Utterance) -> None:
        async with aclosing(self._engine.speak(utterance)) as chunks:
            async for chunk in chunks:
                # Never waits: what the server has not read yet is kept here, and the utterance
                # bounds it.
                write_pcm(self._writer, number, chunk)

    async def _encode(self, number: int, sample_rate_hz: int) -> None:
        pcm = np.frombuffer(self._pieces.pop(number, b""), np.float32)
        codes = await self._codes_engine().encode(pcm, sample_rate_hz)
        # Never waits either; a second of audio has a kB of codes.
        for _ in write_pieces(self._writer, Kind.CODES, number, codes):
            pass

    async def _decode(self, number: int) -> None:
        engine = self._codes_engine()
        num_codebooks = len(engine.codec_layout.codebook_sizes)
        codes = np.frombuffer(self._pieces.pop(number, b""), np.int32).reshape(num_codebooks, -1)
        pcm = await engine.decode(codes)
        write_pcm(self._writer, number, AudioChunk(pcm, self._engine.capabilities.sample_rate_hz))

    def _codes_engine(self) -> CodesEngine:
        if not isinstance(self._engine, CodesEngine):
            raise EngineError("the engine has no codec")
        return self._engine

    def _end(self, number: int, task: asyncio.Task[None]) -> None:
        del self._tasks[number]
        self._pieces.pop(number, None)  # of a task that never began
        error = None if task.cancelled() else task.exception()
        if error is None:
            write_message(self._writer, Kind.DONE, number)
            return
        # Instead of an answer: the server has what was not heard yet done by the next child.
        self._leave_if_lost()
        if not isinstance(error, Fishs2Error):
            logger.error("an order failed", exc_info=error)
            error = EngineError(f"the engine failed: {type(error).__name__}")
        write_message(self._writer, Kind.FAILED, number, pack(failure_of(error)))

    def _leave_if_lost(self) -> None:
        """End this process if the engine can work in another one only."""
        stats = self._engine.stats()
        if stats is not None and stats.is_lost:
            sys.stderr.flush()
            os._exit(LOST_STATUS)


class _LogSender(logging.Handler):
    """Sends what is logged here, in any thread, to the log of the server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._loop = loop
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)[:_MAX_LOG_CHARS]
        except Exception:  # noqa: BLE001 - as every handler does: whoever logs must not fail at it
            self.handleError(record)
            return
        line = pack(LogRecord(record.levelno, record.name, text))
        # The loop may be closed: then the server is no longer interested.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(write_message, self._writer, Kind.LOG, 0, line)


if __name__ == "__main__":
    main()
