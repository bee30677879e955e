"""Whatever is posted as a notice is taken for one or refused in words: nothing else comes of it."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.admin.problem_details import ApiError
from penstock.admin.resources.notices import read_report
from penstock.signals.notices import Report
from tests.engine.engine_strategies import examples

NOW = 1_700_000_000.0
KEYS = (
    *("detail-type", "detail", "id", "time", "instance-id", "instance-action", "action", "cluster", "endpoint"),
    *("preempted", "maintenance-event", "instance", "Events", "EventId", "EventType", "EventStatus", "Resources"),
    *("NotBefore", "DurationInSeconds", "kind", "at", "in", "until", "for", "reason", "message", "data", "publishTime"),
)
WORDS = st.sampled_from(
    (
        *("EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation", "terminate", "TRUE"),
        *("TERMINATE_ON_HOST_MAINTENANCE", "NONE", "Preempt", "Scheduled", "Started", "maintenance", "2m", "i-1"),
        *("2023-11-14T22:15:00Z", "Tue, 14 Nov 2023 22:15:00 GMT", "9999-12-31T23:59:59-23:59", "", "\x1b[2J"),
        *("Mon, 99 Foo 99999 99:99:99 GMT", "2023-02-31T00:00:00Z", "0001-01-01T00:00:00+23:59"),
    )
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20), WORDS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=8)),
    max_leaves=25,
)
PAYLOADS = st.dictionaries(st.sampled_from(KEYS), st.one_of(VALUES, WORDS), max_size=10)


def pushed(payload: dict[str, Any]) -> dict[str, Any]:
    return {"message": {"data": base64.b64encode(json.dumps(payload).encode()).decode()}}


@examples(400)
@given(st.one_of(PAYLOADS, PAYLOADS.map(pushed)))
def test_garbage_is_refused_in_words(payload: dict[str, Any]) -> None:
    refused: ApiError | None = None
    try:
        report, _ = read_report(payload, NOW)
    except ApiError as error:
        report, refused = Report(()), error
    assert refused is None or (refused.status == 422 and refused.detail)
    for told in report.announcements:
        assert told.source in {"aws", "gcp", "azure", "plain"}
        assert told.reason.isprintable()
        assert all(name.isprintable() for name in told.names)
