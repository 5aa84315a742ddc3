"""Whisper as a listener: its process starts with the first recording, and ends when it is idle."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fishs2.errors import (
    BusyError,
    EngineUnavailableError,
    ListenerMissingError,
    ListeningError,
    ShutdownError,
)
from fishs2.listening.base import HeardWord, Segment, Tongue, Wish
from fishs2.listening.models import MODELS, is_model
from fishs2.listening.whisper_child import HEADER_BYTES
from fishs2.processes.child import Program
from fishs2.processes.pool import NoTurnError, PoolLimits, RefusedError, WorkerPool
from fishs2.processes.supervisor import LostError, NoWorkerError

_NAME = "the listener"
_START = (
    # Speech goes first, from the beginning.
    "import os; hasattr(os, 'nice') and os.nice(5); "
    "from fishs2.listening.whisper_child import main; main()"
)
_MAX_THREADS = 4
"""More gain little on recordings of seconds. Source: faster-whisper's own default."""

INSTALL = "pip install 'fishs2[asr]'"


_LIMITS = PoolLimits(start_s=300.0, stall_s=600.0, abort_s=10.0, turn_s=1_800.0)
"""A large model takes minutes to be read from a slow disk, and for the hardest half minute of sound
on an old processor; whatever is heard meanwhile cannot be interrupted.
"""


class WhisperListener:
    """Hears with one process, which takes one recording at a time. For one event loop."""

    def __init__(
        self,
        folder: Path,
        model: str,
        *,
        idle_s: float,
        limits: PoolLimits = _LIMITS,
        has_package: Callable[[], bool] = lambda: find_spec("faster_whisper") is not None,
        make_program: Callable[[], Program] | None = None,
    ) -> None:
        """folder: where the model lies. model: how people call it. make_program: another than ours,
        for tests.
        """
        self._has_package = has_package
        self._folder = folder
        self._model = model
        # A folder of somebody's own is nothing that can be fetched.
        self._fetched = model if model in MODELS else "base"
        self._idle_s = idle_s
        self._limits = limits
        self._make_program = make_program
        self._pool: WorkerPool | None = None
        self._starting = asyncio.Lock()
        self._num_inside = 0
        self._idle: asyncio.TimerHandle | None = None
        self._unloading: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """As `Listener` says."""
        return self._model

    @property
    def is_loaded(self) -> bool:
        """Whether its process runs."""
        return self._pool is not None

    def check(self) -> None:
        """As `Listener` says."""
        if self._make_program is not None:
            return
        if not self._has_package():
            raise ListenerMissingError(
                "this server has nothing to recognise speech with: whoever runs it installs it "
                f"with {INSTALL}, then fetches a model with `fishs2 fetch --asr {self._fetched}`",
                code="asr_not_installed",
            )
        if not is_model(self._folder):
            raise ListenerMissingError(
                f"the model {self._model} that this server recognises speech with is not here: "
                f"whoever runs it fetches it with `fishs2 fetch --asr {self._fetched}`, or names "
                "another with FISHS2_ASR_MODEL",
                code="asr_model_missing",
            )

    async def listen(
        self, pcm: NDArray[np.float32], wish: Wish
    ) -> AsyncGenerator[Tongue | Segment, None]:
        """As `Listener` says."""
        self.check()
        self._num_inside += 1
        self._set_idle(None)
        try:
            async with aclosing(self._ask(pcm, wish)) as pieces:
                async for piece in pieces:
                    yield _read_part(piece)
        finally:
            self._num_inside -= 1
            if self._num_inside == 0:
                self._set_idle(self._idle_s)

    async def close(self) -> None:
        """As `Listener` says."""
        self._set_idle(None)
        if self._unloading is not None:
            await self._unloading
        await self._unload()

    async def _ask(self, pcm: NDArray[np.float32], wish: Wish) -> AsyncGenerator[bytes, None]:
        pool = await self._running()
        header = json.dumps(asdict(wish)).encode()
        samples = np.ascontiguousarray(pcm, np.float32).tobytes()
        try:
            async with aclosing(
                pool.ask(HEADER_BYTES.pack(len(header)), header, samples)
            ) as pieces:
                async for piece in pieces:
                    yield piece
        except RefusedError as error:
            raise ListeningError(f"the recording could not be heard: {error}") from None
        except NoTurnError:
            raise BusyError(
                "the recordings before this one take too long; send it again later",
                retry_after_s=30,
            ) from None
        except (LostError, NoWorkerError) as error:
            if self._pool is not pool:
                raise ShutdownError from None
            raise ListeningError(
                f"the recording could not be heard: {_NAME}'s process {error}"
            ) from None

    async def _running(self) -> WorkerPool:
        """The process, started if there is none."""
        async with self._starting:
            if self._pool is None:
                pool = WorkerPool(
                    self._make_program or self._program,
                    1,
                    self._limits,
                    name=_NAME,
                    broken="the model cannot be loaded",
                )
                try:
                    await pool.start()
                except (LostError, EngineUnavailableError) as error:
                    await pool.close()
                    reason = error if isinstance(error, LostError) else "cannot load its model"
                    raise ListeningError(
                        f"speech cannot be recognised: {_NAME}'s process {reason}; the log says "
                        "more"
                    ) from None
                self._pool = pool
            return self._pool

    def _program(self) -> Program:
        num_threads = min(_MAX_THREADS, os.cpu_count() or 1)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # What is worked out before the model is small, and each thread takes memory.
            **dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            # The model is on the disk: nothing is looked for elsewhere.
            "HF_HUB_OFFLINE": "1",
        }
        command = (sys.executable, "-P", "-c", _START, str(self._folder), str(num_threads))
        return Program(_NAME, command, environment=environment)

    def _set_idle(self, idle_s: float | None) -> None:
        """Unload after so long, unless this is called again; None switches it off."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if idle_s is not None:
            # No loop any more: the server has ended, and closed us.
            with suppress(RuntimeError):
                self._idle = asyncio.get_running_loop().call_later(idle_s, self._begin_unload)

    def _begin_unload(self) -> None:
        self._unloading = asyncio.create_task(self._unload_if_idle())

    async def _unload_if_idle(self) -> None:
        if self._num_inside == 0:
            await self._unload()

    async def _unload(self) -> None:
        async with self._starting:
            pool, self._pool = self._pool, None
            if pool is not None:
                await pool.close()


def _read_part(piece: bytes) -> Tongue | Segment:
    part = json.loads(piece)
    if "language" in part:
        return Tongue(part["language"], part["probability"])
    words = tuple(HeardWord(**word) for word in part.pop("words"))
    return Segment(**{**part, "tokens": tuple(part["tokens"])}, words=words)
