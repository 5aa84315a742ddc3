"""A listening process that does what the prompt of a wish says; run by path."""

import ctypes
import json
import sys
import time

from fishs2.listening.whisper_child import HEADER_BYTES
from fishs2.processes.child import Program
from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals


def make_steered() -> Program:
    """How it is started."""
    return Program("the listener", (sys.executable, __file__))


def make_broken() -> Program:
    """One that cannot load its model."""
    return Program("the listener", (sys.executable, __file__, "broken"))


def main() -> None:
    ignore_signals()
    outbox, inbox = Outbox(claim_stdout()), Inbox(0)
    if sys.argv[1:] == ["broken"]:
        outbox.send(Kind.FAILED, 0, b"the model cannot be loaded: /a/path")
        return
    outbox.send(Kind.READY, 0)
    while True:
        number, payload = inbox.wait_for_order()
        (header_bytes,) = HEADER_BYTES.unpack_from(payload)
        wish = json.loads(payload[HEADER_BYTES.size : HEADER_BYTES.size + header_bytes])
        tongue = {"language": "en", "probability": 1.0}
        outbox.send(Kind.PIECE, number, json.dumps(tongue).encode())
        match wish["prompt"]:
            case "crash":
                ctypes.string_at(0)
            case "hang":
                time.sleep(1_000)
            case "refuse":
                outbox.send(Kind.FAILED, number, b"it takes more memory than a recording may")
        segment = {
            "text": f" {wish['prompt']}",
            "start_s": 0.0,
            "end_s": 1.0,
            "tokens": [1],
            "temperature": 0.0,
            "avg_logprob": -0.5,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.1,
            "words": [],
        }
        outbox.send(Kind.PIECE, number, json.dumps(segment).encode())
        outbox.send(Kind.DONE, number)


if __name__ == "__main__":
    main()
