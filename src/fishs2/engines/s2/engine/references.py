"""References as codes, so that a voice is encoded once.

Kept in memory and, for stored voices, in the folder of the voice: `.s2-<codec>-<audio>.npy`. Such a
file goes with its voice, can be deleted at any time, and is made anew if it is damaged.
"""

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from fishs2.engines.base import Reference
from fishs2.engines.s2.device.codec_stream import beside
from fishs2.engines.s2.model.codec import Codebook, Codec, encode_pieces
from fishs2.engines.s2.model.prompt import Codes, EncodedReference
from fishs2.engines.s2.model.resample import resample
from fishs2.errors import UserError

logger = logging.getLogger(__name__)

MAX_REFERENCE_S = 90.0  # the encoder's position table holds 95 s (spec 7.6)
_MAX_FILE_BYTES = 1_000_000  # 90 s have 78 kB
_MAX_IN_MEMORY = 256  # voices; a voice of 30 s has 26 kB


class Unwanted(Exception):
    """Nobody waits for the result any more."""


class ReferenceCache:
    """Encodes references for one codec. `find` from any thread, `encode` from one."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._codec_hash = hash_codec(codec)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, EncodedReference] = OrderedDict()

    def find(self, reference: Reference) -> EncodedReference | None:
        """What was made of this reference before, if it is in memory."""
        with self._lock:
            encoded = self._known.get(reference.key)
            if encoded is not None:
                self._known.move_to_end(reference.key)
        return encoded

    def encode(
        self, reference: Reference, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> EncodedReference:
        """The reference as the model reads it, from memory, from disk or made now.

        is_wanted: asked now and then; `Unwanted` is raised once it says no. Raises UserError if the
        reference is empty or too long.
        """
        encoded = self.find(reference)
        if encoded is None:
            _check_length(reference)
            encoded = EncodedReference(reference.transcript, self._find_codes(reference, is_wanted))
            with self._lock:
                self._known[reference.key] = encoded
                if len(self._known) > _MAX_IN_MEMORY:
                    self._known.popitem(last=False)
        return encoded

    def _find_codes(self, reference: Reference, is_wanted: Callable[[], bool]) -> Codes:
        path = reference.folder and self._path(reference.folder, _hash_audio(reference))
        codes = self._read(path)
        if codes is None:
            codes = self._encode(reference, is_wanted)
            _write(path, codes)
        return codes

    def _encode(self, reference: Reference, is_wanted: Callable[[], bool]) -> Codes:
        rate_hz = self.codec.config.sample_rate_hz
        pcm = torch.from_numpy(resample(reference.pcm, reference.sample_rate_hz, rate_hz))
        with torch.inference_mode(), beside(self.codec.device):
            pieces = []
            for piece in encode_pieces(self.codec, pcm.to(self.codec.device)):
                if not is_wanted():
                    raise Unwanted
                pieces.append(piece)
            codes: Codes = torch.cat(pieces, dim=-1).int().cpu().numpy()
        return codes

    def _path(self, folder: Path, audio_hash: str) -> Path:
        return folder / f".s2-{self._codec_hash}-{audio_hash}.npy"

    def _read(self, path: Path | None) -> Codes | None:
        if path is None:
            return None
        try:
            if path.stat().st_size > _MAX_FILE_BYTES:
                return None
            codes = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if codes.dtype != np.int32 or codes.shape[:-1] != (self.codec.config.num_codebooks,):
            return None
        found: Codes = codes
        return found


def _check_length(reference: Reference) -> None:
    seconds = len(reference.pcm) / reference.sample_rate_hz
    if not 0 < seconds <= MAX_REFERENCE_S:
        raise UserError(
            f"the reference has {seconds:.1f} seconds; the limit is {MAX_REFERENCE_S:.0f}, and it "
            "must not be empty",
            code="reference_length",
            param="reference",
        )


def _write(path: Path | None, codes: Codes) -> None:
    if path is None:
        return
    # Whole or not at all: another process may read the same folder.
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, codes, allow_pickle=False)
        partial.replace(path)
    except OSError as error:
        # The voice may have been deleted meanwhile, or its folder be read-only.
        logger.warning("the codes of a voice could not be kept: %s", error.strerror)
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def hash_codec(codec: Codec) -> str:
    """16 hex digits that differ for codecs that give other codes, in all likelihood."""
    digest = hashlib.sha256(repr(codec.config).encode())
    for codebook in codec.codebooks:
        assert isinstance(codebook, Codebook)
        for weight in (codebook.table, codebook.weight_in):
            digest.update(weight.cpu().numpy().tobytes())
    digest.update(codec.encoder.encoder.first.weight.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _hash_audio(reference: Reference) -> str:
    """Of the samples and their rate; the transcript does not change the codes."""
    digest = hashlib.sha256(f"{reference.sample_rate_hz}:".encode())
    digest.update(np.ascontiguousarray(reference.pcm, np.float32).tobytes())
    return digest.hexdigest()[:32]
