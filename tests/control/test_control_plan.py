"""A plan made on what a real control plane knows comes true when the edit is put in force."""

from pathlib import Path

from penstock.plan.comparison import compare
from penstock.plan.inputs import Envoys, read_inputs
from penstock_envoy.resource import LISTENER
from penstock_policies.loader import load
from tests.control.model_envoy import model_envoy
from tests.control.serving_world import world


async def test_envoys_are_sent_the_very_versions_that_were_planned(tmp_path: Path) -> None:
    async with world(tmp_path) as serving, model_envoy(serving.plane.xds_address) as envoy:
        await envoy.until(lambda: {(LISTENER, "public"), (LISTENER, "vault")} <= envoy.holds.keys())
        inputs = read_inputs(await serving.ask("/api/v1/inputs"), "there")
        assert inputs.policy is not None
        assert inputs.policy.digest == inputs.policy_digest
        assert inputs.envoys == {"edge": Envoys(connected=1, refusing=0)}

        nothing = compare(inputs.policy, load({"policy.yaml": serving.policy}).require(), inputs)
        assert not nothing.changed

        edited = serving.policy.replace("port: 10000", "port: 10002")
        plan = compare(inputs.policy, load({"policy.yaml": edited}).require(), inputs)
        (group,) = plan.groups
        assert group.envoys == Envoys(connected=1, refusing=0)
        planned = {each.key: each.version for each in group.change.resources if each.at_once}
        assert (LISTENER, "public") in planned
        assert (LISTENER, "vault") not in planned

        serving.edit(("port: 10000", "port: 10002"))
        await envoy.until(lambda: envoy.holds[LISTENER, "public"] == planned[LISTENER, "public"])
