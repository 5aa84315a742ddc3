"""The first frame of an mp3, which tells players what to leave out at the start and the end.

`encode` calls it to correct what FFmpeg's muxer wrote there. LAME puts 1105 samples before the
sound and pads behind it; players drop both only where this frame says so.
Source: Xing VBR header and LAME tag, gabriel.mp3-tech.org/mp3infotag.html
"""

from fishs2.audio.formats import AudioFormat

_LAME_DELAY_SAMPLES = 576
"""What LAME puts before the sound, less the decoder's own 529 (LAME, encoder.h: ENCDELAY)."""

_LAME_TAG_START = 8 + 4 + 4 + 100 + 4
"""Bytes from "Info" to the LAME tag: itself and flags, frames, bytes, seek table, quality."""


def without_totals(info_frame: bytes) -> bytes:
    """Take the totals out of the first frame of an mp3 and put the encoder delay into it.

    The muxer fills in number of frames, size, seek table and delay at the end, and until then they
    are zero: a player could take that for an empty file. The totals are optional and come before
    the delay, so the rest moves up.
    """
    start = info_frame.index(b"Xing")
    assert info_frame[start + 4 : start + 8] == b"\0\0\0\x0f"  # all four fields are there
    # "Info" in place of "Xing" says that the bit rate is constant; 8: only the quality follows.
    head = info_frame[:start] + b"Info" + b"\0\0\0\x08"
    rest = info_frame[start + _LAME_TAG_START - 4 :]
    moved = (head + rest).ljust(len(info_frame), b"\0")
    return _with_delay(moved, len(head) + 4, num_padding=0)


def with_exact_padding(encoded: bytes, audio_format: AudioFormat, *, num_samples: int) -> bytes:
    """Correct the padding in the tag of a whole mp3, so that it decodes to `num_samples`.

    LAME ends with one or two frames of padding; the muxer counts the last one only.
    """
    start = encoded.index(b"Info")
    num_frames = int.from_bytes(encoded[start + 8 : start + 12], "big")
    padding = num_frames * audio_format.frame_samples - _LAME_DELAY_SAMPLES - num_samples
    return _with_delay(encoded, start + _LAME_TAG_START, num_padding=max(0, padding))


def _with_delay(encoded: bytes, tag_start: int, *, num_padding: int) -> bytes:
    """Write delay, padding and the checksum over all that comes before it into a LAME tag."""
    delay = (_LAME_DELAY_SAMPLES << 12 | num_padding).to_bytes(3, "big")
    checked = encoded[: tag_start + 21] + delay + encoded[tag_start + 24 : tag_start + 34]
    return checked + _crc16(checked).to_bytes(2, "big") + encoded[tag_start + 36 :]


def _crc16(checked: bytes) -> int:
    """CRC-16/ARC, which the LAME tag ends with."""
    crc = 0
    for byte in checked:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
