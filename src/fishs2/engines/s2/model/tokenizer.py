"""Text to token ids, with the protocol tokens kept apart from what a user wrote.

Wraps the `tokenizers` package over the `tokenizer.json` that lies beside the model (spec 6).
"""

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fishs2.errors import EngineUnavailableError

_PROTOCOL_NAME = re.compile(r"<\|.*\|>", re.DOTALL)


class Tokenizer:
    """Encodes protocol strings and user text. Safe to share between threads.

    semantic_begin_id, semantic_end_id: ids of `<|semantic:0|>` and of the last semantic token,
    inclusive; id = begin + code. end_id: of `<|im_end|>`.
    """

    def __init__(self, document: str, *, file: str) -> None:
        """document: the content of a tokenizer.json; file: its name, for messages."""
        try:
            # Here, so that what runs a model without text needs it not: tests on a GPU machine.
            from tokenizers import Tokenizer as TokenizerImpl
        except ImportError as error:
            raise EngineUnavailableError(
                "the package tokenizers cannot be imported; the extra s2 of fishs2 brings it"
            ) from error
        try:
            parsed = json.loads(document)
            self._protocol = TokenizerImpl.from_str(document)
            # Without their entries, protocol strings in user text are ordinary characters. This
            # holds also for entries that are not marked special, unlike the package's own switch.
            parsed["added_tokens"] = [
                token
                for token in parsed["added_tokens"]
                if not _PROTOCOL_NAME.fullmatch(token["content"])
            ]
            self._text = TokenizerImpl.from_str(json.dumps(parsed))
        except BaseException as error:
            # What the package did not expect ends in a panic of Rust, which is no Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise EngineUnavailableError(
                f"{file} is not a readable tokenizer: {str(error)[:120]}"
            ) from error
        self._file = file
        self.end_id = self._id("<|im_end|>")
        for needed in ("<|im_start|>", "<|voice|>"):
            self._id(needed)
        self.semantic_begin_id = self._id("<|semantic:0|>")
        self.semantic_end_id = self.semantic_begin_id
        while (
            self._protocol.token_to_id(f"<|semantic:{self.num_semantic}|>")
            == self.semantic_end_id + 1
        ):
            self.semantic_end_id += 1

    @property
    def num_semantic(self) -> int:
        return self.semantic_end_id - self.semantic_begin_id + 1

    def _id(self, content: str) -> int:
        found = self._protocol.token_to_id(content)
        if found is None:
            raise EngineUnavailableError(
                f"{self._file} has no token {content!r}; it is not the tokenizer of S2 Pro"
            )
        return int(found)

    def encode_protocol(self, text: str) -> NDArray[np.int32]:
        """Ids of a string of ours, in which `<|…|>` means the protocol token."""
        return np.array(self._protocol.encode(text, add_special_tokens=False).ids, np.int32)

    def encode_text(self, text: str) -> NDArray[np.int32]:
        """Ids of text that a user wrote; a protocol string in it is spelled out, never obeyed."""
        return np.array(self._text.encode(text, add_special_tokens=False).ids, np.int32)


def load_tokenizer(path: Path) -> Tokenizer:
    """Read the tokenizer.json at `path`. Raises EngineUnavailableError if it is unusable."""
    try:
        document = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineUnavailableError(
            f"{path.name} is missing or unreadable; put the tokenizer.json of S2 Pro beside the "
            "model, or name it"
        ) from error
    return Tokenizer(document, file=path.name)
