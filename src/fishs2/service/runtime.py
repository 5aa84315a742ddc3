"""The composition root: settings become an engine, and the engine a speech service."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fishs2.engines.base import Capabilities, SpeechEngine
from fishs2.engines.builtin import BuiltinEngine
from fishs2.errors import EngineUnavailableError, Fishs2Error, SettingsError
from fishs2.service.admission import Admission
from fishs2.service.speech import SpeechService
from fishs2.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine that will speak, and why it and no other; `reason` is one clause for people."""

    engine: SpeechEngine
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """How the runtime is doing at one moment.

    capabilities: None until the engine has started.
    """

    state: Literal["starting", "ready", "failed"]
    capabilities: Capabilities | None
    num_streams: int
    num_queued: int


def choose_engine(settings: Settings) -> EngineChoice:
    """Return the engine that the settings ask for, not yet started."""
    reason = (
        "FISHS2_ENGINE asks for it"
        if settings.engine == "builtin"
        else "FISHS2_ENGINE=auto, and this version has no other engine"
    )
    engine = BuiltinEngine(
        voice=settings.builtin_voice, num_workers=settings.builtin_workers or None
    )
    return EngineChoice(engine, reason)


class Runtime:
    """Owns the engine from start to close. The port may open before the engine is ready."""

    def __init__(self, settings: Settings, choice: EngineChoice) -> None:
        self.settings = settings
        self.failure: Fishs2Error | None = None
        """Why the engine did not start, if it did not."""
        self._choice = choice
        self._start_task: asyncio.Task[SpeechService] | None = None
        self._admission: Admission | None = None
        self._give_up: Callable[[], None] = lambda: None

    def when_misconfigured(self, give_up: Callable[[], None]) -> None:
        """Call `give_up` if the engine finds that a setting of its own is wrong."""
        self._give_up = give_up

    def start(self) -> None:
        """Begin to start the engine; `speech` waits for it. Call it in the event loop, once."""
        self._start_task = asyncio.create_task(self._start())

    async def speech(self) -> SpeechService:
        """Return the service, waiting for the engine. Raises EngineUnavailableError."""
        if self._start_task is None:
            raise EngineUnavailableError("the server is not running")
        # Shielded: a client that gives up must not stop the engine from starting.
        return await asyncio.shield(self._start_task)

    def status(self) -> Status:
        """Say how things stand. Touches no engine, file or network."""
        admission = self._admission
        if admission is None:
            return Status("failed" if self.failure else "starting", None, 0, 0)
        capabilities = self._choice.engine.capabilities
        return Status("ready", capabilities, admission.num_streams, admission.num_queued)

    async def close(self) -> None:
        """Stop the engine and free what the service holds."""
        task = self._start_task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                task.result().close()
        await self._choice.engine.close()
        if self._admission is not None:
            self._admission.check_integrity()

    async def _start(self) -> SpeechService:
        engine = self._choice.engine
        try:
            await engine.start()
        except Fishs2Error as error:
            self.failure = error
            logger.error("the engine cannot start: %s", error.message)
            if isinstance(error, SettingsError):
                self._give_up()
            raise EngineUnavailableError(error.message) from error
        capabilities = engine.capabilities
        logger.info(
            "engine %s speaks on %s: %s",
            capabilities.name,
            capabilities.backend,
            self._choice.reason,
        )
        self._admission = Admission(
            max_streams=self.settings.max_streams,
            max_queue=self.settings.max_queue,
            num_turns=capabilities.num_turns,
        )
        return SpeechService(
            engine,
            self._admission,
            max_input_chars=self.settings.max_input_chars,
            strict_voices=self.settings.strict_voices,
            style_from_instructions=self.settings.instructions == "style",
        )
