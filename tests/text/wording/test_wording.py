import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.normalize import normalize_text
from fishs2.text.sourced import Sourced
from fishs2.text.wording import wording
from fishs2.text.wording.plain import find_plain_spellings


def spell_plainly(text: str) -> str:
    return Sourced.of(text).edit(find_plain_spellings(text)).recompose().text


def write_out(text: str, language: str) -> str:
    return wording.write_out(Sourced.of(text), language).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Room ４０２, ３．１４ and ３％", "Room 402, 3.14 and 3%"),
        ("𝐇𝐞𝐥𝐥𝐨 ℌi Ⓗⓔⓛⓛⓞ 🅷🅸 ᴛʜɪs", "Hello Hi Hello HI this"),
        ("٤٢ १२३ ๔๕ ፪", "42 123 45 2"),
        ("①②③ x④y ㊿ ❶", "1 2 3 x 4 y 50 1"),
        ("oﬃcial ﬁne ĳs 1ˢᵗ", "official fine ijs 1st"),
        ("ⅩⅣ ㎏ 5℃", "XIV kg 5°C"),
        ("10² 10₂ H₂O 10⁻¹²m", "10 2 10 2 H2O 10 -12 m"),
        ("donʼt ʼtis don＇t don´t don’t ‘so’", "don't 'tis don't don't don't ‘so’"),
        ("it`s c᾽est ŉ", "it's c'est 'n"),
        ("Hi⁉ No‼ So⁈", "Hi!? No!! So?!"),
        ("h̶e̶y̶ e\u0301 za\u0301mok Z\u0300\u0301\u0302\u0303\u0304", "hey é zámok Z\u0300\u0301"),
        ("ﻣﺮﺣﺒﺎ ﾃｽﾄ กำ 한글 ㄱ", "مرحبا テスト กำ 한글 ㄱ"),
        ("你好，世界！〇 ½ ™ № µm …", "你好，世界！〇 ½ ™ № µm …"),
    ],
)
def test_letters_and_digits_are_spelled_plainly(text: str, expected: str) -> None:
    assert spell_plainly(text) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_plain_spelling_is_stable_and_bounded(text: str) -> None:
    plain = spell_plainly(normalize_text(text))
    assert spell_plainly(plain) == plain or not plain.isascii()
    assert len(plain) <= 20 * len(text)
    assert not [char for char in plain if unicodedata.category(char) == "Nd" and char > "9"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$500, $1, $1,234.56, $0.99",
         "500 dollars, 1 dollar, 1,234 dollars and 56 cents, 99 cents"),
        ("$5.3 billion, $5bn, $10k, US$5m",
         "5.3 billion dollars, 5 billion dollars, 10 thousand dollars, 5 million US dollars"),
        ("£3.50 £3.05 €20 20 €", "3 pounds 50 3 pounds and 5 pence 20 euros 20 euros"),
        ("500$ ¥500 50¢ £1", "500 dollars 500 yen 50 cents 1 pound"),
        ("a $500 fine, a $5bn deal, a $5 and more, a $7 T-shirt",
         "a 500 dollar fine, a 5 billion dollar deal, a 5 dollars and more, a 7 dollar T-shirt"),
        ("$5-10, $5–$10 million, -$5, $20/month",
         "5 to 10 dollars, 5 to 10 million dollars, -5 dollars, 20 dollars/month"),
        ("A$AP, x $ y, $x, $5x, $100s", "A$AP, x $ y, $x, $5x, $100s"),
        ("$-5, –$5, (−$0.50)", "-5 dollars, -5 dollars, (-50 cents)"),
        ("€1.234,56 or €3,50, ₹1,00,000, $.50",
         "1234 euros 56 or 3 euros 50, 100000 rupees, 50 cents"),
        ("$1.234.5 $1,23,4", "$1.234.5 $1,23,4"),
        ("$5USD, $5 million CAD, €20 EUR, $5 FBI",
         "5 US dollars, 5 million Canadian dollars, 20 euros, 5 dollars FBI"),
        ("$1.2 trillion dollars, a $5-million house, the $5 dollar bill, $10m-$20m",
         "1.2 trillion dollars, a 5 million dollar house, the 5 dollar bill, "
         "10 million to 20 million dollars"),
    ],
)  # fmt: skip
def test_prices_are_said_as_people_say_them(text: str, expected: str) -> None:
    assert write_out(text, "en-us") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("In 1984, in 2007, in 2010, in 1905, in 1900 and 2000.",
         "In nineteen eighty-four, in 2007, in twenty ten, in nineteen oh five, "
         "in nineteen hundred and two thousand."),
        ("1914-1918, 1914–18, mid-1990s, the '90s and 2000s",
         "nineteen fourteen to nineteen eighteen, nineteen fourteen to eighteen, "
         "mid-nineteen nineties, the nineties and two thousands"),
        ("1,984 people, 1984.5, 1984 km, 2020-01, 1999-12-31, 555-1984, 12/1984, #1984, v1984",
         "1,984 people, 1984.5, 1984 km, 2020-01, 1999-12-31, 555-1984, 12/1984, #1984, v1984"),
        ("10² 10⁻⁹ m³ text² ¹²³", "10 squared 10 to the minus 9 m cubed text 2 123"),
        ("1½ ½", "1 and a half a half"),
        ("1066 and 2150", "1066 and 2150"),
        ("In 1066, since 1005 he, AD 1066 or 1050 BC",
         "In ten sixty-six, since ten oh five he, AD ten sixty-six or ten fifty BC"),
        ("in 1024 bytes, of 1050 cases, in 1000", "in 1024 bytes, of 1050 cases, in 1000"),
        ("1970s-80s, 1920s–1930s, 2001–09",
         "nineteen seventies-eighties, nineteen twenties–nineteen thirties, 2001 to oh nine"),
        ("+1 212 555 1984, +44 1632 960961, 1920×1080, 1080 x 1920",
         "+1 212 555 1984, +44 1632 960961, 1920×1080, 1080 x 1920"),
    ],
)  # fmt: skip
def test_years_and_powers_are_said_as_people_say_them(text: str, expected: str) -> None:
    assert write_out(text, "en-gb") == expected


