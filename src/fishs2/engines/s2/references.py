"""References as codes, so that a voice is encoded once.

Kept in memory and, if there is a folder, on disk: `<codec>-<audio>.npy`. A file can be deleted at
any time; a damaged one is made anew.
"""

import hashlib
import logging
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from fishs2.engines.base import Reference
from fishs2.engines.s2.codec import Codebook, Codec, encode_pcm
from fishs2.engines.s2.prompt import Codes, EncodedReference
from fishs2.engines.s2.resample import resample
from fishs2.errors import UserError

logger = logging.getLogger(__name__)

MAX_REFERENCE_S = 90.0  # the encoder's position table holds 95 s (spec 7.6)
_MAX_IN_MEMORY = 256  # voices; a voice of 30 s has 26 kB


class ReferenceCache:
    """Encodes references for one codec. Engine thread only."""

    def __init__(self, codec: Codec, folder: Path | None) -> None:
        """folder: None keeps codes in memory only. Created when it is first needed."""
        self._codec = codec
        self._folder = folder
        self._codec_hash = hash_codec(codec)
        self._codes: OrderedDict[str, Codes] = OrderedDict()

    def encode(self, reference: Reference) -> EncodedReference:
        """The reference as the model reads it. Raises UserError if it is empty or too long."""
        seconds = len(reference.pcm) / reference.sample_rate_hz
        if not 0 < seconds <= MAX_REFERENCE_S:
            raise UserError(
                f"the reference has {seconds:.1f} seconds; the limit is {MAX_REFERENCE_S:.0f}, "
                "and it must not be empty",
                code="reference_length",
                param="reference",
            )
        key = _hash_audio(reference)
        codes = self._codes.get(key)
        if codes is None:
            codes = self._read(key)
        if codes is None:
            codes = self._encode(reference)
            self._write(key, codes)
        self._codes[key] = codes
        self._codes.move_to_end(key)
        if len(self._codes) > _MAX_IN_MEMORY:
            self._codes.popitem(last=False)
        return EncodedReference(reference.transcript, codes)

    def _encode(self, reference: Reference) -> Codes:
        rate_hz = self._codec.config.sample_rate_hz
        pcm = torch.from_numpy(resample(reference.pcm, reference.sample_rate_hz, rate_hz))
        codes: Codes = encode_pcm(self._codec, pcm.to(self._codec.device)).int().cpu().numpy()
        return codes

    def _path(self, key: str) -> Path | None:
        return self._folder and self._folder / f"{self._codec_hash}-{key}.npy"

    def _read(self, key: str) -> Codes | None:
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            codes = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if codes.dtype != np.int32 or codes.shape[:-1] != (self._codec.config.num_codebooks,):
            return None
        found: Codes = codes
        return found

    def _write(self, key: str, codes: Codes) -> None:
        path = self._path(key)
        if path is None:
            return
        # Whole or not at all: another process may read the same folder.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.save(file, codes, allow_pickle=False)
            partial.replace(path)
        except OSError as error:
            logger.warning("a reference could not be kept on disk: %s", error.strerror)
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
