"""The process that owns eSpeak NG: orders in at stdin, PCM out at stdout.

`espeak.pool` starts it without site-packages, so it needs the standard library and
`processes.inside` only; importing it does nothing. eSpeak keeps global state in its C library,
parses text in C and reads files by name, so it lives out here: a crash costs one utterance, never
the server.

It speaks as `processes.inside` says. READY brings the voices and variants, one a line; an ORDER is
an encoded Order, its PIECEs are encoded Speech, and FAILED says why for the log.
"""

import _ctypes
import ctypes
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fishs2.processes.inside import Inbox, Kind, Outbox, claim_stdout, ignore_signals

SAMPLE_RATE_HZ = 22_050
CHUNK_MS = 100
_FIRST_PIECE_BYTES = 2 * SAMPLE_RATE_HZ * CHUNK_MS // 1000
_LARGEST_PIECE_BYTES = 64 * _FIRST_PIECE_BYTES  # 6.4 s, made in about 6 ms
DEFAULT_RATE_WPM = 175
MIN_RATE_WPM = 80
# From 450 on libsonic shortens the waveform, and 450 comes out slower than 449
# (benchmarks/builtin_calibration.py).
MAX_RATE_WPM = 449
DEFAULT_PITCH = 50
MAX_PITCH = 99

# Every unloaded copy of the library leaves memory behind: 4 KB after English, 370 KB after text
# that switches languages. 200 orders are 75 MB at most, and a new worker costs 50 ms.
MAX_ORDERS = 200

_ORDER = struct.Struct("<HBB")  # words per minute, pitch, bytes of the voice's name

# Values from eSpeak NG 1.52, src/include/espeak-ng/speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_POS_CHARACTER = 1
# No espeakSSML (0x10): markup is read aloud. Nor espeakENDPAUSE (0x1000): pauses between utterances
# are the service's. espeakPHONEMES where there are some: mnemonics between two brackets.
_FLAGS_UTF8_TEXT = 1
_FLAG_PHONEMES = 0x100
_EE_OK = 0
_EVENT_LIST_TERMINATED = 0
_EVENT_WORD = 1

_MARK = struct.Struct("<IIf")  # a Mark
_NUM_MARKS = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Mark:
    """A word: its first character in the text of the order, from 0, how many it has, and when it
    begins, in seconds of the sound.
    """

    start: int
    num_chars: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of what was ordered. pcm: int16 samples in this machine's byte order."""

    pcm: bytes
    marks: tuple[Mark, ...] = ()

    def encode(self) -> bytes:
        marks = b"".join(_MARK.pack(each.start, each.num_chars, each.at_s) for each in self.marks)
        return _NUM_MARKS.pack(len(self.marks)) + marks + self.pcm

    @classmethod
    def decode(cls, payload: bytes) -> "Speech":
        (num_marks,) = _NUM_MARKS.unpack_from(payload)
        pcm_start = _NUM_MARKS.size + num_marks * _MARK.size
        marks = _MARK.iter_unpack(payload[_NUM_MARKS.size : pcm_start])
        return cls(payload[pcm_start:], tuple(Mark(*mark) for mark in marks))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h. text_position: from 1, in characters. audio_position: ms."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        # A union of a number, a pointer, and eight bytes of a phoneme's name.
        ("id", ctypes.c_void_p),
    )


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int16), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Order:
    """Text to speak and how.

    voice: an identifier that eSpeak listed, perhaps with `+variant`. text: without control
    characters. rate_wpm: 80..449. pitch: 0..99.
    """

    voice: str
    text: str
    rate_wpm: int = DEFAULT_RATE_WPM
    pitch: int = DEFAULT_PITCH

    def encode(self) -> bytes:
        voice = self.voice.encode()
        return _ORDER.pack(self.rate_wpm, self.pitch, len(voice)) + voice + self.text.encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Order":
        rate_wpm, pitch, voice_bytes = _ORDER.unpack_from(payload)
        text_start = _ORDER.size + voice_bytes
        return cls(
            voice=payload[_ORDER.size : text_start].decode(),
            text=payload[text_start:].decode(),
            rate_wpm=rate_wpm,
            pitch=pitch,
        )


