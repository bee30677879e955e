"""The audit chain's arithmetic."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.state import chain

TAMPERINGS: dict[str, Callable[[list[chain.Link]], list[chain.Link]]] = {
    "changed text": lambda links: [links[0], replace(links[1], detail='{"cluster":"b"}'), *links[2:]],
    "changed time": lambda links: [links[0], replace(links[1], at=0.0), *links[2:]],
    "changed actor": lambda links: [links[0], replace(links[1], actor="mallory"), *links[2:]],
    "removed": lambda links: [links[0], *links[2:]],
    "swapped": lambda links: [links[0], links[2], links[1], *links[3:]],
    "digest recomputed for the changed entry alone": lambda links: [links[0], _forged(links[1]), *links[2:]],
}


def _links(count: int) -> list[chain.Link]:
    links: list[chain.Link] = []
    last = (0, chain.GENESIS)
    for number in range(count):
        links.append(chain.append(last, float(number), "drain.added", "sre", {"cluster": "a", "number": number}))
        last = (links[-1].sequence, links[-1].digest)
    return links


def _head(links: list[chain.Link]) -> tuple[int, str]:
    return links[-1].sequence, links[-1].digest


def _forged(link: chain.Link) -> chain.Link:
    digest = chain.digest_of(
        sequence=link.sequence, at=link.at, kind=link.kind, actor="mallory", detail=link.detail, previous=link.previous
    )
    return replace(link, actor="mallory", digest=digest)


def test_an_untouched_chain_is_whole() -> None:
    links = _links(5)
    assert chain.first_broken(links, _head(links)) is None


def test_an_empty_chain_is_whole() -> None:
    assert chain.first_broken([], (0, chain.GENESIS)) is None


@pytest.mark.parametrize("how", sorted(set(TAMPERINGS) - {"digest recomputed for the changed entry alone"}))
def test_tampering_with_an_entry_is_found_at_that_entry(how: str) -> None:
    links = _links(5)
    assert chain.first_broken(TAMPERINGS[how](links), _head(links)) == 2


def test_a_forged_digest_is_found_at_the_next_entry() -> None:
    links = _links(5)
    assert chain.first_broken(TAMPERINGS["digest recomputed for the changed entry alone"](links), _head(links)) == 3


def test_cutting_off_the_end_is_found() -> None:
    links = _links(5)
    assert chain.first_broken(links[:3], _head(links)) == 4


def test_emptying_the_log_is_found() -> None:
    assert chain.first_broken([], _head(_links(5))) == 1


def test_an_entry_that_the_head_does_not_know_is_found() -> None:
    links = _links(5)
    assert chain.first_broken(links, _head(links[:3])) is not None


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.none())))
def test_the_order_of_a_details_fields_does_not_matter(detail: dict[str, object]) -> None:
    assert chain.canonical(detail) == chain.canonical(dict(reversed(detail.items())))


def test_a_detail_that_json_has_no_words_for_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        chain.append((0, chain.GENESIS), 0.0, "kind", "actor", {"weight": float("nan")})
