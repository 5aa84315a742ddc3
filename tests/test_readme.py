"""The README's examples, word for word, against a server; only port and program path differ."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.serving import PATIENCE_S, server_process

README = Path(__file__).resolve().parent.parent / "README.md"
EXAMPLES = {
    name: (language, code)
    for name, language, code in re.findall(
        r"<!-- example: (\w+) -->\n```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.S
    )
}
EXPECTED = {
    "curl": ("hello.wav", "pcm_s16le", 1.0, 3.0),
    "openai": ("fox.mp3", "mp3float", 2.0, 4.0),
    "streaming": ("stream.ogg", "opus", 3.0, 6.0),
    "clone": ("lighthouse.flac", "flac", 1.5, 5.0),
    "say": ("dinner.mp3", "mp3float", 0.5, 2.0),
    "fish": ("tide.mp3", "mp3float", 2.0, 6.0),
    "key": ("secret.mp3", "mp3float", 1.0, 4.0),
}


def test_readme_has_exactly_the_examples_that_are_tested() -> None:
    assert set(EXAMPLES) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"key"}))
def test_example_makes_the_sound_it_promises(
    name: str, builtin_server: str, tmp_path: Path
) -> None:
    run_example(name, builtin_server, tmp_path)


def test_example_of_a_key_closes_the_server_to_everybody_else(tmp_path: Path) -> None:
    with server_process(tmp_path) as url:
        run_example("key", url, tmp_path)
        # Running servers read the keys every second.
        while httpx.get(f"{url}/v1/models", timeout=PATIENCE_S).status_code != 401:
            time.sleep(0.05)


def run_example(name: str, url: str, folder: Path) -> None:
    """Run an example in a folder and listen to the file that it makes."""
    file_name, _, low_s, high_s = EXPECTED[name]
    language, code = EXAMPLES[name]
    if language == "bash" and not shutil.which("curl") and "curl" in code:
        pytest.skip("curl is not installed")
    code = code.replace("http://127.0.0.1:8020", url)
    sample = SAMPLE_VOICES / "sample_male" / "sample_male_new.wav"
    code = code.replace("voices/sample_male/sample_male_new.wav", str(sample))
    code = code.replace(".venv/bin/fishs2", f"{sys.executable} -m fishs2")
    program = [sys.executable, "-c"] if language == "python" else ["bash", "-ec"]
    subprocess.run(
        [*program, code],
        cwd=folder,
        check=True,
        timeout=PATIENCE_S,
        env={**os.environ, "FISHS2_HOME": str(folder)},
    )

    decoded = decode_audio((folder / file_name).read_bytes(), max_seconds=60)
    assert low_s < len(decoded.pcm) / decoded.sample_rate_hz < high_s
    assert abs(decoded.pcm).max() > 0.1
