"""Any engine in a supervised child process, behind the same Protocol.

A crash, a hang or a leak of the engine costs the utterances in work and never the server. Here
lives the supervision: restarts, the pause between them, and when to give up for a while. Whether
what was lost is spoken again is for the service to say, which knows what was heard of it.
`hosted.link` is one child, `hosted.child` what runs in it.
"""

import asyncio
import logging
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
from fishs2.engines.hosted.link import HostLimits, Link, LostError
from fishs2.engines.hosted.messages import NOBODY, Failure, Profile, Recipe, error_of
from fishs2.errors import EngineError, EngineLostError, EngineUnavailableError, Fishs2Error

logger = logging.getLogger(__name__)

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
        self._link: Link | None = None
        # Every link that may have a process, so that `close` misses none.
        self._links: set[Link] = set()
        # Tasks of their own, never cancelled: asyncio leaves a process behind when the coroutine
        # that creates it is cancelled. `close` kills the process instead and waits.
        self._launches: set[asyncio.Task[tuple[Link, Profile]]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._losses = _Losses(self._limits)
        self._num_launched = self._num_restarts = 0
        self._trouble = ""
        self._is_closed = False

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
            link, self._profile = await asyncio.shield(self._launch())
        except LostError as error:
            await self.close()
            raise EngineUnavailableError(
                f"the engine's process {error} while it started; the log says more"
            ) from None
        except BaseException:
            await self.close()
            raise
        self._set_link(link)
        self._keeper = asyncio.create_task(self._keep(link))

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
        if self._link is not None:
            self._link.end_speech(speech)

    def stats(self) -> EngineStats:
        """What the child has last said, with the restarts of the child among its own."""
        link = self._link
        # Without a child there is no model in memory.
        stats = (link.stats if link is not None else None) or EngineStats(link is not None)
        return replace(
            stats, num_restarts=stats.num_restarts + self._num_restarts, trouble=self._trouble
        )

    async def close(self) -> None:
        """End the child; speech under way fails with EngineError."""
        self._is_closed = True
        self._announce()
        for link in self._links:
            link.ask_to_leave()
        if self._keeper is not None:
            if self._link is None:
                self._keeper.cancel()
            # Otherwise it listens until the child has left: one that cannot send does not leave.
            await asyncio.wait([self._keeper])
        await asyncio.gather(*self._launches, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in set(self._links)))
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
                if num_losses > MAX_LOSSES or self._is_closed:
                    raise self._failure_of(error) from None

    def _failure_of(self, loss: LostError) -> EngineError:
        if self._is_closed:
            return EngineError("the engine was closed")
        return EngineLostError(f"the engine's process {loss} while it worked")

    def _known_profile(self) -> Profile:
        if self._profile is None:
            raise EngineUnavailableError("the engine has not been started")
        return self._profile

    async def _take_link(self) -> Link:
        """The child that runs; waits while one is started."""
        while True:
            if self._is_closed:
                raise EngineUnavailableError("the engine was closed")
            if self._trouble:
                raise EngineUnavailableError(self._trouble)
            if self._link is not None and self._link.is_alive:
                return self._link
            await self._changed.wait()

    async def _keep(self, link: Link) -> None:
        """Keep a child running, until the engine is closed."""
        while True:
            reason = await link.listen()
            self._set_link(None)
            await self._forget(link)
            if self._is_closed:
                return
            if link.is_to_blame:
                self._losses.note(reason, has_served=link.num_finished > 0)
            logger.error("the engine's process %s", reason)
            link = await self._restart()
            self._set_link(link)

    async def _restart(self) -> Link:
        """Start another child, as often as it takes."""
        while True:
            self._set_trouble(self._losses.describe_if_too_many())
            pause_s = self._losses.pause_s
            logger.warning("another one is started in %g s", pause_s)
            await asyncio.sleep(pause_s)
            try:
                link, profile = await asyncio.shield(self._launch())
            except LostError as error:
                self._losses.note(f"{error} while it started", has_served=False)
                logger.error("the engine's process %s while it started", error)
                continue
            except Fishs2Error as error:
                self._losses.give_up(error.message)
                logger.error("the engine cannot be started again: %s", error.message)
                continue
            if _is_same(profile, self._known_profile()):
                self._num_restarts += 1
                return link
            self._losses.give_up("its model has changed; restart the server")
            link.ask_to_leave()
            await self._forget(link)

    def _launch(self) -> "asyncio.Task[tuple[Link, Profile]]":
        """Start a child; its task fails with LostError or what the engine raises."""
        launch = asyncio.create_task(self._start_link())
        self._launches.add(launch)
        launch.add_done_callback(self._launches.discard)
        return launch

    async def _start_link(self) -> tuple[Link, Profile]:
        assert self._folder is not None
        link = Link(self._recipe, self._limits, self._folder / str(self._num_launched))
        self._num_launched += 1
        self._links.add(link)
        if self._is_closed:
            link.kill("was stopped")
        try:
            return link, await link.start()
        except (LostError, Fishs2Error):
            await self._forget(link)
            raise

    async def _forget(self, link: Link) -> None:
        await link.close()
        self._links.discard(link)

    def _set_link(self, link: Link | None) -> None:
        self._link = link
        if link is not None:
            self._trouble = ""
        self._announce()

    def _set_trouble(self, trouble: str) -> None:
        self._trouble = trouble
        self._announce()

    def _announce(self) -> None:
        """Wake those who wait for a child."""
        self._changed.set()
        self._changed = asyncio.Event()


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


class _Losses:
    """How often the child was lost in a row, and what follows from it."""

    def __init__(self, limits: HostLimits) -> None:
        self._limits = limits
        self._num = 0
        self._reason = ""
        self._is_hopeless = False

    def note(self, reason: str, *, has_served: bool) -> None:
        """Another loss. has_served: the child had spoken an utterance to its end."""
        self._num = 1 if has_served else self._num + 1
        self._reason = f"its process {reason}"
        self._is_hopeless = False

    def give_up(self, reason: str) -> None:
        """The engine itself says that it cannot work."""
        self._num += 1
        self._reason = reason
        self._is_hopeless = True

    @property
    def pause_s(self) -> float:
        """How long to wait before the next child."""
        if self.describe_if_too_many():
            return self._limits.open_s
        return self._limits.pause_s * 2 ** (self._num - 2) if self._num > 1 else 0.0

    def describe_if_too_many(self) -> str:
        """Why nothing is spoken for a while; "" while the next child may be expected to work."""
        if not self._is_hopeless and self._num < self._limits.max_losses:
            return ""
        return (
            f"the engine was lost {self._num} times in a row, last because: {self._reason}; "
            f"it is tried again every {self._limits.open_s:g} s"
        )


def _is_same(new: Profile, old: Profile) -> bool:
    """Whether what the service has planned with still holds."""
    capabilities = replace(new.capabilities, num_turns=old.capabilities.num_turns)
    return (capabilities, new.codec_layout) == (old.capabilities, old.codec_layout)


def _name_voice(refusal: Failure, voice: str) -> Fishs2Error:
    """The engine's refusal of NOBODY, for the voice that was asked for."""
    message = refusal.message.replace(repr(NOBODY), repr(voice)).replace(NOBODY, voice)
    return error_of(replace(refusal, message=message))
