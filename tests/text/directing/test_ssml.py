"""SSML documents as texts with cues and turns."""

import itertools
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.errors import UserError
from fishs2.text.directing.cues import MARK, PLAIN, Cue, Manner
from fishs2.text.directing.ssml import MAX_DEPTH, MAX_ELEMENTS, MAX_VOICES, read_ssml
from fishs2.text.directing.ssml_document import Document, SsmlVoice


def read(
    body: str, *, speaks_tags: bool = False, picks_languages: bool = True, head: str = "<speak>"
) -> Document:
    source = f"{head}{body}</speak>"
    return read_ssml(source, speaks_tags=speaks_tags, picks_languages=picks_languages)


def spoken(body: str, language: str = "en") -> str:
    document = read(body)
    return document.direct([language] * (len(document.voices) + 1)).text.text


def cues_of(document: Document) -> list[Cue]:
    text = document.text
    places = [text.span(at, at + 1) for at, char in enumerate(text.text) if char == MARK]
    return [document.cues[place] for place in places]


def refused(source: str) -> UserError:
    with pytest.raises(UserError) as caught:
        read_ssml(source, speaks_tags=False, picks_languages=True)
    return caught.value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("Fish &amp; chips&#x21;", "Fish & chips!"),
        ("<![CDATA[a < b & c]]>", "a < b & c"),
        ("a<!-- not --><?neither this?> b", "a b"),
        ("One\n\n  two\r\nthree", "One    two three"),
        ("[pause:1s] **no** # <break strength='none'/>", f"[pause:1s] **no** # {MARK}"),
        ('<sub alias="World Wide Web">WWW</sub>', "World Wide Web"),
        ('<sub alias="a &amp; b"/>', "a & b"),
        ('<say-as interpret-as="characters">a1 ß</say-as>', "A 1 ß"),
        ('<say-as interpret-as="spell-out">EU</say-as>', "E U"),
        ('<say-as interpret-as="digits">110</say-as>', "one one zero"),
        ('the <say-as interpret-as="ordinal">3</say-as> and', "the third and"),
        ('<say-as interpret-as="date">1/2</say-as>', "1/2"),
        ('<audio src="a.mp3">Ding <desc>a bell</desc>dong</audio>', "Ding dong"),
        ("<metadata><x>not said</x></metadata>said", "said"),
        ("&lt;|speaker:0|>", " |speaker:0|>"),
        ("&lt;<emphasis>|speaker:0|></emphasis>", " |speaker:0|>"),
    ],
)
def test_text_is_what_is_said(body: str, text: str) -> None:
    assert spoken(body) == text


def test_places_are_those_of_the_document() -> None:
    body = 'é &amp; <sub alias="W W">WWW</sub>'
    source = f"<speak>{body}</speak>"

    text = read(body).text

    shown = {text.text[at]: source[slice(*text.span(at, at + 1))] for at in range(len(text.text))}
    assert shown == {"é": "é", " ": "WWW", "&": "&amp;", "W": "WWW"}


def test_a_break_is_a_pause_at_its_place() -> None:
    body = 'One <break time="1.5s"/> two<break/>'
    document = read(body)

    assert document.text.text == f"One {MARK} two{MARK}"
    assert [cue.pause_s for cue in cues_of(document)] == [1.5, 0.6]
    start, end = min(document.cues)
    assert f"<speak>{body}"[start:end] == '<break time="1.5s"/>'


def test_parts_end_once_and_as_the_strongest_says() -> None:
    document = read("<p><s>One</s><s>two</s></p> <p>three</p>")

    assert document.text.text == f"One{MARK}two {MARK}three"
    assert [cue.boundary for cue in cues_of(document)] == ["sentence", "paragraph"]


def test_prosody_holds_inside_and_what_is_nested_in_it_is_relative() -> None:
    document = read(
        'a <prosody rate="2">b <prosody rate="50%" volume="+3dB">c</prosody> d</prosody>, e'
    )

    assert document.text.text == f"a {MARK}b {MARK}c {MARK}d, {MARK}e"
    manners = [cue.manner for cue in cues_of(document)]
    assert manners == [Manner(2.0), Manner(1.0, 3.0), Manner(2.0), PLAIN]


def test_what_changes_nothing_is_no_cue() -> None:
    document = read('<prosody rate="fast"><prosody rate="medium"> a </prosody></prosody> b<p> </p>')

    assert document.text.text == " a  b "
    assert not document.cues


def test_voices_and_languages_take_turns() -> None:
    document = read(
        'Hi. <voice name="de">Hallo <lang xml:lang="fr">salut</lang>.</voice> '
        '<lang xml:lang="fr">Bonjour</lang> Bye. <voice name="de">Ja.</voice>'
    )

    assert document.voices == (SsmlVoice("de"), SsmlVoice("de", "fr"), SsmlVoice("", "fr"))
    assert document.direct(["", "", "", ""]).text.text.replace(MARK, "") == (
        "Hi. <|speaker:0|>Hallo <|speaker:1|>salut. <|speaker:2|>Bonjour "
        "<|speaker:3|>Bye. <|speaker:0|>Ja."
    )


def test_an_engine_of_one_voice_for_all_languages_changes_none() -> None:
    document = read('<lang xml:lang="fr">Oui</lang> <p xml:lang="de">Ja</p>', picks_languages=False)

    assert not document.voices
    assert document.ignored == ("ssml:lang", "ssml:p.xml:lang")


