"""Speed, loudness and volume of a stream of PCM, between the engine and the encoder.

`service.speech` makes one chain per answer. Each effect is in a module of
its own: `tempo`, `loudness`, `limiter`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fishs2.audio.limiter import Limiter
from fishs2.audio.loudness import StreamLoudness, WholeLoudness
from fishs2.audio.pcm import Pcm
from fishs2.audio.tempo import TempoChanger
from fishs2.errors import UserError

MIN_SPEED, MAX_SPEED = 0.25, 4.0
MIN_VOLUME_DB, MAX_VOLUME_DB = -20.0, 20.0
MIN_LUFS, MAX_LUFS = -40.0, -10.0


@dataclass(frozen=True, slots=True)
class Effects:
    """What is done to the sound. The defaults leave it alone.

    speed: 0.25 to 4; 2 is twice as fast, at the same pitch. loudness_lufs: -40 to -10, what the
    speech is brought to; None leaves it. volume_db: -20 to 20, after that. Where sound may become
    louder its peaks are limited to -1 dB full scale. Raises UserError `unsupported_speed`,
    `unsupported_loudness`, `unsupported_volume`.
    """

    speed: float = 1.0
    volume_db: float = 0.0
    loudness_lufs: float | None = None

    def __post_init__(self) -> None:
        # Written so that NaN is refused.
        if not MIN_SPEED <= self.speed <= MAX_SPEED:
            raise UserError(
                f"speed {self.speed} is not supported; use {MIN_SPEED} to {MAX_SPEED}",
                code="unsupported_speed",
                param="speed",
            )
        if not MIN_VOLUME_DB <= self.volume_db <= MAX_VOLUME_DB:
            raise UserError(
                f"volume {self.volume_db} dB is not supported; "
                f"use {MIN_VOLUME_DB} to {MAX_VOLUME_DB}",
                code="unsupported_volume",
                param="volume",
            )
        if not (self.loudness_lufs is None or MIN_LUFS <= self.loudness_lufs <= MAX_LUFS):
            raise UserError(
                f"loudness {self.loudness_lufs} LUFS is not supported; "
                f"use {MIN_LUFS:g} to {MAX_LUFS:g}",
                code="unsupported_loudness",
                param="loudness",
            )


LoudnessStage = Callable[[float, int], WholeLoudness | StreamLoudness]
"""Makes a stage for a loudness in LUFS and a sample rate."""


class EffectChain:
    """Applies effects to a stream; hands back its input where there is nothing to do.

    The total output is the input divided by the speed, rounded, and does not depend on how the
    input is cut into pieces, but for `cut` and
    `turn`, which divide it into parts, each rounded. After `drain` it must not
    be used again.
    """

    def __init__(
        self,
        effects: Effects,
        sample_rate_hz: int,
        *,
        loudness: LoudnessStage = StreamLoudness,
        has_louder_parts: bool = False,
    ) -> None:
        """loudness: whole measures to the end first, stream goes by what it has heard.

        has_louder_parts: `turn` may make parts of it louder.
        """
        self._sample_rate_hz = sample_rate_hz
        self._base_speed = effects.speed
        self._part_gain = np.float32(1.0)
        self.speed = 0.0
        """Of the part that comes; 1 leaves it."""
        self.num_samples = 0
        """Of the output so far, and of what is held back of it by all but a change of speed."""
        self._tempo: TempoChanger | None = None
        self._set_speed(effects.speed)
        self._loudness: WholeLoudness | StreamLoudness | None = None
        if effects.loudness_lufs is not None:
            self._loudness = loudness(effects.loudness_lufs, sample_rate_hz)
        self._gain = np.float32(10 ** (effects.volume_db / 20))
        # Sound that is not made louder is as loud as the engine meant it.
        may_rise = effects.volume_db > 0 or effects.loudness_lufs is not None or has_louder_parts
        self._limiter = Limiter(sample_rate_hz) if may_rise else None

    def apply(self, pcm: Pcm) -> Pcm:
        """Give the output that is certain by now: up to 70 ms of input are held back.

        With a loudness it is 0.4 s, or everything.
        """
        if self._tempo is not None:
            pcm = self._tempo.change(pcm)
        return self._apply_behind_tempo(pcm)

    def cut(self) -> Pcm:
        """Give what is held back for the speed: what comes does not sound at the same time."""
        if self._tempo is None:
            return np.zeros(0, np.float32)
        rest = self._tempo.flush()
        self._set_speed(self.speed)
        return self._apply_behind_tempo(rest)

    def turn(self, *, speed: float = 1.0, volume_db: float = 0.0) -> Pcm:
        """Begin a part that is so much faster and louder than the rest. Gives what `cut` gives."""
        given = self.cut()
        self._part_gain = np.float32(10 ** (volume_db / 20))
        self._set_speed(min(MAX_SPEED, max(MIN_SPEED, self._base_speed * speed)))
        return given

    def _set_speed(self, speed: float) -> None:
        self.speed = speed
        self._tempo = TempoChanger(speed, self._sample_rate_hz) if speed != 1.0 else None

    def _apply_behind_tempo(self, pcm: Pcm) -> Pcm:
        self.num_samples += len(pcm)
        if self._part_gain != 1.0:
            pcm = pcm * self._part_gain
        if self._loudness is not None:
            pcm = self._loudness.apply(pcm)
        return self._change_volume(pcm)

    def drain(self) -> Iterator[Pcm]:
        """Give what is left of the output, in pieces."""
        rest = np.zeros(0, np.float32) if self._tempo is None else self._tempo.flush()
        yield self._apply_behind_tempo(rest)
        if self._loudness is not None:
            for piece in self._loudness.drain():
                yield self._change_volume(piece)
        if self._limiter is not None:
            yield self._limiter.flush()

    def _change_volume(self, pcm: Pcm) -> Pcm:
        if self._gain == 1.0 and self._limiter is None:
            return pcm
        louder: Pcm = pcm * self._gain
        return louder if self._limiter is None else self._limiter.limit(louder)
