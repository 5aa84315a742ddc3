"""Audio files as codes and codes as samples: what is refused before an engine works."""

from collections.abc import Sequence

import numpy as np

from fishs2.engines.base import CodecLayout, Codes, CodesEngine, Pcm
from fishs2.errors import UserError
from fishs2.service.voices.library import Voices

MAX_ITEMS = 8
"""Recordings of one request."""

MAX_CODES_S = 90.0
"""Seconds of audio that one item of codes may stand for; as much as a reference may have."""


class CodecService:
    """The codec of an engine, for clients."""

    def __init__(self, engine: CodesEngine, voices: Voices) -> None:
        self._engine = engine
        self._voices = voices

    async def encode(self, files: Sequence[bytes]) -> list[Codes]:
        """The codes of audio files.

        Raises UserError `too_many_items`, `invalid_audio`, `audio_too_long`,
        `reference_audio_too_short`; BusyError, EngineError.
        """
        _check_number("audios", len(files))
        codes = []
        for file in files:
            # One after the other: decoded, the longest has 16 MB.
            decoded = await self._voices.decode(file)
            codes.append(await self._engine.encode(decoded.pcm, decoded.sample_rate_hz))
        return codes

    async def decode(self, items: Sequence[object]) -> list[Pcm]:
        """The samples of codes. items: lists of K lists of T whole numbers.

        Raises UserError `too_many_items`, `invalid_codes`; BusyError, EngineError.
        """
        _check_number("tokens", len(items))
        codes = [to_codes(item, self._engine.codec_layout) for item in items]
        return [await self._engine.decode(each) for each in codes]


def to_codes(given: object, layout: CodecLayout) -> Codes:
    """Codes as an array, if each exists in its codebook. Raises UserError `invalid_codes`."""
    sizes = layout.codebook_sizes
    if not isinstance(given, list) or len(given) != len(sizes):
        raise _wrong(f"an item is a list of {len(sizes)} lists, one for each codebook")
    lengths = {len(row) if isinstance(row, list) else -1 for row in given}
    num_frames = max(lengths)
    max_frames = int(MAX_CODES_S * layout.frame_rate_hz)
    if len(lengths) != 1 or num_frames < 1:
        raise _wrong("the lists of an item hold one whole number for each frame, all as many")
    if num_frames > max_frames:
        raise _wrong(f"an item has {num_frames:,} frames; the limit is {max_frames:,}")
    for index, (row, size) in enumerate(zip(given, sizes, strict=True)):
        if not all(type(code) is int and 0 <= code < size for code in row):
            raise _wrong(f"codes of codebook {index} are whole numbers from 0 to {size - 1:,}")
    return np.array(given, np.int32)


def _check_number(field: str, num_items: int) -> None:
    if not 1 <= num_items <= MAX_ITEMS:
        raise UserError(
            f"{field} has {num_items} items; 1 to {MAX_ITEMS} are taken",
            code="too_many_items",
            param=field,
        )


def _wrong(reason: str) -> UserError:
    return UserError(f"tokens cannot be decoded: {reason}", code="invalid_codes", param="tokens")
