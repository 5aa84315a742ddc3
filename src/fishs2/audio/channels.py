"""How the channels of a recording become one: a voice keeps its level in whichever it is."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# A sum with less than half of what its channels have together comes of channels that cancel.
_MIN_KEPT = 0.5


@dataclass(slots=True)
class ChannelStats:
    """How loud the channels are, and how alike. Feed it everything, then ask for the weights."""

    num_channels: int
    _num_samples: int = 0
    _sums: NDArray[np.float64] = field(init=False)
    _products: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._sums = np.zeros(self.num_channels)
        self._products = np.zeros((self.num_channels, self.num_channels))

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take note of samples [n, channels], all finite."""
        exact = samples.astype(np.float64)
        self._num_samples += len(exact)
        self._sums += exact.sum(axis=0)
        self._products += exact.T @ exact

    def weights(self) -> NDArray[np.float32]:
        """What to multiply each channel with before they are added: float32 [channels].

        The sum gets the power that the channels have together if they hold different things, and
        that of one of them if all hold the same: `total / mixed` is 1 where nothing is common to
        any two, and 1 / channels where everything is. A silent channel changes nothing. Where
        channels cancel, as with a cable of reversed polarity, it is the loudest alone.
        """
        means = self._sums / self._num_samples
        covariance = self._products / self._num_samples - np.outer(means, means)
        powers = covariance.diagonal()
        total, mixed = float(powers.sum()), float(covariance.sum())
        if total <= 0:  # all constant
            return np.full(self.num_channels, 1 / self.num_channels, np.float32)
        if mixed < _MIN_KEPT * total:
            loudest = np.zeros(self.num_channels, np.float32)
            loudest[int(np.argmax(powers))] = 1
            return loudest
        return np.full(self.num_channels, min(1.0, total / mixed), np.float32)
