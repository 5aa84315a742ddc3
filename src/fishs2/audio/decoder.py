"""Decoding of what strangers send, in processes with limits: `audio.decode_child` runs in them."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from fishs2.audio.decode import DecodedAudio
from fishs2.audio.decode_child import ORDER, SHAPE, too_costly
from fishs2.audio.plain_wav import read_plain_wav
from fishs2.errors import BusyError, EngineUnavailableError, ShutdownError, UserError
from fishs2.processes.child import Program
from fishs2.processes.pool import NoTurnError, PoolLimits, RefusedError, WorkerPool
from fishs2.processes.supervisor import LostError, NoWorkerError

_NAME = "the decoder"
_START = (
    # Speech goes first, from the beginning: what is imported there takes 0.1 s.
    "import os; hasattr(os, 'nice') and os.nice(10); "
    "from fishs2.audio.decode_child import main; main()"
)
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one file may cost.

    cpu_s: CPU time, for as much audio as a reference may have by default; 90 s of mp3 take 0.3 s.
    audio_per_cpu_s: seconds of audio for which there is another second. memory_bytes: beside the
    file and its samples. pool: seconds of the clock; `stall_s` is for a file whose process hardly
    gets a core, or waits where no CPU time is counted.
    """

    cpu_s: float = 2.0
    audio_per_cpu_s: float = 45.0
    memory_bytes: int = 256 * _MB
    pool: PoolLimits = field(
        default_factory=lambda: PoolLimits(start_s=60.0, stall_s=30.0, abort_s=3.0, turn_s=30.0)
    )


class Decoder:
    """Decodes files in a few processes, which start with the first file. For one event loop."""

    def __init__(
        self,
        num_workers: int = 2,
        limits: DecodeLimits | None = None,
        *,
        make_program: Callable[[], Program] | None = None,
    ) -> None:
        """make_program: another program than ours, for tests."""
        self._num_workers = num_workers
        self._limits = limits or DecodeLimits()
        self._make_program = make_program or _make_program
        self._pool: WorkerPool | None = None
        self._starting = asyncio.Lock()
        self._num_restarts_before = 0

    @property
    def num_restarts(self) -> int:
        """How often a process was lost and replaced."""
        running = self._pool.num_restarts if self._pool is not None else 0
        return self._num_restarts_before + running

    async def decode(self, source: bytes, *, max_seconds: float) -> DecodedAudio:
        """Decode a file as `decode_audio` does.

        Raises UserError as it does, and `invalid_audio` for a file that costs too much or that
        nothing survives; BusyError while too many wait, EngineUnavailableError where no process can
        be started, ShutdownError.
        """
        plain = read_plain_wav(source, max_seconds=max_seconds)
        if plain is not None:
            return plain
        cpu_s = max(self._limits.cpu_s, max_seconds / self._limits.audio_per_cpu_s)
        # Samples of the highest rate, in pieces and as a whole; the file, as it came and as it is.
        memory_bytes = self._limits.memory_bytes + int(max_seconds * 192_000 * 4 * 2)
        memory_bytes += 3 * len(source)
        order = ORDER.pack(max_seconds, cpu_s, memory_bytes)
        try:
            try:
                return await self._ask(order, source)
            except LostError as error:
                if _is_costly(error):
                    raise too_costly(_describe(error, cpu_s)) from None
            # Somebody else may have ended the process: once more.
            return await self._ask(order, source)
        except LostError as error:
            raise too_costly(_describe(error, cpu_s)) from None

    async def close(self) -> None:
        """End the processes; what is decoded meanwhile fails with ShutdownError."""
        async with self._starting:
            pool, self._pool = self._pool, None
            if pool is not None:
                self._num_restarts_before += pool.num_restarts
                await pool.close()

    async def _ask(self, order: bytes, source: bytes) -> DecodedAudio:
        pool = await self._running()
        try:
            async with aclosing(pool.ask(order, source)) as pieces:
                rate_hz, num_samples = SHAPE.unpack(await anext(pieces))
                raw = bytearray(4 * num_samples)
                filled = 0
                async for piece in pieces:
                    raw[filled : filled + len(piece)] = piece
                    filled += len(piece)
                return DecodedAudio(np.frombuffer(raw, np.float32), rate_hz)
        except RefusedError as error:
            refusal = json.loads(str(error))
            raise UserError(refusal["message"], code=refusal["code"]) from None
        except LostError:
            if self._pool is not pool:
                raise ShutdownError from None
            raise
        except NoTurnError:
            raise BusyError(
                f"more audio files are being read than can be within "
                f"{self._limits.pool.turn_s:g} s; send it again later",
                retry_after_s=10,
            ) from None
        except NoWorkerError as error:
            if self._pool is not pool:
                raise ShutdownError from None
            raise EngineUnavailableError(f"audio files cannot be read: {error}") from None

    async def _running(self) -> WorkerPool:
        """The processes, started if there are none."""
        async with self._starting:
            if self._pool is None:
                pool = WorkerPool(
                    self._make_program,
                    self._num_workers,
                    self._limits.pool,
                    name=_NAME,
                    broken="audio files cannot be read; the log says why",
                )
                try:
                    await pool.start()
                except LostError as error:
                    raise EngineUnavailableError(
                        f"audio files cannot be read: {_NAME}'s process {error} while it started; "
                        "the log says more"
                    ) from None
                self._pool = pool
            return self._pool


def _make_program() -> Program:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        # It multiplies short rows only, and each thread reserves address space.
        **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
    return Program(_NAME, (sys.executable, "-P", "-c", _START), environment=environment)


def _is_costly(error: LostError) -> bool:
    """Whether the file is at fault beyond doubt."""
    return any(word in str(error) for word in ("SIGPROF", "SIGXCPU", "got nowhere"))


def _describe(error: LostError, cpu_s: float) -> str:
    if "got nowhere" in str(error):
        return "it takes longer than any recording"
    if _is_costly(error):
        return f"it takes more than {cpu_s:g} s of computing"
    return "its decoder crashes at it"
