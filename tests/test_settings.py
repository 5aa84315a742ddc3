"""Settings: where they come from, who wins, and what a wrong one says."""

import os
from inspect import get_annotations
from pathlib import Path
from unittest import mock

import pytest

from fishs2.errors import SettingsError
from fishs2.settings import (
    Settings,
    describe_unknown,
    export_other_lines,
    load_settings,
    unknown_names,
)
from fishs2.settings_groups.service import VoiceSettings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flags_win_over_environment_and_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("FISHS2_PORT=1001\nFISHS2_HOST=h1\nFISHS2_MAX_QUEUE=1\n")
    monkeypatch.setenv("FISHS2_PORT", "1002")
    monkeypatch.setenv("FISHS2_HOST", "h2")

    settings = load_settings(port=1003, host=None)

    assert (settings.port, settings.host, settings.max_queue) == (1003, "h2", 1)


@pytest.mark.parametrize("written", ["a,b", "a;b", " a , b ,", '["a","b"]', '[ "a", "b" ]'])
def test_lists_are_written_with_commas_semicolons_or_as_json(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHS2_MODEL_ALIASES", written)

    assert load_settings().model_aliases == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FISHS2_PORT", "99999", "0 to 65535"),
        ("FISHS2_PORT", "http", "0 to 65535"),
        ("FISHS2_MAX_QUEUE", "-1", "0 to 10000"),
        ("FISHS2_ENGINE", "gpt", "auto, builtin"),
        ("FISHS2_DEFAULT_FORMAT", "ogg", "wav, mp3, opus, aac, flac, pcm"),
        ("FISHS2_CLIENT_STALL_S", "0", "above 0, at most 86400"),
        ("FISHS2_MODEL_ALIASES", '["a"', "FISHS2_MODEL_ALIASES"),
        ("FISHS2_STRICT_VOICES", "perhaps", "true, false"),
        ("FISHS2_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_bad_value_is_refused_with_its_name_value_and_range(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert name in refusal.value.message
    assert value in refusal.value.message
    assert expected in refusal.value.message


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FISHS2_PORT", "99999", "allowed: 0 to 65535"),
        ("FISHS2_PORT", "80.5", "it must be a whole number; allowed: 0 to 65535"),
        ("FISHS2_LOG_LEVEL", "LOUD", "allowed: DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_what_is_allowed_is_said_once(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert f"{name}={value}: {said}" in caught.value.message
    assert "Input should" not in caught.value.message


@pytest.mark.parametrize("name", ["FISHS2_DATABASE_URL", "FISHS2_REDIS_URL"])
def test_password_in_an_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "gopher://me:hunter2@host/x")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert name in caught.value.message
    assert "hunter2" not in caught.value.message


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHS2_PORT", "-1")
    monkeypatch.setenv("FISHS2_MAX_QUEUE", "x")

    with pytest.raises(SettingsError, match=r"(?s)FISHS2_PORT.*FISHS2_MAX_QUEUE"):
        load_settings()


def test_bad_flag_is_named_as_the_flag() -> None:
    with pytest.raises(SettingsError, match="--port=-1"):
        load_settings(port=-1)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"FISHS2_HOST=\xff\xfe\n")

    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings()


def test_unknown_names_are_found_in_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("FISHS2_PROT=8020\nOTHER=1\nFISHS2_PORT=8020\n")
    monkeypatch.setenv("FISHS2_BOGUS", "1")

    assert unknown_names() == ["FISHS2_BOGUS", "FISHS2_PROT"]


def test_names_are_read_without_regard_to_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("fishs2_port", "1234")

    assert load_settings().port == 1234
    assert unknown_names() == []


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ('FISHS2_PORT="1234"', "port", 1234),
        ("FISHS2_PORT=' 1234 '", "port", 1234),
        ("FISHS2_PORT=1234 # where I listen", "port", 1234),
        ('FISHS2_PORT="1234" # "where" I listen', "port", 1234),
        ("export FISHS2_PORT=1234", "port", 1234),
        ("  FISHS2_PORT = 1234  ", "port", 1234),
        ("fishs2_port=1234\r", "port", 1234),
        ("\ufeffFISHS2_PORT=1234", "port", 1234),
        ("FISHS2_PORT=# the default", "port", 8020),
        ("FISHS2_PORT=", "port", 8020),
        ('FISHS2_PORT=""', "port", 8020),
        ("#FISHS2_PORT=1234", "port", 8020),
        ("FISHS2_STRICT_VOICES=Yes", "strict_voices", True),
        ("FISHS2_STRICT_VOICES=on", "strict_voices", True),
        ("FISHS2_STRICT_VOICES=OFF", "strict_voices", False),
        ("FISHS2_ENGINE=BuiltIn", "engine", "builtin"),
        ("FISHS2_MODEL_QUANT=Q4_K_M", "model_quant", "q4_k_m"),
        ("FISHS2_DEFAULT_FORMAT=MP3", "default_format", "mp3"),
        ("FISHS2_HOST=[::1]", "host", "::1"),
        ("FISHS2_HOST=::", "host", "::"),
        ("FISHS2_PUBLIC_URL=https://a.example/tts/", "public_url", "https://a.example/tts"),
        ("FISHS2_CORS_ORIGINS=https://a.example/,*", "cors_origins", ("https://a.example", "*")),
        ("FISHS2_REDIS_URL=redis://:se#cret@h/0", "redis_url", "redis://:se#cret@h/0"),
        ("FISHS2_REDIS_URL=redis://${REDIS}/0", "redis_url", "redis://cache/0"),
        ("FISHS2_REDIS_URL=redis://${NOPE:-here}/0", "redis_url", "redis://here/0"),
        ("FISHS2_BUILTIN_VOICE='a$REDIS'", "builtin_voice", "a$REDIS"),
    ],
)
def test_line_is_read_as_people_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, name: str, value: object
) -> None:
    monkeypatch.setenv("REDIS", "cache")
    (tmp_path / ".env").write_bytes(f"{line}\nOTHER=1\n".encode())

    assert getattr(load_settings(), name) == value


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (r"C:\temp\new.gguf", r"C:\temp\new.gguf"),
        (r'"C:\temp\new.gguf"', r"C:\temp\new.gguf"),
        (r"'C:\temp\new.gguf'", r"C:\temp\new.gguf"),
        (r'"C:\\temp\\new.gguf"', r"C:\temp\new.gguf"),
        (r'"\\server\new"', r"\\server\new"),
        ("C:\\models\\", "C:\\models\\"),
        ('"C:\\models\\"', "C:\\models\\"),
        ('"/My Music/#1/a.gguf" # mine', "/My Music/#1/a.gguf"),
        ("~/a.gguf", "{home}/a.gguf"),
        ("~", "{home}"),
        ("$HOME/a.gguf", "{home}/a.gguf"),
        ("${HOME}/a.gguf", "{home}/a.gguf"),
        ('"$HOME/a.gguf"', "{home}/a.gguf"),
        ("%USERPROFILE%/a.gguf", "{home}/a.gguf"),
        (r"%USERPROFILE%\a.gguf", r"{home}\a.gguf"),
        ("'$HOME/a.gguf'", "$HOME/a.gguf"),
        ("$MODELS/a.gguf", "/srv/models/a.gguf"),
        ("file:a.gguf", "file:a.gguf"),
        ("50% off/a.gguf", "50% off/a.gguf"),
    ],
)
def test_path_in_the_file_is_read_as_people_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, path: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.delenv("USERPROFILE", raising=False)
    monkeypatch.setenv("MODELS", "/srv/models")
    monkeypatch.setenv("FISHS2_HOME", str(tmp_path))
    (tmp_path / ".env").write_text(f"FISHS2_MODEL_PATH={written}\n")

    assert load_settings().model_path == tmp_path / path.format(home=tmp_path / "me")


