"""The README's examples, word for word, against a server; only port and program path differ."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fishs2.audio.decode import decode_audio
from fishs2.store.voices import SAMPLE_VOICES

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
}


def test_readme_has_exactly_the_examples_that_are_tested() -> None:
    assert set(EXAMPLES) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_example_makes_the_sound_it_promises(
    name: str, builtin_server: str, tmp_path: Path
) -> None:
    file_name, _, low_s, high_s = EXPECTED[name]
    language, code = EXAMPLES[name]
    if language == "bash" and not shutil.which("curl") and "curl" in code:
        pytest.skip("curl is not installed")
    code = code.replace("http://127.0.0.1:8020", builtin_server)
    sample = SAMPLE_VOICES / "sample_male" / "sample_male_new.wav"
    code = code.replace("voices/sample_male/sample_male_new.wav", str(sample))
    code = code.replace(".venv/bin/fishs2", f"{sys.executable} -m fishs2")
    program = [sys.executable, "-c"] if language == "python" else ["bash", "-ec"]
    subprocess.run([*program, code], cwd=tmp_path, check=True, timeout=30, env=dict(os.environ))

    decoded = decode_audio((tmp_path / file_name).read_bytes(), max_seconds=60)
    assert low_s < len(decoded.pcm) / decoded.sample_rate_hz < high_s
    assert abs(decoded.pcm).max() > 0.1
