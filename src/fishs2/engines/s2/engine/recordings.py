"""Codes of recordings, and recordings of codes, in the thread in which voices are encoded.

One recording at a time, and a piece of some 1.5 s at a time: the references of those who want to
speak get in between, and whoever gives up is rid of the work after the piece.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from fishs2.engines.base import CodecLayout, Codes, Pcm
from fishs2.engines.s2.device.codec_stream import beside
from fishs2.engines.s2.engine.references import MAX_REFERENCE_S
from fishs2.engines.s2.model.codec import Codec, decode_pieces, encode_pieces
from fishs2.engines.s2.model.resample import resample
from fishs2.engines.s2.weights.config import CodecConfig
from fishs2.errors import BusyError, EngineError, UserError

MAX_WAITING = 8
"""Recordings that wait for their turn, each of up to 16 MB."""

FindCodec = Callable[[], Awaitable[tuple[Codec, ThreadPoolExecutor]]]
"""Where to work, and on what. Raises EngineError."""

_T = TypeVar("_T")


def layout_of(config: CodecConfig) -> CodecLayout:
    """What the codes of a codec look like."""
    sizes = [config.residual_codebook_size] * config.num_residual_codebooks
    rate_hz = config.sample_rate_hz / config.samples_per_frame
    return CodecLayout((config.semantic_codebook_size, *sizes), rate_hz)


class CodesWork:
    """Does the work of CodesEngine for one engine. For one event loop."""

    def __init__(
        self, find_codec: FindCodec, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._find_codec = find_codec
        self._on_failure = on_failure
        self._turn = asyncio.Lock()
        self._num_waiting = 0

    async def encode(self, pcm: Pcm, sample_rate_hz: int) -> Codes:
        """The codes of a recording. Raises UserError `audio_too_long`, BusyError, EngineError."""
        seconds = len(pcm) / sample_rate_hz
        if not 0 < seconds <= MAX_REFERENCE_S:
            raise UserError(
                f"the audio has {seconds:.1f} seconds; the limit is {MAX_REFERENCE_S:.0f}, and it "
                "must not be empty",
                code="audio_too_long",
                param="audios",
            )
        async with self._take_turn() as (codec, thread):
            rate_hz = codec.config.sample_rate_hz
            resampled = await _run(thread, lambda: resample(pcm, sample_rate_hz, rate_hz))
            pieces = encode_pieces(codec, torch.from_numpy(resampled).to(codec.device))
            made = await _collect(thread, pieces, codec.device)
            return np.concatenate(made, axis=1, dtype=np.int32)

    async def decode(self, codes: Codes) -> Pcm:
        """The samples of codes. Raises BusyError, EngineError."""
        async with self._take_turn() as (codec, thread):
            given = torch.from_numpy(codes).long().to(codec.device)
            pieces = decode_pieces(codec, given)
            return np.concatenate(await _collect(thread, pieces, codec.device))

    @asynccontextmanager
    async def _take_turn(self) -> AsyncGenerator[tuple[Codec, ThreadPoolExecutor]]:
        if self._num_waiting >= MAX_WAITING:
            raise BusyError(
                f"{MAX_WAITING} recordings wait for the codec already; try again",
                retry_after_s=5,
            )
        self._num_waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._num_waiting -= 1
        try:
            yield await self._find_codec()
        except EngineError:
            self._on_failure()
            raise
        finally:
            self._turn.release()


async def _collect(
    thread: ThreadPoolExecutor, pieces: Iterator[Tensor], device: torch.device
) -> list[np.ndarray]:
    """All pieces, each made on its own, so that others get in between."""

    def make_next() -> np.ndarray | None:
        with torch.inference_mode(), beside(device):
            piece = next(pieces, None)
            return None if piece is None else piece.cpu().numpy()

    made = []
    while (piece := await _run(thread, make_next)) is not None:
        made.append(piece)
    return made


async def _run(thread: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    except (RuntimeError, MemoryError) as error:
        # Lack of memory, or the thread has ended with the engine.
        raise EngineError(f"the codec failed: {type(error).__name__}") from error
