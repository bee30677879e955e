"""What becomes of a policy edit that reads well and still cannot be put in force."""

from pathlib import Path

import pytest

from penstock.control.decider import Decider
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.policies import PolicyKeeper
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.policy_source import PolicyDirectory, Reading
from penstock.signals.board import ObservationBoard
from penstock.state.store import Store
from penstock_envoy.compiler import CompileError, Compiler
from penstock_envoy.residency import ResidencyBreach
from penstock_envoy.resource import EnvoyResource
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet
from penstock_xds import SnapshotCache

EXAMPLE = (Path(__file__).parents[2] / "policies/examples/hybrid/policy.yaml").read_text()
EDITED = EXAMPLE.replace("ttftP95: 300ms", "ttftP95: 400ms")


class FailingCompiler(Compiler):
    """A compiler with a defect that shows only with some policies."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None

    def compile(self, policy: PolicySet, decision: Decision, group: str) -> tuple[EnvoyResource, ...]:
        if self.failure is not None:
            raise self.failure
        return super().compile(policy, decision, group)


@pytest.mark.parametrize("failure", [CompileError("no such row"), ResidencyBreach(("route",), "reaches a cloud")])
async def test_a_policy_that_cannot_be_generated_or_proven_is_refused_and_the_last_good_one_stays(
    tmp_path: Path, failure: Exception
) -> None:
    async with await Store.open("sqlite://", lambda: 1000.0) as store:
        cache, compiler, told = SnapshotCache(), FailingCompiler(), list[str]()
        decider = Decider(
            board=ObservationBoard(),
            publisher=Publisher(cache, compiler),
            recorder=Recorder(store),
            history=WeightHistory(),
            ledger=LedgerKeeper(store, lambda: 1000.0),
            clock=lambda: 1000.0,
            published=lambda _: None,
        )

        async def tell(policy: PolicySet) -> None:
            told.append(policy.digest)

        async def ignore(_: PolicySet) -> None:
            return

        keeper = PolicyKeeper(
            directory=PolicyDirectory(tmp_path),
            decider=decider,
            store=store,
            clock=lambda: 1000.0,
            sources_before=tell,
            sources_after=ignore,
        )
        await keeper.take(Reading({"policy.yaml": EXAMPLE}))
        good, served = decider.policy, cache.get("edge-eu")
        assert good is not None

        compiler.failure = failure
        await keeper.take(Reading({"policy.yaml": EDITED}))
        assert decider.policy is good
        assert cache.get("edge-eu") is served
        assert keeper.rejected_at == 1000.0
        assert any(str(failure) in problem.message for problem in keeper.problems)
        # The sources of facts are told to go on with the policy that stays.
        assert told[-1] == good.digest != told[-2]

        compiler.failure = None
        await keeper.take(Reading({"policy.yaml": EDITED}))
        assert decider.policy is not good
        assert keeper.rejected_at is None
