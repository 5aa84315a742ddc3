"""Amounts of money where only the order of words is known: the sign is read behind the number.

    $500 -> 500 $      €3,50 -> 3,50 €      $5 Milliarden -> 5 Milliarden $

eSpeak NG has names of common signs in most languages, but reads them where they stand.
"""

import re
from collections.abc import Iterator

from fishs2.text.edits import Edit

SIGNS = "$€£¥₹₩₽₺₪₫₱₦฿₿¢"
"""Signs of currencies, as a body for `[...]`."""

_NAMES = {
    "cmn": {"$": "美元", "€": "欧元", "£": "英镑", "¥": "元", "₩": "韩元"},
    "ja": {"$": "ドル", "€": "ユーロ", "£": "ポンド", "¥": "えん", "₩": "ウォン"},
    "ko": {"$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "₩": "원"},
}
"""Names where eSpeak NG has none, or none in the language's own letters."""

_SCALE = r"(?:[ ]?[万萬亿億만억]+|[ ](?:mio|mrd|mil|bil|mlrd|млн|млрд|мил|тыс)[^\W\d_]{0,9}\.?)?"
_NUMBER = r"(?:\d{1,3}(?:[.,' \u00a0\u202f]\d{3})+(?!\d)|\d{1,18})(?:[.,]\d{1,9}(?!\d))?"
_BEFORE = re.compile(
    rf"(?<!\w)(?<!\d )(?P<sign>[{SIGNS}])[ ]?(?P<amount>{_NUMBER})(?P<scale>{_SCALE})",
    re.IGNORECASE,
)


def find_prices(text: str, language: str) -> Iterator[Edit]:
    """Yield amounts of money with the currency behind them. language: as eSpeak NG names it."""
    names = _NAMES.get(language.partition("-")[0], {})
    for match in _BEFORE.finditer(text):
        sign = match["sign"]
        end = match.end()
        after = " " if text[end : end + 1].isalnum() else ""
        yield Edit(
            match.start(), end, f"{match['amount']}{match['scale']} {names.get(sign, sign)}{after}"
        )
