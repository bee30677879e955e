"""All layers of probing against the simulated endpoint of the demo, over real sockets, up to the engine's decision.

Only time is not real: an hour of it passes in some seconds, so that intervals of a minute can be waited for.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest

from penstock.demo.simulator import Fault, FaultMode, SimulatedEndpoint, SimulatorOptions
from penstock.signals.board import ObservationBoard
from penstock.signals.generation_probe import Verdict
from penstock.signals.generations import Generations
from penstock.signals.probe_book import ProbeBook, ProbeFacts
from penstock.signals.probes import Prober
from penstock_policies.decision import ClusterHealth, HealthState
from penstock_policies.engine import decide
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from tests.signals.signal_policies import cluster, policy_set

HASTE: Final = 300.0
"""Seconds that pass in one."""

MODEL: Final = "llama-3-70b"


class Probed:
    """A simulated endpoint, probed in haste."""

    def __init__(self, endpoint: SimulatedEndpoint) -> None:
        self.endpoint = endpoint
        self.board = ObservationBoard()
        self.book = ProbeBook(self.board, self._now)
        self.key = ("onprem", f"127.0.0.1:{endpoint.port}")
        self.policy: PolicySet | None = None
        own: dict[str, Any] = {"sleep": self._sleep, "monotonic": self._now}
        common = (self.board, self.book, self._now, lambda: None)
        self.prober = Prober(*common, **own)
        self.generations = Generations(*common, chance=random.Random(1), **own)  # noqa: S311 - a test's own

    async def apply(self, **health: Any) -> None:
        # Time-outs are real ones.
        generation = {"tokensPerDay": 10_000_000, "timeout": "300ms", **health.pop("generation", {})}
        asked = {"interval": "15s", "timeout": "10s", "models": True, "generation": generation, **health}
        self.policy = policy_set([cluster("onprem", ("127.0.0.1", self.endpoint.port), **asked)])
        self.board.apply(self.policy)
        self.book.apply(self.policy)
        await self.prober.apply(self.policy)
        await self.generations.apply(self.policy)

    async def stop(self) -> None:
        await self.generations.stop()
        await self.prober.stop()

    def facts(self) -> ProbeFacts:
        return self.book.of(self.key)

    def health(self) -> ClusterHealth:
        assert self.policy is not None
        return decide(self.policy, self.board.snapshot(self._now()), Overrides(), None, self._now()).health["onprem"]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() * HASTE

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)


@pytest.fixture
async def probed() -> AsyncIterator[Probed]:
    async with SimulatedEndpoint(SimulatorOptions("sim", model=MODEL, sequence_tokens_per_second=400.0)) as endpoint:
        made = Probed(endpoint)
        yield made
        await made.stop()


async def test_a_well_server_is_well_on_every_layer_and_its_tokens_are_counted(probed: Probed) -> None:
    await probed.apply()
    await probed.until(lambda: probed.facts().generation.asked >= 2)
    facts = probed.facts()
    assert (facts.layer, facts.missing, facts.credential) == (None, (), "")
    generation = facts.generation
    assert (generation.verdict, generation.failed) == (Verdict.GOOD, 0)
    assert generation.ttft is not None
    assert 0 < generation.ttft < 10
    # "xxxxxxxx Say yes." by the simulator's rule of four characters a token, and four generated.
    assert (generation.prompt_tokens, generation.output_tokens) == (4 * generation.asked, 4 * generation.asked)
    assert probed.health().state is HealthState.UP


async def test_a_wedged_engine_behind_a_green_health_check_is_found_and_comes_back(probed: Probed) -> None:
    await probed.apply()
    await probed.until(lambda: probed.facts().generation.asked >= 1)
    await probed.endpoint.set_fault(Fault(FaultMode.GRAY))
    await probed.until(lambda: probed.facts().generation.failed_in_a_row >= 2)
    assert probed.facts().generation.detail == "generation: no answer within 0.3 s"
    assert probed.facts().layer is None, "/health is green"
    health = probed.health()
    assert health.state is HealthState.DOWN
    assert "generations in a row failed though shallower probes succeed" in health.reason
    await probed.endpoint.set_fault(Fault())
    await probed.until(lambda: probed.facts().generation.failed_in_a_row == 0)
    assert probed.health().state is HealthState.UP


async def test_a_revoked_key_is_an_alarm_and_no_outage(probed: Probed) -> None:
    await probed.apply()
    await probed.until(lambda: probed.facts().probes >= 2)
    await probed.endpoint.set_fault(Fault(FaultMode.ERROR_401))
    await probed.until(lambda: probed.facts().credential != "" and probed.facts().generation.verdict is Verdict.REFUSED)
    assert probed.health().state is HealthState.UP
    await probed.endpoint.set_fault(Fault())
    await probed.until(lambda: probed.facts().credential == "")


async def test_a_used_up_quota_lowers_capacity_and_is_no_outage(probed: Probed) -> None:
    await probed.apply()
    await probed.endpoint.set_fault(Fault(FaultMode.ERROR_429))
    await probed.until(lambda: probed.facts().limited_at is not None)
    assert probed.facts().generation.verdict is Verdict.LIMITED
    assert probed.facts().generation.prompt_tokens == 0
    assert probed.health().state is HealthState.UP


async def test_a_server_of_another_model_is_found_without_a_request(probed: Probed) -> None:
    await probed.apply()
    other = cluster("onprem", ("127.0.0.1", probed.endpoint.port), interval="15s", models=True)
    spec = other.spec.model_copy(update={"models": ("mistral",)})
    probed.policy = policy_set([other.model_copy(update={"spec": spec})])
    await probed.prober.apply(probed.policy)
    await probed.until(lambda: probed.facts().missing == ("mistral",))
    await probed.until(lambda: probed.health().state is HealthState.DOWN)
    assert "models: does not list mistral" in probed.health().reason