@pytest.mark.parametrize(
    ("value", "name", "read"),
    [
        ('"1234"', "port", 1234),  # Docker's --env-file keeps quotes, and comments too
        (" 1234 ", "port", 1234),
        ("1234 # mine", "port", 1234),
        ("", "port", 8020),
        ("  ", "port", 8020),
        ('"~/v"', "voices_dir", "{home}/v"),
        ("$HOME/v #1", "voices_dir", "{home}/v #1"),
        ("%USERPROFILE%/v", "voices_dir", "{home}/v"),
        ("~/a;$HOME/b", "reference_roots", ("{home}/a", "{home}/b")),
        ('["~/a", "b"]', "reference_roots", ("{home}/a", "{here}/b")),
    ],
)
def test_value_of_the_environment_is_read_as_people_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, name: str, read: object
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("FISHS2_HOME", str(tmp_path))
    monkeypatch.setenv(f"FISHS2_{name.upper()}", value)

    def fill(text: str) -> Path:
        return Path(text.format(home=tmp_path / "me", here=tmp_path))

    if isinstance(read, str):
        read = fill(read)
    elif isinstance(read, tuple):
        read = tuple(map(fill, read))
    assert getattr(load_settings(), name) == read


def test_file_of_powershell_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FISHS2_PORT=1234\r\n", encoding="utf-16")

    assert load_settings().port == 1234


