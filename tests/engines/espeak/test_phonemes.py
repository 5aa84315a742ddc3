"""IPA in eSpeak's mnemonics, and that it sounds like the word that eSpeak says so."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from fishs2.engines.base import Pcm, Utterance, as_sounds, find_sounds
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.espeak.phonemes import to_mnemonics
from fishs2.text.pronunciation.words import IPA_LETTERS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[BuiltinEngine]:
    made = BuiltinEngine(num_workers=1)
    await made.start()
    yield made
    await made.close()


async def render(engine: BuiltinEngine, text: str, voice: str) -> Pcm:
    chunks = [chunk.pcm async for chunk in engine.speak(Utterance(text, voice=voice))]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


@pytest.mark.parametrize(
    ("ipa", "mnemonics"),
    [
        ("ˈwʊstə", "[[w'Ust@]]"),
        ("tʃɛk", "[[tSEk]]"),
        ("ˌhɛˈləʊ", "[[h,El'oU]]"),
        ("a b", "[[a||b]]"),
        ("☃", ""),
        ("ãça", "[[a~Ca]]"),
        ("]]a[[", "[[a]]"),
    ],
)
async def test_ipa_becomes_mnemonics(ipa: str, mnemonics: str) -> None:
    assert to_mnemonics(ipa) == mnemonics


@pytest.mark.parametrize(
    ("voice", "word", "ipa"),
    [
        ("en-us", "hello", "həlˈoʊ"),
        ("en-gb", "check", "ˈtʃɛk"),
        ("en-gb", "Worcester", "ˈwʊstə"),
        ("de", "Haus", "ˈhaʊs"),
        ("fr-fr", "chat", "ˈʃa"),
    ],
)
async def test_ipa_sounds_like_the_word(
    engine: BuiltinEngine, voice: str, word: str, ipa: str
) -> None:
    said = await render(engine, word, voice)

    assert np.array_equal(await render(engine, as_sounds(ipa), voice), said)
    assert not np.array_equal(await render(engine, as_sounds("ˈmaʊ"), voice), said)


async def test_brackets_of_a_client_are_no_phonemes(engine: BuiltinEngine) -> None:
    one = await render(engine, "a [[w'Ust@]] b", "en-gb")

    assert np.array_equal(one, await render(engine, "a [ [w'Ust@]] b", "en-gb"))


async def test_sounds_are_found_again() -> None:
    text = f"a {as_sounds('ˈb')} c"

    assert find_sounds(text) == [(2, 4, "ˈb")]


async def test_every_sound_that_lexicons_take_has_a_mnemonic() -> None:
    assert not [letter for letter in IPA_LETTERS if not to_mnemonics(letter)]
