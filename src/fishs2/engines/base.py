"""The engine seam: everything that crosses between the service and an engine.

Here live plain values and one Protocol; no torch, no HTTP, no text rules. `service.speech` calls
it, `bootstrap.engine` chooses the implementation.
"""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.float32]
"""Mono samples, float32 [n], nominally within -1..1."""

Codes = NDArray[np.int32]
"""What a codec makes of samples, int32 [K, T]: a code of each codebook for every frame."""


SILENCE = 0.001
"""What is not louder than this is silence: 60 dB below full scale, less than a quiet room has."""

_SOUNDS_FROM = 0xF0000
"""Where Unicode has no characters, and texts of clients none: IPA lies there, as far above."""

_SOUNDS = re.compile("[\U000f0000-\U000fffef]+")

MAX_LOSSES = 4
"""How often work is sent again whose process was lost. Once is a mishap, and with many utterances
on their way the next one may be as well; what ends every process that works on it is at fault."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Audio and transcript that show a voice.

    pcm: float32 [n] at `sample_rate_hz`. transcript: what is said in it, if the engine needs that.
    key: identifies audio and transcript together; equal keys let an engine reuse its analysis.
    folder: of the stored voice that it is from, where an engine may keep hidden files with what it
    found out about the audio; None for audio that is not stored.
    """

    pcm: Pcm
    sample_rate_hz: int
    transcript: str
    key: str
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an engine that samples draws its tokens; None means the engine's own default.

    An engine that does not sample names these fields in no `Capabilities.honours` and the service
    tells the client so.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None
    min_tokens_before_end: int | None = None
    seed: int | None = None


