"""Audio files that are made to cost much, as uploads and as references of requests."""

import base64

import pytest

from tests.recordings import make_adts
from tests.server.recorded import Recorded, error_of

BOMB = make_adts(b"\xe0", num_bytes=9_000_000)


def test_upload_of_packets_without_sound_is_refused(recorded: Recorded) -> None:
    answer = recorded.upload("bomb", audio=BOMB)

    assert error_of(answer) == (400, "invalid_audio", "files")
    assert "have no sound" in answer.json()["error"]["message"]
    assert "bomb" not in recorded.client.get("/v1/voices").text
    assert recorded.speak().status_code == 200


@pytest.mark.parametrize("path", ["/v1/tts", "/v1/audio/speech"])
def test_reference_of_packets_without_sound_is_refused(recorded: Recorded, path: str) -> None:
    audio = base64.b64encode(BOMB).decode()
    body = {
        "/v1/tts": {"text": "Hi.", "references": [{"audio": audio, "text": "What is said."}]},
        "/v1/audio/speech": {
            "model": "fishs2",
            "input": "Hi.",
            "reference_audio": f"data:audio/aac;base64,{audio}",
            "reference_text": "What is said.",
        },
    }[path]
    answer = recorded.client.post(path, json=body, headers={"model": "s1"})

    assert 400 <= answer.status_code < 500
    assert "have no sound" in answer.text
    assert recorded.speak().status_code == 200


def test_lost_decoders_are_counted(recorded: Recorded) -> None:
    assert "fishs2_decoder_restarts_total 0.0" in recorded.client.get("/metrics").text
