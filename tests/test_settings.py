"""Settings: where they come from, who wins, and what a wrong one says."""

from pathlib import Path

import pytest

from fishs2.errors import SettingsError
from fishs2.settings import load_settings, unknown_names


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
        ("FISHS2_PORT", "99999", "1 to 65535"),
        ("FISHS2_PORT", "http", "1 to 65535"),
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


@pytest.mark.parametrize("name", ["FISHS2_DATABASE_URL", "FISHS2_REDIS_URL"])
def test_password_in_an_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "gopher://me:hunter2@host/x")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert name in caught.value.message
    assert "hunter2" not in caught.value.message


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHS2_PORT", "0")
    monkeypatch.setenv("FISHS2_MAX_QUEUE", "x")

    with pytest.raises(SettingsError, match=r"(?s)FISHS2_PORT.*FISHS2_MAX_QUEUE"):
        load_settings()


def test_bad_flag_is_named_as_the_flag() -> None:
    with pytest.raises(SettingsError, match="--port=0"):
        load_settings(port=0)


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
