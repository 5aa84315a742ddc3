"""The composition root: settings become an engine, and the engine a speech service."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fishs2.advice import get_s2
from fishs2.engines.base import Capabilities, CodesEngine, Sampling, SpeechEngine
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.link import HostLimits
from fishs2.engines.hosted.messages import Recipe, to_plain
from fishs2.engines.missing import MissingEngine
from fishs2.engines.s2cpp.engine import S2cppOptions, open_s2cpp
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
from fishs2.service.metrics import Load, Metrics
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.performance import SpeechRules, SpeechService
from fishs2.service.store_watch import StoreWatch
from fishs2.service.voices.library import VoiceLimits, Voices
from fishs2.settings import Settings
from fishs2.store.clips import ClipStore
from fishs2.store.database import Database
from fishs2.store.voices.store import SAMPLE_VOICES, VoiceStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine that will speak, and why it and no other; `reason` is one clause for people."""

    engine: SpeechEngine
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """How the runtime is doing at one moment.

    capabilities: None until the engine has started. is_loaded: its model is in memory; a model
    that was unloaded comes back by itself.
    """

    state: Literal["starting", "ready", "failed"]
    capabilities: Capabilities | None = None
    is_loaded: bool = False
    num_streams: int = 0
    num_queued: int = 0


def make_engine(settings: Settings) -> SpeechEngine:
    """Return the engine that the settings name, not yet started; `auto` is builtin.

    What `auto` is on this machine, bootstrap.plan finds out before, the backend too.
    """
    if settings.engine == "s2":
        return _make_s2(settings)
    if settings.engine == "s2cpp":
        return _make_s2cpp(settings)
    return BuiltinEngine(voice=settings.builtin_voice, num_workers=settings.builtin_workers or None)


def _make_s2(settings: Settings) -> SpeechEngine:
    # Looked for and not imported: PyTorch is an optional extra, takes seconds to load, and stays
    # out of this process where the engine has one of its own.
    missing = [name for name in ("torch", "tokenizers") if find_spec(name) is None]
    if missing:
        return MissingEngine("s2", f"{missing[0]} is not installed; `{get_s2()}` installs it")
    files = {
        "model": _model_path(settings),
        "tokenizer": settings.tokenizer_path,
        "codec_config": settings.codec_config_path,
    }
    place = {
        "backend": settings.backend,
        "gpu_device": settings.gpu_device,
        "kernels": settings.kernels,
    }
    wishes = {
        "max_seq": settings.max_seq,
        "max_batch": settings.max_batch,
        "idle_unload_s": settings.idle_unload_s,
        "ramp": settings.chunk_ramp,
        "is_guarded": settings.runaway_guard,
    }
    # Plain values, so that the engine can be made here or in a process of its own.
    arguments = {"files": to_plain(files), "place": to_plain(place), "wishes": to_plain(wishes)}
    if not _model_path(settings).exists():
        return _without_model("s2", settings)
    is_hosted = settings.engine_process
    if is_hosted is None:
        is_hosted = settings.backend in ("cuda", "metal")
    if is_hosted:
        recipe = Recipe("fishs2.engines.s2.engine.make", "open_s2_by_values", arguments)
        return HostedEngine(recipe, limits=_host_limits(settings), temp_dir=settings.temp_dir)
    try:
        from fishs2.engines.s2.engine.make import open_s2_by_values
    except ImportError as error:
        return MissingEngine("s2", f"{error.name} is missing or damaged; `{get_s2()}` installs it")
    return open_s2_by_values(**arguments)


def _without_model(engine: str, settings: Settings) -> SpeechEngine:
    name = _model_path(settings).name
    return MissingEngine(engine, f"its model {name} is not there; `fishs2 fetch` downloads it")


def _make_s2cpp(settings: Settings) -> SpeechEngine:
    model = _model_path(settings)
    if not model.exists():
        return _without_model("s2cpp", settings)
    options = S2cppOptions(
        model=model,
        tokenizer=settings.tokenizer_path or model.with_name("tokenizer.json"),
        runtime_dir=settings.runtime_dir,
        dll_path=settings.s2_dll_path,
        extra_dirs=_library_folders(settings),
        backend=settings.backend,
        gpu_device=settings.gpu_device,
        num_gpu_layers=settings.n_gpu_layers,
        num_threads=settings.n_threads,
        is_verbose=settings.verbose,
        max_positions=settings.max_seq,
    )
    return open_s2cpp(options, limits=_host_limits(settings), temp_dir=settings.temp_dir)


def _library_folders(settings: Settings) -> tuple[Path, ...]:
    """Where the s2.cpp library finds CUDA; Windows looks in no folder that it is not told of."""
    conda = Path(sys.prefix) / "Library" / "bin"
    found = (conda,) if sys.platform == "win32" and conda.is_dir() else ()
    return (*settings.runtime_extra_dll_dirs, *found)


def _host_limits(settings: Settings) -> HostLimits:
    # On a CPU the encoding of a reference or a long prompt alone takes minutes.
    default_s = 120.0 if settings.backend in ("cuda", "metal", "vulkan") else 1_800.0
    return HostLimits(stall_s=settings.engine_stall_s or default_s)


