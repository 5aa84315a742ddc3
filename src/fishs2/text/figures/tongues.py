"""What figures and signs are called in eight languages. No rules here: the finders read it.

What a language lacks, and every other language, stays as it is written, for the engine to read.
"""

from dataclasses import dataclass, field

Names = tuple[str, str]
"""One of it, and several."""


@dataclass(frozen=True, slots=True, eq=False)
class Tongue:
    """The words of one language.

    code: of num2words; "" leaves numbers in figures, which engines read. groups, point: what stands
    between thousands, and before a fraction. day_first: 5/3 is in March. signs: of addresses.
    percent: around a number, which is "{}". money: the whole and the hundredth of each currency.
    date, day_month: of "{day}", "{month}" and "{year}". hour: of "{hour}", and minute behind it.
    """

    code: str
    groups: str
    point: str
    point_word: str
    minus: str
    to: str
    percent: str
    plus: str
    signs: dict[str, str]
    months: tuple[str, ...]
    date: str
    day_month: str
    hour: str
    minute: str
    money: dict[str, tuple[Names, Names | None]]
    units: dict[str, Names]
    scales: dict[str, str] = field(default_factory=dict)
    day_first: bool = True
    of_day: bool = False
    joins_words: bool = True
    cardinal_before: tuple[str, ...] = ()


_UNITS = "km/h m² km² m³ km cm mm m kg mg g ml l °C °F kWh kW W V GHz MHz kHz Hz TB GB MB kB min h"
_SIGNS = ". @ / - _ ? = & # : + ~"


def _units(*names: str) -> dict[str, Names]:
    pairs = [(one, several or one) for one, _, several in (name.partition("|") for name in names)]
    return dict(zip(_UNITS.split(), pairs, strict=True))


def _signs(*names: str) -> dict[str, str]:
    return dict(zip(_SIGNS.split(), names, strict=True))


_ENGLISH = Tongue(
    code="en", groups=",", point=".", point_word="point", minus="minus", to="to",
    percent="{} percent", plus="plus",
    signs=_signs("dot", "at", "slash", "dash", "underscore", "question mark", "equals", "and",
                 "hash", "colon", "plus", "tilde"),
    months=("January", "February", "March", "April", "May", "June", "July", "August", "September",
            "October", "November", "December"),
    date="{month} {day}, {year}", day_month="{month} {day}", hour="{hour}",
    minute="{hour} {minute}",
    money={"$": (("dollar", "dollars"), ("cent", "cents")),
           "€": (("euro", "euros"), ("cent", "cents")),
           "£": (("pound", "pounds"), ("penny", "pence")), "¥": (("yen", "yen"), None)},
    units=_units("kilometer per hour|kilometers per hour", "square meter|square meters",
                 "square kilometer|square kilometers", "cubic meter|cubic meters",
                 "kilometer|kilometers", "centimeter|centimeters", "millimeter|millimeters",
                 "meter|meters", "kilogram|kilograms", "milligram|milligrams", "gram|grams",
                 "milliliter|milliliters", "liter|liters", "degree Celsius|degrees Celsius",
                 "degree Fahrenheit|degrees Fahrenheit", "kilowatt hour|kilowatt hours",
                 "kilowatt|kilowatts", "watt|watts", "volt|volts", "gigahertz", "megahertz",
                 "kilohertz", "hertz", "terabyte|terabytes", "gigabyte|gigabytes",
                 "megabyte|megabytes", "kilobyte|kilobytes", "minute|minutes", "hour|hours"),
    scales={"k": "thousand", "m": "million", "bn": "billion", "b": "billion",
            "million": "million", "billion": "billion", "trillion": "trillion"},
    day_first=False, of_day=True,
    cardinal_before=("Chapter", "Part", "Act", "Volume", "Book", "War", "Section", "Type", "Phase"),
)  # fmt: skip

