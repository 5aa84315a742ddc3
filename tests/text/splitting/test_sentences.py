import pytest

from fishs2.text.scripts import TAG_MASK
from fishs2.text.splitting.sentences import find_sentence_ends


def split_sentences(text: str) -> list[str]:
    ends = find_sentence_ends(text)
    return [text[start:end].strip() for start, end in zip([0, *ends[:-1]], ends, strict=True)]


# A bar marks each place where a sentence ends; the text is the same without bars.
EXAMPLES = {
    "english": [
        "It rains.| We stay in!| Shall we?| Yes…| Good.",
        "Dr. Smith met Mr. and Mrs. Jones, Prof. Lee and St. John.| They sang.",
        "He read J. R. R. Tolkien and George W. Bush.| She did not.",
        "It was I.| He left.| We have plan B.| Then we go.",
        "Many came, e.g. Anna, i.e. all.| Cats, dogs etc. were there.| Cats, dogs etc.| The end.",
        "At 5 p.m. Mary left.".replace("p.m. ", "p.m.| "),
        "By 9 a.m. it was over.| He has a Ph.D. in law.| She lives in the U.S. Army base.",
        "He moved to the U.S.| The rest stayed.",
        "See Fig. 3, No. 5 and Vol. II of it, pp. 7 to 9.| No.| I mean it.",
        "On Jan. 5 she came.| In Jan.| He left.",
        "Pi is 3.14159.| It cost 1,000.50 dollars at 10.30.| Use version 1.2.3.| Then stop.",
        "Mail a.b@example.org or see example.com/a?b=c.html.| Open notes.txt now.",
        '"Hello!" she said.| "How are you?" he asked.| "Fine."| She left.',
        '"I know." she said.| (He did not.)| And (why not?) so on.',
        "“Stop!” he cried.| ‘No.’| He ran.",
        "Well... maybe.| Well...| Maybe.| Wait . . . what?",
        "What?!| No!!!| hello there.| how are you?| i am fine",
        "He had 3 cats.| 3 dogs came.| I have 4.| She has 5.",
        "We met Yahoo! and he laughed.".replace("Yahoo! ", "Yahoo!| "),
        "Acme Inc. said so.| He works at Acme Inc.| They pay.",
        "Chapter One|\nIt was dark.",
    ],
    "german": [
        "Am 3. Oktober kam er.| Der 2. Weltkrieg war vorbei.| Im 19. Jahrhundert auch.",
        "Das ist z.B. Hund, d. h. Tier, bzw. Katze usw.| Der Rest folgt.",
        "Er wohnt in der Hauptstr. 5 bei Fr. Müller, vgl. Nr. 7 und S. 12.| Gut.",
        "Er sagte: „Hallo!“ und ging.| „Komm.“| »Nein!« rief sie.| Er kam.| »Ja?«",
        "Es kostet 1.000,50 Euro.| Um 10.30 Uhr ist Schluss.",
        "1. Milch|\n2. Eier",
    ],
    "french": [
        "Bonjour !| Ça va ?| « Oui ! » dit M. Dupont.| « Non. »| Mme. Durand part.",
        "J. La Fontaine écrit, p.ex. des fables.| Il rit.",
    ],
    "spanish": [
        "¿Qué tal?| ¡Hola!| El Sr. López y la Sra. Díaz vienen.| Vale.| ¿Sí?¡No!".replace(
            "?¡", "?|¡"
        )
    ],
    "italian": ["Il sig. Rossi e il Dott. Bianchi arrivano.| Sig. Verdi, prego.| Sì."],
    "portuguese": ["O Sr. Silva e a Dra. Costa chegaram.| Que bom!"],
    "russian": [
        "В 1999 г.| Он приехал, т.е. вернулся, на ул. Ленина и т.д.| Потом ушёл.",
        "А. С. Пушкин писал.| — Привет! — сказал он.| — Как дела?",
    ],
    "greek": ["Τι κάνεις;| Καλά, εσύ;| Ναι· όλα καλά."],
    "armenian": ["Ո՞վ է նա։| Ի՜նչ լավ է։| Այո։"],
    "chinese": ["他说：“你好。”|我走了。|真的吗？！|是的……也许。|价格是３．５元。|OK!|你好"],
    "japanese": ["「行こう。」と彼は言った。|「はい。」|彼女は笑った！|そう…かな。"],
    "korean": ["네.| 감사합니다.| 좋아요!| 정말요?"],
    "arabic": ["هل أنت بخير؟| نعم.| شكرا!"],
    "urdu": ["یہ گھر ہے۔| وہ کہاں ہے؟| یہاں۔"],
    "hebrew": ["שלום.| מה שלומך?| טוב."],
    "hindi": ["यह घर है।| वह जाता है॥| ठीक है.| हाँ।"],
    "bengali": ["এটা বাড়ি।| সে যায়।"],
    "ethiopic": ["ሰላም ነው።| እንዴት ነህ፧| ደህና።"],
    "burmese": ["မင်္ဂလာပါ။| နေကောင်းလား၊ ကောင်းပါတယ်။"],
    "khmer": ["សួស្តី។| អរគុណ៕"],
    "tibetan": ["བཀྲ་ཤིས།| བདེ་ལེགས།"],
    "thai": ["สวัสดีครับ วันนี้อากาศดี"],
}


@pytest.mark.parametrize(
    "marked", [pytest.param(text, id=name) for name, texts in EXAMPLES.items() for text in texts]
)
def test_sentences_end_where_a_reader_pauses(marked: str) -> None:
    expected = [sentence.strip() for sentence in marked.split("|")]
    assert split_sentences(marked.replace("|", "")) == expected


def test_a_tag_between_sentences_belongs_to_the_second() -> None:
    tag = TAG_MASK * 6
    assert split_sentences(f"Wow! {tag}Funny.{tag}Go {tag}on.") == [
        "Wow!",
        f"{tag}Funny.",
        f"{tag}Go {tag}on.",
    ]


def test_nothing_has_no_sentence() -> None:
    assert find_sentence_ends(" ") == []


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("He said hi.Then left.", ["He said hi.", "Then left."]),
        ("It was late.She left", ["It was late.", "She left"]),
        ("The end.”Then he", ["The end.”", "Then he"]),
        ('He said."Then go."', ["He said.", '"Then go."']),
        ("Stop!He ran.Really?Yes", ["Stop!", "He ran.", "Really?", "Yes"]),
        ("wait…What now", ["wait…", "What now"]),
        ("in 2024.The next", ["in 2024.", "The next"]),
        ("привет.Потом он", ["привет.", "Потом он"]),
        ("שלום.אז הלך", ["שלום.", "אז הלך"]),
        ("你好！？我", ["你好！？", "我"]),
    ],
)
def test_sentences_may_meet_without_a_space(text: str, ends: list[str]) -> None:
    assert split_sentences(text) == ends


@pytest.mark.parametrize(
    "text",
    [
        *("Node.js", "example.com", "Example.Com", "www.Example.Com", "me@Example.Com", "3.14"),
        *("the U.S.A is", "file.Name", "v1.2.Beta", "ASP.NET", "java.util.List", "Mr.Smith"),
        *("mr.Smith", "St.Petersburg", "x=foo?Bar", "page.html?Query", "foo.Bar()", "a.B", "No.1"),
        *("T.S.Eliot", "http://a.b/C.Then", "readme.Md", "fig.A shows", "Vue.Component"),
    ],
)
def test_names_and_numbers_are_not_cut_at_their_dots(text: str) -> None:
    assert split_sentences(text) == [text]
