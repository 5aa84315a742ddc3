"""The process that decodes what strangers send: files in at stdin, PCM out at stdout.

`audio.decoder` starts it, and it speaks as `processes.inside` says. An ORDER is `ORDER` and the
file; its first PIECE is `SHAPE`, the others float32 samples. FAILED is JSON: code and message of a
UserError.

FFmpeg's demuxers and decoders read here what nobody has vetted: a crash costs one upload. Where the
system has such limits, the process can open no file and no connection, and gets so much memory and
CPU time for each file.
"""

import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

from fishs2.audio.decode import DecodedAudio, decode_audio
from fishs2.errors import UserError
from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals

ORDER = struct.Struct("=ddQ")  # longest audio in s, CPU time in s, memory beside our own in bytes
SHAPE = struct.Struct("=IQ")  # sample rate in Hz, number of samples

_PIECE_BYTES = 1 << 20
_NICENESS = 10  # speech goes first
_MAX_ORDERS = 200  # whatever FFmpeg may leak goes with the process
_KEPT_BYTES = 64_000_000
"""One that once needed more beside its own makes room for another, as it may give nothing back."""

_GRACE_S = 0.25
"""What cannot be interrupted between two packets may take so much longer before it is ended."""


class _GivenUpError(Exception):
    """Nobody wants the order any more."""


def main() -> None:
    """Decode files until stdin ends."""
    ignore_signals()
    outbox = Outbox(claim_stdout())
    inbox = Inbox(0)
    _warm_up()
    _give_up_rights()
    max_bytes = _peak_bytes() + _KEPT_BYTES
    outbox.send(Kind.READY, 0)
    for num_orders_left in reversed(range(_MAX_ORDERS)):
        number, payload = inbox.wait_for_order()
        try:
            _send(outbox, number, _carry_out(inbox, number, payload))
        except UserError as error:
            refusal = json.dumps({"code": error.code, "message": error.message})
            outbox.send(Kind.FAILED, number, refusal.encode())
        except _GivenUpError:
            pass
        is_last = num_orders_left == 0 or _peak_bytes() > max_bytes
        outbox.send(Kind.LAST if is_last else Kind.DONE, number)
        if is_last:
            return


def _carry_out(inbox: Inbox, number: int, payload: bytes) -> DecodedAudio:
    """Decode within the limits of the order. Raises UserError, _GivenUpError."""
    max_seconds, cpu_s, memory_bytes = ORDER.unpack_from(payload)
    ends_s = time.process_time() + cpu_s

    def check() -> None:
        if inbox.is_aborted(number):
            raise _GivenUpError
        if time.process_time() > ends_s:
            raise too_costly(f"it takes more than {cpu_s:g} s of computing")

    try:
        with _limits(cpu_s + _GRACE_S, memory_bytes):
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
    raw = memoryview(decoded.pcm).cast("B")
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


# Named by platform, so that mypy knows what each has.
if sys.platform == "win32":

    def _give_up_rights() -> None:
        """The wall clock of the server is the limit."""

    def _peak_bytes() -> int:
        return 0

    @contextmanager
    def _limits(cpu_s: float, memory_bytes: int) -> Iterator[None]:
        yield

else:
    import resource

    def _give_up_rights() -> None:
        """From here on nothing can be opened: no file, no connection. What is open stays so."""
        os.nice(_NICENESS)
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (0, 0))

    def _peak_bytes() -> int:
        """The most memory that this process has ever had."""
        unit = 1 if sys.platform == "darwin" else 1_024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @contextmanager
    def _limits(cpu_s: float, memory_bytes: int) -> Iterator[None]:
        """End this process after so much CPU time, and let it have so much more memory."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        used_s = used.ru_utime + used.ru_stime
        _set_limit(resource.RLIMIT_CPU, int(used_s + cpu_s) + 2)
        _set_limit(resource.RLIMIT_AS, _address_space_bytes() + memory_bytes)
        # Exact, where the limit counts in whole seconds and is there for what blocks the timer.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _set_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)

    def _set_limit(kind: int, value: int) -> None:
        # A system may have less of it, or none at all; then it has the wall clock.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _find_reader() -> Callable[[], int]:
    """How to find out how much address space this process has."""
    try:
        statm = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return lambda: 1 << 40  # no limit to speak of
    return lambda: int(os.pread(statm, 64, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")


_address_space_bytes = _find_reader() if sys.platform != "win32" else (lambda: 0)