_GERMAN = Tongue(
    code="de", groups=".", point=",", point_word="Komma", minus="minus", to="bis",
    percent="{} Prozent", plus="plus",
    signs=_signs("Punkt", "at", "Schrägstrich", "Bindestrich", "Unterstrich", "Fragezeichen",
                 "gleich", "und", "Raute", "Doppelpunkt", "plus", "Tilde"),
    months=("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September",
            "Oktober", "November", "Dezember"),
    date="{day} {month} {year}", day_month="{day} {month}", hour="{hour} Uhr",
    minute="{hour} Uhr {minute}",
    money={"$": (("Dollar", "Dollar"), ("Cent", "Cent")), "€": (("Euro", "Euro"), ("Cent", "Cent")),
           "£": (("Pfund", "Pfund"), ("Penny", "Pence")), "¥": (("Yen", "Yen"), None)},
    units=_units("Kilometer pro Stunde", "Quadratmeter", "Quadratkilometer", "Kubikmeter",
                 "Kilometer", "Zentimeter", "Millimeter", "Meter", "Kilogramm", "Milligramm",
                 "Gramm", "Milliliter", "Liter", "Grad Celsius", "Grad Fahrenheit",
                 "Kilowattstunde|Kilowattstunden", "Kilowatt", "Watt", "Volt", "Gigahertz",
                 "Megahertz", "Kilohertz", "Hertz", "Terabyte", "Gigabyte", "Megabyte", "Kilobyte",
                 "Minute|Minuten", "Stunde|Stunden"),
    scales={"Mio.": "Millionen", "Mrd.": "Milliarden", "Tsd.": "tausend",
            "Millionen": "Millionen", "Milliarden": "Milliarden"},
    cardinal_before=("Kapitel", "Teil", "Akt", "Band", "Buch", "Weltkrieg"),
)  # fmt: skip

_FRENCH = Tongue(
    code="fr", groups=" .", point=",", point_word="virgule", minus="moins", to="à",
    percent="{} pour cent", plus="plus",
    signs=_signs("point", "arobase", "barre oblique", "tiret", "tiret bas",
                 "point d'interrogation", "égal", "et", "dièse", "deux points", "plus", "tilde"),
    months=("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre",
            "octobre", "novembre", "décembre"),
    date="{day} {month} {year}", day_month="{day} {month}", hour="{hour} heures",
    minute="{hour} heures {minute}",
    money={"$": (("dollar", "dollars"), ("cent", "cents")),
           "€": (("euro", "euros"), ("centime", "centimes")),
           "£": (("livre", "livres"), ("penny", "pence")), "¥": (("yen", "yens"), None)},
    units=_units("kilomètre-heure|kilomètres-heure", "mètre carré|mètres carrés",
                 "kilomètre carré|kilomètres carrés", "mètre cube|mètres cubes",
                 "kilomètre|kilomètres", "centimètre|centimètres", "millimètre|millimètres",
                 "mètre|mètres", "kilogramme|kilogrammes", "milligramme|milligrammes",
                 "gramme|grammes", "millilitre|millilitres", "litre|litres",
                 "degré Celsius|degrés Celsius", "degré Fahrenheit|degrés Fahrenheit",
                 "kilowattheure|kilowattheures", "kilowatt|kilowatts", "watt|watts", "volt|volts",
                 "gigahertz", "mégahertz", "kilohertz", "hertz", "téraoctet|téraoctets",
                 "gigaoctet|gigaoctets", "mégaoctet|mégaoctets", "kilooctet|kilooctets",
                 "minute|minutes", "heure|heures"),
    scales={"millions": "millions", "milliards": "milliards"},
    cardinal_before=("Chapitre", "Partie", "Acte", "Tome", "Livre"),
)  # fmt: skip

