"""The rules are data: what the documentation shows is what the library does."""

from pathlib import Path

from penstock_xds.core.order import RESENT_AFTER, RULES
from penstock_xds.rules import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "xds-rules.md"


def test_the_page_in_the_documentation_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == page(), "print it again: python -m penstock_xds.rules > docs/xds-rules.md"


def test_rules_name_types_that_have_rules() -> None:
    for rule in RULES.values():
        assert {*rule.needs, *rule.used_by, *rule.resent_after} <= RULES.keys()
    assert RESENT_AFTER.keys() <= RULES.keys()


def test_nothing_waits_in_a_circle() -> None:
    for type_url, rule in RULES.items():
        assert all(RULES[needed].rank < rule.rank for needed in rule.needs), f"{type_url} needs what comes after it"
        assert all(RULES[parent].rank < rule.rank for parent in rule.resent_after)
