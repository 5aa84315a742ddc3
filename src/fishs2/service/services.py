"""What a server offers, in one object: speech, and what is kept beside it, from start to close."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fishs2.engines.base import Capabilities, CodesEngine, SpeechEngine
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.errors import (
    EngineUnavailableError,
    Fishs2Error,
    SettingsError,
    StoreUnavailableError,
    reason_of,
)
from fishs2.service.accounts.accounts import Accounts
from fishs2.service.clips import Clips
from fishs2.service.codec import CodecService
from fishs2.service.consents import Consents
from fishs2.service.lexicons import Lexicons
from fishs2.service.listening import Listening
from fishs2.service.metrics import Load, Metrics
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.desk import Desk
from fishs2.service.speech.plan import SpeechRules
from fishs2.service.speech.service import SpeechService
from fishs2.service.speech.timing.aligning import Aligner
from fishs2.service.speech.verify import Verifier
from fishs2.service.store_watch import StoreWatch
from fishs2.service.voices.hearing import describe_missing
from fishs2.service.voices.library import Voices
from fishs2.store.voices.files import Voice
from fishs2.store.voices.store import SAMPLE_VOICES

logger = logging.getLogger(__name__)

_COUNT_TIMEOUT_S = 0.5
"""Clients give /health three seconds. Source: contract, Pandrator."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine that will speak, and why it and no other; `reason` is one clause for people.

    voice, model: what shapes its sound beside the request: a setting, and the file that it loads.
    """

    engine: SpeechEngine
    reason: str
    voice: str = ""
    model: Path | None = None


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, and the watch over where it is kept."""

    voices: Voices
    consents: Consents
    lexicons: Lexicons
    accounts: Accounts
    clips: Clips
    watch: StoreWatch


@dataclass(frozen=True, slots=True)
class Limits:
    """What is let in at once. max_streams: speeches. max_queue: of them, those that wait."""

    max_streams: int
    max_queue: int


@dataclass(frozen=True, slots=True)
class Status:
    """How the server is doing at one moment.

    capabilities: None until the engine has started. is_loaded: its model is in memory; a model
    that was unloaded comes back by itself.
    """

    state: Literal["starting", "ready", "failed"]
    capabilities: Capabilities | None = None
    is_loaded: bool = False
    num_streams: int = 0
    num_queued: int = 0