@pytest.mark.parametrize(
    "line",
    [
        "FISHS2_HOST",
        "FISHS2_HOST 127.0.0.1",
        "FISHS2_HOST: 127.0.0.1",
        "set FISHS2_HOST=127.0.0.1",
        '$env:FISHS2_HOST = "127.0.0.1"',
        'FISHS2_HOST="127.0.0.1',
        "FISHS2_HOST='127.0.0.1",
        'FISHS2_HOST="127.0.0.1" or so',
        "=127.0.0.1",
    ],
)
def test_line_that_cannot_be_read_stops_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# mine\n\nFISHS2_PORT=1234\n{line}\nFISHS2_MAX_QUEUE=3\n")

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert f"line 4 of {file}" in refusal.value.message
    assert "127.0.0.1" not in refusal.value.message


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FISHS2_VOICES_DIR", "$NOPE/voices", "variable NOPE is not set"),
        ("FISHS2_VOICES_DIR", "%NOPE%/voices", "variable NOPE is not set"),
        ("FISHS2_VOICES_DIR", "~nobody_here/voices", "there is no user nobody_here"),
        ("FISHS2_HOME", "$NOPE/home", "variable NOPE is not set"),
        ("FISHS2_PORT", "tcp://10.0.0.1:8020", "Kubernetes"),
        ("FISHS2_HOST", "127.0.0.1:8020", "FISHS2_PORT"),
        ("FISHS2_HOST", "[::1]:8020", "FISHS2_PORT"),
        ("FISHS2_HOST", "http://127.0.0.1", "no URL"),
        ("FISHS2_PUBLIC_URL", "a.example", "begins with http:// or https://"),
        ("FISHS2_HF_REPO_ID", "s2-pro", "OWNER/NAME"),
        ("FISHS2_MODEL_QUANT", "q8", "did you mean q8_0?"),
        ("FISHS2_ENGINE", "s2.cpp", "did you mean s2cpp?"),
    ],
)
def test_bad_value_says_in_words_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refusal:
        load_settings()

    assert refusal.value.message.startswith(f"{name}=")
    assert said in refusal.value.message


def test_what_kubernetes_sets_for_a_service_is_no_unknown_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT_8020_TCP",
        "PORT_8020_TCP_PROTO",
        "PORT_8020_TCP_PORT",
        "PORT_8020_TCP_ADDR",
    ):
        monkeypatch.setenv(f"FISHS2_{name}", "10.0.0.1")

    assert unknown_names() == []
    assert load_settings(port=1234).port == 1234


def test_flag_wins_over_what_kubernetes_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHS2_PORT", "tcp://10.0.0.1:8020")

    assert load_settings(port=1234).port == 1234


def test_unknown_name_is_told_the_one_that_was_meant() -> None:
    assert "did you mean FISHS2_VOICES_DIR?" in describe_unknown("FISHS2_VOICE_DIR")
    assert "did you mean" not in describe_unknown("FISHS2_ZZZZZZ")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("FISHS2_BUILTIN_WORKERS", "one process per core"),
        ("FISHS2_CHUNK_RAMP", "`latency`"),
        ("FISHS2_CODEC_CONFIG_PATH", "codec.json beside the model"),
        ("FISHS2_ENGINE_STALL_S", "1,800 s on a CPU"),
        ("FISHS2_LIVE_MAX_FRAME_BYTES", "1,048,576 bytes"),
        ("FISHS2_MAX_BODY_BYTES", "FISHS2_MAX_UPLOAD_BYTES"),
        ("FISHS2_MAX_BODY", "FISHS2_MAX_UPLOAD_BYTES"),
        ("FISHS2_MAX_VOICE_SAMPLES", "16 files"),
    ],
)
def test_name_of_an_older_version_is_told_what_holds_instead(
    monkeypatch: pytest.MonkeyPatch, name: str, instead: str
) -> None:
    monkeypatch.setenv(name, "5")

    assert unknown_names() == [name]
    assert f"{name} is no setting of this version and has no effect: " in describe_unknown(name)
    assert instead in describe_unknown(name)
    assert "did you mean" not in describe_unknown(name)


def test_other_lines_reach_the_environment_unless_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHS2_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "https://mine.invalid")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / ".env").write_text("HF_TOKEN=abc\nHF_ENDPOINT=https://other.invalid\n")

    with mock.patch.dict(os.environ):
        export_other_lines()
        assert (os.environ["HF_TOKEN"], os.environ["HF_ENDPOINT"]) == (
            "abc",
            "https://mine.invalid",
        )


def test_every_setting_has_one_owner() -> None:
    groups = [group for group in Settings.__mro__ if ".settings_groups." in group.__module__]
    owned = [name for group in groups for name in get_annotations(group)]

    fields = [name for name in owned if name in Settings.model_fields]
    assert sorted(fields) == sorted(Settings.model_fields)


def test_group_has_the_values_of_all_settings() -> None:
    alone, all_of_them = VoiceSettings(), Settings()

    assert isinstance(all_of_them, VoiceSettings)
    assert alone.model_dump() == all_of_them.model_dump(include=set(VoiceSettings.model_fields))
    assert "voices_dir" in VoiceSettings.model_fields
    assert "port" not in VoiceSettings.model_fields
