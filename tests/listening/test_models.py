"""What is known of the published models."""

from pathlib import Path

from fishs2.listening.models import FILES, MODELS, is_model


def test_each_model_says_its_size_languages_and_licence() -> None:
    for model in MODELS.values():
        assert model.num_bytes > 70_000_000
        assert any(name.startswith("vocabulary.") for name in model.others)
        assert model.languages
        assert model.licence == "MIT"


def test_folder_is_a_model_once_all_of_it_is_there(tmp_path: Path) -> None:
    for name in FILES:
        assert not is_model(tmp_path)
        (tmp_path / name).touch()

    assert is_model(tmp_path)
