"""Settings of what is spoken, in which voices, for whom."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fishs2.settings_groups.home import HomeSettings
from fishs2.settings_values import (
    Emoji,
    Format,
    HomePath,
    Instructions,
    PathList,
    TextCleaning,
    TextList,
)

PauseS = Annotated[float, Field(ge=0, le=10)] | None


class SpeechSettings(HomeSettings):
    """What a request means where it does not say."""

    default_format: Format | None = Field(
        None,
        description="Audio format when a request names none; unset means wav, or mp3 for OpenAI "
        "model names.",
    )
    default_model: Annotated[str, Field(min_length=1)] = Field(
        "fishaudio/s2-pro", description="Model id that `/v1/models` lists first."
    )
    model_aliases: TextList = Field(("fishs2", "fish-s2", "s2-pro"), description="Its other ids.")
    strict_voices: bool = Field(
        False,
        description="Refuse OpenAI's preset voice names (404) instead of using the default voice.",
    )
    strict_v1: bool = Field(
        False, description="Behave as the original wrapper: only wav and only speed 1.0."
    )
    emoji: Emoji = Field(
        "read",
        description="Read emoji by name, or leave them out; a request may say. `s2` gets them as "
        "they are.",
    )
    text_cleaning: TextCleaning = Field(
        "minimal",
        description="What is taken out of a text: `minimal` addresses of links, `markdown` also "
        "marks of Markdown and HTML, code, and what a model thought; `full` also says figures and "
        "signs in words. A request may say.",
    )
    pause_sentence: PauseS = Field(
        None, description="Silence after each sentence, in seconds; unset is the usual."
    )
    pause_line: PauseS = Field(
        None, description="The same after each line of a list or a poem; unset reads them on."
    )
    pause_paragraph: PauseS = Field(
        None, description="The same after each paragraph. A request may say all three."
    )
    instructions: Instructions = Field(
        "style", description="Make plain-text `instructions` a style tag, or drop them."
    )
    max_input_chars: int = Field(
        12_000, ge=1, le=1_000_000, description="Longest text of a request, in characters."
    )
    loudness_lufs: float = Field(
        -19.0,
        ge=-40,
        le=-10,
        description="Loudness that `normalize_loudness` aims at, in LUFS of ITU-R BS.1770; -19 in "
        "mono is as loud as the -16 in stereo of podcasts.",
    )


class VoiceSettings(HomeSettings):
    """Stored voices and references."""

    voices_dir: HomePath = Field(Path("voices"), description="Folder of the stored voices.")
    reference_roots: PathList = Field(
        (),
        description="Folders that a request may name reference audio in, beside the voices folder; "
        "unset means the home folder.",
    )
    min_reference_audio_seconds: float = Field(
        0.0, ge=0, le=90, description="Shortest reference for cloning, in seconds."
    )
    max_reference_audio_seconds: float = Field(
        90.0, gt=0, le=90, description="Longest reference for cloning, in seconds."
    )


class ListeningSettings(HomeSettings):
    """What recognises speech, where the extra `asr` is installed."""

    asr_model: Annotated[str, Field(min_length=1)] = Field(
        "base",
        description="Whisper model that recognises speech: a size, which `fishs2 fetch --asr` "
        "downloads into `models`, or the folder of a model in faster-whisper's form.",
    )
    asr_max_seconds: float = Field(
        1_800.0, gt=0, le=7_200, description="Longest recording to recognise, in seconds."
    )
    asr_idle_unload_s: float = Field(
        300.0,
        gt=0,
        le=31_536_000,
        description="Ends the process that recognises speech after so long without any; the next "
        "recording starts it again.",
    )


class StoreSettings(HomeSettings):
    """Keys, their use, and cached audio."""

    data_dir: HomePath = Field(
        Path("data"), description="Folder of the database and of the cached audio."
    )
    database_url: str | None = Field(
        None,
        pattern=r"^(sqlite|postgresql)(\+\w+)?://",
        description="Database of keys and usage: `sqlite:///...` or `postgresql://...`; unset is "
        "`fishs2.db` in the data folder.",
    )
    redis_url: str | None = Field(
        None,
        pattern=r"^rediss?://",
        description="Where servers share their rate limits; unset keeps them in memory.",
    )
    clip_life_s: int = Field(
        86_400, ge=1, le=31_536_000, description="How long cached audio is kept, in seconds."
    )
    clips_max_bytes: int = Field(
        2_147_483_648, ge=0, description="Cached audio kept at most; the least recently used goes."
    )
