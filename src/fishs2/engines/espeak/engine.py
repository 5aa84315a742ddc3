"""The engine that speaks on any machine: eSpeak NG, from the espeakng-loader wheel.

Here live the choice of voice and the imitation of a reference's pitch and pace; the processes that
run eSpeak are `espeak.pool`'s, its voices' names `espeak_voices`'s.
"""

import asyncio
import os
import re
import sys
import unicodedata
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from fishs2.engines.base import (
    AudioChunk,
    Capabilities,
    EngineStats,
    Reference,
    Utterance,
    WordMark,
    find_sounds,
)
from fishs2.engines.espeak.phonemes import to_mnemonics
from fishs2.engines.espeak.pool import EspeakPool
from fishs2.engines.espeak.prosody import Prosody, measure_speech
from fishs2.engines.espeak.voices import VoiceCatalogue, read_catalogue
from fishs2.engines.espeak.worker import (
    DEFAULT_PITCH,
    DEFAULT_RATE_WPM,
    MAX_PITCH,
    MAX_RATE_WPM,
    MIN_RATE_WPM,
    SAMPLE_RATE_HZ,
    Mark,
    Order,
)
from fishs2.errors import NotFoundError, SettingsError, UserError

DEFAULT_VOICE = "en-us"
# What eSpeak makes is kept until it is read. This bounds it: usually 30 s, 1.3 MB; 500 characters
# of a foreign script, spelled out, are 140 s, 6 MB.
MAX_UTTERANCE_CHARS = 500
_MAX_DEFAULT_WORKERS = 4
_MAX_CACHED_DELIVERIES = 256

# Words that every voice can say.
_NUMBERS = "1 2 3 4 5 6 7 8 9 10"
# From here on the variant f3 (150..331 Hz) is closer than the plain voice (70..167 Hz).
_HIGH_VARIANT = "f3"
_HIGH_VOICE_FROM_HZ = 155.0
# F0 at each pitch setting over F0 at setting 50, measured on en-us; f3 differs by 5 % at most and
# a second measurement takes that out (benchmarks/builtin_calibration.py).
_PITCH_SETTINGS = (0, 10, 25, 40, 50, 60, 75, 90, 99)
_F0_RATIOS = (0.707, 0.725, 0.812, 0.912, 1.0, 1.098, 1.289, 1.517, 1.677)


_LINE_END = re.compile(r"(?<=[^\W_])\s*\n\s*")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """How to speak: the identifier of a voice, words per minute, eSpeak's pitch 0..99."""

    identifier: str
    rate_wpm: int = DEFAULT_RATE_WPM
    pitch: int = DEFAULT_PITCH


