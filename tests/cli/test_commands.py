"""The commands as a user runs them, judged by exit status, output and files."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.cli.main import _COMMANDS
from tests.cli.running import run as run_here
from tests.serving import PATIENCE_S, free_port, wait_until_up

TEXT = "Dinner is ready."


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options.setdefault("env", environment(folder))
    return subprocess.run(
        [sys.executable, "-m", "fishs2", *arguments],
        cwd=folder,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        **options,
    )


def environment(home: Path, **values: str) -> dict[str, str]:
    return {**os.environ, "FISHS2_HOME": str(home), **values}


@pytest.mark.parametrize("suffix", ["wav", "mp3", "opus", "ogg", "aac", "flac"])
def test_say_writes_the_format_that_the_suffix_names(tmp_path: Path, suffix: str) -> None:
    result = run_here(tmp_path, "say", TEXT, "-o", f"dinner.{suffix}")

    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(rf"wrote dinner.{suffix}: \d\.\d s, \d+ kB of \w+\n", result.stdout)
    decoded = decode_audio((tmp_path / f"dinner.{suffix}").read_bytes(), max_seconds=10)
    assert 0.5 < len(decoded.pcm) / decoded.sample_rate_hz < 2
    assert [path.name for path in tmp_path.iterdir()] == [f"dinner.{suffix}"]


def test_say_reads_standard_input_and_writes_standard_output(tmp_path: Path) -> None:
    result = run(tmp_path, "say", "-", "-o", "-", "--format", "mp3", input=TEXT.encode())

    assert result.returncode == 0
    assert len(decode_audio(result.stdout, max_seconds=10).pcm) > 10_000


def test_say_shows_what_would_be_spoken(tmp_path: Path) -> None:
    result = run_here(tmp_path, "say", "**Hi** 5€", "--preview", "--text-cleaning", "markdown")

    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert [each["text"] for each in shown["utterances"]] == ["Hi 5 euros"]
    assert {"start": 0, "end": 2, "say": ""} in shown["replaced"]
    assert list(tmp_path.iterdir()) == []


def test_say_speaks_another_voice_at_another_pace(tmp_path: Path) -> None:
    for name, options in {"plain": [], "slow": ["--voice", "de", "--speed", "0.5"]}.items():
        assert run_here(tmp_path, "say", TEXT, "-o", f"{name}.wav", *options).returncode == 0

    sizes = {name: (tmp_path / f"{name}.wav").stat().st_size for name in ("plain", "slow")}
    assert sizes["slow"] > 1.5 * sizes["plain"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["say", "<speak>", "-o", "a.wav", "--text-type", "ssml"], 1, "line 1, column 8"),
        (["say", TEXT, "-o", "a.wav", "--text-type", "html"], 2, "use text or ssml"),
        (["say", TEXT, "-o", "a.xyz"], 2, "the suffix .xyz names no audio format"),
        (["say", TEXT, "-o", "-", "--format", "xyz"], 2, "--format xyz names no audio format"),
        (["say", TEXT, "-o", "a.wav", "--format", "xyz"], 2, "xyz"),
        (["say", TEXT, "-o", "a.wav", "--engine", "gpt"], 2, "--engine=gpt"),
        (["serve", "--engine", "gpt"], 2, "--engine=gpt"),
        (["serve", "--port", "99999"], 2, "--port=99999"),
        (["serve", "--port", "x"], 2, "--port"),
        (["serve", "--backend", "cud"], 2, "did you mean cuda?"),
        (["serve", "--model-quant", "q8"], 2, "did you mean q8_0?"),
        (["fetch", "--model-quant", "q9"], 2, "q8_0"),
        (["fetch", "--engine", "builtin"], 2, "--engine builtin: nothing is to be fetched for it"),
        (["fetch", "--engine", "s3"], 2, "engine"),
        (["keys", "create", "me", "--quota", "many"], 2, "many"),
        (["bench", "--url", "http://h", "--engine", "builtin"], 2, "--url"),
        (["bench", "--engine", "builtin", "--model-quant", "q9"], 2, "q8_0"),
        (["say", "...", "-o", "a.wav"], 1, "nothing that can be spoken"),
        (["say", TEXT, "-o", "a.wav", "--voice", "nobody"], 1, "voice"),
        (["say", TEXT, "-o", "missing/a.wav"], 1, "cannot write missing/a.wav: No such file"),
        (["say", TEXT, "-o", "a.wav", "--speed", "9"], 2, "--speed"),
        (["say", TEXT], 2, "--output"),
        (["say", TEXT, "--preview", "--text-cleaning", "all"], 2, "off, minimal, markdown, full"),
        (["sing"], 2, "sing"),
        (["voics", "list"], 2, "Did you mean 'voices'?"),
    ],
)
def test_wrong_use_says_what_is_wrong(
    tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    result = run_here(tmp_path, *arguments)

    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_finds_nothing_wrong_here(tmp_path: Path) -> None:
    result = run(tmp_path, "doctor", env=environment(tmp_path, FISHS2_PORT=str(free_port())))

    assert result.returncode == 0, result.stdout
    lines = result.stdout.decode().splitlines()
    topics = [line.split()[1] for line in lines]
    assert topics == [
        "python",
        "ffmpeg",
        "settings",
        "home",
        "engine",
        "gpu",
        "torch",
        "library",
        "model",
        "disk",
        "port",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [
        ("FISHS2_PORT", "99999", "bad   settings"),
        ("FISHS2_BUILTIN_VOICE", "klingonese", "bad   engine"),
        ("FISHS2_LOGS_DIR", "/proc/nowhere", "bad   disk"),
    ],
)
def test_doctor_fails_when_the_server_could_not_work(
    tmp_path: Path, name: str, value: str, finding: str
) -> None:
    settings = {"FISHS2_PORT": str(free_port()), name: value}
    result = run_here(tmp_path, "doctor", **settings)

    assert result.returncode == 1
    assert finding in result.stdout


def test_taken_port_stops_doctor_and_server_with_a_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = {"FISHS2_HOST": "127.0.0.1", "FISHS2_PORT": str(other.getsockname()[1])}
        examined = run_here(tmp_path, "doctor", **settings)
        served = run_here(tmp_path, "serve", **settings)

    assert examined.returncode == 1
    assert "FISHS2_PORT" in examined.stdout
    assert served.returncode == 1
    assert "Address already in use" in served.stderr
    assert "--port" in served.stderr
    assert "Traceback" not in served.stderr


def test_doctor_is_content_with_a_server_of_ours_on_the_port(
    tmp_path: Path, builtin_server: str
) -> None:
    port = builtin_server.rpartition(":")[2]
    result = run_here(tmp_path, "doctor", FISHS2_PORT=port)

    assert result.returncode == 0, result.stdout
    assert f"note  port      a fishs2 server is already running: http://127.0.0.1:{port}" in (
        result.stdout
    )


@pytest.mark.parametrize("host", ["no..such.host", "192.0.2.1"])
def test_address_of_another_machine_is_no_matter_of_the_port(tmp_path: Path, host: str) -> None:
    result = run_here(tmp_path, "serve", "--host", host, "--port", "0")

    assert result.returncode == 1
    assert f"{host} port 0: this machine has no such address" in result.stderr
    assert "--host or FISHS2_HOST" in result.stderr


def test_serve_stops_when_the_engine_finds_its_setting_wrong(tmp_path: Path) -> None:
    settings = {"FISHS2_PORT": str(free_port()), "FISHS2_BUILTIN_VOICE": "klingonese"}
    result = run(tmp_path, "serve", env=environment(tmp_path, **settings))

    assert result.returncode == 1
    assert b"klingonese" in result.stderr
    assert b"Traceback" not in result.stderr


def test_serve_names_every_bad_setting_before_it_starts(tmp_path: Path) -> None:
    refused = run(
        tmp_path, "serve", env=environment(tmp_path, FISHS2_MAX_QUEUE="-1", FISHS2_PORT="-1")
    )

    assert refused.returncode == 1
    assert b"FISHS2_MAX_QUEUE=-1" in refused.stderr
    assert b"FISHS2_PORT=-1" in refused.stderr
    assert b"0 to 65535" in refused.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize(
    ("end", "text"), [(signal.SIGINT, TEXT), (signal.SIGTERM, TEXT * 500)], ids=["idle", "busy"]
)
def test_serve_says_what_speaks_and_ends_cleanly(
    tmp_path: Path, end: signal.Signals, text: str
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "fishs2", "serve", "--host", "127.0.0.1", "--port", str(port)],
        cwd=tmp_path,
        env=environment(tmp_path, FISHS2_BOGUS="1", FISHS2_SHUTDOWN_S="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until_up(f"http://127.0.0.1:{port}", process)
    with httpx.stream(
        "POST",
        f"http://127.0.0.1:{port}/v1/audio/speech",
        json={"model": "fishs2", "input": text, "stream": True},
        timeout=PATIENCE_S,
    ):
        process.send_signal(end)
        output, _ = process.communicate(timeout=PATIENCE_S)

    assert "engine builtin speaks on cpu" in output
    assert "FISHS2_BOGUS" in output
    assert "Traceback" not in output


def test_importing_the_server_loads_no_torch() -> None:
    code = "import sys, fishs2.server.app; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=PATIENCE_S, check=True, text=True
    )

    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::1]", "[::1]"), ("::", "[::1]")],
)
def test_serve_prints_the_address_that_answers(tmp_path: Path, host: str, shown: str) -> None:
    with started(tmp_path, "--host", host, "--port", "0") as output:
        url = next(
            found[1] for line in output if (found := re.search(r"listens on (\S+?)\"?$", line))
        )
        answer = httpx.get(f"{url}/health", trust_env=False)

    assert url.startswith(f"http://{shown}:")
    assert answer.status_code == 200


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Iterator[str]]:
    """Run `fishs2 serve`; yields the lines that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fishs2", "serve", *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout)
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_what_needs_no_command_loads_none(argument: str) -> None:
    code = (
        "import sys; from fishs2.cli.main import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, timeout=PATIENCE_S
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    ours = {name for name in done.stderr.split() if name.startswith("fishs2")}

    assert done.returncode == 0
    assert ours == {"fishs2", "fishs2.cli", "fishs2.cli.main", "fishs2.errors"}
    assert loaded.isdisjoint({"asyncio", "pydantic", "rich", "numpy", "uvicorn", "fastapi", "av"})


def test_list_of_commands_says_what_each_says_of_itself(tmp_path: Path) -> None:
    listed = run_here(tmp_path, "--help").stdout

    for name in _COMMANDS:
        said = run_here(tmp_path, name, "--help").stdout.split("\n\n")[1]
        first = " ".join(said.split()).partition(". ")[0].rstrip(".")
        assert re.search(rf"{name} +{re.escape(first)}", " ".join(listed.split()))
