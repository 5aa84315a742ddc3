"""One home: keys, voices and logs are the same whatever folder a program is started in."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fishs2 import settings_sources
from fishs2.advice import did_you_mean
from tests.cli.running import run
from tests.serving import PATIENCE_S, free_port, server_process, wait_until_up

ROOT = Path(__file__).resolve().parent.parent
SPEECH = {"model": "fishs2", "input": "Hello.", "voice": "default"}


def speak(url: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{url}/v1/audio/speech", json=SPEECH, headers=headers).status_code


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_server_and_commands_share_keys_and_voices_whatever_folder_they_run_in(
    tmp_path: Path,
) -> None:
    home, here, there = tmp_path / "home", make(tmp_path / "here"), make(tmp_path / "there")
    made = run(there, "keys", "create", "me", FISHS2_HOME=str(home))

    with server_process(here, FISHS2_HOME=str(home)) as url:
        statuses = [speak(url), speak(url, made.stdout.strip())]
    listed = run(tmp_path, "voices", "list", FISHS2_HOME=str(home))

    assert statuses == [401, 200]
    assert "sample_male" in listed.stdout
    assert {path.name for path in home.iterdir()} >= {"data", "voices", "logs"}
    assert (list(here.iterdir()), list(there.iterdir())) == ([], [])


def test_relative_path_in_a_setting_is_taken_from_home(tmp_path: Path) -> None:
    home, here = tmp_path / "home", make(tmp_path / "here")
    places: dict[str, Any] = {"FISHS2_VOICES_DIR": "my/voices", "FISHS2_DATA_DIR": "kept"}
    places["FISHS2_LOGS_DIR"] = "l"

    with server_process(here, FISHS2_HOME=str(home), **places) as url:
        assert speak(url) == 200
    run(here, "keys", "create", "me", FISHS2_HOME=str(home), **places)

    assert (home / "my" / "voices" / "sample_male").is_dir()
    assert (home / "kept" / "fishs2.db").is_file()
    assert (home / "l" / "app.log").is_file()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///my.db", "sqlite:///{home}/my.db"])
def test_file_of_a_database_address_is_taken_from_home(tmp_path: Path, url: str) -> None:
    home, here = make(tmp_path / "home"), make(tmp_path / "here")
    settings = {"FISHS2_HOME": str(home), "FISHS2_DATABASE_URL": url.format(home=home)}

    made = run(here, "keys", "create", "me", **settings)

    assert made.returncode == 0, made.stderr
    assert (home / "my.db").is_file()
    assert list(here.iterdir()) == []


def test_env_file_at_home_is_read_from_every_folder(tmp_path: Path) -> None:
    home, here = make(tmp_path / "home"), make(tmp_path / "here")
    (home / ".env").write_text("FISHS2_DATA_DIR=kept\n")

    run(here, "keys", "create", "me", FISHS2_HOME=str(home))

    assert (home / "kept" / "fishs2.db").is_file()


def test_env_file_of_another_program_in_the_current_folder_is_left_alone(tmp_path: Path) -> None:
    home, here = tmp_path / "home", make(tmp_path / "here")
    (here / ".env").write_text("DATABASE: postgres\nthis is : no line of ours # FISHS2_PORT\n")

    done = run(here, "voices", "list", FISHS2_HOME=str(home))

    assert (done.returncode, done.stderr) == (0, "")


def test_env_file_in_the_current_folder_is_read_with_a_warning(tmp_path: Path) -> None:
    home, here = tmp_path / "home", make(tmp_path / "here")
    (here / ".env").write_text("FISHS2_VOICES_DIR=elsewhere\n")
    (make(home / "elsewhere" / "anna") / "meta.json").write_text('{"prompt_text": "Hi."}')
    (home / "elsewhere" / "anna" / "a.wav").write_bytes(b"RIFF")

    done = run(here, "voices", "list", FISHS2_HOME=str(home))

    assert "anna" in done.stdout
    assert f"mv {here}/.env {home}/.env" in done.stderr


def test_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    done = run(tmp_path, "voices", "list", FISHS2_HOME=str(tmp_path / "home"))

    assert done.returncode == 1
    assert f"{tmp_path}/home is a file" in done.stderr


def test_home_in_an_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FISHS2_HOME=/srv/speech\n")

    done = run(tmp_path, "voices", "list")

    assert done.returncode == 1
    assert "FISHS2_HOME cannot be set in .env" in done.stderr


def test_keys_in_the_current_folder_still_count_and_the_warning_moves_them(tmp_path: Path) -> None:
    home, old, there = make(tmp_path / "home"), make(tmp_path / "old"), make(tmp_path / "there")
    key = run(old, "keys", "create", "me").stdout.strip()

    with server_process(old, FISHS2_HOME=str(home)) as url:
        statuses = [speak(url), speak(url, key)]
    said = (home / "logs" / "app.log").read_text()
    asked = run(old, "keys", "list", FISHS2_HOME=str(home))
    command = re.search(r"move it: (mv \S+ \S+)", asked.stderr)
    assert command is not None
    subprocess.run(command[1].split(), check=True)
    after = run(there, "keys", "list", FISHS2_HOME=str(home))

    assert statuses == [401, 200]
    assert command[1] in said
    assert "me" in asked.stdout
    assert "me" in after.stdout
    assert after.stderr == ""


def test_keys_of_a_home_that_somebody_chose_come_first(tmp_path: Path) -> None:
    home, old = make(tmp_path / "home"), make(tmp_path / "old")
    run(old, "keys", "create", "old")
    run(home, "keys", "create", "right")

    listed = run(old, "keys", "list", FISHS2_HOME=str(home))

    assert "right" in listed.stdout
    assert "old/data is not used" in listed.stderr


def test_chosen_home_takes_the_place_of_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, chosen = make(tmp_path / "usual"), tmp_path / "chosen"
    run(usual, "keys", "create", "usual")
    monkeypatch.setattr(settings_sources, "default_home", lambda: usual)

    listed = run(usual, "keys", "list", FISHS2_HOME=str(chosen))

    assert listed.returncode == 0
    assert "usual  " not in listed.stdout
    assert "usual/data is not used" in listed.stderr


def test_start_and_doctor_say_where_everything_is(tmp_path: Path) -> None:
    home, here = tmp_path / "home", make(tmp_path / "here")

    with server_process(here, FISHS2_HOME=str(home), FISHS2_VOICES_DIR=str(tmp_path / "v")):
        pass
    examined = run(here, "doctor", FISHS2_HOME=str(home), FISHS2_PORT="0")

    assert f"files are in {home}, voices in {tmp_path}/v" in (home / "logs" / "app.log").read_text()
    assert re.search(rf"home +{home}\n", examined.stdout)


def test_home_of_a_checkout_is_the_checkout(tmp_path: Path) -> None:
    code = "from fishs2.settings import load_settings; print(load_settings().data_dir)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == str(ROOT / "data")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip installs it from its wheel."""
    folder = tmp_path_factory.mktemp("installed")
    build = ["hatchling", "build", "-t", "wheel", "-d", str(folder)]
    install = ["pip", "install", "--no-deps", "--no-index", "--no-compile", "fishs2"]
    install += ["--target", str(folder / "site"), "--find-links", str(folder)]
    for command in (build, install):
        done = [sys.executable, "-m", *command]
        subprocess.run(done, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_S)
    return folder / "site"


