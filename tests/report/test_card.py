"""The model card: short, true to the run, and Markdown that a table cannot break."""

from genovox.core.artifacts import read_json, write_json
from genovox.report.card import render_card
from genovox.report.html import NOTICE

from .conftest import TinyRun


def test_card_is_short_and_says_what_the_run_says(tiny: TinyRun) -> None:
    audit = read_json(tiny.run / "audit" / "audit.json")
    card = render_card(tiny.read())
    assert NOTICE in card
    assert audit["headline"] in card
    assert f"Verdict: **{audit['verdict']}**" in card
    assert all(check["name"] in card for check in audit["checks"])
    assert len(card.splitlines()) < 80


def test_cards_table_of_figures_is_one_table(tiny: TinyRun) -> None:
    lines = render_card(tiny.read()).splitlines()
    rows = [number for number, line in enumerate(lines) if line.startswith("|")]
    assert rows == list(range(rows[0], rows[0] + 10))
    assert {lines[number].count("|") for number in rows} == {3}


def test_text_of_the_user_stays_text(copied: TinyRun) -> None:
    path = copied.run / "audit" / "audit.json"
    write_json(path, read_json(path) | {"accepted": {"exclusions": "# no\n[x](y) <script>"}})
    card = render_card(copied.read())
    assert "because: \\# no \\[x\\](y) &lt;script&gt;" in card
