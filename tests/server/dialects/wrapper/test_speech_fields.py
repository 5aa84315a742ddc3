"""Every field of the wrapper's speech request (contract A.2, A.3, B.2): ranges, names, who wins."""

import base64
import json
from typing import Any

import pytest

from tests.server.recorded import TRANSCRIPT, Recorded, error_of, sine_wav


def test_sampling_values_reach_the_engine_exactly(recorded: Recorded) -> None:
    sent = {
        "max_new_tokens": 900,
        "temperature": 0.7,
        "top_p": 0.85,
        "top_k": 40,
        "min_tokens_before_end": 3,
    }

    assert recorded.speak(fishs2={**sent, "n_threads": 0, "verbose": True}).status_code == 200

    asked = recorded.asked()
    # Drawn for this request, so that it could be spoken again.
    seed = asked["sampling"].pop("seed")
    assert isinstance(seed, int)
    assert asked["sampling"] == {**sent, "repetition_penalty": None}
    assert (asked["num_threads"], asked["verbose"]) == (0, True)


def test_what_no_request_says_comes_from_the_settings(recorded: Recorded) -> None:
    assert recorded.speak(fishs2={"temperature": None}).status_code == 200

    sampling = recorded.asked()["sampling"]
    assert (sampling["temperature"], sampling["top_p"], sampling["top_k"]) == (0.8, 0.8, 30)
    assert (sampling["max_new_tokens"], sampling["min_tokens_before_end"]) == (1024, 0)


def test_fishs2_wins_over_the_top_level_and_that_over_instructions(recorded: Recorded) -> None:
    instructions = '{"fishs2": {"temperature": 0.1, "top_p": 0.2, "top_k": 3}}'

    recorded.speak(
        fishs2={"temperature": 0.6}, temperature=0.9, top_p=0.5, instructions=instructions
    )

    sampling = recorded.asked()["sampling"]
    assert (sampling["temperature"], sampling["top_p"], sampling["top_k"]) == (0.6, 0.5, 3)


def test_json_instructions_set_parameters_and_control(recorded: Recorded) -> None:
    instructions = '{"fishs2":{"temperature":0.6,"top_k":10},"top_k":42,"control":"c c"}'

    assert recorded.speak(instructions=instructions).status_code == 200

    asked = recorded.asked()
    assert (asked["sampling"]["temperature"], asked["sampling"]["top_k"]) == (0.6, 42)
    assert asked["text"] == "(c c)Hi there"


def test_control_of_the_body_wins_over_instructions(recorded: Recorded) -> None:
    recorded.speak(instructions='{"control":"calm"}', control=" warm ")

    assert recorded.asked()["text"] == "(warm)Hi there"


@pytest.mark.parametrize(
    ("instructions", "code"),
    [
        ("{oops", "json"),
        ("{" * 2000, "json"),
        ('{"fishs2":1}', "fishs2"),
        ('{"control":1}', "control"),
        ('{"prompt_text":1}', "prompt_text"),
        ('{"reference_text":1}', "reference_text"),
        ('{"control":"' + "x" * 600 + '"}', "payload"),
        ('{"top_k":1001}', "payload"),
        ('{"fishs2":{"temperature":2.1}}', "payload"),
        ('{"temperature":NaN}', "payload"),
    ],
)
def test_wrong_overrides_are_refused(recorded: Recorded, instructions: str, code: str) -> None:
    answer = recorded.speak(instructions=instructions)

    assert error_of(answer) == (422, f"invalid_instructions_{code}", "instructions")


@pytest.mark.parametrize("instructions", ["[1]", "Speak like a pirate.", "", '{"bogus": 1}', None])
def test_other_instructions_are_accepted(recorded: Recorded, instructions: str | None) -> None:
    assert recorded.speak(instructions=instructions).status_code == 200


