"""Pauses between pieces of speech, without a click."""

import numpy as np
import pytest

from fishs2.audio.joints import Joints

RATE = 8_000
FADE = 40  # samples: 5 ms


def speech(seconds: float) -> np.ndarray:
    return np.full(round(seconds * RATE), 0.5, np.float32)


def test_speech_without_a_pause_is_left_as_it_is() -> None:
    joints, pcm = Joints(RATE), speech(0.1)

    assert joints.add(pcm) is pcm


@pytest.mark.parametrize("piece", [1, 7, 39, 40, 41, 800])
def test_pause_is_reached_and_left_smoothly_however_speech_is_cut(piece: int) -> None:
    joints, pcm = Joints(RATE), speech(0.1)
    cut = [pcm[start : start + piece] for start in range(0, len(pcm), piece)]

    before = [joints.add_before_pause(each) for each in cut]
    pause = np.concatenate((joints.end(), joints.pause(0.05)))
    after = [joints.add(each) for each in cut]

    whole = np.concatenate([*before, pause, *after])
    assert len(whole) == 2 * len(pcm) + 400
    assert np.abs(np.diff(whole)).max() < 0.5 / (FADE - 1)
    np.testing.assert_array_equal(whole[: 800 - FADE], 0.5)
    np.testing.assert_array_equal(whole[800:1200], 0)
    np.testing.assert_array_equal(whole[1200 + FADE :], 0.5)


def test_speech_shorter_than_a_fade_is_faded_too() -> None:
    joints = Joints(RATE)

    heard = np.concatenate((joints.add_before_pause(speech(0.001)), joints.end()))

    assert len(heard) == 8
    assert 0 < heard[7] <= 0.5 / FADE
