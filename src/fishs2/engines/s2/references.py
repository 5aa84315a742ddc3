"""References as codes, so that a voice is encoded once.

Kept in memory and, for stored voices, in the folder of the voice: `.s2-<codec>-<audio>.npy`. Such a
file goes with its voice, can be deleted at any time, and is made anew if it is damaged.
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
_MAX_FILE_BYTES = 1_000_000  # 90 s have 78 kB
_MAX_IN_MEMORY = 256  # voices; a voice of 30 s has 26 kB


class ReferenceCache:
    """Encodes references for one codec. Engine thread only."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
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
            path = self._path(reference.folder, key)
            codes = self._read(path)
            if codes is None:
                codes = self._encode(reference)
                _write(path, codes)
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

    def _path(self, folder: Path | None, key: str) -> Path | None:
        return folder and folder / f".s2-{self._codec_hash}-{key}.npy"

    def _read(self, path: Path | None) -> Codes | None:
        if path is None:
            return None
        try:
            if path.stat().st_size > _MAX_FILE_BYTES:
                return None
            codes = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if codes.dtype != np.int32 or codes.shape[:-1] != (self._codec.config.num_codebooks,):
            return None
        found: Codes = codes
        return found


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
