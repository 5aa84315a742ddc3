"""A decoding process that also does what its file says; run by path."""

import ctypes
import sys
import time
from pathlib import Path

from fishs2.audio.decode import decode_audio
from fishs2.audio.decode_child import ORDER, SHAPE
from fishs2.processes.child import Program
from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals


def make_steered() -> Program:
    """How it is started."""
    return Program("the decoder", (sys.executable, __file__))


def main() -> None:
    ignore_signals()
    outbox, inbox = Outbox(claim_stdout()), Inbox(0)
    outbox.send(Kind.READY, 0)
    while True:
        number, payload = inbox.wait_for_order()
        source = payload[ORDER.size :]
        if source == b"hang":
            time.sleep(1_000)
        if source == b"crash":
            ctypes.string_at(0)
        if source.startswith(b"once "):
            # The process is ended the first time that it is asked for what follows the name.
            name, source = source.removeprefix(b"once ").split(b"\0", 1)
            mark = Path(name.decode())
            if not mark.exists():
                mark.touch()
                ctypes.string_at(0)
        decoded = decode_audio(source, max_seconds=ORDER.unpack_from(payload)[0])
        outbox.send(Kind.PIECE, number, SHAPE.pack(decoded.sample_rate_hz, len(decoded.pcm)))
        outbox.send(Kind.PIECE, number, decoded.pcm.tobytes())
        outbox.send(Kind.DONE, number)


if __name__ == "__main__":
    main()
