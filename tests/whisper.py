"""Whisper base for the tests marked `weights`; `scripts/whisper_weights.py` brings it."""

from pathlib import Path

import pytest

WHISPER_FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "whisper-base"

needs_weights = pytest.mark.weights
"""For tests that hear with the real model. They fail where it is missing: who asks for them with
`-m weights` brings it first.
"""