class _VoiceStruct(ctypes.Structure):
    """espeak_VOICE of speak_lib.h; `languages` is (priority byte, tag, NUL) repeated, then NUL."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class Espeak:
    """One loaded copy of the eSpeak library. Main thread only.

    The library carries state from one text to the next that no call resets: the phase of its
    pitch flutter, characters it has looked ahead, embedded commands. `reload` drops the copy and
    maps a fresh one, so that the same order gives the same samples and an aborted text leaves
    nothing behind.
    """

    def __init__(self, library_path: str) -> None:
        self._library_path = library_path
        self._is_stopped: Callable[[], bool] = lambda: False
        self._send: Callable[[Speech], None] = lambda _speech: None
        self._callback = _SynthCallback(self._receive)
        self._library = ctypes.CDLL(library_path)
        self._initialize()

    def reload(self) -> bool:
        """Forget everything; about 1 ms. False where the system keeps the old copy mapped."""
        self._library.espeak_Terminate()
        handle = self._library._handle
        del self._library
        if sys.platform == "win32":
            _ctypes.FreeLibrary(handle)
        else:
            _ctypes.dlclose(handle)
        self._library = ctypes.CDLL(self._library_path)
        # Zero until espeak_Initialize: anything else is the memory of the earlier copy.
        if self._library.espeak_ng_GetSampleRate() != 0:
            return False
        self._initialize()
        return True

    def speak(
        self, order: Order, *, send: Callable[[Speech], None], is_stopped: Callable[[], bool]
    ) -> None:
        """Speak `order` once; a second one needs `reload` before it. RuntimeError if refused."""
        self._send, self._is_stopped = send, is_stopped
        if self._set_voice(order.voice) != _EE_OK:
            raise RuntimeError(f"eSpeak has no voice {order.voice!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, order.rate_wpm, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, order.pitch, 0)
        # The noise in breath and fricatives is otherwise seeded from the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        text = order.text.encode() + b"\0"
        status = self._library.espeak_Synth(
            text,
            ctypes.c_size_t(len(text)),
            ctypes.c_uint(0),
            _POS_CHARACTER,
            ctypes.c_uint(0),
            ctypes.c_uint(_FLAGS_UTF8_TEXT | (_FLAG_PHONEMES if "[[" in order.text else 0)),
            None,
            None,
        )
        if status != _EE_OK:
            raise RuntimeError(f"espeak_Synth answered {status}")

    def list_voices(self) -> str:
        """One line a voice: identifier, tab, `priority:tag` separated by spaces."""
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceStruct))
        listed = self._library.espeak_ListVoices(None)
        lines: list[str] = []
        while listed[len(lines)]:
            voice = listed[len(lines)].contents
            tags: list[str] = []
            address = voice.languages
            while priority := ctypes.string_at(address, 1)[0]:
                tag = ctypes.string_at(address + 1)
                tags.append(f"{priority}:{tag.decode()}")
                address += len(tag) + 2
            lines.append(f"{voice.identifier.decode()}\t{' '.join(tags)}")
        return "\n".join(lines)

    def _set_voice(self, voice: str) -> int:
        """Load a voice; returns eSpeak's status.

        eSpeak lowers the case of every name before it opens the file, and where it then finds none
        (en-US, on a file system that tells cases apart) it reads all 250 files: 2.5 ms instead of
        0.2. A descriptor's path has no case to lose; the samples are the same.
        """
        if sys.platform != "linux":
            return int(self._library.espeak_SetVoiceByName(voice.encode()))
        name, plus, variant = voice.partition("+")
        with Path("espeak-ng-data/lang", name).open("rb") as file:
            path = f"/proc/self/fd/{file.fileno()}{plus}{variant}"
            return int(self._library.espeak_ng_SetVoiceByFile(path.encode()))

    def _initialize(self) -> None:
        # A relative path: eSpeak cuts paths at 160 bytes and knows no Unicode on Windows.
        sample_rate_hz = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, CHUNK_MS, b".", _INITIALIZE_DONT_EXIT
        )
        if sample_rate_hz != SAMPLE_RATE_HZ:
            raise OSError(f"espeak_Initialize answered {sample_rate_hz}")
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(
        self,
        samples: "ctypes._Pointer[ctypes.c_int16]",
        count: int,
        events: "ctypes._Pointer[_Event]",
    ) -> int:
        """Pass samples on; 1 tells eSpeak to stop. Called by the library, within `speak`."""
        if self._is_stopped():
            return 1
        marks = tuple(_read_marks(events)) if events else ()
        pcm = ctypes.string_at(samples, 2 * count) if samples and count > 0 else b""
        if pcm or marks:
            self._send(Speech(pcm, marks))
        return 0


def _read_marks(events: "ctypes._Pointer[_Event]") -> Iterator[Mark]:
    """The words among the events that come with samples."""
    number = 0
    while (event := events[number]).type != _EVENT_LIST_TERMINATED:
        if event.type == _EVENT_WORD:
            yield Mark(event.text_position - 1, event.length, event.sample / SAMPLE_RATE_HZ)
        number += 1


class _Pieces:
    """Gathers PCM into pieces that grow fourfold: early first audio, then few messages.

    A message costs the server about what 60 ms of speech cost to make, so passing on the 100 ms
    that eSpeak hands out at a time would halve its throughput (benchmarks/builtin_speech.py).
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._gathered = bytearray()
        self._marks: list[Mark] = []
        self._piece_bytes = _FIRST_PIECE_BYTES

    def add(self, speech: Speech) -> None:
        self._gathered += speech.pcm
        self._marks += speech.marks
        if len(self._gathered) >= self._piece_bytes:
            self.flush()
            self._piece_bytes = min(4 * self._piece_bytes, _LARGEST_PIECE_BYTES)

    def flush(self) -> None:
        if self._gathered:
            self._send(Speech(bytes(self._gathered), tuple(self._marks)).encode())
            self._gathered.clear()
            self._marks.clear()


def _describe_voices(espeak: Espeak) -> bytes:
    """The voices that eSpeak lists, then its variants as `+name`."""
    variants = sorted(f"+{path.name}" for path in Path("espeak-ng-data/voices/!v").iterdir())
    return "\n".join([espeak.list_voices(), *variants]).encode()


def main(library_path: str) -> None:
    """Serve orders until stdin ends. The working directory is the parent of `espeak-ng-data`."""
    ignore_signals()
    outbox = Outbox(claim_stdout())
    inbox = Inbox(0)
    try:
        espeak = Espeak(library_path)
        outbox.send(Kind.READY, 0, _describe_voices(espeak))
    except OSError as error:
        outbox.send(Kind.FAILED, 0, str(error).encode())
        return
    for num_orders_left in reversed(range(MAX_ORDERS)):
        number, payload = inbox.wait_for_order()
        order = Order.decode(payload)
        pieces = _Pieces(partial(outbox.send, Kind.PIECE, number))
        try:
            espeak.speak(order, send=pieces.add, is_stopped=partial(inbox.is_aborted, number))
            pieces.flush()
        except (RuntimeError, OSError) as error:
            outbox.send(Kind.FAILED, number, str(error).encode())
        if num_orders_left == 0 or not espeak.reload():
            outbox.send(Kind.LAST, number)
            return
        outbox.send(Kind.DONE, number)
