"""The utterances of a request, heard one after the other as one speech."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from fishs2.audio.joints import Joints
from fishs2.audio.pcm import Pcm
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.report import SpeechReport

Read = Callable[[UtteranceFeed], AsyncGenerator[Pcm]]
"""How a feed is read: `UtteranceFeed.read` as it comes, `read_whole` once it is complete."""


async def speak_parts(
    feeds: Sequence[UtteranceFeed],
    pauses_s: Sequence[float],
    joints: Joints,
    *,
    read: Read,
    report: SpeechReport,
) -> AsyncGenerator[Pcm]:
    """Yield the PCM of all utterances in order, each followed by its pause.

    At most two utterances are in flight: the one being read and the next. Raises BusyError before
    the first item, EngineError at any time. All feeds are closed at the end.
    """
    try:
        await feeds[0].start_as_first()
        for index, pause_s in enumerate(pauses_s):
            if index + 1 < len(feeds):
                feeds[index + 1].start_after(feeds[index])
            join = joints.add_before_pause if pause_s else joints.add
            has_sound = False
            async with aclosing(read(feeds[index])) as pieces:
                async for pcm in pieces:
                    has_sound = True
                    report.num_begun = index + 1
                    joined = join(pcm)
                    if len(joined):
                        yield joined
            if has_sound and pause_s:
                # What was held back is the end of this utterance still.
                yield joints.end()
            report.num_spoken += 1
            if has_sound and pause_s:
                yield joints.pause(pause_s)
    finally:
        # All at once: who is cancelled while it waits for one must not leave another behind.
        for feed in feeds:
            feed.abort()
        feeds[0].end_speech()
        for feed in feeds:
            await feed.close()
            report.num_rerolls += feed.num_rerolls
