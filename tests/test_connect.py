"""What docs/connect.md and docs/moving-from-openai.md tell people to type, against a server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fishs2.audio.decode import decode_audio
from fishs2.settings import Settings
from tests.serving import PATIENCE_S, serving

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = {
    name: (DOCS / name).read_text(encoding="utf-8")
    for name in ("connect.md", "moving-from-openai.md")
}
ADDRESS = re.compile(r"(http|ws)://(?:192\.168\.1\.20|127\.0\.0\.1):8020")
CLIENTS = ("from openai import", "from elevenlabs.client import", "curl -s http")
EXAMPLES = [
    (language, code)
    for page in PAGES.values()
    for language, code in re.findall(r"^```(bash|python)\n(.*?)^```", page, re.S | re.M)
    if code.startswith(CLIENTS)
]
BASES = {"", "/v1", "/elevenlabs"}
"""Addresses to which a client adds a path."""


def test_the_pages_have_examples_of_each_client() -> None:
    assert {code.split("\n")[0][:12] for _, code in EXAMPLES} == {each[:12] for each in CLIENTS}
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, builtin_server: str, tmp_path: Path) -> None:
    language, code = EXAMPLES[number]
    if language == "bash" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    code = ADDRESS.sub(builtin_server, code)
    if "convert(" in code:
        code += '\nwith open("hello.mp3", "wb") as file:\n    file.writelines(audio)\n'
    program = [sys.executable, "-c"] if language == "python" else ["bash", "-ec"]
    done = subprocess.run(
        [*program, code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    [made] = tmp_path.glob("*.mp3")
    assert len(decode_audio(made.read_bytes(), max_seconds=60).pcm)


async def test_every_address_leads_to_a_route() -> None:
    async with serving() as served:
        known = (await served.client.get("/openapi.json")).json()["paths"]

    for name, page in PAGES.items():
        for path in re.findall(rf"{ADDRESS.pattern}(/[\w./-]*)?", page):
            found = path[1].rstrip("/.")
            assert found in BASES or found in known, (name, found)


@pytest.mark.parametrize("name", sorted(PAGES))
async def test_every_route_and_setting_that_is_named_exists(name: str) -> None:
    async with serving() as served:
        known = (await served.client.get("/openapi.json")).json()["paths"]
    settings = {f"FISHS2_{each.upper()}" for each in Settings.model_fields}

    for path in re.findall(r"`(?:GET |POST )?(/(?:v1|dev)/[\w/]+)", PAGES[name]):
        assert path in known, path
    named = set(re.findall(r"FISHS2_[A-Z_]+", PAGES[name]))
    assert named
    assert named <= settings
