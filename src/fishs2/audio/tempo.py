"""Faster and slower speech at its own pitch.

`effects` calls it. The method is WSOLA: windows of the input are laid over each other at another
distance, each moved a little to where it continues the one before. FFmpeg's atempo does the same,
but holds back 190 to 280 ms where this holds back 35 to 65, and its output depends on the
sizes in which it is fed.
Source: Verhelst and Roelands, An overlap-add technique based on waveform similarity (WSOLA) for
high quality time-scale modification of speech, ICASSP 1993.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from fishs2.audio.pcm import Pcm

_HOP_S = 0.015
"""Half a window. Long enough to hold a period of the lowest voices, short enough not to repeat a
plosive."""

_SEARCH_S = 0.010
"""How far a window moves to either side: together a period of a voice at 50 Hz."""

_NEARNESS = 0.02
"""Correlation that a window gives up to stay where it should be: silence and noise do not move."""


class TempoChanger:
    """Changes the speed of a stream, not its pitch.

    The total output is the input divided by `speed`, rounded. The output does not depend on how
    the input is cut into pieces. After `flush` it must not be used again.

        input   |----a[k-1]====tail====|
                        |--a[k]= fits the tail where it is most alike, near k * hop * speed
        output  ...-----|tail fades out, window k fades in|-----...     one hop each
    """

    def __init__(self, speed: float, sample_rate_hz: int) -> None:
        self._speed = speed
        self._hop = round(_HOP_S * sample_rate_hz)
        self._search = round(_SEARCH_S * sample_rate_hz)
        self._fft_samples = 1 << (2 * self._search + self._hop).bit_length()
        rise = np.sin(np.pi / 2 * (np.arange(self._hop) + 0.5) / self._hop) ** 2
        self._fade_in = rise.astype(np.float32)
        self._fade_out = self._fade_in[::-1]
        self._input: Pcm = np.zeros(0, np.float32)
        self._input_start = 0  # position in the stream of _input[0]
        self._num_received = 0
        self._num_windows = 0
        self._earliest_start = 0  # bounds of a window's start; the end of the sound sets the latest
        self._latest_start: int | None = None
        self._tail: Pcm = np.zeros(0, np.float32)

    def change(self, pcm: Pcm) -> Pcm:
        """Give the output that is certain by now."""
        self._num_received += len(pcm)
        self._input = np.concatenate((self._input, pcm))
        hops: list[Pcm] = []
        while self._num_received >= self._num_needed():
            hops.append(self._next_hop())
        self._drop_used()
        return np.concatenate(hops) if hops else np.zeros(0, np.float32)

    def flush(self) -> Pcm:
        """Give what is left of the output."""
        num_left = round(self._num_received / self._speed) - self._num_windows * self._hop
        hops: list[Pcm] = [np.zeros(0, np.float32)]
        while num_left > 0:
            # Windows stay inside the sound, and the last one ends where the sound ends.
            num_used = num_left if num_left <= self._hop else 2 * self._hop
            self._latest_start = max(0, self._num_received - num_used)
            if num_left <= self._hop and self._num_windows > 0:
                self._earliest_start = self._latest_start
            num_missing = self._latest_start + 2 * self._hop - self._num_received
            self._input = np.pad(self._input, (0, max(0, num_missing)))
            hops.append(self._next_hop()[:num_left])
            num_left -= self._hop
        return np.concatenate(hops)

    def _ideal_start(self) -> int:
        """Where the next window would start if it did not move: centre falls on centre."""
        if self._num_windows == 0:
            return 0
        centre = (self._num_windows + 0.5) * self._hop * self._speed
        start = max(self._earliest_start, round(centre - 0.5 * self._hop))
        return start if self._latest_start is None else min(start, self._latest_start)

    def _num_needed(self) -> int:
        """Input that must have come before the next hop can be made.

        The second value keeps a short stream from giving more than its share.
        """
        last = self._ideal_start() + self._search + 2 * self._hop
        return max(last, ceil((self._num_windows + 1) * self._hop * self._speed))

    def _next_hop(self) -> Pcm:
        ideal = self._ideal_start() - self._input_start
        if self._num_windows == 0:
            start, hop = ideal, self._input[: self._hop]
        else:
            first = max(0, ideal - self._search)
            last = ideal + self._search
            if self._latest_start is not None:
                last = min(last, self._latest_start - self._input_start)
            region = self._input[first : last + self._hop]
            start = first + self._most_alike(region, ideal - first)
            arriving = self._input[start : start + self._hop]
            hop = self._tail * self._fade_out + arriving * self._fade_in
        self._tail = self._input[start + self._hop : start + 2 * self._hop].copy()
        self._num_windows += 1
        return hop

    def _most_alike(self, region: Pcm, ideal: int) -> int:
        """Find where in `region` the tail would continue best: highest normalised correlation."""
        spectrum = np.fft.rfft(region, self._fft_samples)
        tail_spectrum = np.fft.rfft(self._tail, self._fft_samples)
        num_starts = len(region) - self._hop + 1
        product = np.fft.irfft(spectrum * tail_spectrum.conj(), self._fft_samples)[:num_starts]
        sums: NDArray[np.float64] = np.concatenate(
            ([0.0], np.cumsum(np.square(region, dtype=np.float64)))
        )
        energies = sums[self._hop :] - sums[: -self._hop]
        # The floor makes silence like nothing, so that nearness alone decides there.
        floor = 1e-6 * self._hop
        alike = product / np.sqrt((energies + floor) * (float(self._tail @ self._tail) + floor))
        distance = np.abs(np.arange(num_starts) - ideal) / self._search
        return int(np.argmax(alike - _NEARNESS * distance))

    def _drop_used(self) -> None:
        # If this is the end, the next windows start up to two hops before it.
        earliest = min(self._ideal_start(), self._num_received - 2 * self._hop) - self._search
        used = earliest - self._input_start
        if used > 0:
            self._input = self._input[used:]
            self._input_start += used
