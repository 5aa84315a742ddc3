"""The utterances of a request as one continuous speech."""

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from fishs2.audio.joints import Joints
from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Part, SpeechEngine, Utterance
from fishs2.service.admission import Admission
from fishs2.service.feed import UtteranceFeed

Read = Callable[[UtteranceFeed], AsyncGenerator[Pcm]]
"""How a feed is read: `UtteranceFeed.read` as it comes, `read_whole` once it is complete."""


class PartsReport(Protocol):
    """Told how far it is: parts that sounded, that are complete, and that were spoken again."""

    num_begun: int
    num_spoken: int
    num_rerolls: int


def as_parts(utterances: Sequence[Utterance]) -> list[Utterance]:
    """The same utterances, as parts of a speech of their own if they are several."""
    if len(utterances) == 1:
        return list(utterances)
    speech, last = uuid.uuid4().hex, len(utterances) - 1
    return [
        replace(utterance, part=Part(speech, index, is_last=index == last))
        for index, utterance in enumerate(utterances)
    ]


async def speak_parts(
    engine: SpeechEngine,
    admission: Admission,
    utterances: Sequence[Utterance],
    pauses_s: Sequence[float],
    *,
    read: Read,
    report: PartsReport,
) -> AsyncGenerator[Pcm]:
    """Yield the PCM of all utterances in order, each followed by its pause.

    At most two utterances are in flight: the one being read and the next. Raises BusyError before
    the first item, EngineError at any time.
    """
    feeds = [UtteranceFeed(engine, admission, each) for each in as_parts(utterances)]
    joints = Joints(engine.capabilities.sample_rate_hz)
    try:
        await feeds[0].start_as_first()
        for index, pause_s in enumerate(pauses_s):
            if index + 1 < len(feeds):
                feeds[index + 1].start()
            join = joints.add_before_pause if pause_s else joints.add
            async with aclosing(read(feeds[index])) as pieces:
                has_sound = False
                async for pcm in pieces:
                    has_sound = True
                    report.num_begun = index + 1
                    joined = join(pcm)
                    if len(joined):
                        yield joined
            report.num_spoken += 1
            if has_sound and pause_s:
                yield joints.pause(pause_s)
    finally:
        for feed in feeds:
            await feed.close()
        report.num_rerolls = sum(feed.num_rerolls for feed in feeds)
