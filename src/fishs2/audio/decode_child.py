"""The process that decodes what strangers send: files in at stdin, PCM out at stdout.

`audio.decoder` starts it, and it speaks as `processes.inside` says. An ORDER is `ORDER` and the
file; its first PIECE is `SHAPE`, the others float32 samples. FAILED is JSON: code and message of a
UserError.

FFmpeg's demuxers and decoders read here what nobody has vetted, within the limits of
`processes.sandbox`: a crash costs one upload.
"""

import json
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np

from fishs2.audio.decode import DecodedAudio, decode_audio
from fishs2.errors import UserError
from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals
from fishs2.processes.sandbox import Sandbox

ORDER = struct.Struct("=ddQ")  # longest audio in s, CPU time in s, memory beside our own in bytes
SHAPE = struct.Struct("=IQ")  # sample rate in Hz, number of samples

_PIECE_BYTES = 1 << 20
_MAX_ORDERS = 200  # whatever FFmpeg may leak goes with the process
_MAX_KEPT_BYTES = 64_000_000
"""What a file has left behind is given back by another process, if it is more than this."""

_GRACE_S = 0.25
"""What cannot be interrupted between two packets may take so much longer before it is ended."""


class _GivenUpError(Exception):
    """Nobody wants the order any more."""


def main() -> None:
    """Decode files until stdin ends."""
    ignore_signals()
    outbox = Outbox(claim_stdout())
    inbox = Inbox(0)
    sandbox = Sandbox()
    _warm_up()
    sandbox.close_doors()
    max_bytes = sandbox.give_back_memory() + _MAX_KEPT_BYTES
    outbox.send(Kind.READY, 0)
    for num_orders_left in reversed(range(_MAX_ORDERS)):
        number, payload = inbox.wait_for_order()
        is_aborted = partial(inbox.is_aborted, number)
        try:
            _send(outbox, number, _carry_out(sandbox, payload, is_aborted))
        except UserError as error:
            refusal = json.dumps({"code": error.code, "message": error.message})
            outbox.send(Kind.FAILED, number, refusal.encode())
        except _GivenUpError:
            pass
        is_last = num_orders_left == 0 or sandbox.give_back_memory() > max_bytes
        outbox.send(Kind.LAST if is_last else Kind.DONE, number)
        if is_last:
            return


def _carry_out(sandbox: Sandbox, payload: bytes, is_aborted: Callable[[], bool]) -> DecodedAudio:
    """Decode within the limits of the order. Raises UserError, _GivenUpError."""
    max_seconds, cpu_s, memory_bytes = ORDER.unpack_from(payload)
    ends_s = time.process_time() + cpu_s

    def check() -> None:
        if is_aborted():
            raise _GivenUpError
        if time.process_time() > ends_s:
            raise too_costly(f"it takes more than {cpu_s:g} s of computing")

    try:
        with sandbox.limits(cpu_s + _GRACE_S, memory_bytes):
            return decode_audio(payload[ORDER.size :], max_seconds=max_seconds, check=check)
    except MemoryError:
        raise too_costly(f"it takes more than {memory_bytes >> 20} MB of memory") from None


def too_costly(reason: str) -> UserError:
    """What is said of a file that takes more than any recording does."""
    return UserError(
        f"the audio file cannot be read: {reason}, which no recording does; send it as wav, or as "
        "mp3 made anew",
        code="invalid_audio",
    )


def _send(outbox: Outbox, number: int, decoded: DecodedAudio) -> None:
    outbox.send(Kind.PIECE, number, SHAPE.pack(decoded.sample_rate_hz, len(decoded.pcm)))
    raw = decoded.pcm.view(np.uint8).data
    for start in range(0, len(raw), _PIECE_BYTES):
        outbox.send(Kind.PIECE, number, bytes(raw[start : start + _PIECE_BYTES]))


def _warm_up() -> None:
    """Load all that decoding loads, while files can still be opened."""
    samples = np.zeros((4_800, 2), "<i2")
    shape = struct.pack("<HHIIHH", 1, 2, 48_000, 192_000, 4, 16)
    wav = b"WAVEfmt \x10\0\0\0" + shape + b"data" + struct.pack("<I", samples.nbytes)
    source = b"RIFF" + struct.pack("<I", len(wav) + samples.nbytes) + wav + samples.tobytes()
    decode_audio(source, max_seconds=1)
    with suppress(UserError):
        decode_audio(b"no audio", max_seconds=1)