Latency = Literal["low", "balanced", "normal"]
"""How soon the first sound is wanted, against how much is computed for it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of one continuous speech an utterance is.

    speech: names the speech, the same for all its utterances. index: from 0, in the order in which
    they are heard. An engine may carry its state over from one part to the next; parts may be sent
    before the part that they follow has ended, and a part that failed may be sent again.
    """

    speech: str
    index: int
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class Utterance:
    """Text that an engine speaks in one go.

    text: non-empty, without control characters; never interpreted as markup, but for
    `<|speaker:i|>` where there are several references, and `as_sounds` where the engine takes IPA.
    voice: what `SpeechEngine.find_voice` returned.
    references: speak like these, one for each speaker; empty for the voice alone.
    part: of which speech; None for an utterance that stands alone.
    has_common_limit: `sampling.max_new_tokens` holds for everybody, and nobody asked for speech of
    that length: what reaches it has run away.
    num_threads, verbose: wishes to an engine that has such switches; None is its own choice.
    """

    text: str
    voice: str = ""
    references: tuple[Reference, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    part: Part | None = None
    has_common_limit: bool = False
    latency: Latency = "balanced"
    num_threads: int | None = None
    verbose: bool | None = None


@dataclass(frozen=True, slots=True)
class WordMark:
    """Where a word of an utterance begins to sound.

    start, end: its characters in `Utterance.text`, end exclusive. at_s: seconds from the beginning
    of the utterance's sound.
    """

    start: int
    end: int
    at_s: float


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A piece of speech: pcm float32 [n] at `sample_rate_hz`, n >= 1.

    words: those that an engine knows to begin in it, or near it, in order; see
    `Capabilities.marks_words`.
    """

    pcm: Pcm
    sample_rate_hz: int
    words: tuple[WordMark, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine is and can do; constant once the engine has started.

    name: the value of FISHS2_ENGINE that selects it. backend: where it computes. device: on what,
    for people.
    sample_rate_hz: of every chunk it yields.
    num_turns: utterances it works on at once; the service sends no more.
    max_utterance_chars: longest text it speaks well in one go, in code points.
    voices: names of its own voices, beside stored ones; the first is the default.
    cloning: whether a reference is ignored (never sent), imitated in pitch and pace, or cloned.
    needs_transcript: it can take a voice only from a reference with what is said in it; otherwise
    the transcript of a stored voice may be "".
    speaks_tags: it acts on `[style]` tags and `(control)` prefixes; otherwise the service removes
    them from the text.
    takes_ipa: it says what `as_sounds` wrote into a text.
    spelling: "plain" is of an engine that knows only words, ASCII digits and plain letters; the
    service writes out the rest (`text.wording`), in the language that a voice's name begins with.
    languages: BCP 47 tags of what it speaks, in its own voices or, if it clones, in any; it may
    understand more.
    marks_words: its chunks say where the words begin.
    honours: names of the fields of `Sampling` and `Utterance` that change its result, and
    `language` if `find_voice` goes by it.
    """

    name: str
    backend: Literal["cpu", "cuda", "vulkan", "metal"]
    sample_rate_hz: int
    num_turns: int
    max_utterance_chars: int
    voices: tuple[str, ...] = ()
    cloning: Literal["none", "approximate", "full"] = "none"
    needs_transcript: bool = True
    speaks_tags: bool = False
    takes_ipa: bool = False
    spelling: Literal["free", "plain"] = "free"
    languages: tuple[str, ...] = ()
    marks_words: bool = False
    honours: frozenset[str] = frozenset()
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine that batches has done since it started.

    is_loaded: its model is in memory. step_s: seconds in all steps. cache_bytes: of caches and of
    what it keeps of voices. trouble: why it cannot speak at present, though it once could; "" if it
    can. is_lost: only another process can speak again.
    """

    is_loaded: bool = True
    num_slots: int = 0
    num_running: int = 0
    num_steps: int = 0
    step_s: float = 0.0
    num_prefilled: int = 0
    num_frames: int = 0
    num_voice_hits: int = 0
    num_voice_misses: int = 0
    num_restarts: int = 0
    num_runaways: int = 0
    cache_bytes: int = 0
    trouble: str = ""
    is_lost: bool = False


class SpeechEngine(Protocol):
    """Turns utterances into PCM. Called from one event loop.

    `start` may take long; it raises EngineUnavailableError when the engine cannot work. After
    `close` nothing is left behind: no process, thread or file. Both may be called once.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do. Valid after `start`."""
        ...

    async def start(self) -> None: ...

    def find_voice(self, voice: str | None, language: str | None) -> str:
        """Return the voice that speaks a request, for `Utterance.voice`. Valid after `start`.

        voice: a name of one of the engine's own voices in any case, or None. language: BCP 47 tag
        or None; a hint that a given voice overrides. Raises NotFoundError `voice_not_found`,
        UserError `unsupported_language`; never picks something near.
        """
        ...

    def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        """Yield the speech of `utterance` as it is made.

        Closing the generator aborts the work within one chunk. The engine never waits for the
        reader: a reader that is slow delays nobody else. Same utterance, same seed, same build:
        same samples. Raises EngineError, at any chunk; EngineLostError if the process that worked
        on it was lost, and it may be sent again.
        """
        ...

    def end_speech(self, speech: str) -> None:
        """Forget what was carried over for a speech: no more parts of it come. Returns at once.

        Whoever sends parts calls it, however the speech ended.
        """
        ...

    def stats(self) -> EngineStats | None:
        """What it has done, if it counts; costs nothing and may be called at any time."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CodecLayout:
    """What codes look like. codebook_sizes: codes 0..size - 1 exist, for each of K codebooks.

    frame_rate_hz: frames per second of audio.
    """

    codebook_sizes: tuple[int, ...]
    frame_rate_hz: float


def as_sounds(ipa: str) -> str:
    """IPA as it stands in the text of an utterance: as many characters, none of which is text.

    What no character of the first plane is, is left out.
    """
    return "".join(chr(_SOUNDS_FROM + ord(char)) for char in ipa if ord(char) < 0xFFF0)


def find_sounds(text: str) -> list[tuple[int, int, str]]:
    """Where a text has IPA: start, end, and the IPA itself."""
    return [
        (*match.span(), "".join(chr(ord(char) - _SOUNDS_FROM) for char in match.group()))
        for match in _SOUNDS.finditer(text)
    ]


@runtime_checkable
class CodesEngine(Protocol):
    """What an engine can do beside speaking, if it has a codec. Called from one event loop.

    Both methods work on one recording at a time and let those who speak go on. Cancelling them
    ends the work within a second or two of audio. They raise EngineError, and BusyError when too
    many wait already.
    """

    @property
    def codec_layout(self) -> CodecLayout:
        """What codes look like. Valid after `start`."""
        ...

    async def encode(self, pcm: Pcm, sample_rate_hz: int) -> Codes:
        """The codes of a recording. Raises UserError `audio_too_long`."""
        ...

    async def decode(self, codes: Codes) -> Pcm:
        """The samples of codes, at the rate of `Capabilities`. codes: as the layout says."""
        ...
