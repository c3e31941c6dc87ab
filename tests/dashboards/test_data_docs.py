"""The page of validation results: status, counts, failing rows, and nothing that is not escaped or not local."""

import re

from dashboards.data_docs import ExpectationResult, TableResult, build_data_docs, table_state


def expectation(about: str, success: bool = True, severity: str = "error", **more: object) -> ExpectationResult:
    result: ExpectationResult = {
        "name": "rule",
        "about": about,
        "column": "user_id",
        "success": success,
        "severity": severity,
        "checked": 10,
        "unexpected": 0 if success else 3,
        "observed": "",
        "failing": None,
        "error": "",
    }
    return {**result, **more}  # type: ignore[typeddict-item]


def table(name: str, *expectations: ExpectationResult) -> TableResult:
    return {
        "name": name,
        "success": all(one["success"] for one in expectations),
        "rows": 12345,
        "started_at": "2024-05-01T10:00:00Z",
        "seconds": 1.5,
        "written_at": "",
        "expectations": list(expectations),
    }


def test_all_passed() -> None:
    page = build_data_docs("toy", [table("users", expectation("ids are unique"))])
    assert "✓ all passed" in page
    for words in ("ids are unique", "12,345", "2024-05-01T10:00:00Z", "1.5 s", "✓ passed"):
        assert words in page


def test_failures_warnings_and_their_rows_are_shown() -> None:
    failing = {"columns": ["user_id"], "rows": [["u7"], ["u8"]]}
    bad = expectation("ids are unique", success=False, failing=failing, observed="30 %, e.g. u7")
    warned = expectation("described", success=False, severity="warning")
    results = [table("users", bad), table("items", warned), table("cases", expectation("fine"))]
    page = build_data_docs("toy", results)
    assert [table_state(one) for one in results] == ["failed", "warned", "passed"]
    assert "✗ 1 failed: users" in page
    assert "2 of 3 failing rows" in page
    for words in ("<td>u7</td>", "30 %, e.g. u7", "! warning"):
        assert words in page


def test_missing_and_stale_results_are_no_success() -> None:
    page = build_data_docs("toy", [table("users", expectation("fine"))], missing=["items"], stale=["users"])
    assert "✓ all passed" not in page
    assert "not validated yet: items" in page
    assert "written again since validated: users" in page


def test_a_page_without_results() -> None:
    assert "not validated yet: users" in build_data_docs("toy", [], missing=["users"])


def test_everything_is_escaped_and_nothing_is_fetched() -> None:
    evil = "<script>alert(1)</script>"
    failing = {"columns": [evil], "rows": [[evil]]}
    bad = expectation(evil, success=False, failing=failing, observed=evil, error=evil, column=evil)
    page = build_data_docs(evil, [table("users", bad)], missing=[evil])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"#users", "#main", "data:,"}


def test_headings_and_captions() -> None:
    page = build_data_docs("toy", [table("users", expectation("fine"))])
    assert page.count("<h1>") == 1
    assert page.count("<table>") == page.count("<caption>") == 2
    assert '<html lang="en">' in page
