"""Those who speak with the server all the time: what they ask, how they listen, what they heard."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.campaign.calls import Call
from benchmarks.campaign.clients import PATIENCE_S, Clients, is_cut, refusal_of
from benchmarks.soak_clients import without_serial

Ending = Literal["reads", "reads slowly", "leaves early", "leaves midway"]
_ENDINGS: dict[Ending, int] = {
    "reads": 55,
    "reads slowly": 10,
    "leaves early": 15,
    "leaves midway": 20,
}
_SLOW_PIECE_S = 0.05
_MAX_WRONG_SHOWN = 20

SEES_KILLS_FOR_S = 2.0
"""A process is replaced in the time after its kill; whoever asks then may hear of it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one request brought. status: 200, or that of the refusal; 0 on a WebSocket."""

    status: int
    content: bytes
    first_audio_s: float = 0.0


class CutError(Exception):
    """The answer ended before its end."""


@dataclass(slots=True)
class Tally:
    """What became of all requests. kills_s: when children of the server were killed."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    first_audio_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    kills_s: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """wrong audio, other status, cut, server error: how many that nobody provoked."""
    examples: list[str] = field(default_factory=list)

    def note_fault(self, kind: str, text: str) -> None:
        """Count something that must not be."""
        self.faults[kind] += 1
        if len(self.examples) < _MAX_WRONG_SHOWN:
            self.examples.append(f"{kind}: {text[:300]}")

    def was_provoked(self, started_s: float) -> bool:
        """Whether a child was killed while a request that began then was under way."""
        return any(killed_s > started_s - SEES_KILLS_FOR_S for killed_s in self.kills_s)


async def hear(call: Call, clients: Clients) -> Heard:
    """Listen to the end. Raises CutError; a refusal is an answer."""
    started_s = time.perf_counter()
    first_s, pieces = 0.0, []
    try:
        async with asyncio.timeout(PATIENCE_S), aclosing(call.stream(clients)) as stream:
            async for piece in stream:
                first_s = first_s or time.perf_counter() - started_s
                pieces.append(piece)
    except Exception as error:  # noqa: BLE001 - every client has errors of its own
        return _refused(error)
    return Heard(200, without_serial(b"".join(pieces)), first_s)


def _refused(error: Exception) -> Heard:
    status = refusal_of(error)
    if status is not None:
        return Heard(status, b"")
    if is_cut(error):
        raise CutError(f"{type(error).__name__}: {error}") from error
    raise error


async def hear_alone(calls: Sequence[Call], clients: Clients) -> list[Heard]:
    """Each of them once, one after the other."""
    return [await hear(call, clients) for call in calls]


class Listeners:
    """Clients that ask for any of the calls, until they are told to stop.

    expected: for each call, what it may sound like.
    """

    def __init__(
        self,
        clients: Clients,
        calls: Sequence[Call],
        expected: Sequence[Sequence[Heard]],
        tally: Tally,
    ) -> None:
        self._clients = clients
        self._calls = calls
        self._expected = expected
        self._tally = tally
        self._order: list[int] = []

    async def work(self, pick: random.Random, ends_s: float) -> None:
        """One client, request after request, until this moment of the monotonic clock."""
        while time.monotonic() < ends_s:
            if not self._order:
                # Every call comes once before any comes twice.
                self._order = pick.sample(range(len(self._calls)), len(self._calls))
            index = self._order.pop()
            ending = pick.choices(list(_ENDINGS), list(_ENDINGS.values()))[0]
            await self.listen(index, ending, random.Random(pick.random()))

    async def listen(self, index: int, ending: Ending, chance: random.Random) -> None:
        """One request from its beginning to its end, and what became of it."""
        call, outcomes = self._calls[index], self._tally.outcomes[self._calls[index].dialect]
        started_s = time.monotonic()
        try:
            match ending:
                case "reads":
                    self._judge(index, await hear(call, self._clients), ending, started_s)
                case "reads slowly":
                    heard = await hear(_slowed(call), self._clients)
                    self._judge(index, heard, ending, started_s)
                case "leaves early" | "leaves midway":
                    await self._leave(call, ending, chance)
                    outcomes[ending] += 1
        except CutError as error:
            if self._tally.was_provoked(started_s):
                outcomes["cut by a kill"] += 1
            else:
                outcomes["cut"] += 1
                self._tally.note_fault("cut", f"{call.dialect}, {call.name}: {error}")

    async def _leave(self, call: Call, ending: Ending, chance: random.Random) -> None:
        """Ask, and go before the first audio or after some of it."""
        # A task of its own: what the packages make of being left is their own affair.
        listening = asyncio.create_task(_hear_beginning(call, self._clients))
        mean_s = 0.1 if ending == "leaves early" else 1.0
        await asyncio.wait([listening], timeout=chance.expovariate(1 / mean_s))
        listening.cancel()
        await asyncio.wait([listening])
        if not listening.cancelled():
            listening.exception()

    def _judge(self, index: int, heard: Heard, ending: Ending, started_s: float) -> None:
        call, expected = self._calls[index], self._expected[index]
        outcomes = self._tally.outcomes[call.dialect]
        name = f"{call.dialect}, {call.name}"
        if heard.status not in {each.status for each in expected}:
            is_busy = heard.status in (429, 503)
            if (is_busy or heard.status >= 500) and self._tally.was_provoked(started_s):
                outcomes[f"{heard.status} after a kill"] += 1
                return
            outcomes[f"unexpected {heard.status}"] += 1
            kind = "server error" if heard.status >= 500 else "other status"
            self._tally.note_fault(kind, f"{name}: {heard.status}")
        elif heard.status != 200:
            outcomes["refused as alone"] += 1
        elif call.likeness == "bytes" and heard.content not in {e.content for e in expected}:
            outcomes["wrong audio"] += 1
            lengths = [len(each.content) for each in expected]
            self._tally.note_fault(
                "wrong audio", f"{name}: {len(heard.content)} bytes, alone {lengths}"
            )
        else:
            outcomes[ending] += 1
            if call.is_streamed and ending == "reads":
                self._tally.first_audio_s[call.dialect].append(heard.first_audio_s)


async def _hear_beginning(call: Call, clients: Clients) -> None:
    async with aclosing(call.stream(clients)) as stream:
        for _ in range(2):
            await anext(stream, None)


def _slowed(call: Call) -> Call:
    async def stream(clients: Clients) -> AsyncGenerator[bytes]:
        async with aclosing(call.stream(clients)) as pieces:
            async for piece in pieces:
                await asyncio.sleep(_SLOW_PIECE_S)
                yield piece

    return Call(call.dialect, call.name, stream)
