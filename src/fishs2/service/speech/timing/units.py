"""What a request may ask of times."""

from typing import Literal

Unit = Literal["sentence", "word"]

CaptionFormat = Literal["srt", "vtt", "json"]

Kind = Literal["exact", "aligned", "estimated"]
"""How times were found: by the engine; by what was heard of it; by syllables and silences."""
