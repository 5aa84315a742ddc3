"""When speech sounds, as answers tell it: in JSON beside the audio, in events, or as captions."""

import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import Spoken
from fishs2.service.speech.sound import Sound
from fishs2.service.speech.timing.captions import CAPTION_TYPES, make_captions, write_captions
from fishs2.service.speech.timing.times import SpeechTimes, Timed

JSON_TYPE = "application/json"

Beside = Callable[[Spoken], tuple[dict[str, object], str]]
"""What JSON has beside the audio of a speech that has ended, and the name of the audio's field."""

_PIECE_BYTES = 3 * 262_144
"""Whole groups of base64."""


def content_type(request: SpeechRequest) -> str:
    """Of an answer with times: captions alone are a file of their own."""
    if request.timestamps is None and request.captions is not None:
        return CAPTION_TYPES[request.captions]
    return JSON_TYPE


async def timed_answer(
    spoken: Spoken, sound: Sound, beside: Beside | None = None
) -> tuple[int, AsyncGenerator[bytes]]:
    """The length of an answer with times, in bytes, and its pieces.

    spoken: to its end. beside: a dialect's own JSON; None means ours.
    """
    times, request = spoken.times, spoken.script.plan.request
    assert times is not None
    await times.finish()
    if beside is not None:
        return _with_audio(*beside(spoken), sound)
    captions = tell_captions(spoken)
    if request.timestamps is None and captions is not None:
        content = captions.encode()
        return len(content), _once(content)
    told: dict[str, object] = {
        "format": spoken.script.plan.format.name,
        "seconds": round(spoken.report.audio_s + spoken.script.plan.format.priming_s, 3),
        "times": tell_times(times, request),
    }
    if captions is not None:
        told["captions"] = captions
    return _with_audio(told, "audio", sound)


def tell_captions(spoken: Spoken) -> str | None:
    """The captions of a speech whose times are complete; None if nobody asked."""
    times, kind = spoken.times, spoken.script.plan.request.captions
    if times is None or kind is None:
        return None
    return write_captions(make_captions(times.sentences, times.words), kind)


def tell_times(
    times: SpeechTimes, request: SpeechRequest, *, since: tuple[int, int] = (0, 0)
) -> dict[str, object]:
    """Words and sentences as JSON. since: how many of each were told before."""
    words = times.words[since[0] :] if request.timestamps == "word" else []
    return {
        "kind": times.kind,
        "words": [_tell(each) for each in words],
        "sentences": [_tell(each) for each in times.sentences[since[1] :]],
    }


class TimesTold:
    """What is new in the times of a speech, for events. spoken: asked for times or not."""

    def __init__(self, spoken: Spoken) -> None:
        self._times = spoken.times
        self._request = spoken.script.plan.request
        self._told = (0, 0)

    def fresh(self) -> dict[str, object] | None:
        """What became known since the last call; None if nothing did, or nobody asked."""
        times = self._times
        if times is None or self._request.timestamps is None:
            return None
        known = (len(times.words), len(times.sentences))
        is_new = known[1] > self._told[1] or (
            self._request.timestamps == "word" and known[0] > self._told[0]
        )
        if not is_new:
            return None
        told = tell_times(times, self._request, since=self._told)
        self._told = known
        return told


def _tell(timed: Timed) -> dict[str, object]:
    return {
        "text": timed.text,
        "start": round(timed.start_s, 3),
        "end": round(timed.end_s, 3),
        "char_start": timed.char_start,
        "char_end": timed.char_end,
    }


def _with_audio(
    told: dict[str, object], name: str, sound: Sound
) -> tuple[int, AsyncGenerator[bytes]]:
    """JSON with the sound as its last field, in base64: the length in bytes, and the pieces."""
    head = f'{json.dumps(told, ensure_ascii=False)[:-1]}, "{name}": "'.encode()
    return len(head) + 4 * -(-sound.num_bytes // 3) + 2, _encoded(head, sound)


async def _encoded(head: bytes, sound: Sound) -> AsyncGenerator[bytes]:
    yield head
    async with aclosing(sound.pieces(_PIECE_BYTES)) as pieces:
        async for piece in pieces:
            yield base64.b64encode(piece)
    yield b'"}'


async def _once(content: bytes) -> AsyncGenerator[bytes]:
    yield content
