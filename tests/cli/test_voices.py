"""`fishs2 voices` and `fishs2 fetch` as a person uses them."""

import sys
from pathlib import Path

import pytest

from tests.bootstrap.file_server import file_server
from tests.cli.running import run
from tests.server.recorded import sine_wav


def test_voice_goes_from_one_folder_to_another(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / "take.wav").write_bytes(sine_wav())
    (here / "take.txt").write_text("What is said.\n")

    added = run(here, "voices", "add", "take.wav", "--id", "My Voice", "--language", "en")
    shown = run(here, "voices", "show", "my-voice")
    exported = run(here, "voices", "export", "my-voice", "-o", str(there / "v.zip"))
    imported = run(there, "voices", "import", "v.zip", "--id", "copy")
    listed = run(there, "voices", "list")

    assert [r.returncode for r in (added, shown, exported, imported, listed)] == [0] * 5
    assert "1.0 s, 16000 Hz" in shown.stdout
    assert "copy  1 file " in listed.stdout
    assert "What is said." in listed.stdout
    original, copy = here / "voices" / "my-voice", there / "voices" / "copy"
    assert (copy / "take.wav").read_bytes() == (original / "take.wav").read_bytes()


def test_changed_archive_is_refused_and_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sine_wav())
    run(tmp_path, "voices", "add", "a.wav")
    run(tmp_path, "voices", "export", "a")
    archive = tmp_path / "a.zip"
    archive.write_bytes(archive.read_bytes().replace(b'"name": "a"', b'"name": "b"'))

    done = run(tmp_path, "voices", "import", "a.zip", "--id", "changed")

    assert done.returncode == 1
    assert "refused" in done.stderr
    assert not (tmp_path / "voices" / "changed").exists()


def test_voice_is_removed_only_when_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sine_wav())
    run(tmp_path, "voices", "add", "a.wav")

    asked = run(tmp_path, "voices", "remove", "a")
    assert asked.returncode == 1
    assert "Delete a and its 1 file?" in asked.stdout
    assert (tmp_path / "voices" / "a").is_dir()

    assert run(tmp_path, "voices", "remove", "a", "--yes").returncode == 0
    assert not (tmp_path / "voices" / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "missing.wav"], "missing.wav"),
        (["add", "text.wav"], "cannot be read"),
        (["show", "nobody"], "nobody"),
        (["remove", "..", "--yes"], ".."),
        (["export", "../../etc"], "etc"),
        (["import", "text.wav"], "refused"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "text.wav").write_text("no audio")

    done = run(tmp_path, "voices", *arguments)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_fetch_downloads_without_starting_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    with file_server({"/m": b"model", "/t": b"tokenizer"}) as server:
        env = {
            "FISHS2_MODEL_PATH": str(tmp_path / "models" / "m.gguf"),
            "FISHS2_MODEL_URL": f"{server.url}/m",
            "FISHS2_TOKENIZER_URL": f"{server.url}/t",
        }
        planned = run(tmp_path, "fetch", "--dry-run", **env)
        num_planned = len(server.requests)
        fetched = run(tmp_path, "fetch", "--model-q4", **env)
        again = run(tmp_path, "fetch", **env)

    assert (planned.returncode, fetched.returncode, again.returncode) == (0, 0, 0)
    assert num_planned == 0
    assert "q4_k_m" in fetched.stdout
    assert (tmp_path / "models" / "m.gguf").read_bytes() == b"model"
    assert (tmp_path / "models" / "tokenizer.json").read_bytes() == b"tokenizer"
    assert "everything is there" in again.stdout
    assert len(server.requests) == 2


def test_fetch_of_a_library_that_nobody_publishes_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "fetch", "--engine", "s2cpp", "--dry-run")

    if sys.platform != "win32":
        assert done.returncode == 1
        assert "FISHS2_RUNTIME_DIR" in done.stderr


def test_empty_list_says_so_and_where_it_looked(tmp_path: Path) -> None:
    done = run(tmp_path, "voices", "list")

    assert done.returncode == 0
    assert f"no voices are stored in {tmp_path}/voices" in done.stdout


@pytest.mark.parametrize(
    "command", [["list"], ["show", "anna"], ["remove", "anna", "-y"], ["export", "anna"]]
)
def test_file_where_the_folder_should_be_is_a_sentence(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "voices").touch()

    done = run(tmp_path, "voices", *command)

    assert done.returncode == 1
    assert f"{tmp_path}/voices is no folder" in done.stderr


def test_voice_that_was_meant_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "voices" / "narrator"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text('{"prompt_text": "Hi."}')
    (folder / "a.wav").write_bytes(b"RIFF")

    shown = run(tmp_path, "voices", "show", "narator")
    said = run(tmp_path, "say", "Hi.", "-o", "a.wav", "--voice", "Narratr")

    assert "did you mean narrator?" in shown.stderr
    assert "did you mean narrator?" in said.stderr


@pytest.mark.parametrize(
    ("env", "engine"),
    [
        ({}, "s2"),
        ({"FISHS2_ENGINE": "s2cpp"}, "s2cpp"),
        ({"FISHS2_BACKEND": "vulkan"}, "s2cpp"),
        ({"FISHS2_ENGINE": "builtin"}, "s2"),
    ],
)
def test_fetch_takes_the_engine_from_the_settings(
    tmp_path: Path, env: dict[str, str], engine: str
) -> None:
    library = {"FISHS2_RUNTIME_ZIP_URL": "http://127.0.0.1:1/library.zip"}
    done = run(tmp_path, "fetch", "--dry-run", **library, **env)

    assert done.returncode == 0, done.stderr
    assert ("library.zip" in done.stdout) == (engine == "s2cpp")