class BuiltinEngine:
    """eSpeak NG as a SpeechEngine.

    voice: the default one, `language` or `language+variant` as eSpeak names them.
    num_workers: processes; by default one a core, four at most.
    """

    def __init__(self, *, voice: str = DEFAULT_VOICE, num_workers: int | None = None) -> None:
        self._default_voice = voice.lower()
        self._num_workers = num_workers or min(_MAX_DEFAULT_WORKERS, _count_cores())
        self._pool = EspeakPool(self._num_workers)
        self._catalogue = VoiceCatalogue(voices={}, variants={})
        # By reference and voice; least recently used first.
        self._deliveries: OrderedDict[tuple[str, str], _Delivery] = OrderedDict()
        # One analysis at a time: the utterances of one text share their reference.
        self._imitating = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        others = (name for name in self._catalogue.voices if name != self._default_voice)
        return Capabilities(
            name="builtin",
            backend="cpu",
            sample_rate_hz=SAMPLE_RATE_HZ,
            num_turns=self._num_workers,
            max_utterance_chars=MAX_UTTERANCE_CHARS,
            voices=(self._default_voice, *others),
            cloning="approximate",
            needs_transcript=False,
            takes_ipa=True,
            spelling="plain",
            languages=self._catalogue.list_languages(),
            marks_words=True,
            honours=frozenset({"language"}),
        )

    @property
    def variants(self) -> tuple[str, ...]:
        """What may follow a voice's name after a `+`."""
        return tuple(self._catalogue.variants)

    async def start(self) -> None:
        """Start the workers. SettingsError when the default voice does not exist."""
        self._catalogue = read_catalogue(await self._pool.start())
        if self._catalogue.find(self._default_voice) is None:
            await self._pool.close()
            raise SettingsError(
                f"the builtin engine has no voice {self._default_voice!r}; "
                f"use a name such as {DEFAULT_VOICE}, de or fr-fr+f3"
            )

    def end_speech(self, speech: str) -> None:
        """It carries nothing over."""

    def stats(self) -> EngineStats:
        """As SpeechEngine says; its slots are the workers."""
        return EngineStats(
            num_slots=self._num_workers,
            num_running=self._pool.num_busy,
            num_restarts=self._pool.num_restarts,
            trouble=self._pool.trouble,
        )

    async def close(self) -> None:
        await self._pool.close()

    def find_voice(self, voice: str | None, language: str | None) -> str:
        """Return the voice that speaks a request, as SpeechEngine says.

        voice: a name of `capabilities.voices`, perhaps with `+` and one of `variants` behind it.
        language: without a voice for its region, the language's main voice.
        """
        if voice is not None:
            if self._catalogue.find(voice) is None:
                raise NotFoundError(
                    f"the builtin engine has no voice {voice[:100]!r}",
                    code="voice_not_found",
                    param="voice",
                )
            return voice.lower()
        if language is None:
            return self._default_voice
        found = self._catalogue.find_language(language, self._default_voice)
        if found is None:
            raise UserError(
                f"the builtin engine does not speak language {language[:100]!r}; leave language "
                "out, or name one that it lists",
                code="unsupported_language",
                param="language",
            )
        return found

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        """Yield speech as SpeechEngine says; UserError only before the first chunk."""
        name = self.find_voice(utterance.voice or None, None)
        if not utterance.references:
            delivery = _Delivery(self._get_identifier(name))
        else:
            delivery = await self._imitate(utterance.references[0], name)
        async with aclosing(self._speak_text(utterance.text, delivery)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _speak_text(self, text: str, delivery: _Delivery) -> AsyncGenerator[AudioChunk]:
        plain, places = _make_plain(text)
        if not plain:
            return
        order = Order(
            voice=delivery.identifier,
            text=plain,
            rate_wpm=delivery.rate_wpm,
            pitch=delivery.pitch,
        )
        async with aclosing(self._pool.speak(order)) as pieces:
            async for piece in pieces:
                pcm = np.frombuffer(piece.pcm, dtype=np.int16).astype(np.float32) / 32768.0
                words = tuple(_place(mark, places) for mark in piece.marks)
                yield AudioChunk(pcm, SAMPLE_RATE_HZ, words)

    async def _imitate(self, reference: Reference, voice_name: str) -> _Delivery:
        """Find the delivery closest to a reference in a voice; cached."""
        key = (reference.key, voice_name)
        async with self._imitating:
            delivery = self._deliveries.get(key)
            if delivery is None:
                delivery = await self._fit_delivery(reference, voice_name)
            self._deliveries[key] = delivery
            self._deliveries.move_to_end(key)
            if len(self._deliveries) > _MAX_CACHED_DELIVERIES:
                self._deliveries.popitem(last=False)
        return delivery

    async def _fit_delivery(self, reference: Reference, voice_name: str) -> _Delivery:
        """Let eSpeak say the transcript and adjust it until it sounds like the reference.

        The comparison on the same words makes up for the language, the script and the voice. One
        round is within 10 %; the second takes out what the voices differ. A transcript without
        words says nothing about the pace, which then stays eSpeak's own. A whisper has no pitch,
        and the highest of voices none that eSpeak reaches: they are spoken in the voice as it is.
        """
        wanted = await asyncio.to_thread(measure_speech, reference.pcm, reference.sample_rate_hz)
        if wanted is None:
            return _Delivery(self._get_identifier(voice_name))
        if "+" not in voice_name and wanted.median_f0_hz >= _HIGH_VOICE_FROM_HZ:
            voice_name = f"{voice_name}+{_HIGH_VARIANT}"
        delivery = _Delivery(self._get_identifier(voice_name))
        has_words = any(char.isalnum() for char in reference.transcript)
        words = reference.transcript if has_words else _NUMBERS
        for _ in range(2):
            spoken = [chunk.pcm async for chunk in self._speak_text(words, delivery)]
            pcm = np.concatenate(spoken) if spoken else np.zeros(0, np.float32)
            heard = await asyncio.to_thread(measure_speech, pcm, SAMPLE_RATE_HZ)
            if heard is None:
                break
            delivery = _adjust(delivery, heard, wanted)
            if not has_words:
                delivery = replace(delivery, rate_wpm=DEFAULT_RATE_WPM)
        return delivery

    def _get_identifier(self, name: str) -> str:
        identifier = self._catalogue.find(name)
        assert identifier is not None  # `find_voice` returned the name
        return identifier


def _adjust(delivery: _Delivery, heard: Prosody, wanted: Prosody) -> _Delivery:
    """Correct a delivery that sounded like `heard`, as far as eSpeak's settings reach.

    Spoken time goes as 1 / rate: rate x active seconds varies by 6 % over 80..449 words a minute.
    """
    ratio = np.interp(delivery.pitch, _PITCH_SETTINGS, _F0_RATIOS)
    ratio *= wanted.median_f0_hz / heard.median_f0_hz
    rate_wpm = delivery.rate_wpm * heard.active_s / wanted.active_s
    return replace(
        delivery,
        rate_wpm=min(max(round(rate_wpm), MIN_RATE_WPM), MAX_RATE_WPM),
        pitch=min(max(round(float(np.interp(ratio, _F0_RATIOS, _PITCH_SETTINGS))), 0), MAX_PITCH),
    )


def _place(mark: Mark, places: Sequence[int]) -> WordMark:
    """Where a word is in the text of the utterance. places: of each character that eSpeak got."""
    last = len(places) - 1
    start = min(max(mark.start, 0), last)
    end = min(max(mark.start + mark.num_chars, start + 1), last)
    return WordMark(places[start], places[end], mark.at_s)


def _make_plain(text: str) -> tuple[str, list[int]]:
    """Take out what eSpeak would obey or misread: control characters and private code points.

    Returns what is left, and the place in `text` of each of its characters and of its end.

    U+0001 starts an eSpeak command, U+0002 behind a bracket its phonemes, and it keeps its own
    marks in the private area (readclause.c, translate.c of eSpeak NG 1.52).
    """
    # eSpeak reads on over a line break; the lines of a list or a poem want a pause.
    edits = [(match.start(), match.end(), ", ") for match in _LINE_END.finditer(text)]
    edits += [(start, end, to_mnemonics(ipa)) for start, end, ipa in find_sounds(text)]
    chars: list[str] = []
    places: list[int] = []
    done = 0
    for start, end, instead in (*sorted(edits), (len(text), len(text), "")):
        for place in range(done, start):
            char = _without_command(text[place], chars)
            chars += char
            places += [place] * len(char)
        chars += instead
        places += [start] * len(instead)
        done = end
    plain = "".join(chars)
    first, last = len(plain) - len(plain.lstrip()), len(plain.rstrip())
    return plain[first:last], [*places, len(text)][first : last + 1]


def _without_command(char: str, before: Sequence[str]) -> str:
    """A character as eSpeak can have it. Two brackets are phonemes to it, and then only ours."""
    if char == "[" and before and before[-1] == "[":
        return " ["
    return {"Cc": " ", "Co": "", "Cs": ""}.get(unicodedata.category(char), char)


def _count_cores() -> int:
    """Count the cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505 - mypy takes a bare return for unreachable on the other platform
        return os.cpu_count() or 1
