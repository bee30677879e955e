"""What the admin side shows of probing: figures by layer, what generations cost, and what people should know."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.admin.metrics import Metrics
from penstock.admin.wire import timestamp
from penstock.signals.generation_probe import Verdict
from penstock.signals.probe_book import ProbeFacts
from penstock.signals.questions import Layer
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.admin.probed import GENERATION, ONE, WELL, probe
from tests.admin.test_admin_metrics import value


async def _onprem(api: Api) -> Any:
    items = (await api.get("/api/v1/clusters")).json["items"]
    return next(item["health"] for item in items if item["name"] == "onprem-fra")


async def _findings(api: Api) -> list[tuple[str, str]]:
    found = (await api.get("/api/v1/status")).json["findings"]
    return [(each["kind"], each["message"]) for each in found if each["kind"].partition("-")[0] in _KINDS]


_KINDS = {"credential", "models", "probe", "generation"}


async def test_clusters_show_every_layer_and_what_generations_cost(api: Api, control: FakeControlPlane) -> None:
    probe(control, two=replace(WELL, failures=3, layer=Layer.TLS))
    health = await _onprem(api)
    one, two = health["endpoints"]
    assert one["probing"]["failedAt"] is None
    assert one["probing"]["generation"]["ttftSeconds"] == 0.21
    assert one["probing"]["generation"]["verdict"] == "good"
    assert (two["probing"]["failedAt"], two["probing"]["failures"]) == ("tls", 3)
    assert health["probing"] == {
        "credential": "",
        "limited": False,
        "missingModels": [],
        "generation": {
            "model": "llama-3-70b",
            "tokensPerDay": 20_000,
            "tokensHeld": 310.0,
            "everySeconds": 212.0,
            "paused": False,
            "promptTokens": 1600,
            "outputTokens": 320,
            "since": timestamp(control.started_at),
        },
    }


async def test_what_was_never_probed_from_here_is_not_made_up(api: Api) -> None:
    health = await _onprem(api)
    assert [endpoint["probing"] for endpoint in health["endpoints"]] == [None, None]
    assert health["probing"]["generation"] is None


async def test_where_probing_is_well_there_is_nothing_to_tell(api: Api, control: FakeControlPlane) -> None:
    probe(control)
    assert await _findings(api) == []


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            replace(WELL, credential="health: HTTP 401, the key is refused"),
            (
                "credential-refused",
                (
                    f"Credential alarm: probes of {ONE} of onprem-fra: health: HTTP 401, the key is refused. "
                    "No traffic moves for it"
                ),
            ),
        ),
        (
            replace(WELL, missing=("llama-3-70b",)),
            (
                "models-missing",
                f"{ONE} of onprem-fra does not list llama-3-70b: requests for that are refused there",
            ),
        ),
        (
            replace(WELL, limited_at=NOW - 30),
            (
                "probe-limited",
                f"{ONE} of onprem-fra told a probe that too much is asked for (429): planned with less there",
            ),
        ),
        (
            replace(WELL, generation=replace(GENERATION, verdict=Verdict.UNFIT, detail="generation: HTTP 400")),
            (
                "generation-unfit",
                (
                    f"The generation that probes ask of {ONE} of onprem-fra is not understood (generation: HTTP 400): "
                    "mend health.generation"
                ),
            ),
        ),
        (
            replace(WELL, generation=replace(GENERATION, ttft=2.5, slow=True)),
            ("generation-slow", f"First tokens of {ONE} of onprem-fra took a probe 2.50 s"),
        ),
    ],
)
async def test_what_people_should_know_is_a_finding(
    api: Api, control: FakeControlPlane, one: ProbeFacts, expected: tuple[str, str]
) -> None:
    probe(control, one=one)
    assert await _findings(api) == [expected]


async def test_a_matter_of_all_endpoints_is_told_of_the_cluster(api: Api, control: FakeControlPlane) -> None:
    refused = replace(WELL, credential="file eu.key is empty")
    probe(control, one=refused, two=refused)
    ((_, message),) = await _findings(api)
    assert message.startswith("Credential alarm: probes of cluster onprem-fra: file eu.key is empty")


async def test_a_429_of_long_ago_is_no_finding(api: Api, control: FakeControlPlane) -> None:
    probe(control, one=replace(WELL, limited_at=NOW - 120))
    assert await _findings(api) == []


def test_metrics_count_probes_by_layer_and_tokens_and_time_first_tokens(metrics: Metrics) -> None:
    metrics.probed("onprem-fra", "tls", "failed")
    metrics.probed("onprem-fra", "generation", "good")
    metrics.generated("onprem-fra", 0.3, 20, 4)
    metrics.generated("onprem-fra", None, 0, 0)
    assert value(metrics, "penstock_probes_total", cluster="onprem-fra", layer="tls", result="failed") == 1
    assert value(metrics, "penstock_probe_tokens_total", cluster="onprem-fra", kind="prompt") == 20
    assert value(metrics, "penstock_probe_tokens_total", cluster="onprem-fra", kind="output") == 4
    assert value(metrics, "penstock_probe_ttft_seconds_count", cluster="onprem-fra") == 1


def test_gauges_of_probing_are_there_for_every_cluster(metrics: Metrics, control: FakeControlPlane) -> None:
    failing = replace(GENERATION, failed_in_a_row=2)
    probe(
        control,
        one=replace(WELL, credential="401", missing=("a", "b"), limited_at=NOW - 1, generation=failing),
        two=replace(WELL, missing=("a",), generation=replace(GENERATION, paused=True)),
    )
    shown = {
        name: value(metrics, f"penstock_probe_{name}", cluster="onprem-fra")
        for name in ("credential_refused", "limited", "missing_models", "generation_failing", "generation_paused")
    }
    assert shown == {
        "credential_refused": 1,
        "limited": 1,
        "missing_models": 2,
        "generation_failing": 1,
        "generation_paused": 1,
    }
    assert value(metrics, "penstock_probe_credential_refused", cluster="cloud-eu-west") == 0