_SPANISH = Tongue(
    code="es", groups=". ", point=",", point_word="coma", minus="menos", to="a",
    percent="{} por ciento", plus="más",
    signs=_signs("punto", "arroba", "barra", "guion", "guion bajo", "interrogación", "igual", "y",
                 "almohadilla", "dos puntos", "más", "virgulilla"),
    months=("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre",
            "octubre", "noviembre", "diciembre"),
    date="{day} de {month} de {year}", day_month="{day} de {month}", hour="{hour} en punto",
    minute="{hour} y {minute}",
    money={"$": (("dólar", "dólares"), ("centavo", "centavos")),
           "€": (("euro", "euros"), ("céntimo", "céntimos")),
           "£": (("libra", "libras"), ("penique", "peniques")), "¥": (("yen", "yenes"), None)},
    units=_units("kilómetro por hora|kilómetros por hora", "metro cuadrado|metros cuadrados",
                 "kilómetro cuadrado|kilómetros cuadrados", "metro cúbico|metros cúbicos",
                 "kilómetro|kilómetros", "centímetro|centímetros", "milímetro|milímetros",
                 "metro|metros", "kilogramo|kilogramos", "miligramo|miligramos", "gramo|gramos",
                 "mililitro|mililitros", "litro|litros", "grado Celsius|grados Celsius",
                 "grado Fahrenheit|grados Fahrenheit", "kilovatio hora|kilovatios hora",
                 "kilovatio|kilovatios", "vatio|vatios", "voltio|voltios", "gigahercio|gigahercios",
                 "megahercio|megahercios", "kilohercio|kilohercios", "hercio|hercios",
                 "terabyte|terabytes", "gigabyte|gigabytes", "megabyte|megabytes",
                 "kilobyte|kilobytes", "minuto|minutos", "hora|horas"),
    scales={"millones": "millones de", "mil millones": "mil millones de"},
    cardinal_before=("Capítulo", "Parte", "Acto", "Tomo", "Libro", "siglo", "Siglo"),
)  # fmt: skip

_ITALIAN = Tongue(
    code="it", groups=". ", point=",", point_word="virgola", minus="meno", to="a",
    percent="{} per cento", plus="più",
    signs=_signs("punto", "chiocciola", "barra", "trattino", "trattino basso",
                 "punto interrogativo", "uguale", "e", "cancelletto", "due punti", "più", "tilde"),
    months=("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto",
            "settembre", "ottobre", "novembre", "dicembre"),
    date="{day} {month} {year}", day_month="{day} {month}", hour="{hour} in punto",
    minute="{hour} e {minute}",
    money={"$": (("dollaro", "dollari"), ("centesimo", "centesimi")),
           "€": (("euro", "euro"), ("centesimo", "centesimi")),
           "£": (("sterlina", "sterline"), ("penny", "pence")), "¥": (("yen", "yen"), None)},
    units=_units("chilometro orario|chilometri orari", "metro quadrato|metri quadrati",
                 "chilometro quadrato|chilometri quadrati", "metro cubo|metri cubi",
                 "chilometro|chilometri", "centimetro|centimetri", "millimetro|millimetri",
                 "metro|metri", "chilogrammo|chilogrammi", "milligrammo|milligrammi",
                 "grammo|grammi", "millilitro|millilitri", "litro|litri",
                 "grado Celsius|gradi Celsius", "grado Fahrenheit|gradi Fahrenheit",
                 "chilowattora", "chilowatt", "watt", "volt", "gigahertz", "megahertz",
                 "chilohertz", "hertz", "terabyte", "gigabyte", "megabyte", "kilobyte",
                 "minuto|minuti", "ora|ore"),
    scales={"milioni": "milioni di", "miliardi": "miliardi di"},
    cardinal_before=("Capitolo", "Parte", "Atto", "Volume", "Libro"),
)  # fmt: skip

