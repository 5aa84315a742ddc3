"""MessagePack of strangers: counted before it is unpacked.

A megabyte of it can hold a million values, whose unpacking would stop the event loop for a while
and take fifty times the memory. Walking over the sizes alone costs little, as bytes are skipped.
"""

import re
import struct

import ormsgpack

MAX_VALUES = 10_000
"""More than any body of any dialect has, but codes; walking over so many takes 5 ms."""

# As UTF-8 would have it. No length of a string that fits into a body looks like one.
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")

# By the first byte: bytes of the length field that follows, and bytes per unit of that length.
# Source: MessagePack specification, formats.
_SIZED = {
    **dict.fromkeys((0xC4, 0xD9), ("B", 0)),
    **dict.fromkeys((0xC5, 0xDA), (">H", 0)),
    **dict.fromkeys((0xC6, 0xDB), (">I", 0)),
    0xC7: ("B", 1),
    0xC8: (">H", 1),
    0xC9: (">I", 1),
}
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_CONTAINERS = {0xDC: (">H", 1), 0xDD: (">I", 1), 0xDE: (">H", 2), 0xDF: (">I", 2)}


def unpack(content: bytes, *, max_values: int = MAX_VALUES) -> object:
    """Return the value that `content` is. Raises ValueError for what is broken, deep or too big.

    Keys of maps may be no strings. Extension types mean nothing to any dialect: each becomes an
    `Extension`, which no field takes.
    """
    _check_size(content, max_values)
    try:
        return _unpack(content)
    except ValueError:
        mended = _mend(content)
        if mended == content:
            raise
        return _unpack(mended)


def _unpack(content: bytes) -> object:
    value: object = ormsgpack.unpackb(
        content, ext_hook=lambda _tag, _content: Extension(), option=ormsgpack.OPT_NON_STR_KEYS
    )
    return value


def _mend(content: bytes) -> bytes:
    """The same with U+FFFD, which is as long in UTF-8, for each lone surrogate in a string.

    content: of a size that was checked.
    """
    mended = bytearray()
    at = 0
    while at < len(content):
        kind = content[at]
        _, end = _step(content, at)
        part = content[at:end]
        is_string = 0xA0 <= kind < 0xC0 or kind in (0xD9, 0xDA, 0xDB)
        mended += _SURROGATE.sub(b"\xef\xbf\xbd", part) if is_string else part
        at = end
    return bytes(mended)


class Extension:
    """A value of an application's own type."""


def _check_size(content: bytes, max_values: int) -> None:
    at = num_values = 0
    num_left = 1
    try:
        while num_left:
            num_left -= 1
            num_values += 1
            if num_values + num_left > max_values:
                raise ValueError(f"it has more than {max_values:,} values")
            more, at = _step(content, at)
            num_left += more
        if at < len(content):
            raise ValueError("something follows the value")
    except (IndexError, struct.error):
        raise ValueError("it breaks off") from None


def _step(content: bytes, at: int) -> tuple[int, int]:
    """Pass over one value: how many lie in it, and where the next begins."""
    kind = content[at]
    at += 1
    if kind < 0x80 or kind >= 0xE0:
        return 0, at
    if kind < 0x90:
        return 2 * (kind & 0x0F), at
    if kind < 0xA0:
        return kind & 0x0F, at
    if kind < 0xC0:
        return 0, at + (kind & 0x1F)
    if kind in _FIXED:
        return 0, at + _FIXED[kind]
    if kind in _SIZED:
        layout, extra = _SIZED[kind]
        (num_bytes,) = struct.unpack_from(layout, content, at)
        return 0, at + struct.calcsize(layout) + extra + num_bytes
    if kind in _CONTAINERS:
        layout, each = _CONTAINERS[kind]
        (num_items,) = struct.unpack_from(layout, content, at)
        return each * num_items, at + struct.calcsize(layout)
    raise ValueError("it has a byte that MessagePack does not know")
