"""Files that belong to a model: in its folder, or beside its GGUF file."""

from pathlib import Path

_TOKENIZER = "tokenizer.json"
_CODEC_CONFIG = "codec.json"


def tokenizer_beside(model: Path) -> Path:
    """Where the tokenizer of a model belongs."""
    return _folder(model) / _TOKENIZER


def codec_config_beside(model: Path) -> Path | None:
    """The sizes of a codec other than S2 Pro's, if the model has such a file: models for tests."""
    config = _folder(model) / _CODEC_CONFIG
    return config if config.is_file() else None


def _folder(model: Path) -> Path:
    return model if model.is_dir() else model.parent
