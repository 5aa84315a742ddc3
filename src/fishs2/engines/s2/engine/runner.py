"""One step of both ARs over many sequences, and the caches that it needs. Engine thread only."""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishs2.engines.s2.device.graphs import CudaRecorder, DecodeGraphs, Recorder
from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.device.step import allocate_tables
from fishs2.engines.s2.engine.scheduler import Piece
from fishs2.engines.s2.engine.sequence import Sequence
from fishs2.engines.s2.model.generate import DualAr, FrameDraw, next_frame, sampling_rows
from fishs2.engines.s2.model.kv_cache import KvCache, allocate_kv_cache
from fishs2.engines.s2.model.layers import place_steps, run_blocks
from fishs2.engines.s2.model.params import Frame, GenerateParams
from fishs2.engines.s2.model.sampler import NO_CODE, RAS_WINDOW, uniform_numbers
from fishs2.engines.s2.model.slow_ar import embed, prefill


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keys and values of the first `num_tokens` positions: per layer [H, num_tokens, d]."""

    num_tokens: int
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes for each in (*self.keys, *self.values))


class Runner:
    """The caches of `num_slots` sequences, and the passes over them."""

    def __init__(self, model: Model, *, num_slots: int, max_positions: int) -> None:
        self._ar = ar = model.ar
        self._graphs: DecodeGraphs | None = None
        if model.ops is not None:
            tables = allocate_tables(ar, num_slots, max_positions)
            self._cache, self._hidden = tables.cache, tables.hidden
            self._fast_cache = KvCache((), ())  # the graphs have one of their own
            self._graphs = DecodeGraphs(ar, model.ops, tables, _open_recorder(ar.device))
            return
        self._cache = allocate_kv_cache(
            ar.config.slow, num_slots, max_positions, dtype=ar.dtype, device=ar.device
        )
        self._fast_cache = allocate_kv_cache(
            ar.config.fast, num_slots, ar.config.num_codebooks, dtype=ar.dtype, device=ar.device
        )
        self._hidden = torch.zeros(num_slots, ar.config.slow.dim, device=ar.device)
        # The semantic codes that must not be drawn again lightly.
        self._window = torch.full((num_slots, RAS_WINDOW), NO_CODE, device=ar.device)

    @property
    def num_bytes(self) -> int:
        """Of the caches."""
        caches = (self._cache, self._fast_cache)
        return sum(each.nbytes for cache in caches for each in (*cache.keys, *cache.values))

    def prefill(self, piece: Piece) -> None:
        """Read a piece of a prompt into the slot of its sequence."""
        slot = piece.sequence.slot
        tokens = self._to_device(piece.sequence.prompt[None, :, piece.start : piece.stop])
        rows = self._cache.rows(slot, slot + 1)
        self._hidden[slot] = prefill(self._ar.slow, tokens, rows, start=piece.start)[0]

    def decode(self, sequences: SequenceOf[Sequence]) -> list[Frame]:
        """Draw the next frame of each sequence: its first, or the one after its last."""
        if self._graphs is not None:
            rows = pack_rows([describe_row(each) for each in sequences])
            return list(self._graphs.decode(rows))
        started = [each for each in sequences if each.frames]
        if started:
            self._advance(started)
        for each in sequences:
            if not each.frames:
                self._window[each.slot] = NO_CODE
        slots = self._to_device(np.array([each.slot for each in sequences]))
        window = self._window[slots]
        fast_cache = self._fast_cache.rows(0, len(sequences))
        how = self._draws(sequences, window)
        frames = next_frame(self._ar, self._hidden[slots], how, fast_cache)
        # The first frame never enters the window (spec 4.2); an end is the last of its sequence.
        counts = self._to_device(np.array([bool(each.frames) for each in sequences]))
        shifted = torch.cat((window[:, 1:], frames[:, 1:2]), dim=1)
        self._window[slots] = torch.where(counts[:, None] > 0, shifted, window)
        return list(frames.int().cpu().numpy())

    def save_prefix(self, slot: int, num_tokens: int) -> Prefix:
        """A copy of the first positions of a slot."""
        return Prefix(
            num_tokens,
            tuple(each[slot, :, :num_tokens].clone() for each in self._cache.keys),
            tuple(each[slot, :, :num_tokens].clone() for each in self._cache.values),
        )

    def load_prefix(self, slot: int, prefix: Prefix) -> None:
        """Begin a slot with positions that were computed before."""
        for kept, target_cache in (
            (prefix.keys, self._cache.keys),
            (prefix.values, self._cache.values),
        ):
            for source, target in zip(kept, target_cache, strict=True):
                target[slot, :, : prefix.num_tokens] = source

    def _advance(self, sequences: SequenceOf[Sequence]) -> None:
        """Put the last frame of each sequence through the slow AR."""
        slow = self._ar.slow
        slots = [each.slot for each in sequences]
        positions = [each.num_prompt + len(each.frames) - 1 for each in sequences]
        last = self._to_device(np.stack([each.frames[-1] for each in sequences])[:, :, None])
        placement = place_steps(slots, positions, slow.rope)
        x = run_blocks(slow.layers, embed(slow, last), placement, self._cache)
        self._hidden[placement.rows[:, 0]] = slow.norm(x)[:, 0]

    def _draws(self, sequences: SequenceOf[Sequence], window: Tensor) -> FrameDraw:
        params = [each.params for each in sequences]
        seeds = np.array([each.folded_seed for each in params], np.int64)
        frames = np.array([len(each.frames) for each in sequences], np.int64)
        may_end = [len(s.frames) >= s.params.min_tokens_before_end for s in sequences]
        return FrameDraw(
            sampling_rows(params, self._ar.device),
            uniform_numbers(
                self._to_device(seeds),
                self._to_device(frames),
                1 + self._ar.config.num_codebooks,
            ),
            window,
            torch.tensor(may_end, device=self._ar.device),
        )

    def _to_device(self, values: NDArray[np.integer | np.bool]) -> Tensor:
        return torch.from_numpy(values).long().to(self._ar.device)


def _open_recorder(device: torch.device) -> Recorder | None:
    # Frames are waited for, samples are not: the codec's kernels give way to those of the ARs.
    return CudaRecorder(device, priority=-1) if device.type == "cuda" else None


def slot_bytes(ar: DualAr, max_positions: int) -> int:
    """Bytes that the cache of one sequence takes."""
    slow, size = ar.config.slow, ar.dtype.itemsize
    return 2 * slow.num_layers * slow.num_kv_heads * slow.head_dim * max_positions * size


def describe_row(sequence: Sequence) -> list[int]:
    """The columns of a sequence's next frame. Host only."""
    params, num_frames = sequence.params, len(sequence.frames)
    position = sequence.num_prompt + max(0, num_frames - 1)
    temperature, top_p, top_k = _sampling_columns(params)
    return [
        sequence.slot,
        num_frames == 0,
        position,
        position + 1,
        num_frames,
        num_frames >= params.min_tokens_before_end,
        params.folded_seed,
        temperature,
        top_p,
        top_k,
    ]


@cache
def _float_bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def _sampling_columns(params: GenerateParams) -> tuple[int, int, int]:
    return _float_bits(params.temperature), _float_bits(params.top_p), params.drawn_top_k


def pack_rows(rows: list[list[int]]) -> NDArray[np.int64]:
    """Columns of several rows, int64 [B, NUM_COLUMNS]."""
    return np.array(rows, np.int64)