def test_plain_instructions_become_a_style_tag(recorded: Recorded) -> None:
    recorded.speak(instructions="Speak [very] slowly")

    assert recorded.asked()["text"].startswith("[Speak very slowly]")


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 3},
        {"temperature": True},
        {"top_p": 1.1},
        {"top_k": 1001},
        {"max_new_tokens": 0},
        {"chunk_length": 99},
        {"chunk_length": 301},
        {"latency": "soon"},
        {"seed": -2},
        {"prosody": {"speed": 0.4}},
        {"prosody": {"volume": 21}},
        {"prosody": 1},
        {"fishs2": {"temperature": 2.1}},
        {"fishs2": {"top_p": -0.1}},
        {"fishs2": {"top_k": 1001}},
        {"fishs2": {"max_new_tokens": 0}},
        {"fishs2": {"min_tokens_before_end": 8193}},
        {"fishs2": {"n_threads": 513}},
        {"fishs2": {"verbose": "perhaps"}},
        {"fishs2": []},
        {"speed": 0.2},
        {"speed": 5},
        {"model": None},
        {"input": ""},
        {"input": 5},
        {"instructions": "x" * 4097},
        {"control": "x" * 513},
        {"prompt_text": "x" * 4097},
        {"reference_text": "x" * 4097},
        {"ref_text": "x" * 4097},
    ],
)
def test_values_out_of_range_are_422_in_both_shapes(
    recorded: Recorded, fields: dict[str, Any]
) -> None:
    answer = recorded.speak(**fields)

    assert error_of(answer) == (422, "validation_error", next(iter(fields)))
    assert answer.json()["detail"]
    assert "x" * 100 not in answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"fishs2": {"bogus": 1}},
        {"fishs2": None},
        {"temperature": None, "top_p": None, "prosody": None},
        {"fishs2": {"temperature": 2, "top_p": 0, "top_k": 0}},
        {"temperature": "0.5", "speed": "1.5", "chunk_length": "200"},
        {"xtts": {"a": 1}, "purpose": "x"},
        {"speaker_wav": [], "references": []},
        {"seed": -1, "latency": "low", "normalize": False},
        {"voice": {"id": "sample_male"}},
        {"voice": ""},
        {"voice": "Random"},
        {"voice": "alloy"},
    ],
)
def test_values_that_clients_send_are_accepted(recorded: Recorded, fields: dict[str, Any]) -> None:
    assert recorded.speak(**fields).status_code == 200


def test_format_is_checked_before_instructions_before_model_before_voice(
    recorded: Recorded,
) -> None:
    wrong = {
        "response_format": "xyz",
        "instructions": "{oops",
        "model": "nope",
        "voice": "nobody",
        "reference_audio": "missing.wav",
    }
    codes = []
    for right in ("response_format", "instructions", "model", "reference_audio", "voice"):
        codes.append(error_of(recorded.speak(**wrong))[1])
        del wrong[right]

    assert codes == [
        "unsupported_format",
        "invalid_instructions_json",
        "model_not_found",
        "invalid_reference_audio",
        "voice_not_found",
    ]


def test_seed_and_the_rest_of_the_other_servers_fields_reach_the_engine(recorded: Recorded) -> None:
    sent = {"seed": 7, "top_k": 5, "max_new_tokens": 77, "repetition_penalty": 1.3}

    assert recorded.speak(**sent).status_code == 200

    sampling = recorded.asked()["sampling"]
    assert {name: sampling[name] for name in sent} == sent


def test_chunk_length_bounds_the_utterances(recorded: Recorded) -> None:
    text = "One sentence of forty characters, ends. " * 11

    recorded.speak(input=text, chunk_length=100)
    short = recorded.record.read_text().splitlines()[-1]
    recorded.speak(input=text)

    assert 30 < len(json.loads(short)["text"]) <= 100
    assert len(recorded.asked()["text"]) > 100


def test_stored_voice_speaks_with_its_transcript(recorded: Recorded) -> None:
    assert recorded.speak(voice="sample_male").status_code == 200

    reference = recorded.asked()["reference"]
    assert reference["transcript"] == TRANSCRIPT
    assert (reference["seconds"], reference["crossings_per_s"]) == (1.0, 220)


def test_default_voice_has_no_reference(recorded: Recorded) -> None:
    recorded.speak(voice="default", prompt_text="passed on harmlessly")

    assert recorded.asked()["reference"] is None


def test_transcript_of_the_request_replaces_the_stored_one(recorded: Recorded) -> None:
    assert recorded.speak(voice="sample_male", prompt_text="x").status_code == 200

    assert recorded.asked()["reference"]["transcript"] == "x"


@pytest.mark.parametrize("fields", [{"prompt_text": ""}, {"reference_text": "  "}])
def test_blank_transcript_suppresses_the_stored_one(
    recorded: Recorded, fields: dict[str, str]
) -> None:
    answer = recorded.speak(voice="sample_male", **fields)

    assert error_of(answer) == (422, "missing_prompt_text", "reference_text")


def test_reference_text_wins_over_prompt_text(recorded: Recorded) -> None:
    recorded.speak(voice="sample_male", reference_text="a", ref_text="b", prompt_text="c")
    assert recorded.asked()["reference"]["transcript"] == "a"

    recorded.speak(voice="sample_male", reference_text="", prompt_text="c")
    assert recorded.asked()["reference"]["transcript"] == "c"


def _write(recorded: Recorded, name: str, frequency_hz: float) -> str:
    path = recorded.folder / "audio" / name
    path.write_bytes(sine_wav(frequency_hz))
    return str(path)


@pytest.mark.parametrize("field", ["reference_audio", "prompt_audio", "ref_audio"])
@pytest.mark.parametrize("text_field", ["reference_text", "ref_text", "prompt_text"])
def test_every_name_of_the_reference_fields_works(
    recorded: Recorded, field: str, text_field: str
) -> None:
    path = _write(recorded, "a.wav", 300)

    assert recorded.speak(**{field: path, text_field: "said"}).status_code == 200

    reference = recorded.asked()["reference"]
    assert (reference["crossings_per_s"], reference["transcript"]) == (300, "said")