def test_emphasis_is_a_tag_where_the_engine_acts_on_them() -> None:
    body = '<emphasis>very</emphasis> <emphasis level="none">big</emphasis>'

    assert read(body, speaks_tags=True).text.text == "[emphasis] very big"
    assert read(body).ignored == ("ssml:emphasis",)


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ("<mark name='a'/>x", {"ssml:mark"}),
        ("<audio src='a'>x</audio>", {"ssml:audio"}),
        ("<prosody pitch='high' rate='fast' contour='(0%,+1Hz)'>x</prosody>",
         {"ssml:prosody.pitch", "ssml:prosody.contour"}),
        ("<prosody pitch='medium'>x</prosody>", set()),
        ("<voice gender='female'>x</voice>", {"ssml:voice.gender"}),
        ("<mstts:express-as style='sad'>x</mstts:express-as>", {"ssml:mstts:express-as"}),
        ("<say-as interpret-as='date'>x</say-as>", {"ssml:say-as"}),
        ("<é>x</é>", {"ssml:other"}),
        (f"<{'a' * 200}>x</{'a' * 200}>", {"ssml:other"}),
        ("<sub alias='x'>a<break/></sub>", {"ssml:break"}),
    ],
)  # fmt: skip
def test_what_does_nothing_is_named(body: str, ignored: set[str]) -> None:
    assert set(read(body).ignored) == ignored


def test_no_more_names_are_kept_than_a_header_holds() -> None:
    document = read("".join(f"<a{n}/>" for n in range(1000)) + "x")

    assert len(document.ignored) == 21
    assert document.ignored[-1] == "ssml:..."


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("Hello.", "line 1, column 1", "<speak>…</speak>"),
        ("", "line 1, column 1", "<speak>…</speak>"),
        ("<p>Hi.</p>", "line 1, column 1", "begins with <p>"),
        ("<speak>\n  é<b>Hi</c></speak>", "line 2, column 11", "<b> is still open"),
        ("<speak>Hi.", "line 1, column 11", "<speak> is still open"),
        ("<speak>a & b</speak>", "line 1, column 11", "&amp;"),
        ("<speak>&nbsp;</speak>", "line 1, column 8", "&#160;"),
        ("<speak>a</speak>b", "line 1, column 17", "junk"),
        ("<!DOCTYPE speak><speak>a</speak>", "line 1", "DOCTYPE"),
        ('<!DOCTYPE s [<!ENTITY a "b">]><speak>&a;</speak>', "line 1", "DOCTYPE"),
        ("<speak><speak>a</speak></speak>", "line 1, column 8", "inside another"),
        ("<speak>\n<prosody rate='9'>a</prosody></speak>", "line 2, column 1", "limits"),
        ("<speak><break time='soon'/></speak>", "line 1, column 8", "800ms"),
        ("<speak><sub>a</sub></speak>", "line 1, column 8", "alias"),
        ("<speak><say-as>a</say-as></speak>", "line 1, column 8", "interpret-as"),
        ("<speak><lang>a</lang></speak>", "line 1, column 8", "xml:lang"),
        ("<speak>\ud800</speak>", "line 1, column 8", "not well-formed"),
        ("<speak>\0</speak>", "line 1, column 8", "not well-formed"),
        ("<speak>" + "<p>" * MAX_DEPTH, f"column {8 + 3 * (MAX_DEPTH - 1)}", "deeper than 50"),
        ("<speak>" + "<p/>" * MAX_ELEMENTS, "line 1", "5,000 elements"),
        ("<speak>" + "".join(f"<voice name='{n}'/>" for n in range(MAX_VOICES + 1)), "line 1",
         "one voice too many"),
    ],
)  # fmt: skip
def test_a_broken_document_is_refused_with_its_place(source: str, place: str, words: str) -> None:
    error = refused(source)

    assert error.code == "invalid_ssml"
    assert place in error.message
    assert words in error.message


def test_a_break_that_is_too_long_is_a_pause_that_is_too_long() -> None:
    error = refused("<speak>\n<break time='11s'/></speak>")

    assert error.code == "pause_too_long"
    assert "line 2, column 1" in error.message


words = st.text(st.sampled_from("ab é&<>\"'.,|[]\n😀"), max_size=8).map(escape)
values = st.sampled_from(["fast", "50%", "+6dB", "soft", "1", "de", "characters", "ordinal", "1s"])
names = st.sampled_from(
    ["p", "s", "break", "prosody", "sub", "say-as", "voice", "lang", "emphasis", "audio", "desc"]
)
attributes = st.dictionaries(
    st.sampled_from(["rate", "volume", "alias", "interpret-as", "name", "xml:lang", "time"]),
    values,
    max_size=3,
)


@st.composite
def element(draw: st.DrawFn, inside: st.SearchStrategy[str]) -> str:
    name = draw(names)
    given_attributes = "".join(
        f" {key}={quoteattr(value)}" for key, value in draw(attributes).items()
    )
    return f"<{name}{given_attributes}>{draw(inside)}</{name}>"


def together(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(words, element(inside)), max_size=5).map("".join)


@given(st.recursive(words, together, max_leaves=12), st.booleans(), st.booleans())
def test_places_of_any_document_are_in_order(
    body: str, speaks_tags: bool, picks_languages: bool
) -> None:
    source = f"<speak>{body}</speak>"
    try:
        document = read_ssml(source, speaks_tags=speaks_tags, picks_languages=picks_languages)
    except UserError as error:
        assert error.code == "invalid_ssml"  # noqa: PT017 - one of two right ways
        return

    directed = document.direct(["en"] * (len(document.voices) + 1))

    text = directed.text
    for before, after in itertools.pairwise(range(len(text.text))):
        assert text.starts[before] <= text.starts[after]
        assert text.ends[before] <= text.ends[after]
    assert all(0 <= a <= b <= len(source) for a, b in zip(text.starts, text.ends, strict=True))
    assert directed.cues.keys() <= {text.span(at, at + 1) for at in range(len(text.text))}
