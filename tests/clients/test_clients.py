"""ElevenLabs' SDK for JavaScript, LiveKit's and Pipecat's services, against a server process."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from scripts.clients import NODE_MODULES, PYTHON
from tests.server.recorded import Recorded, recording_server
from tests.serving import PATIENCE_S

PROGRAMS = Path(__file__).parent / "programs"
TEXT = "Hello there. How are you today?"

pytestmark = [pytest.mark.clients, pytest.mark.timeout(2 * PATIENCE_S)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recording_server(tmp_path_factory.mktemp("clients")) as server:
        assert server.upload("alice", audio=None, name="Alice").status_code == 200
        yield server


def run(program: str, url: str) -> dict[str, Any]:
    """What a program says in its last line."""
    node = shutil.which("node") or "node"
    command = node if program.endswith(".cjs") else PYTHON
    done = subprocess.run(
        (command, PROGRAMS / program, url),
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_javascript_sdk_speaks_and_finds_what_there_is(server: Recorded) -> None:
    told = run("sdk.cjs", server.url)

    assert told["whole"] == told["streamed"] > 24_000
    # Each sentence is an utterance of its own, for its times.
    assert told["timed"] == told["lines"] > 24_000
    assert told["timed_text"] == told["lines_text"] == TEXT
    assert "alice" in told["voices"]
    assert told["searched"] == 1
    assert told["models"]
    assert (told["user"], told["status"], told["refused"]) == ("anonymous", "active", 404)


def test_livekit_hears_whole_turns_with_their_words(server: Recorded) -> None:
    told = run("livekit_agent.py", server.url)

    assert told["whole_s"] > 1
    assert "alice" in told["voices"]
    for turn in told["turns"]:
        assert turn["is_final"]
        words = "".join(word for word, _, _ in turn["words"])
        assert words.split() == f"{TEXT} Fine, thank you.".split()
        times = [time for _, *pair in turn["words"] for time in pair]
        assert times == sorted(times)
        assert turn["seconds"] - 1 < times[-1] <= turn["seconds"] + 0.1


def test_pipecat_hears_each_turn_to_its_end_with_its_words(server: Recorded) -> None:
    told = run("pipecat_bot.py", server.url)

    assert (told["stopped"], told["errors"]) == (2, 0)
    words = "Hello there, you. How are you today? Fine, thank you."
    assert " ".join(word for word, _ in told["words"]) == words
    # Nanoseconds of a clock; the service knows no time of a turn's last word.
    times = [time for _, time in told["words"]]
    assert times == sorted(times)
    seconds = told["bytes"] / 48_000
    first_turn_s = (times[5] - times[0]) / 1e9
    assert 0.5 < first_turn_s < seconds
    assert all(later - earlier < 1e9 for earlier, later in pairwise(times))
