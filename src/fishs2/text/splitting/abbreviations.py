"""Words whose full stop need not end a sentence, by what follows them. Lower case, no last stop.

Only words that are nothing else at the end of a sentence are listed: "on." or "mag." would cost
more splits than they save. `sentences` judges them in context.
"""


def _words(listing: str) -> frozenset[str]:
    return frozenset(listing.split())


TITLES = _words(
    """
    mr mrs ms mx dr prof rev hon gen col maj capt cmdr lt sgt cpl sen rep gov pres messrs
    hr fr frl dipl ing mag
    m mm mme mmes mlle mlles mgr
    sr sra srta sres dra exmo exma
    sig sigg dott avv geom
    dhr mevr mw
    inż
    д-р г-н г-жа
    """
)
"""Before a name, written with a capital: never the end."""

INTRODUCTIONS = _words(
    """
    e.g i.e viz cf approx vs prof dr sr sra srta dra sig sigg dott
    z.b d.h u.a i.d.r u.u vgl bzw evtl ggf inkl exkl zzgl sog o.g s.o m.e z.t
    p.ex p.ej p.es c.-à-d c.à.d
    b.v bijv d.w.z m.a.w
    t.ex bl.a f.eks
    т.е т.к т.н т.наз напр акад ул просп
    np tzw tzn např tzv
    κ κα π.χ δηλ
    vb örn
    """
)
"""Before what they introduce, titles without a capital among them: never the end."""

BEFORE_NUMBER = _words(
    """
    no nos nr nro núm num n.º nº fig figs p pp pg pag pág vol vols ch chap cap sec sect art arts
    eq eqs tab abb bd kap str tel par ст стр гл рис табл
    jan feb mar apr jun jul aug sep sept oct nov dec mrz okt dez
    """
)
"""Not the end when a number follows: "No. 5", "Sept. 3". Otherwise a word like any other."""

STREET_ENDING = "str"
"""German "Hauptstr. 5": as BEFORE_NUMBER, at the end of a word."""

CLOSING_DOTTED = _words("a.m p.m b.c a.d b.c.e c.e u.s.w u.ä o.ä т.д т.п и.т.д")
"""Dotted ones that do end a sentence when a capital follows: "at 5 p.m. Mary left"."""

LONG_BEFORE_LOWER_CASE = _words("assoc approx univ corp govt bros dept circa")
"""Abbreviations long enough to look like the end of a sentence in chat without capitals."""

ORDINAL_BEFORE = _words(
    """
    am im zum zur vom beim der die das dem den des ab bis seit ein eine einen einem einer jeder
    jede jedes jeden ihr ihre ihren sein seine seinen mein meine meinen unser unsere nach vor
    """
)
"""German words before an ordinal: "am 3. Oktober", "der 2. Weltkrieg"."""

ORDINAL_AFTER = _words(
    """
    januar jänner februar märz april mai juni juli august september oktober november dezember
    jahrhundert jahrhunderts jahrtausend klasse platz mal weltkrieg weltkriegs kapitel auflage
    stock etage tag woche geburtstag liga bundesliga band teil staffel semester quartal
    """
)
"""What a German ordinal stands before, months first."""

SENTENCE_STARTERS = _words(
    """
    a an the it he she we they i you this that these those there then but and so if when while what
    who how why where in on at for as to after before however his her their our my its
    der die das ein eine er sie es wir ihr ich aber dann wenn als doch im am auf mit nach vor bei
    jetzt heute und
    les un une il elle ils elles nous vous je tu cette mais puis alors quand dans
    gli lui lei noi loro ma poi quando nel per questo questa
    una él ella nosotros ellos pero luego cuando por este esta
    os uma ele ela nós eles depois
    het een hij zij wij dit maar toen
    он она оно они мы вы я ты это этот эта но и а в потом затем когда если на за из по после как так
    что все
    """
)
"""Common first words that are no part of a name: after "U.S." or an initial they start a sentence.

Name particles (de, la, van, los) are left out on purpose: "J. La Fontaine".
"""

DOTTED_NAME_STARTS = _words(
    """
    file this self super user obj object item node list string array map window document console
    math system app config settings props state model view data request response event module
    """
)
"""Before a full stop and a capital without a space they are names of programs: "file.Name"."""

DOTTED_NAME_ENDINGS = _words(
    """
    com org net edu gov io ai dev app js ts py md txt pdf doc docx xls xlsx csv json xml html css
    exe dll zip jpg jpeg png gif svg mp3 mp4 wav ogg flac epub co uk de fr it es nl ru
    """
)
"""Ends of addresses and files, however they are written: "example.Com", "readme.Md"."""
