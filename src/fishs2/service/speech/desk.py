"""The desk: the only way to speak for somebody.

    write     decide all that can be refused                nobody pays
    speak     count, reserve, (perform), settle             a text that is all there
    speak_live                                              a text that comes while it is spoken
    clip      the same, once for all who want this audio    kept audio
    work      count, reserve no characters, settle          what is no speech
    listen    count, reserve one, settle what was heard     recordings

What begins here ends here: whatever becomes of the caller, the reservation is settled when its
block ends, and so before whoever sends the audio sends the last of it. Dialects translate.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from fishs2.errors import StoreUnavailableError, UserError
from fishs2.service.accounts.accounts import Accounts, Principal, Reservation
from fishs2.service.clips import Clips, Keep
from fishs2.service.speech.live import LiveScript, LiveText
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import SpeechService, Spoken
from fishs2.service.speech.whole import WholeScript
from fishs2.store.accounts.usage import Outcome
from fishs2.store.clips import Clip

OnEnd = Callable[[SpeechReport], None]


class Charge:
    """What somebody is charged for what is heard; told by whoever hears it."""

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation
        self._num_chars = 0
        self._num_reserved = 1

    async def add(self, text: str, *, until_s: float) -> None:
        """Charge more of what was heard. until_s: seconds of sound so far.

        Raises QuotaError `insufficient_quota`.
        """
        self._num_chars += len(text)
        if (missing := self._num_chars - self._num_reserved) > 0:
            await self._reservation.grow(missing)
            self._num_reserved += missing
        self._reservation.outcome = Outcome(self._num_chars, until_s)


class Desk:
    """Speaks for principals. One event loop."""

    def __init__(
        self,
        accounts: Accounts,
        clips: Clips,
        *,
        open_service: Callable[[], Awaitable[SpeechService]],
        identify_engine: Callable[[], str],
        on_end: OnEnd,
    ) -> None:
        """open_service: waits for the engine. identify_engine: names all about it that shapes its
        sound. on_end: told of every speech that has ended.
        """
        self._accounts = accounts
        self._clips = clips
        self._open_service = open_service
        self._identify_engine = identify_engine
        self._on_end = on_end

    async def write(self, request: SpeechRequest) -> WholeScript:
        """Decide how to speak `request`, which costs nothing.

        Raises UserError with the field at fault, EngineUnavailableError.
        """
        service = await self._open_service()
        return await service.write(request)

    @asynccontextmanager
    async def speak(self, principal: Principal, script: WholeScript) -> AsyncGenerator[Spoken]:
        """Speak a script in this block; what it cost is settled when the block ends.

        Raises QuotaError, EngineUnavailableError.
        """
        principal = await self._counted(principal)
        service = await self._open_service()
        async with self._accounts.reserve(principal, script.num_chars) as reservation:
            spoken = service.speak(script)
            async with self._charged(spoken, reservation):
                yield spoken

    @asynccontextmanager
    async def speak_live(
        self, principal: Principal, request: SpeechRequest, text: LiveText
    ) -> AsyncGenerator[Spoken]:
        """Speak a text as it comes; what is known of it is reserved when it is written.

        Raises UserError, QuotaError, EngineUnavailableError; reading the speech raises them too.
        """
        if request.text_type == "ssml":
            raise UserError(
                "text that comes while it is spoken cannot be SSML, which has to be there as a "
                "whole: send the document in one request, or plain text",
                code="invalid_parameter",
                param="text_type",
            )
        principal = await self._counted(principal)
        service = await self._open_service()
        plan = await service.plan(request)
        async with self._accounts.reserve(principal, 0) as reservation:
            spoken = service.speak(LiveScript(plan, text, reservation.grow), is_live=True)
            async with self._charged(spoken, reservation):
                yield spoken

    async def clip(self, principal: Principal, script: WholeScript) -> Clip:
        """The kept audio of a script; it is made, and paid for, by the first who asks.

        Raises what speaking raises, and StoreUnavailableError.
        """
        principal = await self._counted(principal)

        async def make(keep: Keep) -> Clip:
            async with self.speak(principal, script) as spoken, spoken.render() as sound:
                try:
                    return await keep(sound.spool)
                except StoreUnavailableError:
                    spoken.report.outcome = "failed"
                    raise

        key = script.content_key(engine=self._identify_engine())
        return await self._clips.get_or_make(key, script.plan.format.name, make)

    @asynccontextmanager
    async def work(self, principal: Principal) -> AsyncGenerator[None]:
        """Do what is no speech in this block: it costs a request and no characters.

        Raises QuotaError.
        """
        principal = await self._counted(principal)
        async with self._accounts.reserve(principal, 0) as reservation:
            yield
            reservation.outcome = Outcome()

    @asynccontextmanager
    async def listen(self, principal: Principal) -> AsyncGenerator[Charge]:
        """Hear a recording in this block: it costs a request and the characters that are heard.

        A key that has any left may begin. Raises QuotaError.
        """
        principal = await self._counted(principal)
        async with self._accounts.reserve(principal, 1) as reservation:
            yield Charge(reservation)
            reservation.outcome = reservation.outcome or Outcome()

    async def _counted(self, principal: Principal) -> Principal:
        """Who asks, counted: most are at the door, before anything of their request is read."""
        return principal if principal.is_counted else await self._accounts.count(principal)

    @asynccontextmanager
    async def _charged(self, spoken: Spoken, reservation: Reservation) -> AsyncGenerator[None]:
        report = spoken.report
        try:
            yield
        finally:
            # One that never began is nobody's speech.
            if report.outcome != "running":
                report.log()
                self._on_end(report)
            reservation.outcome = report.cost()
            await spoken.close()
