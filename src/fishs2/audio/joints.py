"""Where silence is set between pieces of speech: faded, so that nothing clicks."""

import numpy as np

from fishs2.audio.pcm import Pcm, silence

_FADE_S = 0.005
"""Too short to be heard as a fade, long enough not to be heard as a click."""


class Joints:
    """Speech at one rate, with pauses between its pieces."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        rise = np.linspace(0, 1, round(_FADE_S * sample_rate_hz) + 1, dtype=np.float32)[1:]
        self._rise = rise
        self._held = np.zeros(0, np.float32)
        # Samples since the last pause; those before the first are as the engine made them.
        self._num_since = len(rise)

    def add(self, pcm: Pcm) -> Pcm:
        """Speech after which no pause comes: float32 [n] in, all of it out."""
        return self._risen(pcm)

    def add_before_pause(self, pcm: Pcm) -> Pcm:
        """Speech after which a pause will come; its last samples are held back."""
        joined = np.concatenate((self._held, self._risen(pcm)))
        num_ready = max(0, len(joined) - len(self._rise))
        self._held = joined[num_ready:]
        return joined[:num_ready]

    def end(self) -> Pcm:
        """What was held back, faded out: a pause comes, or nothing."""
        held, self._held = self._held, np.zeros(0, np.float32)
        fall = self._rise[::-1][len(self._rise) - len(held) :]
        return held * fall

    def pause(self, seconds: float) -> Pcm:
        """The pause, which follows `end`."""
        self._num_since = 0
        return silence(seconds, self._rate_hz)

    def _risen(self, pcm: Pcm) -> Pcm:
        rise = self._rise[self._num_since : self._num_since + len(pcm)]
        self._num_since += len(rise)
        if not len(rise):
            return pcm
        return np.concatenate((pcm[: len(rise)] * rise, pcm[len(rise) :]))
