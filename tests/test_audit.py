"""What the audit of our packages makes of pip-audit's report."""

import json

import pytest

from scripts.audit import NoAnswerError, read_holes

CLEAN = {"name": "numpy", "version": "2.0", "vulns": []}
SKIPPED = {"name": "numpy", "skip_reason": "Dependency not found and could not be audited"}


def report(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_holes_are_named_with_what_repairs_them() -> None:
    holes = [{"id": "CVE-1", "fix_versions": ["2.1", "1.9"]}, {"id": "CVE-2", "fix_versions": []}]
    bad = {"name": "av", "version": "18.0", "vulns": holes}

    assert read_holes(report(CLEAN, SKIPPED)) == []
    assert read_holes(report(CLEAN, bad)) == [
        "av 18.0: CVE-1, repaired in 2.1, 1.9",
        "av 18.0: CVE-2, repaired in no version",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", report(), report(SKIPPED, SKIPPED)])
def test_report_without_an_answer_is_not_taken_for_a_clean_one(text: str) -> None:
    with pytest.raises(NoAnswerError):
        read_holes(text)
