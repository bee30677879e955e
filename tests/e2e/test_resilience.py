"""What happens when Penstock dies, restarts, or is given a broken policy: nothing, for requests."""

import signal

import pytest

from tests.e2e.edge import Edge
from tests.e2e.traffic import served, traffic

pytestmark = pytest.mark.e2e

UPDATES = "(cds|eds|lds|rds).*update_success|(cluster|listener)_(added|modified)"


async def test_kill_9_under_load_loses_no_request_and_a_restart_re_sends_nothing(edge: Edge) -> None:
    async with traffic(edge) as tally:
        await served(edge, tally, 100)
        weights = await edge.shares()
        await edge.stop_serving(signal.SIGKILL)
        await served(edge, tally, 300)
        before = await edge.envoy_stats(UPDATES)
        await edge.serve()

        async def reconnected() -> bool:
            return len((await edge.get("/api/v1/nodes"))["items"]) == 1

        await edge.until(reconnected, "Envoy did not come back")
        await served(edge, tally, 300)
        assert await edge.shares() == weights
        assert await edge.envoy_stats(UPDATES) == before
        assert await edge.metric("penstock_xds_pushes_total") == 0
    assert not tally.failed


async def test_a_drain_outlives_a_restart(edge: Edge) -> None:
    status, _ = await edge.drain("cloud-eu-west")
    assert status in {200, 201}
    await edge.stop_serving(signal.SIGKILL)
    await edge.serve()
    (drain,) = (await edge.get("/api/v1/drains"))["items"]
    assert (drain["cluster"], drain["owner"]) == ("cloud-eu-west", "tester")
    entry = (await edge.get("/api/v1/audit"))["items"][0]
    assert (entry["kind"], entry["actor"], entry["detail"]["forced"]) == ("drain.added", "tester", False)
    assert "cloud-eu-west" not in await edge.shares() or (await edge.shares())["cloud-eu-west"] == 0


async def test_a_broken_edit_changes_nothing_is_reported_and_the_next_good_edit_heals_it(edge: Edge) -> None:
    weights = await edge.shares()
    before = await edge.envoy_stats(UPDATES)
    good = (edge.directory / "policy.yaml").read_text()
    edge.replace("policy.yaml", good.replace("dataClass: restricted", "dataClas: restricted", 1))

    async def reported() -> bool:
        return bool((await edge.get("/readyz"))["policy"]["errors"])

    await edge.until(reported, "the broken edit was not reported")
    errors = (await edge.get("/readyz"))["policy"]["errors"]
    assert all(error.startswith("policy.yaml:") for error in errors)
    assert any('did you mean "dataClass"' in error for error in errors)
    assert await edge.metric("penstock_policy_reload_success") == 0
    assert await edge.shares() == weights
    assert await edge.envoy_stats(UPDATES) == before
    assert (await edge.chat())[0] == 200
    edge.replace("policy.yaml", good)

    async def healed() -> bool:
        return not (await edge.get("/readyz"))["policy"]["errors"]

    await edge.until(healed, "the good edit did not heal it")


async def test_a_restart_with_a_broken_directory_goes_on_with_the_last_good_policy(edge: Edge) -> None:
    await edge.stop_serving()
    edge.replace("policy.yaml", "kind: [")
    await edge.serve()
    assert (await edge.get("/readyz"))["policy"]["errors"]
    assert (await edge.shares())["onprem-fra"] == 10_000
    assert (await edge.chat())[0] == 200
