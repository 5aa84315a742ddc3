"""Addresses of the web and of mail, and telephone numbers.

https://www.a.example/b -> www dot a dot example slash b      me@a.example -> me at a dot example
+49 30 1234567 -> plus four nine, three zero, one two three four five six seven
"""

import re
from collections.abc import Iterator

from fishs2.text.edits import Edit
from fishs2.text.figures.numbers import say_digits
from fishs2.text.figures.tongues import Tongue

_MAX_PATH_CHARS = 60
"""Of what is longer nobody remembers a word: the host alone is read."""

_URL = re.compile(
    r"(?<![\w@])(?:https?://|(?=www\.))(?P<host>[\w-]+(?:\.[\w-]+)*)(?P<port>:\d{1,5})?"
    r"(?P<path>[/?#][\w\-.~:/?#@!$&*+,;=%]*)?",
    re.IGNORECASE,
)
_MAIL = re.compile(
    r"(?<![\w.+-])(?P<name>[\w.+-]{1,64})@(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63}){1,5})(?!\w)"
)
_PHONE = re.compile(
    r"(?<![\w.,+-])(?:\+\d{1,3}(?:[ -]?\(?\d{1,5}\)?){2,6}|\(\d{3}\)[ ]?\d{3}[ -]\d{4}"
    r"|\d{3}-\d{3}-\d{4})(?![\w-]|[.,]\d)"
)
_ENDS = ".,:;!?"
_DIGITS = re.compile(r"\d+")


def find_addresses(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield addresses in words; https:// itself is not read."""
    if "://" in text or "www." in text.lower():
        for match in _URL.finditer(text):
            path = (match["path"] or "").rstrip(_ENDS)
            end = match.end() - len(match["path"] or "") + len(path)
            read = match["host"] + (match["port"] or "")
            if len(path) <= _MAX_PATH_CHARS:
                read += path.removesuffix("/")
            yield Edit(match.start(), end, _spell(read, tongue))
    if "@" in text:
        for match in _MAIL.finditer(text):
            yield Edit(*match.span(), _spell(match[0], tongue))


def find_phones(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield telephone numbers, digit by digit, group by group."""
    for match in _PHONE.finditer(text):
        groups = [say_digits(tongue, group) for group in _DIGITS.findall(match[0])]
        plus = f"{tongue.plus} " if match[0][0] == "+" else ""
        yield Edit(*match.span(), plus + ", ".join(groups))


def _spell(address: str, tongue: Tongue) -> str:
    said = "".join(f" {tongue.signs[char]} " if char in tongue.signs else char for char in address)
    return " ".join(said.split())
