"""A worker that does what its orders say; run by path."""

import ctypes
import os
import sys
import time
from pathlib import Path

from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals


def main(folder: str) -> None:
    """folder: where the word in `start` says what happens at the start."""
    ignore_signals()
    outbox, inbox = Outbox(claim_stdout()), Inbox(0)
    start = Path(folder, "start")
    match start.read_text() if start.exists() else "":
        case "die":
            os.abort()
        case "refuse":
            outbox.send(Kind.FAILED, 0, b"/a/path: not there")
            return
    outbox.send(Kind.READY, 0, b"hello")
    while True:
        number, order = inbox.wait_for_order()
        match order:
            case b"crash":
                ctypes.string_at(0)
            case b"hang":
                time.sleep(1_000)
            case b"endless":
                while not inbox.is_aborted(number):
                    outbox.send(Kind.PIECE, number, b"a piece")
            case b"refuse":
                outbox.send(Kind.FAILED, number, b"no")
            case b"print":
                os.write(1, b"to stdout\n")
                os.write(2, b"to stderr\n")
                outbox.send(Kind.PIECE, number, order)
            case b"nonsense":
                outbox.send(Kind.PIECE, number + 7, order)
            case b"leave":
                outbox.send(Kind.PIECE, number, order)
                outbox.send(Kind.LAST, number)
                return
            case _:
                outbox.send(Kind.PIECE, number, order)
        outbox.send(Kind.DONE, number)


if __name__ == "__main__":
    main(sys.argv[1])
