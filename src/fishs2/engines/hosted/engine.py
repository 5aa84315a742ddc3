"""Any engine in a supervised child process, behind the same Protocol.

A crash, a hang or a leak of the engine costs the utterances in work and never the server. Whether
what was lost is spoken again is for the service to say, which knows what was heard of it.
`hosted.link` is one child, `hosted.child` what runs in it, `processes.supervisor` starts the next.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from fishs2.engines.base import (
    MAX_LOSSES,
    AudioChunk,
    Capabilities,
    CodecLayout,
    Codes,
    EngineStats,
    Pcm,
    Utterance,
)
from fishs2.engines.hosted.link import Link
from fishs2.engines.hosted.messages import NOBODY, Failure, Profile, Recipe, error_of
from fishs2.engines.hosted.watch import HostLimits
from fishs2.errors import EngineError, EngineLostError, EngineUnavailableError, Fishs2Error
from fishs2.processes.supervisor import LostError, NoWorkerError, Supervisor

_T = TypeVar("_T")


class HostedEngine:
    """The engine of a recipe, in a child process; a SpeechEngine.

    Capabilities, voices and errors are those of the engine in the child. An utterance whose child
    is lost ends with EngineLostError; the next child speaks it when it is sent again.
    """

    def __init__(
        self, recipe: Recipe, *, limits: HostLimits | None = None, temp_dir: Path | None = None
    ) -> None:
        """temp_dir: where the child's temporary files may be; None is the system's folder."""
        self._recipe = recipe
        self._limits = limits or HostLimits()
        self._temp_dir = temp_dir
        self._folder: Path | None = None
        self._profile: Profile | None = None
        self._num_launched = 0
        self._supervisor = Supervisor("the engine", self._make_link, rules=self._limits.rules)

    @property
    def capabilities(self) -> Capabilities:
        return self._known_profile().capabilities

    async def start(self) -> None:
        """Start the child. Raises EngineUnavailableError and SettingsError as the engine does."""
        try:
            if self._temp_dir is not None:
                self._temp_dir.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="fishs2-engine-", dir=self._temp_dir))
        except OSError as error:
            raise EngineUnavailableError(
                f"its temporary files cannot be written: {error.strerror}; FISHS2_TEMP_DIR says "
                "where they go"
            ) from error
        try:
            await self._supervisor.start()
        except LostError as error:
            await self.close()
            raise EngineUnavailableError(
                f"the engine's process {error} while it started; the log says more"
            ) from None
        except BaseException:
            await self.close()
            raise

    @property
    def codes(self) -> "HostedCodes | None":
        """The codec of the engine in the child; None if it has none. Valid after `start`."""
        layout = self._known_profile().codec_layout
        return None if layout is None else HostedCodes(layout, self._ask)

    def find_voice(self, voice: str | None, language: str | None) -> str:
        """As the engine in the child: it speaks any language, in each of its voices."""
        profile = self._known_profile()
        if voice is None:
            return profile.default_voice
        found = profile.found_voices.get(voice.lower())
        if found is None:
            raise _name_voice(profile.unknown_voice, voice[:100])
        return found

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        """Yield speech as SpeechEngine says. Raises EngineError, and what the engine raises.

        Waits for the next child while there is none.
        """
        link = await self._take_link()
        try:
            async with aclosing(link.speak(utterance)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except LostError as error:
            raise self._failure_of(error) from None

    def end_speech(self, speech: str) -> None:
        """As SpeechEngine says. A child that is lost has forgotten it."""
        for link in self._supervisor.workers:
            link.end_speech(speech)

    def stats(self) -> EngineStats:
        """What the child has last said, with the restarts of the child among its own."""
        links = self._supervisor.workers
        # Without a child there is no model in memory.
        stats = (links[0].stats if links else None) or EngineStats(bool(links))
        return replace(
            stats,
            num_restarts=stats.num_restarts + self._supervisor.num_restarts,
            trouble=self._supervisor.trouble,
        )

    async def close(self) -> None:
        """End the child; speech under way fails with EngineError."""
        await self._supervisor.close()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _ask(self, ask: Callable[[Link], Awaitable[_T]]) -> _T:
        """What a child answers; if it is lost meanwhile, what the next ones do."""
        num_losses = 0
        while True:
            try:
                return await ask(await self._take_link())
            except LostError as error:
                num_losses += 1
                if num_losses > MAX_LOSSES or self._supervisor.is_closed:
                    raise self._failure_of(error) from None

    def _failure_of(self, loss: LostError) -> EngineError:
        if self._supervisor.is_closed:
            return EngineError("the engine was closed")
        return EngineLostError(f"the engine's process {loss} while it worked")

    def _known_profile(self) -> Profile:
        if self._profile is None:
            raise EngineUnavailableError("the engine has not been started")
        return self._profile

    async def _take_link(self) -> Link:
        """The child that runs; waits while one is started."""
        try:
            return await self._supervisor.take()
        except NoWorkerError as error:
            raise EngineUnavailableError(str(error)) from None

    def _make_link(self) -> Link:
        assert self._folder is not None
        folder = self._folder / str(self._num_launched)
        self._num_launched += 1
        return Link(self._recipe, self._limits, folder, self._check_profile)

    def _check_profile(self, profile: Profile) -> None:
        """Take what the first child says of itself, and let no other kind follow it."""
        if self._profile is None:
            self._profile = profile
        elif not _is_same(profile, self._profile):
            raise EngineUnavailableError("its model has changed; restart the server")


class _Ask(Protocol):
    """Lets a child answer."""

    async def __call__(self, ask: Callable[[Link], Awaitable[_T]]) -> _T: ...


class HostedCodes:
    """The codec of an engine in a child process; a CodesEngine.

    Work whose child is lost is done by the next one; EngineError if too many are.
    """

    def __init__(self, layout: CodecLayout, ask: _Ask) -> None:
        self._layout = layout
        self._ask = ask

    @property
    def codec_layout(self) -> CodecLayout:
        """As CodesEngine says."""
        return self._layout

    async def encode(self, pcm: Pcm, sample_rate_hz: int) -> Codes:
        """As CodesEngine says."""
        raw = await self._ask(lambda link: link.encode(pcm, sample_rate_hz))
        return np.frombuffer(raw, np.int32).reshape(len(self._layout.codebook_sizes), -1).copy()

    async def decode(self, codes: Codes) -> Pcm:
        """As CodesEngine says."""
        return await self._ask(lambda link: link.decode(codes))


def _is_same(new: Profile, old: Profile) -> bool:
    """Whether what the service has planned with still holds."""
    capabilities = replace(new.capabilities, num_turns=old.capabilities.num_turns)
    return (capabilities, new.codec_layout) == (old.capabilities, old.codec_layout)


def _name_voice(refusal: Failure, voice: str) -> Fishs2Error:
    """The engine's refusal of NOBODY, for the voice that was asked for."""
    message = refusal.message.replace(repr(NOBODY), repr(voice)).replace(NOBODY, voice)
    return error_of(replace(refusal, message=message))
