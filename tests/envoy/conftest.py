"""The options and fixtures of the tests of penstock_envoy."""

from collections.abc import Iterator

import pytest

from tests.envoy.edge_envoy import StaticEdge, static_edge


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen-golden", action="store_true", help="rewrite the golden Envoy resources")


@pytest.fixture(scope="module")
def shared_edge() -> Iterator[StaticEdge]:
    """A real Envoy with the compiled example fleet, all of whose backends are well; not to be broken by a test."""
    with static_edge() as edge:
        yield edge
