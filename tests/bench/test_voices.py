import base64

import numpy as np

from fishs2.audio.decode import decode_audio
from fishs2.bench.voices import new_voice
from fishs2.store.voices.store import SAMPLE_VOICES


def recording(index: int) -> bytes:
    url = str(new_voice(index).fields["reference_audio"])
    return base64.b64decode(url.removeprefix("data:audio/wav;base64,"))


def test_new_voice_is_new_to_every_server_and_every_benchmark() -> None:
    recordings = [recording(0) for _ in range(20)]

    assert len(set(recordings)) == 20


def test_new_voice_sounds_like_the_sample_it_is_made_of() -> None:
    sample = (SAMPLE_VOICES / "sample_male" / "sample_male_new.wav").read_bytes()

    made, original = (decode_audio(wav, max_seconds=30) for wav in (recording(0), sample))

    assert made.sample_rate_hz == original.sample_rate_hz
    np.testing.assert_allclose(made.pcm, original.pcm, atol=1.01 / 32_768)
    assert "small machine" in str(new_voice(0).fields["reference_text"])


def test_sample_voices_take_turns() -> None:
    assert new_voice(0).fields["reference_text"] != new_voice(1).fields["reference_text"]
