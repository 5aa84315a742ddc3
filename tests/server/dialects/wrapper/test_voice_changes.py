"""Voices that are replaced, by requests and by writers that die, while others use them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.server.recorded import Recorded, sine_wav
from tests.serving import PATIENCE_S, server_process
from tests.store.dying import die_replacing

STATES = {300: "The old words.", 600: "Now there are new words."}
"""By the pitch of its recording: what is said in it."""


def test_voice_that_is_replaced_speaks_as_it_was_or_as_it_is(recorded: Recorded) -> None:
    wavs = {pitch: sine_wav(pitch) for pitch in STATES}
    is_done = threading.Event()

    def replace() -> None:
        while not is_done.is_set():
            for pitch, text in STATES.items():
                recorded.upload("swapped", audio=wavs[pitch], prompt_text=text)

    def speak(number: int) -> int:
        with httpx.Client(base_url=recorded.url, timeout=PATIENCE_S) as client:
            body = {"model": "fishs2", "input": f"Number {number}.", "voice": "swapped"}
            return client.post("/v1/audio/speech", json=body).status_code

    recorded.upload("swapped", audio=wavs[300], prompt_text=STATES[300])
    recorded.record.write_text("")
    with ThreadPoolExecutor(6) as threads:
        writer = threads.submit(replace)
        statuses = list(threads.map(speak, range(120)))
        is_done.set()
        writer.result()
    lines = [json.loads(line)["reference"] for line in recorded.record.read_text().splitlines()]

    assert statuses == [200] * 120
    # Never the audio of one with the words of the other.
    assert all(STATES[line["crossings_per_s"]] == line["transcript"] for line in lines)
    assert {line["crossings_per_s"] for line in lines} == set(STATES)


def test_voice_whose_replacement_was_killed_goes_on_speaking(recorded: Recorded) -> None:
    recorded.upload("survivor", audio=sine_wav(440))
    folder = recorded.folder / "voices"

    die_replacing(folder, "survivor")
    listed = [entry["id"] for entry in recorded.client.get("/v1/audio/voices").json()["data"]]
    die_replacing(folder, "survivor")
    spoken = recorded.speak(voice="survivor")

    assert "survivor" in listed
    assert spoken.status_code == 200
    assert recorded.asked()["reference"]["crossings_per_s"] == 440


def test_start_finishes_what_a_killed_writer_began(tmp_path: Path) -> None:
    with server_process(tmp_path, FISHS2_VOICES_DIR=str(tmp_path / "voices")):
        pass
    die_replacing(tmp_path / "voices", "sample_male")
    with server_process(tmp_path, FISHS2_VOICES_DIR=str(tmp_path / "voices")) as url:
        listed = httpx.get(f"{url}/v1/audio/voices").json()["data"]

    assert "sample_male" in [entry["id"] for entry in listed]
    assert not list((tmp_path / "voices").glob(".[ngo]*-*"))
