"""Tells speech that has run away: too long for its text, in a loop, or silent. No torch.

Source of the numbers: S2 Pro speaks 10 to 20 letters, or 4 to 6 Chinese characters, in a second of
21.5 frames; every limit leaves five times as much. What goes on for 6 to 8 s without a change is
nothing that a text asks for.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np

from fishs2.engines.base import SILENCE, Pcm
from fishs2.engines.s2.model.params import Frame

_BASE_FRAMES, _FRAMES_PER_CHAR, _FRAMES_PER_WIDE_CHAR, _FRAMES_PER_TAG = 160, 8, 24, 64
_LOOP_FRAMES = 128
_MAX_PERIOD = 12
_LOOK_EVERY = 16
"""Frames between two searches for a loop: it costs more than to count."""

MAX_SILENT_FRAMES = 172


def longest_speech(text: str) -> int:
    """Frames after which speech of `text` has run away."""
    num_wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return (
        _BASE_FRAMES
        + _FRAMES_PER_CHAR * (len(text) - num_wide)
        + _FRAMES_PER_WIDE_CHAR * num_wide
        + _FRAMES_PER_TAG * text.count("[")
    )


def find_runaway(frames: Sequence[Frame], max_frames: int) -> str:
    """Why these frames are not speech any more; "" if they may be. max_frames: see above."""
    if len(frames) >= max_frames:
        return f"it spoke {len(frames)} frames and found no end"
    if len(frames) % _LOOK_EVERY or len(frames) < _LOOP_FRAMES:
        return ""
    codes = np.array([frame[0] for frame in frames[-_LOOP_FRAMES:]])
    for period in range(1, _MAX_PERIOD + 1):
        if np.array_equal(codes[period:], codes[:-period]):
            return f"it repeated the same {period} codes for {_LOOP_FRAMES} frames"
    return ""


def count_silent(pcm: Pcm, samples_per_frame: int, num_before: int) -> int:
    """Silent frames at the end of a speech that goes on with `pcm`, after `num_before` of them."""
    levels = np.abs(pcm).reshape(-1, samples_per_frame).max(axis=1)
    loud = np.flatnonzero(levels > SILENCE)
    return num_before + len(levels) if not len(loud) else len(levels) - 1 - int(loud[-1])