def test_other_languages_say_the_currency_behind_the_amount() -> None:
    assert write_out("$500, €3,50 und $5 Milliarden um 1984", "de") == (
        "500 $, 3,50 € und 5 Milliarden $ um 1984"
    )
    assert write_out("¥500です", "ja") == "500 えん です"
    assert write_out("für 5 $ 20 Stück", "de") == "für 5 $ 20 Stück"


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("I ❤️ you, I ❤ you", "en-us", "I red heart you, I red heart you"),
        ("hi👍🏽there😀😀.", "en", "hi thumbs up there grinning face grinning face."),
        ("👩‍💻🏳️‍🌈👨‍👩‍👧", "en", "woman technologist rainbow flag family man woman girl"),
        ("🇫🇷🇩🇪", "en", "France Germany"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "en", "England"),
        ("1️⃣ #️⃣ ©️ © ↔️ 🅰️", "en", "1 # copyright © left-right arrow A button"),
        ("👩🏽‍🤝‍👨🏻 👩‍🐄 🏻", "en", "woman and man holding hands woman cow light skin tone"),
        ("I ❤️ 👩‍💻", "pl", "I ❤ 👩"),
        ("I ❤️ you", "ja", "I you"),
        ("2️⃣ 👍", "ja", "2"),
    ],
)  # fmt: skip
def test_an_emoji_is_one_name(text: str, language: str, expected: str) -> None:
    assert write_out(text, language) == expected


def test_letters_that_repeat_stay_apart() -> None:
    assert write_out("b b B b", "en").replace("\u200b", "|") == "b | b | B | b"
    assert write_out("b-b-b-b, x", "en").replace("\u200b", "|") == "b | b | b | b, x"
    assert write_out("bb bb bb bb, b b b, b-b-but", "en") == "bb bb bb bb, b b b, b-b-but"


@given(st.text(), st.sampled_from(["en-us", "de", "ja", "cmn", "pl"]))
def test_any_text_can_be_written_out(text: str, language: str) -> None:
    words = write_out(normalize_text(text), language)
    assert len(words) <= 100 * len(text)
    assert "\ufe0f" not in words


@pytest.mark.parametrize("language", ["en-us", "de"])
@pytest.mark.parametrize(
    "piece",
    [
        *("$1,", "1984-", "b ", "²", "1½", "$", "9", "1,234", "$1 234 ", "①"),
        *(
            "👩\u200d",
            "1\ufe0f",
            "🇫",
            "\u0301",
            "1,00,",
            ".50",
            "$.5",
            "1.000",
            "in 1066",
            "$5-",
            "`a",
        ),
    ],
)
def test_writing_out_takes_time_linear_in_the_text(piece: str, language: str) -> None:
    # Quadratic time would take hours, and the test has a limit.
    assert len(write_out(piece * 50_000, language)) < 100 * len(piece) * 50_000
