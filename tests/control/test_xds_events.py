"""What becomes of the xDS server's callbacks."""

import logging

import pytest

from penstock.admin.metrics import Metrics
from penstock.control.xds_events import XdsEvents
from penstock_envoy.resource import LISTENER
from penstock_xds import WRITE_TIMED_OUT, Client, Nacked, Node
from penstock_xds.services import METHODS


def client(node: str) -> Client:
    return Client(node, Node(id=node, cluster="edge"), "edge", "ipv4:127.0.0.1:1", next(iter(METHODS.values())), 0.0)


def test_a_thousand_envoys_that_refuse_the_same_are_one_line_and_a_thousand_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    events = XdsEvents(metrics, lambda: None)
    for number in range(1000):
        events.on_nack(client(f"edge-{number}"), Nacked(LISTENER, ("vault",), "v2", "cannot bind"))
    events.on_nack(client("edge-1"), Nacked(LISTENER, ("vault",), "v3", "cannot bind"))
    assert [vars(record)["version"] for record in caplog.records] == ["v2", "v3"]
    assert caplog.records[0].levelno == logging.WARNING
    assert 'penstock_xds_nack_total{group="edge",type="LDS"} 1001.0' in metrics.render().decode()


def test_a_stream_ended_because_its_envoy_does_not_read_is_counted_apart() -> None:
    metrics = Metrics()
    events = XdsEvents(metrics, lambda: None)
    events.on_disconnect(client("edge-1"), f"{WRITE_TIMED_OUT} within 30 s")
    events.on_disconnect(client("edge-2"), "the client closed the stream")
    text = metrics.render().decode()
    assert 'penstock_xds_write_timeouts_total{group="edge"} 1.0' in text
    assert 'penstock_xds_disconnects_total{group="edge"} 2.0' in text