_PORTUGUESE = Tongue(
    code="pt", groups=". ", point=",", point_word="vírgula", minus="menos", to="a",
    percent="{} por cento", plus="mais",
    signs=_signs("ponto", "arroba", "barra", "hífen", "sublinhado", "interrogação", "igual", "e",
                 "cardinal", "dois pontos", "mais", "til"),
    months=("janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto",
            "setembro", "outubro", "novembro", "dezembro"),
    date="{day} de {month} de {year}", day_month="{day} de {month}", hour="{hour} horas",
    minute="{hour} e {minute}",
    money={"$": (("dólar", "dólares"), ("centavo", "centavos")),
           "€": (("euro", "euros"), ("cêntimo", "cêntimos")),
           "R$": (("real", "reais"), ("centavo", "centavos")),
           "£": (("libra", "libras"), ("penny", "pence")), "¥": (("iene", "ienes"), None)},
    units=_units("quilômetro por hora|quilômetros por hora", "metro quadrado|metros quadrados",
                 "quilômetro quadrado|quilômetros quadrados", "metro cúbico|metros cúbicos",
                 "quilômetro|quilômetros", "centímetro|centímetros", "milímetro|milímetros",
                 "metro|metros", "quilograma|quilogramas", "miligrama|miligramas", "grama|gramas",
                 "mililitro|mililitros", "litro|litros", "grau Celsius|graus Celsius",
                 "grau Fahrenheit|graus Fahrenheit", "quilowatt-hora|quilowatts-hora",
                 "quilowatt|quilowatts", "watt|watts", "volt|volts", "gigahertz", "megahertz",
                 "quilohertz", "hertz", "terabyte|terabytes", "gigabyte|gigabytes",
                 "megabyte|megabytes", "kilobyte|kilobytes", "minuto|minutos", "hora|horas"),
    scales={"milhões": "milhões de", "bilhões": "bilhões de", "mil milhões": "mil milhões de"},
    cardinal_before=("Capítulo", "Parte", "Ato", "Tomo", "Livro", "século", "Século"),
)  # fmt: skip

_CHINESE = Tongue(
    code="", groups=",", point=".", point_word="点", minus="负", to="到", percent="百分之{}",
    plus="加",
    signs=_signs("点", "at", "斜杠", "杠", "下划线", "问号", "等于", "和", "井号", "冒号", "加",
                 "波浪号"),
    months=tuple(f"{month}月" for month in range(1, 13)),
    date="{year}年{month}{day}日", day_month="{month}{day}日", hour="{hour}点",
    minute="{hour}点{minute}分",
    money={"$": (("美元", "美元"), None), "€": (("欧元", "欧元"), None),
           "£": (("英镑", "英镑"), None), "¥": (("元", "元"), None)},
    units=_units("公里每小时", "平方米", "平方公里", "立方米", "公里", "厘米", "毫米", "米", "公斤",
                 "毫克", "克", "毫升", "升", "摄氏度", "华氏度", "千瓦时", "千瓦", "瓦", "伏",
                 "吉赫", "兆赫", "千赫", "赫兹", "TB", "GB", "MB", "KB", "分钟", "小时"),
    scales={"万": "万", "亿": "亿"}, joins_words=False,
)  # fmt: skip

_JAPANESE = Tongue(
    code="", groups=",", point=".", point_word="点", minus="マイナス", to="から",
    percent="{}パーセント", plus="プラス",
    signs=_signs("ドット", "アットマーク", "スラッシュ", "ハイフン", "アンダーバー", "はてな",
                 "イコール", "アンド", "シャープ", "コロン", "プラス", "チルダ"),
    months=tuple(f"{month}月" for month in range(1, 13)),
    date="{year}年{month}{day}日", day_month="{month}{day}日", hour="{hour}時",
    minute="{hour}時{minute}分",
    money={"$": (("ドル", "ドル"), None), "€": (("ユーロ", "ユーロ"), None),
           "£": (("ポンド", "ポンド"), None), "¥": (("円", "円"), None)},
    units=_units("キロメートル毎時", "平方メートル", "平方キロメートル", "立方メートル",
                 "キロメートル", "センチメートル", "ミリメートル", "メートル", "キログラム",
                 "ミリグラム", "グラム", "ミリリットル", "リットル", "度", "華氏度",
                 "キロワット時", "キロワット", "ワット", "ボルト", "ギガヘルツ", "メガヘルツ",
                 "キロヘルツ", "ヘルツ", "テラバイト", "ギガバイト", "メガバイト", "キロバイト",
                 "分", "時間"),
    scales={"万": "万", "億": "億"}, joins_words=False,
)  # fmt: skip

TONGUES = {
    "en": _ENGLISH, "de": _GERMAN, "fr": _FRENCH, "es": _SPANISH, "it": _ITALIAN,
    "pt": _PORTUGUESE, "zh": _CHINESE, "cmn": _CHINESE, "ja": _JAPANESE,
}  # fmt: skip
"""By the first part of a BCP 47 tag, or eSpeak NG's name."""
