"""What the API page shows for the lexicons' operations."""

from fishs2.server.examples import Example

_NAME = "my-project"
_WORDS = [
    {"word": "GIF", "say": "jif", "case": "exact"},
    {"word": "Worcester", "ipa": "ˈwʊstə", "say": "Wooster", "language": "en"},
]
_FULL = [
    {"regex": None, "ipa": None, "language": None, "case": "any", "say": None, **word}
    for word in _WORDS
]
_PATH = "/v1/lexicons/{name}"

EXAMPLES = {
    ("get", "/v1/lexicons"): Example(
        answer={"object": "list", "data": [{"name": _NAME, "num_words": 2}]}
    ),
    ("get", _PATH): Example(given={"name": _NAME}, answer={"name": _NAME, "words": _FULL}),
    ("put", _PATH): Example(given={"name": _NAME}, body={"words": _WORDS}),
    ("delete", _PATH): Example(given={"name": _NAME}),
}
