"""The codec on a card, beside the ARs: a stream of its own, graphs, copies that nobody waits for.

A chunk is launched and forgotten until its samples lie in pinned memory; meanwhile the ARs draw the
next frames. What goes in are codes that the host has, so the two streams never wait for each other.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from math import inf, log10
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishs2.engines.base import Pcm
from fishs2.engines.s2.device.recorder import CudaRecorder, Mark, Recorder, Replay
from fishs2.engines.s2.model.codec import Codec, decode_step
from fishs2.engines.s2.model.streaming import (
    StreamState,
    new_state,
    put_rows,
    reset_rows,
    state_tensors,
    take_rows,
)

logger = logging.getLogger(__name__)

CodecType = Literal["bf16", "tf32", "f32"]
CODEC_TYPES: tuple[CodecType, ...] = ("bf16", "tf32", "f32")
"""The fastest first."""
MIN_SNR_DB = 60.0
"""To float32: what cannot be heard with any margin. Source: performance notes, quality gates."""

_PIECES = (16, 8, 4, 2, 1)
"""Frames that a graph decodes; a chunk of any length is a sum of these."""
_MAX_FRAMES = 128
"""Rows times frames of one graph: 200 MB for the widest layers of the real size."""
_TEST_FRAMES = 24


class Lane(Protocol):
    """A queue of work on a device."""

    def active(self) -> AbstractContextManager[None]:
        """What is launched inside goes into this queue."""
        ...

    def mark(self) -> Mark:
        """The end of what was launched so far."""
        ...


class CudaLane:
    """A stream of a card."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.follow()

    def follow(self) -> None:
        """Begin after what the thread's own stream was told: it puts weights and state there."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    @contextmanager
    def active(self) -> Iterator[None]:
        with torch.cuda.stream(self._stream):
            yield

    def mark(self) -> Mark:
        event: Mark = self._stream.record_event()
        return event


@dataclass(frozen=True, slots=True, eq=False)
class LaunchedChunk:
    """Samples on their way. pieces: float32 [B, n] each, there once `mark` is reached."""

    pieces: list[Tensor]
    mark: Mark

    @property
    def is_there(self) -> bool:
        return self.mark.query()

    def take(self) -> list[Pcm]:
        """The samples of each row; waits for them."""
        self.mark.synchronize()
        # A copy: pinned memory is dear, and readers may take their time.
        return list(torch.cat(self.pieces, dim=1).numpy())


class CodecStream:
    """Streaming states of `num_slots` sequences on a card. Engine thread only."""

    def __init__(
        self,
        codec: Codec,
        *,
        num_slots: int,
        lane: Lane,
        recorder: Recorder | None,
        kind: CodecType,
    ) -> None:
        """recorder: None computes every chunk anew. kind: see `choose_codec_type`."""
        self._codec, self._lane, self._kind = codec, lane, kind
        self._num_slots = num_slots
        self._is_card = codec.device.type == "cuda"
        # One row more than slots: those that pad a batch share it.
        self.state = new_state(codec.decoder, num_slots + 1, codec.device)
        sizes = [size for size in (1, 2, 4, 8, 16, 32) if size < num_slots]
        self._sizes = [*sizes, min(num_slots, 32)]
        most, num_codebooks = self._sizes[-1], codec.config.num_codebooks
        frames = torch.int64
        self._slots = torch.full((most,), num_slots, dtype=frames, device=codec.device)
        shape = (most, num_codebooks, _PIECES[0])
        self._codes = torch.zeros(shape, dtype=frames, device=codec.device)
        num_samples = _PIECES[0] * codec.config.samples_per_frame
        self._samples = torch.zeros(most, num_samples, device=codec.device)
        self._replays: dict[tuple[int, int], Replay] = {}
        if recorder is not None:
            self._record_all(recorder)

    def begin(self, slot: int) -> None:
        """Start a slot anew, after what was launched for it."""
        with self._lane.active():
            reset_rows(self.state, slot)

    def put(self, slot: int, state: StreamState) -> None:
        """Let a slot continue a stream of one row."""
        with self._lane.active():
            put_rows(self.state, torch.tensor([slot], device=self._codec.device), state)

    def take(self, slot: int) -> StreamState:
        """A copy of a slot's state, after what was launched for it."""
        with self._lane.active():
            return take_rows(self.state, torch.tensor([slot], device=self._codec.device))

    @property
    def num_bytes(self) -> int:
        """Of the states of all slots."""
        return sum(each.nbytes for each in state_tensors(self.state))

    def max_rows(self, num_frames: int) -> int:
        """How many rows one call may decode."""
        return max(1, min(self._sizes[-1], _MAX_FRAMES // min(num_frames, _PIECES[0])))

    def launch(self, slots: Sequence[int], codes: NDArray[np.int64]) -> LaunchedChunk:
        """Begin to decode the next frames of some slots; does not wait.

        codes: int64 [B, K, n], B no more than `max_rows(n)`.
        """
        num_rows, _, num_frames = codes.shape
        rate = self._codec.config.samples_per_frame
        pieces: list[Tensor] = []
        size = next(each for each in self._sizes if each >= num_rows)
        rows = [*slots, *[self._num_slots] * (size - num_rows)]
        with self._lane.active():
            self._slots[:size].copy_(self._pinned(torch.tensor(rows)), non_blocking=True)
            start = 0
            for piece in _pieces(num_frames):
                new = self._pinned(torch.from_numpy(codes[:, :, start : start + piece]))
                self._codes[:num_rows, :, :piece].copy_(new, non_blocking=True)
                replay = self._replays.get((size, piece))
                if replay is None:
                    self._compute(size, piece)
                else:
                    replay()
                here = torch.empty(num_rows, piece * rate, pin_memory=self._is_card)
                here.copy_(self._samples[:num_rows, : piece * rate], non_blocking=True)
                pieces.append(here)
                start += piece
            return LaunchedChunk(pieces, self._lane.mark())

    def _pinned(self, values: Tensor) -> Tensor:
        return values.contiguous().pin_memory() if self._is_card else values

    def _compute(self, size: int, num_frames: int) -> None:
        slots = self._slots[:size]
        state = take_rows(self.state, slots)
        with computing_in(self._kind):
            samples = decode_step(self._codec, self._codes[:size, :, :num_frames], state)
        for old, new in zip(state_tensors(self.state), state_tensors(state), strict=True):
            old[slots] = new.to(old.dtype)
        # Nobody begins the row for padding: without this it would run past the rotation tables.
        for window in self.state.windows.values():
            window.position[self._num_slots] = 0
        self._samples[:size, : samples.shape[1]] = samples

    def _record_all(self, recorder: Recorder) -> None:
        self._slots[:] = self._num_slots
        for size in reversed(self._sizes):
            for piece in _PIECES:
                if size > self.max_rows(piece):
                    continue

                def work(size: int = size, piece: int = piece) -> None:
                    self._compute(size, piece)

                try:
                    self._replays[size, piece] = recorder.record(work)
                except RuntimeError as error:  # lack of memory too
                    logger.warning(
                        "the codec graph for %d rows of %d frames cannot be captured; such chunks "
                        "are decoded without one, slower: %s",
                        size,
                        piece,
                        str(error).partition("\n")[0],
                    )
        logger.info("captured %d codec graphs", len(self._replays))


def open_codec_stream(codec: Codec, num_slots: int) -> CodecStream:
    """The stream of a codec that lies on a card."""
    return CodecStream(
        codec,
        num_slots=num_slots,
        lane=CudaLane(codec.device),
        recorder=CudaRecorder(codec.device),
        kind=choose_codec_type(codec),
    )


@contextmanager
def beside(device: torch.device) -> Iterator[None]:
    """Inside, a thread's work on a card runs beside that of others, and exactly in float32."""
    if device.type != "cuda":
        yield
        return
    lane = _lane_beside(device)
    lane.follow()
    with lane.active(), computing_in("f32"):
        yield


@cache
def _lane_beside(device: torch.device) -> CudaLane:
    """One for good: PyTorch has 32 streams and gives them out in turn, so that one more for every
    recording would soon be the one on which others are decoded, or captured.
    """
    return CudaLane(device)


def _pieces(num_frames: int) -> Iterator[int]:
    """Lengths of graphs that add up to a chunk."""
    for piece in _PIECES:
        while num_frames >= piece:
            yield piece
            num_frames -= piece


@contextmanager
def computing_in(kind: CodecType) -> Iterator[None]:
    """Inside, float32 layers on a card compute in this type.

    tf32 and f32 set what PyTorch has for the whole program. Codec graphs are captured inside, so
    that it holds for a moment at start only; a recording is encoded in `f32` at any time.
    """
    if kind == "bf16":
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            yield
        return
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = kind == "tf32"
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


@torch.inference_mode()
def measure_snr_db(codec: Codec, kind: CodecType) -> float:
    """How near the samples of random codes are to those in float32, on the codec's device."""
    seeded = torch.Generator().manual_seed(0)
    shape = (2, codec.config.num_codebooks, _TEST_FRAMES)
    codes = torch.randint(codec.config.residual_codebook_size, shape, generator=seeded)
    codes = codes.to(codec.device)
    exact = _decoded(codec, codes, "f32")
    error = (_decoded(codec, codes, kind) - exact).square().sum().item()
    power = exact.square().sum().item()
    if not power > 0 or not error < inf:
        return -inf
    return inf if error == 0 else 10 * log10(power / error)


def choose_codec_type(
    codec: Codec, measure: Callable[[Codec, CodecType], float] = measure_snr_db
) -> CodecType:
    """The fastest type that stays within `MIN_SNR_DB` of float32 on this card."""
    for kind in CODEC_TYPES[:-1]:
        try:
            snr_db = measure(codec, kind)
        except RuntimeError as error:
            logger.warning("the codec cannot compute in %s: %s", kind, error)
            continue
        if snr_db > MIN_SNR_DB:
            logger.info("the codec computes in %s, %.0f dB from float32", kind, snr_db)
            return kind
        logger.info("the codec does not compute in %s: %.0f dB from float32", kind, snr_db)
    return CODEC_TYPES[-1]


def _decoded(codec: Codec, codes: Tensor, kind: CodecType) -> Tensor:
    state: StreamState = new_state(codec.decoder, codes.shape[0], codec.device)
    with computing_in(kind):
        return decode_step(codec, codes, state).double()
