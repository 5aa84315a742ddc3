"""Figures and signs in the words of eight languages."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.edits import apply_edits
from fishs2.text.figures.find import find_figures
from fishs2.text.figures.tongues import TONGUES


def say(language: str, text: str) -> str:
    return apply_edits(text, find_figures(text, language))


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en", "$12.50", "twelve dollars and fifty cents"),
        ("en", "$1, $0.99", "one dollar, ninety-nine cents"),
        ("en", "-$5.3 million", "minus five point three million dollars"),
        ("en", "£1,000.00.", "one thousand pounds."),
        ("de", "12,50 €", "zwölf Euro fünfzig Cent"),
        ("de", "3 Mio. €", "drei Millionen Euro"),
        ("fr", "12,50 €", "douze euros et cinquante centimes"),
        ("es", "1 €", "un euro"),
        ("it", "1.234,00 €", "milleduecentotrentaquattro euro"),
        ("pt-br", "R$ 12,50", "doze reais e cinquenta centavos"),
        ("cmn", "$12.50", "12.50美元"),
        ("ja", "¥1,234", "1234円"),
    ],
)
def test_prices(language: str, text: str, said: str) -> None:
    assert say(language, text) == said


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en", "3.5% or 10-20%", "three point five percent or ten to twenty percent"),
        ("fr", "3,5 %", "trois virgule cinq pour cent"),
        ("zh", "3.5%", "百分之3.5"),
        ("en", "1 kg, -5 °C", "one kilogram, minus five degrees Celsius"),
        ("de", "60 km/h", "sechzig Kilometer pro Stunde"),
        ("ja", "5km", "5キロメートル"),
        ("en", "the 21st", "the twenty-first"),
        ("fr", "21e", "vingt et unième"),
        ("de", "der 3. Mann am 3. Tag", "der dritte Mann am dritten Tag"),
        ("es", "1º", "primero"),
        ("en", "1,234.05", "one thousand two hundred and thirty-four point zero five"),
        ("de", "-7", "minus sieben"),
        ("en", "1914-1918", "nineteen fourteen to nineteen eighteen"),
        ("en", "42", "42"),
    ],
)
def test_amounts(language: str, text: str, said: str) -> None:
    assert say(language, text) == said


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en", "2024-03-05", "March fifth, twenty twenty-four"),
        ("en-us", "3/5/2024", "March fifth, twenty twenty-four"),
        ("en-gb", "3/5/2024", "May third, twenty twenty-four"),
        ("en", "5 March", "March fifth"),
        ("en", "March 5th, 2024", "March fifth, twenty twenty-four"),
        ("en", "I may 5 times", "I may 5 times"),
        ("de", "am 5.3.2024", "am fünften März zweitausendvierundzwanzig"),
        ("de", "5. März", "fünfter März"),
        ("fr", "le 1er mars", "le premier mars"),
        ("es", "5 de marzo de 2024", "cinco de marzo de dos mil veinticuatro"),
        ("zh", "2024-03-05", "2024年3月5日"),
        ("en", "2024-13-05", "2024-13-05"),
        ("en", "14:30, 9:05, 3 p.m.", "fourteen thirty, nine oh five, three PM"),
        ("en", "at 7am.", "at seven AM."),
        ("de", "14:30 Uhr", "vierzehn Uhr dreißig"),
        ("fr", "14h30, 1:00", "quatorze heures trente, une heure"),
        ("ja", "14:30", "14時30分"),
    ],
)
def test_dates_and_times(language: str, text: str, said: str) -> None:
    assert say(language, text) == said


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en", "https://www.a.example/b.", "www dot a dot example slash b."),
        ("en", f"(http://a.example/{'x' * 90})", "(a dot example)"),
        ("de", "ich@a.de", "ich at a Punkt de"),
        ("en", "+1 555 123", "plus one, five five five, one two three"),
        ("en", "(555) 123-4567", "five five five, one two three, four five six seven"),
        ("en", "Henry VIII, World War II", "Henry the eighth, World War two"),
        ("en", "Then Charles I saw", "Then Charles the first saw"),
        ("en", "When I saw MIX and DIV", "When I saw MIX and DIV"),
        ("fr", "Louis XIV au XVIIe siècle", "Louis quatorze au dix-septième siècle"),
        ("de", "Ludwig XIV. kam", "Ludwig der Vierzehnte kam"),
        ("es", "Alfonso X, Luis XIV, siglo XX", "Alfonso décimo, Luis catorce, siglo veinte"),
        ("it", "XVII secolo", "diciassettesimo secolo"),
    ],
)
def test_addresses_and_roman_numerals(language: str, text: str, said: str) -> None:
    assert say(language, text) == said


@pytest.mark.parametrize(
    "text",
    ["score 3:2", "v1.2.3", "192.168.0.1", "B-52 and COVID-19", "10:20:30", "file_2024-1", "007"],
)
def test_what_is_something_else_stays(text: str) -> None:
    assert say("en", text) == text


@pytest.mark.parametrize("language", ["", "sv", "tlh"])
def test_what_has_no_words_here_stays(language: str) -> None:
    assert say(language, "$5 at 14:30, Henry VIII") == "$5 at 14:30, Henry VIII"


@given(
    st.text(alphabet="0123456789$€%.,:-/ @°CkmhIVXp+()aMarch", max_size=60),
    st.sampled_from(sorted(TONGUES)),
)
def test_edits_are_in_order_whatever_the_text(text: str, language: str) -> None:
    edits = find_figures(text, language)

    places = [(each.start, each.end) for each in edits]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(one[1] <= two[0] for one, two in pairwise(places))
