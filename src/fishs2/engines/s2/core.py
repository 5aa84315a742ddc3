"""The engine without its thread: sequences in, samples out, one step at a time.

    admit -> prefill -> decode -> update -> collect

Knows no queue, event loop or client. Engine thread only.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from fishs2.engines.base import EngineStats, Pcm
from fishs2.engines.s2.device_stream import open_codec_stream
from fishs2.engines.s2.model import Model
from fishs2.engines.s2.prefixes import PrefixCache
from fishs2.engines.s2.runner import Runner
from fishs2.engines.s2.scheduler import Batch, Piece, Scheduler
from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.vocoder import Vocoder
from fishs2.engines.s2.vocoder_stream import StreamVocoder


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine may use.

    num_slots: utterances at once. max_positions: of prompt and frames of one. piece_tokens: of a
    prompt at once. step_tokens: of prompts in one step, while others speak. prefix_bytes: of voices
    that are kept ready.
    """

    num_slots: int
    max_positions: int = 4096
    piece_tokens: int = 128
    step_tokens: int = 128
    prefix_bytes: int = 1 << 30

    def with_slots(self, num_slots: int) -> "Limits":
        """The same for another number of utterances."""
        return replace(self, num_slots=num_slots)


class Core:
    """Everything that speaks, for `limits.num_slots` utterances at once."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self.limits = limits
        self.prefixes = PrefixCache(max_bytes=limits.prefix_bytes)
        self._stats = EngineStats()
        self._scheduler = Scheduler(
            num_slots=limits.num_slots,
            piece_tokens=limits.piece_tokens,
            step_tokens=limits.step_tokens,
            end_id=model.ar.end_id,
        )
        self._runner = Runner(
            model.ar, num_slots=limits.num_slots, max_positions=limits.max_positions
        )
        self._vocoder: Vocoder | StreamVocoder
        if model.codec.device.type == "cuda":
            self._vocoder = StreamVocoder(open_codec_stream(model.codec, limits.num_slots))
        else:
            self._vocoder = Vocoder(model.codec, num_slots=limits.num_slots)

    def stats(self) -> EngineStats:
        """What was done since the start; from any thread."""
        return replace(
            self._stats,
            num_slots=self.limits.num_slots,
            num_running=self._scheduler.num_running,
            num_voice_hits=self.prefixes.num_hits,
            num_voice_misses=self.prefixes.num_misses,
        )

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for a slot."""
        self._scheduler.add(sequence)

    def release(self, sequence: Sequence) -> None:
        """Forget a sequence in whatever state it is, and free what it has."""
        self._scheduler.release(sequence)
        self._vocoder.forget(sequence)

    @torch.inference_mode()
    def step(self) -> Iterator[tuple[Sequence, Pcm]]:
        """Go on with everybody by one frame. Yields the samples that became ready.

        A sequence whose state is "finished" afterwards, and that has nothing left unvoiced, has
        been spoken; whoever added it releases it.
        """
        started_s = time.perf_counter()
        self._admit()
        batch = self._scheduler.schedule()
        self._read_prompts(batch)
        frames = self._runner.decode(batch.decode) if batch.decode else []
        self._scheduler.update(batch, frames)
        yield from self._vocoder.collect(batch.decode)
        self._count(batch, time.perf_counter() - started_s)

    def check_integrity(self) -> None:
        """Raise AssertionError if a slot was lost."""
        self._scheduler.check_integrity()

    def _count(self, batch: Batch, took_s: float) -> None:
        before = self._stats
        self._stats = replace(
            before,
            num_steps=before.num_steps + 1,
            step_s=before.step_s + took_s,
            num_prefilled=before.num_prefilled + sum(p.stop - p.start for p in batch.prefill),
            num_frames=before.num_frames + len(batch.decode),
        )

    def _admit(self) -> None:
        while (sequence := self._scheduler.admit()) is not None:
            self._vocoder.begin(sequence.slot)
            prefix = self.prefixes.find(sequence)
            if prefix is not None:
                self._runner.load_prefix(sequence.slot, prefix)
                sequence.num_prefilled = prefix.num_tokens

    def _read_prompts(self, batch: Batch) -> None:
        for piece in batch.prefill:
            self._runner.prefill(piece)
            self._keep_prefix(piece)

    def _keep_prefix(self, piece: Piece) -> None:
        sequence = piece.sequence
        if piece.stop == sequence.num_prefix:
            prefix = self._runner.save_prefix(sequence.slot, sequence.num_prefix)
            self.prefixes.add(sequence, prefix)
