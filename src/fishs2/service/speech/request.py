"""A request for speech, free of any dialect."""

from dataclasses import dataclass, field, replace

from fishs2.audio.effects import Effects
from fishs2.engines.base import Latency, Sampling
from fishs2.service.speech.timing.units import CaptionFormat, Unit
from fishs2.service.voices.choice import GivenReference, SpeakerVoice
from fishs2.text.cleaning.cleaning import TextCleaning
from fishs2.text.directing.ssml import TextType
from fishs2.text.emoji import EmojiReading
from fishs2.text.pronunciation.words import Word
from fishs2.text.splitting.silences import Silences


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What a client wants spoken, free of any dialect.

    text: as sent; text_type: what it is. voice: a voice name; "" is the default voice. references:
    speak like these, joined in order, whatever the voice is. transcript: of the reference or, in
    place of the stored one, of the voice; None was not given, "" was given blank. format: wav, pcm,
    mp3, opus, aac or flac. sample_rate_hz: None means what the format and engine prefer. control: a
    direction put in parentheses before the text; emotion: a word for a style tag; instructions: how
    to speak, in plain words; "" means none.
    speakers: the voices of a text that has several, marked `<|speaker:i|>`; in place of voice,
    references and transcript. bit_rate: of the format, in bits per second; None means ours.
    max_utterance_chars: wish for shorter utterances than the engine's; short_utterance_chars: below
    this they take in the next sentence. is_continuous: the engine may carry its manner over from
    one utterance to the next. emoji: whether they are read; text_cleaning: what is taken
    out of the text; None means what the settings say. verify: it is heard again, and spoken again
    where something else was said. lexicons: names of those that count beside the default's and the
    voice's; pronunciations: words of this request alone. silences: between utterances, as is
    wished. cast: speakers by the names that begin their lines; `voice` speaks until one does.
    timestamps, captions: whether the answer says when words or sentences sound, and as what file.
    latency, sampling: what holds; None, or None in a field, is ours. unasked: which of these
    (`latency`, and the fields of sampling) the client has no wish about: defaults of the dialect,
    and what its clients send whatever their user wants. unheeded: fields of the dialect that nobody
    acts on, as the client knows them.
    """

    request_id: str
    text: str
    voice: str = ""
    references: tuple[GivenReference, ...] = ()
    transcript: str | None = None
    speakers: tuple[SpeakerVoice, ...] = ()
    format: str = "wav"
    sample_rate_hz: int | None = None
    bit_rate: int | None = None
    language: str | None = None
    dialect: str = ""
    control: str = ""
    emotion: str = ""
    instructions: str = ""
    max_utterance_chars: int | None = None
    short_utterance_chars: int | None = None
    is_continuous: bool = True
    emoji: EmojiReading | None = None
    text_cleaning: TextCleaning | None = None
    text_type: TextType = "text"
    verify: bool = False
    lexicons: tuple[str, ...] = ()
    pronunciations: tuple[Word, ...] = ()
    cast: tuple[tuple[str, SpeakerVoice], ...] = ()
    silences: Silences = field(default_factory=Silences)
    timestamps: Unit | None = None
    captions: CaptionFormat | None = None
    latency: Latency | None = None
    effects: Effects = field(default_factory=Effects)
    sampling: Sampling = field(default_factory=Sampling)
    unasked: frozenset[str] = frozenset()
    num_threads: int | None = None
    verbose: bool | None = None
    unheeded: tuple[str, ...] = ()


def fill(given: Sampling, default: Sampling) -> Sampling:
    """`given`, with `default` in the fields that are None."""
    return replace(
        default, **{k: v for k in given.__slots__ if (v := getattr(given, k)) is not None}
    )