@contextmanager
def served(site: Path, here: Path, data: Path) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "fishs2", "serve", "--host", "127.0.0.1", "--port", str(port)],
        cwd=here,
        env=as_installed(site, data),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(url, process)
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def as_installed(site: Path, data: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site), "XDG_DATA_HOME": str(data)}


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_DATA_HOME is Linux's")
def test_home_of_an_installed_package_is_the_systems_folder_for_data(
    installed: Path, tmp_path: Path
) -> None:
    data, here, there = tmp_path / "share", make(tmp_path / "here"), make(tmp_path / "there")
    command = [sys.executable, "-m", "fishs2", "keys", "create", "me"]
    made = subprocess.run(
        command, cwd=there, env=as_installed(installed, data), capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr

    with served(installed, here, data) as url:
        statuses = [speak(url), speak(url, made.stdout.strip())]

    assert statuses == [401, 200]
    assert (data / "fishs2" / "data" / "fishs2.db").is_file()
    assert (data / "fishs2" / "logs" / "app.log").is_file()
    assert (list(here.iterdir()), list(there.iterdir())) == ([], [])


def test_installed_package_advises_pip_and_its_own_commands(
    installed: Path, tmp_path: Path
) -> None:
    said = [
        subprocess.run(
            [sys.executable, "-m", "fishs2", *command],
            cwd=tmp_path,
            env=as_installed(installed, tmp_path / "share"),
            capture_output=True,
            text=True,
        )
        for command in (["doctor"], ["bench", "--url", f"http://127.0.0.1:{free_port()}"])
    ]
    words = "".join(done.stdout + done.stderr for done in said)

    assert "pip install 'fishs2[s2]'" in words
    assert "start it with `fishs2 serve`" in words
    assert "run.sh" not in words


def test_of_very_many_names_those_near_it_are_compared() -> None:
    names = [f"Voice {number:05}" for number in range(100_000)]

    assert did_you_mean("voice 0512", names).startswith("; did you mean Voice 05")
    assert did_you_mean("Voice 99999x", names) == "; did you mean Voice 99999?"
    assert did_you_mean("nobody", names) == ""