class Services:
    """Owns the engine and the stores from start to close. The port may open before the engine
    is ready.
    """

    def __init__(
        self,
        choice: EngineChoice,
        stores: Stores,
        *,
        listening: Listening,
        rules: SpeechRules,
        limits: Limits,
        is_on_network: bool,
    ) -> None:
        """is_on_network: other machines can reach the port."""
        self.voices = stores.voices
        self.consents = stores.consents
        self.lexicons = stores.lexicons
        self.accounts = stores.accounts
        self.clips = stores.clips
        self.store = stores.watch
        self.listening = listening
        self.metrics = Metrics(self._load)
        self.desk = Desk(
            self.accounts,
            self.clips,
            open_service=self._speech,
            identify_engine=self._engine_identity,
            on_end=self.metrics.note_speech,
        )
        self.failure: Fishs2Error | None = None
        """Why the engine or the stores cannot work, if they cannot."""
        self._choice = choice
        self._rules = rules
        self._limits = limits
        self._is_on_network = is_on_network
        self._count_task: asyncio.Task[None] | None = None
        self._voices_task: asyncio.Task[None] | None = None
        self._accounts_task: asyncio.Task[None] | None = None
        self._start_task: asyncio.Task[SpeechService] | None = None
        self._admission: Admission | None = None
        self._give_up: Callable[[], None] = lambda: None

    def when_misconfigured(self, give_up: Callable[[], None]) -> None:
        """Call `give_up` if the engine finds that a setting of its own is wrong."""
        self._give_up = give_up

    def start(self) -> None:
        """Begin to start the engine; `desk` waits for it. Call it in the event loop, once."""
        self._start_task = asyncio.create_task(self._start())

    def prepare_stores(self) -> None:
        """Begin to set up what is kept on disk; for servers, as it writes there."""
        self._voices_task = asyncio.create_task(self.voices.prepare(SAMPLE_VOICES))
        self._accounts_task = asyncio.create_task(self._start_accounts())
        self.clips.start()

    async def wait_for_stores(self) -> None:
        """Return when what `prepare_stores` began is done, or has failed."""
        tasks = {task for task in (self._voices_task, self._accounts_task) if task is not None}
        if tasks:
            await asyncio.wait(tasks)

    async def wait_for_engine(self) -> None:
        """Return when the engine can speak. Raises EngineUnavailableError."""
        await self._speech()

    async def _speech(self) -> SpeechService:
        if self._start_task is None:
            raise EngineUnavailableError("the server is not running")
        # Shielded: a client that gives up must not stop the engine from starting.
        return await asyncio.shield(self._start_task)

    async def codec(self) -> CodecService | None:
        """The codec of the engine, if it shows one. Raises EngineUnavailableError."""
        await self._speech()
        engine = self._choice.engine
        # One that hosts cannot be told by its class: what has a codec, or has not, is in the child.
        codec = engine.codes if isinstance(engine, HostedEngine) else engine
        return CodecService(codec, self.voices) if isinstance(codec, CodesEngine) else None

    def status(self) -> Status:
        """Say how things stand. Touches no engine, file or network."""
        admission = self._admission
        if admission is None:
            return Status("failed" if self.failure else "starting")
        engine = self._choice.engine
        stats = engine.stats()
        state: Literal["ready", "failed"] = "failed" if stats and stats.trouble else "ready"
        is_loaded = stats is None or stats.is_loaded
        return Status(
            state, engine.capabilities, is_loaded, admission.num_streams, admission.num_queued
        )

    def _engine_identity(self) -> str:
        """Names everything about the engine that shapes its sound, but the request.

        For a started engine.
        """
        capabilities, model = self._choice.engine.capabilities, self._choice.model
        parts: list[object] = [capabilities.name, capabilities.backend, self._choice.voice]
        if model is not None:
            with suppress(OSError):
                state = model.stat()
                parts += [model, state.st_size, state.st_mtime_ns]
        return repr(parts)

    async def count_voices(self) -> int:
        """Count the stored voices; the last known number if the disk does not answer soon."""
        if self._count_task is None or self._count_task.done():
            self._count_task = asyncio.create_task(self.voices.refresh())
        await asyncio.wait({self._count_task}, timeout=_COUNT_TIMEOUT_S)
        return self.voices.num_voices

    def missing_transcript(self, voice: Voice) -> str | None:
        """What whoever stored a voice must know; None where all is well, or nobody knows yet."""
        capabilities = self.status().capabilities
        needs = capabilities is not None and (
            capabilities.cloning != "none" and capabilities.needs_transcript
        )
        return describe_missing(voice, needs_transcript=needs)

    async def close(self) -> None:
        """Stop the engine and free what the service holds."""
        task = self._start_task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                task.result().close()
        await self._choice.engine.close()
        if self._accounts_task is not None:
            # It may be waiting for a database that does not answer.
            self._accounts_task.cancel()
        for running in (self._count_task, self._voices_task, self._accounts_task):
            if running is not None:
                await asyncio.wait([running])
        await self.listening.close()
        await self.store.close()
        await self.clips.close()
        await self.accounts.close()
        await self.voices.close()
        self.consents.close()
        self.lexicons.close()
        if self._admission is not None:
            self._admission.check_integrity()

    def _load(self) -> Load:
        status = self.status()
        is_ready = status.state == "ready"
        engine = self._choice.engine.stats() if self._admission is not None else None
        return Load(
            num_streams=status.num_streams,
            num_queued=status.num_queued,
            num_tasks=len(asyncio.all_tasks()),
            is_ready=is_ready,
            engine=engine,
            num_decoder_restarts=self.voices.num_decoder_restarts,
        )

    async def _start_accounts(self) -> None:
        try:
            await self.accounts.start()
            is_open = await self.accounts.is_open()
        except StoreUnavailableError as error:
            # It may come back: until then every request that needs a key is answered with 503.
            logger.error("%s", error.message)
            return
        except SettingsError as error:
            self.failure = error
            logger.error("%s", error.message)
            self._give_up()
            return
        if is_open and self._is_on_network:
            logger.warning(
                "everybody on your network can use it: `fishs2 keys create NAME` makes it ask for "
                "keys, FISHS2_HOST=127.0.0.1 keeps it to this machine"
            )

    async def _start(self) -> SpeechService:
        engine = self._choice.engine
        try:
            await engine.start()
        except Fishs2Error as error:
            self.failure = error
            logger.error("the engine cannot start: %s", error.message)
            if isinstance(error, SettingsError):
                self._give_up()
            raise EngineUnavailableError(error.message, reason=reason_of(error)) from error
        capabilities = engine.capabilities
        logger.info(
            "engine %s speaks on %s: %s",
            capabilities.name,
            capabilities.backend,
            self._choice.reason,
        )
        self._admission = Admission(
            max_streams=self._limits.max_streams,
            max_queue=self._limits.max_queue,
            num_turns=capabilities.num_turns,
        )
        verifier = Verifier(self.listening, capabilities)
        return SpeechService(
            engine,
            self._admission,
            self.voices,
            self._rules,
            self.lexicons,
            verifier=verifier,
            aligner=Aligner(self.listening, capabilities.sample_rate_hz),
        )
