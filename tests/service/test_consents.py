"""Which consents are taken, and how they are told in pages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fishs2.errors import NotFoundError, UserError
from fishs2.service.consents import MAX_RECORDING_BYTES, Consents
from fishs2.store.consents import Consent, ConsentStore


async def take(_: bytes) -> None:
    """Any bytes are a recording."""


@pytest_asyncio.fixture
async def consents(tmp_path: Path) -> AsyncIterator[Consents]:
    made = Consents(ConsentStore(tmp_path))
    yield made
    made.close()


async def add(consents: Consents, name: str = "Ada", language: str = "en") -> Consent:
    return await consents.add(b"sound", name=name, language=language, check_audio=take)


async def test_pages_go_from_the_newest_to_the_oldest(consents: Consents) -> None:
    oldest, middle, newest = [await add(consents, name) for name in "abc"]

    assert await consents.page("", 2) == ([newest, middle], True)
    await consents.remove(middle.consent_id)
    assert await consents.page(middle.consent_id, 2) == ([oldest], False)
    assert await consents.page("x", 1) == ([newest], True)


@pytest.mark.parametrize(
    ("name", "language", "num_bytes", "code", "param"),
    [
        (" ", "en", 1, "missing_parameter", "name"),
        ("a" * 256, "en", 1, "invalid_consent", "name"),
        ("a\0", "en", 1, "invalid_voice", "name"),
        ("a", "", 1, "missing_parameter", "language"),
        ("a", "no tag", 1, "invalid_consent", "language"),
        ("a", "en-" + "a-" * 20 + "b", 1, "invalid_consent", "language"),
        ("a", "en", 0, "missing_files", "recording"),
        ("a", "en", MAX_RECORDING_BYTES + 1, "invalid_consent", "recording"),
    ],
)
async def test_what_is_wrong_is_said(
    consents: Consents, name: str, language: str, num_bytes: int, code: str, param: str
) -> None:
    with pytest.raises(UserError) as raised:
        await consents.add(bytes(num_bytes), name=name, language=language, check_audio=take)

    assert (raised.value.code, raised.value.param) == (code, param)
    assert (await consents.page("", 9))[0] == []


async def test_what_is_not_there_is_said(consents: Consents) -> None:
    for work in (consents.get("x"), consents.rename("x", "y"), consents.remove("x")):
        with pytest.raises(NotFoundError) as raised:
            await work
        assert raised.value.code == "consent_not_found"
