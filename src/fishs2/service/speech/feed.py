"""One utterance, spoken ahead of whoever reads it."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from fishs2.audio.pcm import Pcm, cut
from fishs2.engines.base import MAX_LOSSES, SpeechEngine, Utterance, WordMark
from fishs2.errors import EngineError, EngineLostError, RunawaySpeechError
from fishs2.service.speech.admission import Admission, AheadTurn, SoundInHand, nothing_in_hand
from fishs2.service.speech.onset import Echo, Onset
from fishs2.service.speech.verify import Verdict, Verify, judge

_MAX_REROLLS = 2

_PLENTY_S = 5.0
"""Sound that was not read, with which the next utterance can wait."""

_PIECE_S = 1.0
"""Read at once, so that nobody's codec is in the way of another's for long."""


class UtteranceFeed:
    """Runs the engine on `utterance` at once and keeps the PCM until it is read.

    The turn at the engine ends when the engine is done, however slow the reader is. As long as
    nobody reads, the turn may be revoked: then the utterance is spoken again from its beginning.
    Speech that ran away, or has no sound, is tried again with other seeds if none of it was read.
    What the engine lost with its process is spoken again; what was read of it must come again,
    sample by sample, and is left out. `close` aborts what is left; whoever starts a feed closes it.
    """

    def __init__(
        self,
        engine: SpeechEngine,
        admission: Admission,
        utterance: Utterance,
        *,
        in_hand: SoundInHand = nothing_in_hand,
        verify: Verify | None = None,
    ) -> None:
        """in_hand: of whoever listens; who has the least goes first. verify: hears the utterance
        before anybody reads it; where something else was said it is spoken with other seeds, and
        what came nearest is kept.
        """
        self.num_rerolls = 0
        self.verdict: Verdict | None = None
        self.words: list[WordMark] = []
        """Where the engine said that words begin; complete when the utterance is."""
        self._verify = verify
        # One utterance, whole, until it has been heard.
        self._held: list[Pcm] = []
        self._first_reroll = 0
        self._engine = engine
        self._admission = admission
        self._utterance = _with_seed(utterance, engine)
        # Need not be bounded: it holds one utterance, whose text is bounded.
        self._queue: asyncio.Queue[Pcm | None] = asyncio.Queue()
        self._turn = AheadTurn(self._revoke, in_hand)
        self._turn_started_s: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._task: asyncio.Task[None] | None = None
        # What was read while more may have to be spoken again: at most one utterance.
        self._taken: list[Pcm] = []
        self._is_complete = False
        self._has_sound = False
        self._rate_hz = engine.capabilities.sample_rate_hz
        self._num_unread = 0
        self._is_read_whole = False
        self._is_awaited = False
        self._is_revoked = False
        self._next: UtteranceFeed | None = None

    async def start_as_first(self) -> None:
        """Start as the first utterance of a request, which may be refused with BusyError."""
        await self._admission.take_first_turn(len(self._utterance.text))
        self._turn.is_needed = True
        self._turn_started_s = time.perf_counter()
        self._task = asyncio.create_task(self._run())

    def start(self) -> None:
        """Start as soon as there is a turn that nobody else needs."""
        self._task = asyncio.create_task(self._run())

    def start_after(self, before: "UtteranceFeed") -> None:
        """Start once `before` has sound: until then it gets all that the engine can do.

        Later if whoever listens has plenty of that, as they may take a while, or leave.
        """
        before._next = self
        before._start_next()

    async def read(self) -> AsyncGenerator[Pcm]:
        """Yield float32 [n], chunk by chunk, as they come. Raises EngineError, UserError."""
        self._admission.need(self._turn)
        while (pcm := await self._next_chunk()) is not None:
            if not self._is_complete:
                self._taken.append(pcm)
            most = len(pcm) if self._is_read_whole else round(_PIECE_S * self._rate_hz)
            for piece in cut(pcm, most):
                # Before it is given: it is next to nothing, and whoever takes it may take a while.
                self._num_unread -= len(piece)
                self._start_next()
                yield piece
        if self._task is not None:
            await self._task

    async def _next_chunk(self) -> Pcm | None:
        if self._queue.empty() and self._has_sound:
            # Whoever listens is as fast as the engine.
            self._is_awaited = True
            self._start_next()
        return await self._queue.get()

    async def read_whole(self) -> AsyncGenerator[Pcm]:
        """Yield what `read` yields, once the utterance is complete. Raises what it raises."""
        self._is_read_whole = True
        self._start_next()
        self._admission.need(self._turn)
        if self._task is not None:
            await asyncio.wait([self._task])
        async with aclosing(self.read()) as pieces:
            async for pcm in pieces:
                yield pcm

    def abort(self) -> None:
        """Begin to abort what the engine has not finished; to be followed by `close`."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Abort what the engine has not finished and wait until it has let go."""
        self.abort()
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()  # Seen by `read`, or by nobody because nobody reads.
        # A task that is cancelled before its first step never reaches its own `finally`.
        self._end_turn()

    def end_speech(self) -> None:
        """Let the engine forget the speech that this utterance is a part of."""
        if self._utterance.part is not None:
            self._engine.end_speech(self._utterance.part.speech)

    def _revoke(self) -> None:
        # At once, and not when the engine has let go: whoever begins to read now must not hear the
        # beginning twice.
        self._is_revoked = True
        self._forget_unheard()
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _run(self) -> None:
        try:
            if self._verify is None:
                await self._speak_in_turns()
            else:
                await self._speak_as_written(self._verify)
            self._is_complete = True
            self._note_sound()
        finally:
            self._is_complete = True
            self._taken.clear()
            self._queue.put_nowait(None)

    async def _speak_in_turns(self) -> None:
        while not await self._speak_in_a_turn():
            pass

    async def _speak_as_written(self, verify: Verify) -> None:
        """Speak until what is heard is what was written, within the limits of other rerolls.

        No turn is held while it is heard. An engine without seeds would say the same again.
        """
        has_seeds = "seed" in self._engine.capabilities.honours
        best: list[Pcm] = []
        words = self.words
        for number in range(_MAX_REROLLS + 1 if has_seeds else 1):
            self.num_rerolls += number > 0
            self._first_reroll = number * (_MAX_REROLLS + 1)
            try:
                await self._speak_in_turns()
            except EngineError:
                if not best:
                    raise
                break
            spoken, self._held = self._held, []
            found = judge(await verify(np.concatenate(spoken)) if spoken else None, number)
            if found.is_better_than(self.verdict):
                self.verdict, best, words = found, spoken, self.words
            if found.outcome != "differs":
                break
        if self.verdict is not None:
            self.verdict = replace(self.verdict, num_respoken=number)
        self.words = words
        for pcm in best:
            self._offer(pcm)

    async def _speak_in_a_turn(self) -> bool:
        """Speak to the end; False if the turn was revoked."""
        if self._turn_started_s is None:
            await self._admission.take_turn_ahead(self._turn)
            self._turn_started_s = time.perf_counter()
        try:
            if not self._is_revoked:
                async with asyncio.timeout(None) as self._patience:
                    await self._speak_until_it_is_speech()
        except TimeoutError:
            if not self._is_revoked:
                raise
        finally:
            is_revoked, self._is_revoked, self._patience = self._is_revoked, False, None
            self._end_turn()
        return not is_revoked

    async def _speak_until_it_is_speech(self) -> None:
        # Counted anew in every turn: what is heard must not hang on whether one was revoked.
        num_rerolls = num_losses = 0
        while True:
            try:
                number = self._first_reroll + num_rerolls
                await self._speak(_with_other_seed(self._utterance, number))
            except RunawaySpeechError:
                if self._taken or num_rerolls == _MAX_REROLLS:
                    raise
                num_rerolls += 1
            except EngineLostError:
                if num_losses == MAX_LOSSES:
                    raise
                num_losses += 1
            else:
                return
            self.num_rerolls += 1
            self._forget_unheard()

    async def _speak(self, utterance: Utterance) -> None:
        capabilities = self._engine.capabilities
        rate_hz = capabilities.sample_rate_hz
        echo, onset = Echo(self._taken), Onset(utterance.text, capabilities)
        # Spoken again, it says so again.
        words: list[WordMark] = []
        self.words = words
        async with aclosing(self._engine.speak(utterance)) as chunks:
            async for chunk in chunks:
                if chunk.sample_rate_hz != rate_hz:
                    raise EngineError(f"the engine changed its rate to {chunk.sample_rate_hz} Hz")
                words += chunk.words
                for pcm in onset.follow(chunk.pcm):
                    self._pass_on(echo.follow(pcm))
        onset.end()
        echo.end()

    def _pass_on(self, pcm: Pcm) -> None:
        if len(pcm) and not self._is_revoked:
            if self._verify is None:
                self._offer(pcm)
            else:
                self._held.append(pcm)
        self._note_sound()

    def _offer(self, pcm: Pcm) -> None:
        self._queue.put_nowait(pcm)
        self._num_unread += len(pcm)

    def _note_sound(self) -> None:
        self._has_sound = True
        self._start_next()

    def _start_next(self) -> None:
        """Start the next utterance if it is to be made by now."""
        if self._next is not None and self._has_sound and self._is_next_wanted():
            self._next.start()
            self._next = None

    def _is_next_wanted(self) -> bool:
        """Not while there is plenty of this one, nor while nobody knows whether there will be."""
        if self._is_read_whole:
            return True
        has_plenty = self._num_unread > _PLENTY_S * self._rate_hz
        return (self._is_complete or self._is_awaited) and not has_plenty

    def _forget_unheard(self) -> None:
        self._held.clear()
        while not self._queue.empty():
            dropped = self._queue.get_nowait()
            self._num_unread -= 0 if dropped is None else len(dropped)

    def _end_turn(self) -> None:
        if self._turn_started_s is not None:
            used_s = time.perf_counter() - self._turn_started_s
            self._admission.give_back_turn(self._turn, used_s=used_s)
            self._turn_started_s = None


def _with_seed(utterance: Utterance, engine: SpeechEngine) -> Utterance:
    """With the seed that the engine would draw, so that what is spoken again is the same."""
    if utterance.sampling.seed is not None or "seed" not in engine.capabilities.honours:
        return utterance
    seed = secrets.randbits(63)
    return replace(utterance, sampling=replace(utterance.sampling, seed=seed))


def _with_other_seed(utterance: Utterance, number: int) -> Utterance:
    """An engine that honours none draws another one by itself."""
    seed = utterance.sampling.seed
    if seed is None or not number:
        return utterance
    return replace(utterance, sampling=replace(utterance.sampling, seed=seed + number))
