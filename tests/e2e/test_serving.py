"""The example fleet served to a real Envoy: what a client of the edge sees."""

from pathlib import Path

import pytest

from penstock_envoy.bootstrap import Variant
from tests.e2e.edge import CLOUDS, MODEL, Edge, running_edge

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("variant", ["delta", "sotw"])
async def test_both_xds_variants_serve_the_example_and_every_type_is_acknowledged(
    tmp_path: Path, variant: Variant
) -> None:
    async with running_edge(tmp_path, variant=variant) as edge:
        status, headers, body = await edge.chat()
        assert (status, headers["x-penstock-cluster"], headers["x-penstock-attempts"]) == (200, "onprem-fra", "1")
        assert body["object"] == "chat.completion"

        async def synced() -> bool:
            (node,) = (await edge.get("/api/v1/nodes"))["items"]
            states = {state["type"]: state["status"] for state in node["types"]}
            return node["variant"] == variant and all(states.get(t) == "SYNCED" for t in ("CDS", "EDS", "LDS", "RDS"))

        await edge.until(synced, "not every type is acknowledged")


async def test_models_are_listed_through_the_edge(edge: Edge) -> None:
    async with edge.http.get(f"http://127.0.0.1:{edge.public_port}/v1/models") as answer:
        listed = await answer.json()
    assert answer.status == 200
    assert [model["id"] for model in listed["data"]] == [MODEL]


async def test_a_client_can_make_its_class_stricter_and_never_looser(edge: Edge) -> None:
    # With on-prem gone, the class shows: public fails over to a cloud, restricted is refused.
    status, _ = await edge.drain("onprem-fra", force=True)
    assert status in {200, 201}

    async def drained() -> bool:
        return (await edge.chat())[1].get("x-penstock-cluster") in CLOUDS

    await edge.until(drained, "public traffic did not leave on-prem")
    for stricter in ("restricted", "RESTRICTED?", "public, restricted", ""):
        status, _, body = await edge.chat(headers={"x-data-class": stricter})
        assert status in {403, 404, 503}, stricter
        assert body["error"]["message"]
    assert (await edge.chat(headers={"x-data-class": "public"}))[0] == 200
    for looser in ("public", "internal"):
        status, _, _ = await edge.chat(port=edge.internal_port, headers={"x-data-class": looser})
        assert status == 503


async def test_envoys_own_refusals_are_openai_shaped(edge: Edge) -> None:
    status, headers, body = await edge.chat(model="no-such-model")
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert headers["content-type"] == "application/json"
    status, _, body = await edge.chat(prompt="x" * (17 * 1024 * 1024))
    assert status == 413
    assert set(body["error"]) == {"message", "type", "param", "code"}


async def test_a_prompt_larger_than_envoys_own_default_passes(edge: Edge) -> None:
    status, _, _ = await edge.chat(prompt="x" * (1100 * 1024))
    assert status == 200
