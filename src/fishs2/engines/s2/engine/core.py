"""The engine without its thread: utterances in, samples out, one step at a time.

    admit -> prefill -> decode -> update -> collect

Knows no queue, event loop or client. Engine thread only.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from fishs2.engines.base import EngineStats, Pcm
from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.engine.prefixes import PrefixCache
from fishs2.engines.s2.engine.runner import Runner
from fishs2.engines.s2.engine.scheduler import Batch, Piece, Scheduler
from fishs2.engines.s2.engine.utterance_state import RAMP_FRAMES, UtteranceState
from fishs2.engines.s2.engine.vocoder import Vocoder
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.prompt import build_system, build_turns
from fishs2.engines.s2.model.step import DecodeStep, OnWait, nothing_else

Give = Callable[[UtteranceState, Pcm], None]


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

    def __init__(
        self,
        model: Model,
        limits: Limits,
        *,
        step: DecodeStep | None = None,
        vocoder: Vocoder | None = None,
    ) -> None:
        """step, vocoder: None takes the one that suits the model's device."""
        self.limits = limits
        self.prefixes = PrefixCache(max_bytes=limits.prefix_bytes)
        self._stats = EngineStats()
        self._is_stuck = False
        self._scheduler = Scheduler(
            num_slots=limits.num_slots,
            piece_tokens=limits.piece_tokens,
            step_tokens=limits.step_tokens,
            end_id=model.ar.end_id,
        )
        self._runner = Runner(
            model, num_slots=limits.num_slots, max_positions=limits.max_positions, step=step
        )
        self._vocoder = vocoder or Vocoder(
            model.codec, num_slots=limits.num_slots, max_positions=limits.max_positions
        )

        self._fixed_bytes = self._runner.num_bytes + self._vocoder.num_bytes

    def stats(self) -> EngineStats:
        """What was done since the start; from any thread."""
        return replace(
            self._stats,
            num_slots=self.limits.num_slots,
            num_running=self._scheduler.num_running,
            num_voice_hits=self.prefixes.num_hits,
            num_voice_misses=self.prefixes.num_misses,
            cache_bytes=self._fixed_bytes + self.prefixes.num_bytes,
        )

    @property
    def is_stuck(self) -> bool:
        """The last step could do nothing: who is there waits for a part that has yet to come."""
        return self._is_stuck

    @property
    def is_idle(self) -> bool:
        return self._scheduler.is_idle

    @property
    def running(self) -> Sequence[UtteranceState]:
        """All that have a slot, oldest first."""
        return self._scheduler.running

    @property
    def num_speeches(self) -> int:
        """Speeches of which something is carried over from part to part."""
        return self._vocoder.num_speeches

    def add(self, utterance: UtteranceState) -> None:
        """Let an utterance wait for a slot."""
        self._vocoder.enter(utterance)
        self._scheduler.add(utterance)

    def end_speech(self, speech: str) -> None:
        """Forget what was carried over for a speech."""
        self._vocoder.end_speech(speech)

    @torch.inference_mode()
    def release(self, utterance: UtteranceState) -> None:
        """Forget an utterance in whatever state it is, and free what it has."""
        self._vocoder.leave(utterance)
        self._scheduler.release(utterance)

    @torch.inference_mode()
    def step(self, give: Give | None = None) -> list[tuple[UtteranceState, Pcm]]:
        """Go on with everybody by one frame. Returns the samples that became ready.

        give: takes samples that come while the step waits for its frames; they are not in the list.
        Whoever added an utterance releases it once it `is_spoken`.
        """
        started_s = time.perf_counter()
        self._admit()
        batch = self._scheduler.schedule()
        self._read_prompts(batch)
        frames = self._runner.decode(batch.decode, self._on_wait(give)) if batch.decode else []
        self._scheduler.update(batch, frames)
        chunks = list(self._vocoder.collect(self._scheduler.running))
        self._scheduler.end_silent()
        self._is_stuck = not (batch.prefill or batch.decode or chunks)
        if self._is_stuck and self._scheduler.num_waiting:
            # With fewer slots than utterances, the part that they wait for may be the one without.
            for utterance in list(self._scheduler.running):
                if not (utterance.num_chunks or utterance.is_spoken):
                    self._scheduler.park(utterance)
        self._count(batch, time.perf_counter() - started_s)
        return chunks

    def warm_up(self, model: Model) -> None:
        """Speak a word that nobody hears: what is compiled or allocated at first use, is then."""
        num_codebooks = model.ar.config.num_codebooks
        system = build_system(model.tokenizer, num_codebooks=num_codebooks)
        turns = build_turns(model.tokenizer, "Hello.", num_codebooks=num_codebooks)
        prompt = np.concatenate((system, turns), axis=1)
        # Every size of chunk is new to a card; on a CPU a frame takes too long for that.
        is_card = model.ar.device.type == "cuda"
        num_frames = sum(RAMP_FRAMES) if is_card else RAMP_FRAMES[0]
        params = GenerateParams(min_tokens_before_end=num_frames)
        word = UtteranceState(prompt, system.shape[1], params, num_frames)
        self.add(word)
        while not word.is_spoken:
            self.step()
        self.release(word)
        self._stats = EngineStats()
        self.prefixes.num_misses = 0

    def check_integrity(self) -> None:
        """Raise AssertionError if a slot was lost."""
        self._scheduler.check_integrity()

    def _on_wait(self, give: Give | None) -> OnWait:
        if give is None:
            return nothing_else

        def give_arrived() -> bool:
            for utterance, pcm in self._vocoder.arrived():
                give(utterance, pcm)
            return self._vocoder.is_waiting

        return give_arrived

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
        while (utterance := self._scheduler.admit()) is not None:
            if utterance.state == "finished":
                continue  # it has all its frames
            prefix = self.prefixes.find(utterance)
            if prefix is not None:
                self._runner.load_prefix(utterance.slot, prefix)
                self._scheduler.skip(utterance, prefix.num_tokens)

    def _read_prompts(self, batch: Batch) -> None:
        for piece in batch.prefill:
            self._runner.prefill(piece)
            self._keep_prefix(piece)

    def _keep_prefix(self, piece: Piece) -> None:
        utterance = piece.utterance
        if piece.stop == utterance.num_prefix:
            prefix = self._runner.save_prefix(utterance.slot, utterance.num_prefix)
            self.prefixes.add(utterance, prefix)
