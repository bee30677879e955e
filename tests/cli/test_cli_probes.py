"""``penstock probes`` as a user reads it."""

from dataclasses import replace

from penstock.signals.generation_probe import Verdict
from penstock.signals.questions import Layer
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.admin.probed import GENERATION, ONE, TWO, WELL, probe
from tests.cli.conftest import Run


def test_probes_show_layers_generations_and_their_cost(run: Run, server: str, control: FakeControlPlane) -> None:
    refused = "generation: HTTP 401, the key is refused"
    probe(
        control,
        one=replace(WELL, missing=("llama-3-70b",), limited_at=NOW - 5),
        two=replace(
            WELL,
            layer=Layer.TLS,
            credential=refused,
            generation=replace(GENERATION, verdict=Verdict.REFUSED, detail=refused, failed_in_a_row=2),
        ),
    )
    shown = run("probes")
    assert shown.code == 0
    for told in (ONE, TWO, "0.21 s", "960", "fails at tls", "2 failed", "does not list llama-3-70b", "(429)", refused):
        assert told in " ".join(shown.out.split()), told
    assert shown.out.count(refused) <= 1
    assert "onprem-fra: generations by llama-3-70b cost 1,920 tokens since" in " ".join(shown.out.split())


def test_probes_as_json_are_what_the_api_says(run: Run, server: str, control: FakeControlPlane) -> None:
    probe(control)
    items = run("probes", "-o", "json").json["items"]
    (onprem,) = [item for item in items if item["cluster"] == "onprem-fra"]
    assert onprem["probing"]["generation"]["promptTokens"] == 1600
    assert onprem["endpoints"][0]["probing"]["generation"]["ttftSeconds"] == 0.21
