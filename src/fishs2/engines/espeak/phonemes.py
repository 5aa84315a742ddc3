"""IPA in the mnemonics of eSpeak NG, which it reads between `[[` and `]]`.

    ˈwʊstə -> [[w'Ust@]]      tʃɛk -> [[tSEk]]

A language knows some of the mnemonics; what it lacks eSpeak leaves out. Source: eSpeak NG 1.52,
docs/phonemes.md and the IPA names in phsource.
"""

import re
import unicodedata

_MNEMONICS = {
    "tʃ": "tS", "dʒ": "dZ", "t͡ʃ": "tS", "d͡ʒ": "dZ", "t͡s": "ts",
    "eɪ": "eI", "aɪ": "aI", "ɔɪ": "OI", "aʊ": "aU", "oʊ": "oU", "əʊ": "oU",
    "ɪə": "i@", "eə": "e@", "ʊə": "U@", "ɜː": "3:", "ɑː": "A:", "ɔː": "O:", "iː": "i:", "uː": "u:",
    "ɝ": "3:", "ɚ": "3", "ə": "@", "ɐ": "a#", "ɪ": "I", "ʊ": "U", "ʌ": "V", "æ": "a", "a": "a",
    "ɑ": "A", "ɒ": "0", "ɔ": "O", "ɛ": "E", "e": "e", "i": "i", "o": "o", "u": "u", "y": "y",
    "ø": "Y", "œ": "W", "ɜ": "3:", "ɨ": "i\"", "ʏ": "Y",
    "θ": "T", "ð": "D", "ʃ": "S", "ʒ": "Z", "ŋ": "N", "ɹ": "r", "r": "r", "ʁ": "r", "ʀ": "r",
    "ɾ": "*", "ʔ": "?", "x": "x", "ç": "C", "χ": "X", "ɲ": "n^", "ʎ": "l^", "ɣ": "Q", "β": "B",
    "ɡ": "g", "g": "g", "ɫ": "l", "ʋ": "v#", "ʍ": "w", "c": "c", "ɟ": "J", "ɬ": "L",
    **{letter: letter for letter in "bdfhjklmnpqstvwz"},
    "ː": ":", "\u0303": "~", "ʲ": ";", " ": "||",
}  # fmt: skip
_SYMBOL = re.compile("|".join(sorted(map(re.escape, _MNEMONICS), key=len, reverse=True)) + "|[ˈˌ]")
_STRESS = {"ˈ": "'", "ˌ": ","}
_VOWELS = frozenset("aeiouyøœɑɒɔɛəɐɜɝɚɪʊʌæɨʏ")


def to_mnemonics(ipa: str) -> str:
    """IPA in brackets, without what eSpeak has no mnemonic for; "" if nothing is left.

    Stress stands before a syllable in IPA, and before its vowel here.
    """
    parts: list[str] = []
    stress = ""
    # "ã" is a letter with a mark on it; "ç" is one of its own.
    apart = (c if c in _MNEMONICS else unicodedata.normalize("NFD", c) for c in ipa)
    for match in _SYMBOL.finditer("".join(apart)):
        symbol = match.group()
        if symbol in _STRESS:
            stress = _STRESS[symbol]
            continue
        if stress and symbol[0] in _VOWELS:
            parts.append(stress)
            stress = ""
        parts.append(_MNEMONICS[symbol])
    said = "".join(parts).strip("|")
    return f"[[{said}]]" if said else ""
