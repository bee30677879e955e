"""What engines and edges tell, as the API, the findings and the metrics show it."""

from dataclasses import replace

import pytest

from penstock.admin.signals import EngineSummary, LoadFacts, Outcome
from penstock.signals.load_facts import Doubt
from penstock_policies.observations import EngineLoad
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.admin.fake_signals import busy_signals


@pytest.fixture
def control(control: FakeControlPlane) -> FakeControlPlane:
    control.signals = busy_signals(NOW)
    return control


async def _clusters(api: Api) -> dict[str, dict[str, object]]:
    return {item["name"]: item["engineFigures"] for item in (await api.get("/api/v1/clusters")).json["items"]}


async def test_clusters_show_what_their_engines_say_and_where_it_is_from(api: Api) -> None:
    figures = await _clusters(api)
    assert figures["onprem-fra"] == {
        "source": "metrics page",
        "readsPage": True,
        "ageSeconds": 2.0,
        "waiting": 3.0,
        "running": 40.0,
        "kvUsed": 0.45,
        "prefixHitShare": 0.3,
        "ttftSeconds": {"p50": 0.2, "p95": 0.9},
        "interTokenSeconds": {"p50": 0.02, "p95": 0.05},
        "ready": True,
        "revisions": ["v7"],
        "models": ["llama-3-70b"],
    }
    assert (figures["cloud-eu-west"]["source"], figures["cloud-eu-west"]["readsPage"]) == ("edges", False)
    assert figures["cloud-eu-west"]["waiting"] is None


async def test_where_pages_are_silent_answers_are_shown(api: Api, control: FakeControlPlane) -> None:
    control.signals.engines["onprem-fra"] = EngineSummary(has_page=True)
    control.seen = replace(control.seen, engines={"onprem-fra": EngineLoad(NOW - 4, waiting=2.0)})
    figures = (await _clusters(api))["onprem-fra"]
    assert (figures["source"], figures["ageSeconds"], figures["waiting"]) == ("answers", 4.0, 2.0)
    assert figures["running"] is None


async def test_one_cluster_is_shown_down_to_its_endpoints(api: Api) -> None:
    answer = (await api.get("/api/v1/clusters/onprem-fra")).json
    bad, good = answer["endpoints"]
    assert bad["endpoint"] == "10.0.1.11:8000"
    assert bad["edges"]["errorShare"] == 0.75
    assert bad["engine"]["kvUsed"] == 0.45
    assert good["edges"]["regions"]["eu-west"]["engineSays"] == {"num_requests_waiting": 2.0}
    assert good["edges"]["errorShare"] == 0
    assert good["engine"]["waiting"] is None
    (locality,) = answer["localities"]
    assert (locality["edgeRegion"], locality["region"]) == ("eu-west", "eu-central")
    assert (locality["inFlight"], locality["requestRate"], locality["errorRate"]) == (10, 5.0, 1.5)
    assert answer["drops"] == {"overflow": 7}


async def test_an_unknown_cluster_is_a_404_with_the_one_that_was_meant(api: Api) -> None:
    answer = await api.get("/api/v1/clusters/onprem-far")
    assert answer.status == 404
    assert answer.json["suggestion"] == "onprem-fra"


async def _findings(api: Api) -> dict[str, str]:
    return {found["kind"]: found["message"] for found in (await api.get("/api/v1/status")).json["findings"]}


async def test_an_endpoint_that_fails_behind_a_green_probe_is_a_finding(api: Api) -> None:
    found = await _findings(api)
    assert "10.0.1.11:8000 of cluster onprem-fra fails 75%" in found["endpoint-failing"]


@pytest.mark.parametrize("outcome", [Outcome(4, 9.0, 9.0), Outcome(4, 100.0, 40.0)])
async def test_few_failures_are_none(api: Api, control: FakeControlPlane, outcome: Outcome) -> None:
    control.signals.ended = {("onprem-fra", "10.0.1.11:8000"): outcome}
    assert "endpoint-failing" not in await _findings(api)


async def test_an_endpoint_that_takes_requests_and_ends_none_is_a_finding(api: Api, control: FakeControlPlane) -> None:
    control.signals.ended = {("onprem-fra", "10.0.1.11:8000"): Outcome(in_flight=150, ended=0.05)}
    found = await _findings(api)
    assert "10.0.1.11:8000 of cluster onprem-fra has 150 requests and has ended none" in found["endpoint-swallowing"]


@pytest.mark.parametrize("outcome", [Outcome(9, 0.0), Outcome(150, 0.5), Outcome(150, 40.0, 40.0)])
async def test_few_requests_or_slow_ones_are_not_swallowed(
    api: Api, control: FakeControlPlane, outcome: Outcome
) -> None:
    control.signals.ended = {("onprem-fra", "10.0.1.11:8000"): outcome}
    assert "endpoint-swallowing" not in await _findings(api)


