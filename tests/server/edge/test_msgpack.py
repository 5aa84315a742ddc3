"""MessagePack of strangers is counted before it is unpacked."""

import contextlib

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.server.edge.msgpack import MAX_VALUES, Extension, unpack

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


@given(VALUES)
def test_whatever_is_packed_comes_back(value: object) -> None:
    assert unpack(ormsgpack.packb(value)) == value


@given(VALUES, st.data())
def test_what_breaks_off_is_refused(value: object, data: st.DataObject) -> None:
    packed = ormsgpack.packb(value)
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(ValueError):  # noqa: PT011 - the one error there is
        unpack(packed[:end])


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_and_never_crashes(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        unpack(content)


def test_large_recordings_are_passed_over_and_not_counted() -> None:
    body = {"references": [{"audio": bytes(2**24 + 1), "text": "x" * 70_000}] * 2}

    assert unpack(ormsgpack.packb(body)) == body


@pytest.mark.parametrize(
    "content",
    [
        b"\xdd\x01\x00\x00\x00" + b"\xc0" * 100,
        b"\x9f" * 30_000 + b"\xc1",
        b"\xdc\xff\xff" + b"\x80" * 65_535,
        b"\xdf\xff\xff\xff\xff",
    ],
    ids=["announced", "nested", "many", "map"],
)
def test_more_values_than_any_body_has_are_refused_at_once(content: bytes) -> None:
    # What walks on, or unpacks, finds that these break off or hold what MessagePack does not know.
    with pytest.raises(ValueError, match=f"{MAX_VALUES:,} values"):
        unpack(content)


def test_bytes_that_messagepack_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="does not know"):
        unpack(b"\xc1")


def test_other_keys_and_own_types_are_read() -> None:
    content = {1: 2, b"k": ormsgpack.Ext(5, b"abc"), "event": "x"}
    value = unpack(ormsgpack.packb(content, option=ormsgpack.OPT_NON_STR_KEYS))

    assert isinstance(value, dict)
    assert (value[1], value["event"]) == (2, "x")
    assert isinstance(value[b"k"], Extension)


@pytest.mark.parametrize("rest", [b"\xc0", b"\x00", b"{}", b"\x81\x01"])
def test_what_follows_the_value_is_refused(rest: bytes) -> None:
    with pytest.raises(ValueError, match="follows"):
        unpack(ormsgpack.packb({"text": "Hi."}) + rest)
