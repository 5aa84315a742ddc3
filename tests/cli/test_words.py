"""`fishs2 words` as a person uses it."""

from pathlib import Path

import pytest

from tests.cli.running import run


def test_words_are_added_tested_and_moved(tmp_path: Path) -> None:
    added = run(tmp_path, "words", "add", "GIF", "--say", "jif", "--case", "exact")
    run(tmp_path, "words", "add", "Worcester", "--ipa", "ˈwʊstə", "-l", "names")
    tested = run(tmp_path, "words", "test", "A GIF of Worcester", "-l", "names")
    exported = run(tmp_path, "words", "export", "w.csv")
    imported = run(tmp_path, "words", "import", "w.csv", "-l", "copy")
    as_pls = run(tmp_path, "words", "export", "w.pls", "-l", "names")
    run(tmp_path, "words", "import", "w.pls", "-l", "other")
    listed = run(tmp_path, "words", "list")
    shown = run(tmp_path, "words", "list", "other")

    assert [each.returncode for each in (added, tested, exported, imported, as_pls)] == [0] * 5
    assert tested.stdout == "A jif of /ˈwʊstə/\n"
    assert "copy  1 words" in listed.stdout
    assert "Worcester  ipa /ˈwʊstə/, en, exact case" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("add", "GIF"), 1, "give say, ipa or both"),
        (("add", "(", "--regex", "--say", "x"), 1, "RE2"),
        (("add", "a", "--say", "b", "--case", "up"), 2, "use any or exact"),
        (("list", "nothing"), 1, "there is no lexicon of this name"),
        (("import", "x.doc"), 2, "use .pls, .csv or .json"),
        (("import", "x.csv"), 1, "x.csv"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], status: int, said: str, tmp_path: Path
) -> None:
    done = run(tmp_path, "words", *arguments)

    assert done.returncode == status
    assert said in done.stderr