def test_reference_audio_wins_over_all_other_ways(recorded: Recorded) -> None:
    paths = [_write(recorded, f"{hz}.wav", hz) for hz in (310, 320, 330, 340)]
    fields: dict[str, Any] = {
        "reference_audio": paths[0],
        "prompt_audio": paths[1],
        "ref_audio": paths[2],
        "speaker_wav": [paths[3]],
        "voice": "sample_male",
    }
    order = []
    for name in list(fields):
        assert recorded.speak(**fields, prompt_text="said").status_code == 200
        order.append(recorded.asked()["reference"]["crossings_per_s"])
        del fields[name]

    assert order == [310, 320, 330, 340, 220]


@pytest.mark.parametrize("is_list", [True, False])
def test_speaker_wav_is_a_list_or_one_path(recorded: Recorded, is_list: bool) -> None:
    path = _write(recorded, "w.wav", 350)

    answer = recorded.speak(speaker_wav=[path, "ignored.wav"] if is_list else path, ref_text="s")

    assert answer.status_code == 200
    assert recorded.asked()["reference"]["crossings_per_s"] == 350


def test_reference_may_come_as_a_data_url(recorded: Recorded) -> None:
    encoded = base64.b64encode(sine_wav(400)).decode()

    answer = recorded.speak(ref_audio=f"data:audio/wav;base64,{encoded}", ref_text="said")

    assert answer.status_code == 200
    assert recorded.asked()["reference"]["crossings_per_s"] == 400


def test_several_references_are_joined_in_order(recorded: Recorded) -> None:
    encoded = base64.b64encode(sine_wav(400)).decode()
    path = _write(recorded, "second.wav", 400)

    answer = recorded.speak(
        references=[{"audio": encoded, "text": "One."}, {"audio_path": path, "text": "Two."}]
    )

    assert answer.status_code == 200
    reference = recorded.asked()["reference"]
    assert reference["transcript"].split() == ["One.", "Two."]
    assert 2.0 <= reference["seconds"] < 3.0


@pytest.mark.parametrize("field", ["reference_audio", "speaker_wav", "ref_audio"])
def test_reference_needs_its_transcript(recorded: Recorded, field: str) -> None:
    path = _write(recorded, "t.wav", 300)

    answer = recorded.speak(**{field: path})

    assert error_of(answer) == (422, "missing_prompt_text", "reference_text")


@pytest.mark.parametrize(
    "audio",
    [
        "missing.wav",
        "/etc/passwd",
        "../record.jsonl",
        "audio/../../../../etc/hostname",
        "audio",
        "/dev/zero",
        "/proc/self/environ",
        "\0",
        "x" * 5000,
        "http://127.0.0.1:1/a.wav",
        "https://example.invalid/a.wav",
        "ftp://x/a",
        "file:///etc/passwd",
        "data:audio/wav;base64,!!!!",
        "data:audio/wav,plain",
        "data:audio/wav;base64,",
        "data:audio/wav;base64,aGVsbG8=",
    ],
)
def test_unreadable_reference_is_422_and_never_uncloned_audio(
    recorded: Recorded, audio: str
) -> None:
    answer = recorded.speak(reference_audio=audio, reference_text="said")

    assert error_of(answer) == (422, "invalid_reference_audio", "reference_audio")
    assert str(recorded.folder) not in answer.text


def test_link_out_of_the_roots_is_not_followed(recorded: Recorded) -> None:
    outside = recorded.folder / "outside.wav"
    outside.write_bytes(sine_wav())
    link = recorded.folder / "audio" / "link.wav"
    link.unlink(missing_ok=True)
    link.symlink_to(outside)

    answer = recorded.speak(reference_audio=str(link), reference_text="said")

    assert error_of(answer)[1] == "invalid_reference_audio"


def test_file_in_the_roots_that_is_no_audio_is_refused(recorded: Recorded) -> None:
    (recorded.folder / "audio" / "text.wav").write_text("hello")

    answer = recorded.speak(
        reference_audio=str(recorded.folder / "audio" / "text.wav"), reference_text="said"
    )

    assert error_of(answer) == (422, "invalid_reference_audio", "reference_audio")


def test_speed_given_twice_is_applied_once(recorded: Recorded) -> None:
    text = "A text of some length, so that its duration can be told."

    def seconds(**fields: Any) -> float:
        return float(recorded.speak(input=text, **fields).headers["X-Audio-Duration"])

    whole = seconds()
    for fields in (
        {"speed": 2.0},
        {"prosody": {"speed": 2.0}},
        {"speed": 2.0, "prosody": {"speed": 2.0}},
        {"speed": 1.0, "prosody": {"speed": 2.0}},
        {"speed": 2.0, "prosody": {"speed": 1.0}},
    ):
        assert seconds(**fields) == pytest.approx(whole / 2, rel=0.05)
