"""The languages that Whisper hears: codes and English names. Source: Whisper, tokenizer.py."""

_TABLE = """
en english; zh chinese; de german; es spanish; ru russian; ko korean; fr french; ja japanese; pt
portuguese; tr turkish; pl polish; ca catalan; nl dutch; ar arabic; sv swedish; it italian; id
indonesian; hi hindi; fi finnish; vi vietnamese; he hebrew; uk ukrainian; el greek; ms malay; cs
czech; ro romanian; da danish; hu hungarian; ta tamil; no norwegian; th thai; ur urdu; hr
croatian; bg bulgarian; lt lithuanian; la latin; mi maori; ml malayalam; cy welsh; sk slovak; te
telugu; fa persian; lv latvian; bn bengali; sr serbian; az azerbaijani; sl slovenian; kn
kannada; et estonian; mk macedonian; br breton; eu basque; is icelandic; hy armenian; ne nepali;
mn mongolian; bs bosnian; kk kazakh; sq albanian; sw swahili; gl galician; mr marathi; pa
punjabi; si sinhala; km khmer; sn shona; yo yoruba; so somali; af afrikaans; oc occitan; ka
georgian; be belarusian; tg tajik; sd sindhi; gu gujarati; am amharic; yi yiddish; lo lao; uz
uzbek; fo faroese; ht haitian creole; ps pashto; tk turkmen; nn nynorsk; mt maltese; sa
sanskrit; lb luxembourgish; my myanmar; bo tibetan; tl tagalog; mg malagasy; as assamese; tt
tatar; haw hawaiian; ln lingala; ha hausa; ba bashkir; jw javanese; su sundanese; yue cantonese
"""

LANGUAGES = {
    code: name
    for code, _, name in (entry.partition(" ") for entry in " ".join(_TABLE.split()).split("; "))
}
"""Names in lower case, by their codes."""

_OTHER_CODES = {
    "iw": "he",
    "in": "id",
    "ji": "yi",
    "jv": "jw",
    "nb": "no",
    "fil": "tl",
    "cmn": "zh",
    "mo": "ro",
}
_OTHER_NAMES = {"mandarin": "zh", "castilian": "es", "flemish": "nl", "burmese": "my"}
_BY_NAME = {name: code for code, name in LANGUAGES.items()} | _OTHER_NAMES


def find_language(given: str) -> str | None:
    """The code of a BCP 47 tag or of an English name; None for a language that is not heard."""
    wanted = given.strip().lower().replace("_", "-")
    if wanted in _BY_NAME:
        return _BY_NAME[wanted]
    primary = wanted.partition("-")[0]
    code = _OTHER_CODES.get(primary, primary)
    return code if code in LANGUAGES else None
