"""Speech with one started engine: plans requests, and speaks scripts. `desk` is its only caller."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from fishs2.engines.base import SpeechEngine
from fishs2.errors import UserError
from fishs2.service.lexicons import Lexicons
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.audio_path import AudioPaths
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.performance import Performance, Read, Script
from fishs2.service.speech.plan import Planner, SpeechPlan, SpeechRules
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.sound import Sound
from fishs2.service.speech.timing.aligning import Aligner
from fishs2.service.speech.timing.times import SpeechTimes
from fishs2.service.speech.timing.units import Kind
from fishs2.service.speech.verify import Verifier
from fishs2.service.speech.whole import WholeScript, write_whole
from fishs2.service.voices.library import Voices

_SHORT_CHARS = 1_000
"""Of a text that is split in 1 ms; 12,000 characters take 10 ms."""


class SpeechService:
    """Speaks with one started engine, in its own voices and in stored ones."""

    def __init__(
        self,
        engine: SpeechEngine,
        admission: Admission,
        voices: Voices,
        rules: SpeechRules,
        lexicons: Lexicons,
        *,
        verifier: Verifier | None = None,
        aligner: Aligner | None = None,
    ) -> None:
        """verifier: hears what is spoken; None refuses requests that ask for it. aligner: hears
        when it sounds.
        """
        self._verifier = verifier
        self._aligner = aligner
        self._engine = engine
        self._admission = admission
        self._max_input_chars = rules.max_input_chars
        self._writing = asyncio.Lock()
        self._planner = Planner(engine, voices, rules, lexicons)
        rate_hz = engine.capabilities.sample_rate_hz
        self._paths = AudioPaths(rate_hz, temp_dir=rules.temp_dir)

    def close(self) -> None:
        """End the audio threads. No request may be in progress."""
        self._paths.close()

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide how to speak `request`, whatever its text.

        Raises UserError; ListenerMissingError where it is to be verified and nothing can hear it.
        """
        if request.verify:
            if self._verifier is None:
                raise UserError(
                    "speech cannot be verified here", code="invalid_parameter", param="verify"
                )
            self._verifier.check()
        plan = await self._planner.plan(request)
        if request.timestamps is None and request.captions is None:
            return plan
        return replace(plan, times=self._kind_of_times())

    def _kind_of_times(self) -> Kind:
        if self._engine.capabilities.marks_words:
            return "exact"
        is_heard = self._aligner is not None and self._aligner.is_available
        return "aligned" if is_heard else "estimated"

    async def write(self, request: SpeechRequest) -> WholeScript:
        """Decide how to speak all of `request`. Raises UserError with the field at fault."""
        plan = await self.plan(request)
        if len(request.text) <= _SHORT_CHARS:
            return write_whole(plan, max_chars=self._max_input_chars)
        async with self._writing:
            # Between two of these others get on, however many wait.
            await asyncio.sleep(0)
            return write_whole(plan, max_chars=self._max_input_chars)

    def speak(self, script: Script, *, is_live: bool = False) -> "Spoken":
        """A speech that has not begun."""
        report = SpeechReport(script.plan.request, is_live=is_live)
        return Spoken(
            self._engine,
            self._admission,
            self._paths,
            script,
            report,
            verifier=self._verifier,
            times=self._times_of(script),
        )

    def _times_of(self, script: Script) -> SpeechTimes | None:
        kind, hear = script.plan.times, None
        if kind is None:
            return None
        if kind == "aligned" and self._aligner is not None:
            hear = self._aligner.of(script.plan.request.language)
        return SpeechTimes(script.source, is_marked=kind == "exact", hear=hear)


class Spoken:
    """One speech: streamed or rendered, once. report: what has become of it. times: when its words
    sound, where the request asks; complete after `finish`.
    """

    def __init__(
        self,
        engine: SpeechEngine,
        admission: Admission,
        paths: AudioPaths,
        script: Script,
        report: SpeechReport,
        *,
        verifier: Verifier | None = None,
        times: SpeechTimes | None = None,
    ) -> None:
        self._verifier = verifier
        self.times = times
        self.script = script
        self.report = report
        self._engine = engine
        self._admission = admission
        self._paths = paths
        self._performance: Performance | None = None

    @property
    def is_idle(self) -> bool:
        """Whether everything that could be spoken has been."""
        return self._performance is not None and self._performance.is_idle

    def stream(self) -> AsyncGenerator[bytes]:
        """Yield encoded audio as it is made, in the streamed form of the format.

        The first item holds audio, so whoever has it knows that the engine works. Closing the
        generator aborts the work. Raises BusyError or UserError before the first item, EngineError
        at any time; where the text comes later, all of them at any time.
        """
        plan = self.script.plan
        path = self._paths.stream(
            plan.format,
            plan.request.effects,
            has_louder_parts=self.script.has_louder_parts,
            in_hand=self.report.sound_in_hand_s,
        )
        return self._perform(UtteranceFeed.read).encoded(path)

    @asynccontextmanager
    async def render(self) -> AsyncGenerator[Sound]:
        """Speak to the end, and have a complete file in this block.

        Raises what `stream` raises, and StoreUnavailableError where a long one finds no room.
        """
        plan = self.script.plan
        file = self._paths.file(
            plan.format,
            plan.request.effects,
            has_louder_parts=self.script.has_louder_parts,
        )
        async with file as (path, sound):
            async with aclosing(self._perform(UtteranceFeed.read_whole).encoded(path)) as encoded:
                async for _ in encoded:
                    pass
            yield sound

    async def close(self) -> None:
        """End what of it is still to be heard again."""
        if self.times is not None:
            await self.times.close()

    def _perform(self, read: Read) -> Performance:
        self._performance = Performance(
            self._engine,
            self._admission,
            self.script,
            self.report,
            read=read,
            verifier=self._verifier,
            times=self.times,
        )
        return self._performance
