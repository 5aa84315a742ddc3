"""Roman numerals after the names of rulers and of what is numbered so.

Henry VIII -> Henry the eighth      Chapter IV -> Chapter four      XVIIe -> dix-septième
"""

import re
from collections.abc import Iterator

from fishs2.text.edits import Edit
from fishs2.text.figures.numbers import say_ordinal, say_whole
from fishs2.text.figures.tongues import Tongue

_ROMAN = r"(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_RULERS = re.compile(
    r"(?<!\w)(?P<name>Adalbert|Albert|Alberto|Alejandro|Alexander|Alexandre|Alfonso|Alphonse|Afonso"
    r"|Anna|Benedetto|Benedict|Benedicto|Benedikt|Benoît|Boris|Bonifa[cz]\w*|Carl|Carlo|Carlos|Catherine"
    r"|Charles|Christian|Clemens|Clement|Clément|Clemente|Edward|Edouard|Édouard|Eduard|Eduardo"
    r"|Elisabeth|Élisabeth|Elizabeth|Elisabetta|Isabel|Isabella|Emanuele|Felipe|Fernando|Ferdinand"
    r"|Francesco|Francis|Francisco|François|Franz|Frederick|Friedrich|Frédéric|George|Georges|Georg"
    r"|Giacomo|Giorgio|Gregor|Gregory|Grégoire|Gregorio|Gustav|Harald|Heinrich|Henri|Henry|Enrico"
    r"|Enrique|Innocent|Innozenz|Ivan|James|Jean|Jacques|Jaime|João|John|Johann|Johannes|Joseph|José"
    r"|Juan|Julius|Karl|Katharina|Konrad|Leo|Léon|León|Leone|Leopold|Léopold|Louis|Ludwig|Luigi|Luis"
    r"|Luís|Manuel|Margaret|Maria|Marie|Mary|Maximilian|Napoleon|Napoléon|Napoleón|Napoleone|Nicholas"
    r"|Nicolas|Nikolaus|Otto|Otón|Paul|Paulus|Paolo|Pablo|Paulo|Pedro|Peter|Philip|Philipp|Philippe"
    r"|Filippo|Filipe|Pierre|Pietro|Pío|Pio|Pius|Pie|Ramses|Richard|Robert|Rudolf|Sancho|Sebastião"
    r"|Sigismund|Thutmose|Umberto|Urban|Urbain|Victor|Vittorio|Victoria|Wilhelm|William|Guillaume)"
    rf"[ ](?P<number>{_ROMAN})(?P<end>er(?!\w)|\.(?=[ ][^\W\dA-ZÄÖÜ]))?(?![\w'’])"
)
_CENTURY = {
    "fr": re.compile(rf"(?<!\w)(?P<number>{_ROMAN})e(?=[ ]siècle)"),
    "it": re.compile(rf"(?<!\w)(?P<number>{_ROMAN})(?=[ ]secolo)"),
}
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def find_romans(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield Roman numerals in words; nothing in languages without words for numbers here."""
    if not tongue.code:
        return
    for match in _RULERS.finditer(text):
        if match["number"]:
            end = match.end("end") if match["end"] else match.end("number")
            yield Edit(match.start("number"), end, _say_ruler(tongue.code, _value(match["number"])))
    words = "|".join(tongue.cardinal_before)
    numbered = re.compile(rf"(?<!\w)(?:{words})[ ](?P<number>{_ROMAN})(?!\w)")
    for match in numbered.finditer(text):
        yield Edit(*match.span("number"), say_whole(tongue.code, _value(match["number"])))
    century = _CENTURY.get(tongue.code)
    for match in century.finditer(text) if century else ():
        yield Edit(*match.span(), say_ordinal(tongue.code, _value(match["number"])))


def _say_ruler(code: str, number: int) -> str:
    match code:
        case "en":
            return f"the {say_ordinal(code, number)}"
        case "de":
            return f"der {say_ordinal(code, number).capitalize()}"
        case "fr":
            return "premier" if number == 1 else say_whole(code, number)
        case "es" | "pt" if number > 10:
            return say_whole(code, number)
    return say_ordinal(code, number)


def _value(roman: str) -> int:
    values = [_VALUES[letter] for letter in roman]
    return sum(
        -value if value < max(values[index:]) else value for index, value in enumerate(values)
    )
