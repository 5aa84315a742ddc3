"""Which lexicons act on a request, and what others change in them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fishs2.errors import NotFoundError, StoreUnavailableError, UserError
from fishs2.service.lexicons import MAX_GIVEN_WORDS, Lexicons
from fishs2.store.lexicons import LexiconStore
from fishs2.text.pronunciation.words import Word


def word(say: str) -> Word:
    return Word(word="a", say=say)


@pytest_asyncio.fixture
async def lexicons(tmp_path: Path) -> AsyncIterator[Lexicons]:
    made = Lexicons(LexiconStore(tmp_path))
    yield made
    made.close()


async def chosen(lexicons: Lexicons, *names: str, voice: str = "") -> list[str | None]:
    found = await lexicons.choose(names, voice=voice, words=(word("given"),))
    return [each.words[0].say for each in found]


async def test_what_is_nearer_to_the_request_counts_more(lexicons: Lexicons) -> None:
    for name in ("default", "voice-anna", "one", "two"):
        await lexicons.put(name, [word(name)])

    assert await chosen(lexicons) == ["given", "default"]
    assert await chosen(lexicons, "two", "One", "two", voice="anna") == [
        *("given", "two", "one", "voice-anna", "default")
    ]
    assert await chosen(lexicons, "default", voice="bob") == ["given", "default"]


async def test_words_are_added_and_replaced(lexicons: Lexicons) -> None:
    await lexicons.add("x", [word("1"), Word(word="b", say="2")])
    await lexicons.add("x", [word("3"), Word(word="a", say="4", language="de")])

    assert [each.say for each in (await lexicons.words("X"))[1]] == ["2", "3", "4"]
    assert await lexicons.count("x") == 3


async def test_what_is_not_there_is_said(lexicons: Lexicons) -> None:
    await lexicons.put("medicine", [word("1")])

    with pytest.raises(NotFoundError, match="did you mean medicine"):
        await lexicons.choose(["medecine"], voice="")
    with pytest.raises(NotFoundError):
        await lexicons.words("nothing")
    with pytest.raises(NotFoundError):
        await lexicons.remove("nothing")
    await lexicons.remove("medicine")
    assert await lexicons.list() == []


async def test_a_request_has_limits(lexicons: Lexicons) -> None:
    with pytest.raises(UserError, match="17 lexicons; the limit is 16"):
        await lexicons.choose(["x"] * 17, voice="")
    with pytest.raises(UserError, match="501 pronunciations"):
        await lexicons.choose([], voice="", words=[word("x")] * (MAX_GIVEN_WORDS + 1))


async def test_a_damaged_file_is_no_fault_of_the_request(
    lexicons: Lexicons, tmp_path: Path
) -> None:
    (tmp_path / "default.json").write_text('{"words": [{"word": "a"}]}')

    with pytest.raises(StoreUnavailableError, match=r"default is damaged.*give say, ipa"):
        await lexicons.choose([], voice="")


async def test_another_program_s_change_is_seen_by_who_looks_anew(tmp_path: Path) -> None:
    path = tmp_path / "default.json"
    path.write_text('{"words": [{"word": "a", "say": "1"}]}')
    os.utime(path, (1_000, 1_000))
    lexicons = Lexicons(LexiconStore(tmp_path), trusted_s=0.0)

    assert await chosen(lexicons) == ["given", "1"]
    path.write_text('{"words": [{"word": "a", "say": "2"}]}')
    assert await chosen(lexicons) == ["given", "2"]
    # Young files are read again, whatever their time stamp says.
    stamp = path.stat()
    path.write_text('{"words": [{"word": "a", "say": "3"}]}')
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert await chosen(lexicons) == ["given", "3"]
    path.unlink()
    assert await chosen(lexicons) == ["given"]
    lexicons.close()
