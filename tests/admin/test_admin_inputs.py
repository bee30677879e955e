"""``GET /api/v1/inputs``: what plans and replays elsewhere are made on."""

from dataclasses import replace

from penstock.admin.xds_state import SyncStatus
from penstock.plan.inputs import Envoys, parse_inputs
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, TYPE_URLS, FakeControlPlane, envoy, example_observations
from tests.policies.writing import SOUND


async def test_inputs_hold_what_the_next_decision_is_made_on(api: Api, control: FakeControlPlane) -> None:
    control.files = {"d1ge57": {"policy.yaml": SOUND}}
    answer = await api.get("/api/v1/inputs")
    assert answer.status == 200
    read = parse_inputs(answer.text, "there")
    assert (read.at, read.decision, read.overrides) == (NOW, control.decision, control.overrides)
    assert read.observations == example_observations()
    assert read.policy_digest == "d1ge57"
    assert read.policy is not None
    assert set(read.policy.policies) == {"chat", "records"}


async def test_envoys_are_counted_by_node_cluster_each_once_whatever_its_streams(
    api: Api, control: FakeControlPlane
) -> None:
    one = envoy("eu-1", "edge-eu")
    refusing = envoy("eu-2", "edge-eu", nacked="bad port")
    assert any(state.status is SyncStatus.NACKED for state in refusing.types)
    control.envoys = [one, replace(one, stream="s-second", types=one.types[:1]), refusing, envoy("us-1", "edge-us")]
    read = parse_inputs((await api.get("/api/v1/inputs")).text, "there")
    assert read.envoys == {"edge-eu": Envoys(2, 1), "edge-us": Envoys(1, 0)}
    assert len(TYPE_URLS) > 1


async def test_a_silent_store_withholds_the_policys_text_and_nothing_else(api: Api, control: FakeControlPlane) -> None:
    control.store_fails = True
    read = parse_inputs((await api.get("/api/v1/inputs")).text, "there")
    assert (read.policy, read.policy_digest, read.decision) == (None, "d1ge57", control.decision)


async def test_before_the_first_policy_there_are_inputs_all_the_same(api: Api, control: FakeControlPlane) -> None:
    control.policy_set = control.decision = None
    read = parse_inputs((await api.get("/api/v1/inputs")).text, "there")
    assert (read.policy, read.policy_digest, read.decision) == (None, "", None)
