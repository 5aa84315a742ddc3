"""The examples of docs/api.md, word for word and one after the other, against a server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import PATIENCE_S, server_process, serving

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.S | re.M)
STRICT = 'curl() { command curl -fsS "$@"; }\n'
"""What is refused fails, and is said."""
SHOWS_STATUS = "%{http_code}"
"""Examples of what this server cannot do end with it."""


async def test_every_operation_has_an_example() -> None:
    """One that finds its address out says in a comment what it calls."""
    calls = set()
    for _, code in EXAMPLES:
        calls |= set(re.findall(r"^# ([A-Z]+) (/\S+)$", code, re.M))
        for command in code.replace("\\\n", " ").splitlines():
            for path in re.findall(r"http://127\.0\.0\.1:8020(/[^\s\"?]*)", command):
                method = re.search(r" -X ([A-Z]+)", command)
                sends = " -d " in command or " -F " in command
                calls.add((method[1] if method else "POST" if sends else "GET", path))
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()

    operations = {(verb.upper(), path) for path, each in page["paths"].items() for verb in each}
    assert len(operations) > 30
    for verb, path in operations:
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        assert any(verb == v and re.fullmatch(pattern, called) for v, called in calls), (verb, path)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_every_example_works(tmp_path: Path) -> None:
    assert len(EXAMPLES) > 30
    with server_process(tmp_path, wait_for_engine=True) as url:
        for language, code in EXAMPLES:
            is_refused = SHOWS_STATUS in code
            code = code.replace("http://127.0.0.1:8020", url)
            code = code.replace("ws://127.0.0.1:8020", url.replace("http", "ws"))
            if language == "bash" and not is_refused:
                code = STRICT + code
            program = [sys.executable, "-c"] if language == "python" else ["bash", "-ec"]
            done = subprocess.run(
                [*program, code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
            )
            assert done.returncode == 0, (code, done.stdout, done.stderr)
            if is_refused:
                assert set(done.stdout.split()) < {"501", "503"}, code