_COUNT_TIMEOUT_S = 0.5
"""Clients give /health three seconds. Source: contract, Pandrator."""


class Runtime:
    """Owns the engine from start to close. The port may open before the engine is ready."""

    def __init__(self, settings: Settings, choice: EngineChoice) -> None:
        self.settings = settings
        self.voices = open_voices(settings)
        self.accounts = Accounts(open_database(settings), redis_url=settings.redis_url)
        self.clips = Clips(
            ClipStore(
                settings.data_dir / "clips",
                life_s=settings.clip_life_s,
                max_bytes=settings.clips_max_bytes,
            )
        )
        self.metrics = Metrics(self._load)
        data = settings.data_dir.absolute()
        self.store = StoreWatch(
            {
                "data folder": data,
                "folder of cached audio": data / "clips",
                "voices folder": settings.voices_dir.absolute(),
            },
            self.accounts.check,
        )
        self.failure: Fishs2Error | None = None
        """Why the engine did not start, if it did not."""
        self._choice = choice
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
        """Begin to start the engine; `speech` waits for it. Call it in the event loop, once."""
        self._start_task = asyncio.create_task(self._start())

    def prepare_stores(self) -> None:
        """Begin to set up what is kept on disk; for servers, as it writes there."""
        self._voices_task = asyncio.create_task(self.voices.prepare(SAMPLE_VOICES))
        self._accounts_task = asyncio.create_task(self._start_accounts())
        self.clips.start()

    async def speech(self) -> SpeechService:
        """Return the service, waiting for the engine. Raises EngineUnavailableError."""
        if self._start_task is None:
            raise EngineUnavailableError("the server is not running")
        # Shielded: a client that gives up must not stop the engine from starting.
        return await asyncio.shield(self._start_task)

    async def codec(self) -> CodecService | None:
        """The codec of the engine, if it shows one. Raises EngineUnavailableError."""
        await self.speech()
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

    def _load(self) -> Load:
        status = self.status()
        is_ready = status.state == "ready"
        engine = self._choice.engine.stats() if self._admission is not None else None
        return Load(status.num_streams, status.num_queued, is_ready, engine)

    def engine_identity(self) -> str:
        """Names everything about the engine that shapes its sound, but the request.

        For a started engine.
        """
        capabilities = self._choice.engine.capabilities
        parts: list[object] = [capabilities.name, capabilities.backend, self.settings.builtin_voice]
        if capabilities.name in ("s2", "s2cpp"):
            model = _model_path(self.settings)
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
        await self.store.close()
        await self.clips.close()
        await self.accounts.close()
        self.voices.close()
        if self._admission is not None:
            self._admission.check_integrity()

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
        if is_open and self.settings.host not in ("127.0.0.1", "::1", "localhost"):
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
            max_streams=self.settings.max_streams,
            max_queue=self.settings.max_queue,
            num_turns=capabilities.num_turns,
        )
        return SpeechService(
            engine,
            self._admission,
            self.voices,
            _rules(self.settings),
            on_end=self.metrics.note_speech,
        )


def _rules(settings: Settings) -> SpeechRules:
    return SpeechRules(
        max_input_chars=settings.max_input_chars,
        strict_voices=settings.strict_voices,
        styles=settings.instructions == "style",
        emoji=settings.emoji,
        sampling=Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_new_tokens=settings.max_new_tokens,
            min_tokens_before_end=settings.min_tokens_before_end,
        ),
    )


def _model_path(settings: Settings) -> Path:
    name = f"s2-pro-{settings.model_quant or 'q8_0'}.gguf"
    return settings.model_path or settings.home / "models" / name


def open_database(settings: Settings) -> Database:
    """The database of keys and usage, which may not be there yet. Raises SettingsError."""
    url = settings.database_url or f"sqlite:///{settings.data_dir / 'fishs2.db'}"
    kind, slashes, file = url.partition(":///")
    if slashes and kind.startswith("sqlite") and file and not file.startswith((":", "file:")):
        # A file is named from the home folder, as in every setting.
        url = f"{kind}:///{(settings.home / Path(file).expanduser()).absolute()}"
    return Database(url)


def check_database(settings: Settings) -> None:
    """Bring the database of keys up to date, if there is one. Blocks.

    Raises SettingsError where it can never be used. One that does not answer may come back, and
    until then the server says so.
    """
    database = open_database(settings)
    try:
        with suppress(StoreUnavailableError):
            if database.exists:
                database.migrate()
    finally:
        database.close()


def open_store(settings: Settings) -> VoiceStore:
    """The files of the stored voices."""
    return VoiceStore(settings.voices_dir)


def open_voices(settings: Settings) -> Voices:
    """The stored voices, and references from where the settings allow them."""
    folder = settings.voices_dir
    return Voices(
        open_store(settings),
        VoiceLimits(
            max_samples=settings.max_voice_samples,
            min_reference_s=settings.min_reference_audio_seconds,
            max_reference_s=settings.max_reference_audio_seconds,
        ),
        roots=(folder, *(settings.reference_roots or (settings.home,))),
    )