async def test_an_endpoint_that_fails_its_probes_or_is_down_is_told_of_once(
    api: Api, control: FakeControlPlane
) -> None:
    control.signals.ended = {("cloud-us-east", "10.0.3.11:8000"): Outcome(4, 90.0, 90.0)}
    assert "endpoint-failing" not in await _findings(api)


async def test_many_failing_endpoints_are_told_of_in_few_words(api: Api, control: FakeControlPlane) -> None:
    assert control.policy_set is not None
    first = control.policy_set.clusters["onprem-fra"]
    endpoints = [first.spec.endpoints[0].model_copy(update={"port": 9000 + number}) for number in range(9)]
    spec = first.spec.model_copy(update={"endpoints": tuple(endpoints)})
    clusters = {**control.policy_set.clusters, "onprem-fra": first.model_copy(update={"spec": spec})}
    control.policy_set = replace(control.policy_set, clusters=clusters)
    control.signals.ended = {("onprem-fra", each.key): Outcome(0, 90.0, 90.0) for each in endpoints}
    answer = (await api.get("/api/v1/status")).json
    told = [found["message"] for found in answer["findings"] if found["kind"] == "endpoint-failing"]
    assert len(told) == 6
    assert told[-1].startswith("4 endpoints fail as well")


async def test_an_engine_that_says_it_is_not_ready_is_a_finding(api: Api, control: FakeControlPlane) -> None:
    shown = control.signals.engines["onprem-fra"].shown
    assert shown is not None
    control.signals.engines["onprem-fra"] = EngineSummary(has_page=True, shown=replace(shown, ready=False))
    assert "onprem-fra" in (await _findings(api))["engine-not-ready"]


async def test_edges_that_are_silent_strange_or_not_believed_are_findings(api: Api, control: FakeControlPlane) -> None:
    doubt = Doubt("eu-1", "eu-west", "onprem-fra")
    control.signals.facts = LoadFacts(streams=9, silent=2, unplaced=3, doubts=(doubt,))
    found = await _findings(api)
    assert "2 of 9" in found["load-silent"]
    assert "3 of 9" in found["load-unplaced"]
    assert "eu-1 in eu-west" in found["reporter-doubted"]


async def test_envoys_none_of_which_reports_load_are_a_finding(api: Api, control: FakeControlPlane) -> None:
    control.signals.facts = LoadFacts()
    assert "None of 2 connected Envoys" in (await _findings(api))["load-unheard"]
    control.started_at = NOW - 30
    assert "load-unheard" not in await _findings(api)
    control.started_at, control.envoys = NOW - 7200, []
    assert "load-unheard" not in await _findings(api)


async def test_metrics_tell_of_engines_endpoints_and_reporters(api: Api, control: FakeControlPlane) -> None:
    control.signals.facts = LoadFacts(streams=9, silent=2, unplaced=3, reports=100, refused=4, unknown=5)
    text = (await api.get("/metrics")).text
    for line in (
        'penstock_engine_waiting{cluster="onprem-fra"} 3.0',
        'penstock_engine_kv_used{cluster="onprem-fra"} 0.45',
        'penstock_engine_prefix_hit_share{cluster="onprem-fra"} 0.3',
        'penstock_engine_ttft_seconds{cluster="onprem-fra",quantile="0.95"} 0.9',
        'penstock_engine_inter_token_seconds{cluster="onprem-fra",quantile="0.5"} 0.02',
        'penstock_engine_ready{cluster="onprem-fra"} 1.0',
        'penstock_endpoint_error_share{cluster="onprem-fra",endpoint="10.0.1.11:8000"} 0.75',
        'penstock_endpoint_in_flight{cluster="onprem-fra",endpoint="10.0.1.12:8000"} 6.0',
        'penstock_cluster_drops_total{cluster="onprem-fra"} 7.0',
        'penstock_cluster_drops_total{cluster="cloud-us-east"} 0.0',
        'penstock_load_reporters{state="counting"} 4.0',
        "penstock_load_reports_total 100.0",
        "penstock_load_reports_refused_total 4.0",
    ):
        assert line in text.splitlines()
    assert 'penstock_engine_waiting{cluster="cloud-eu-west"}' not in text


async def test_labels_are_names_of_the_policy_alone(api: Api, control: FakeControlPlane) -> None:
    control.signals.ended = {("made-up", "1.2.3.4:5"): Outcome(1, 1, 1), ("onprem-fra", "6.7.8.9:1"): Outcome(1, 1, 1)}
    control.signals.dropped = {("made-up", "overflow"): 1}
    text = (await api.get("/metrics")).text
    assert "made-up" not in text
    assert "6.7.8.9" not in text
