"""A small fleet for the ledger: one policy, two clusters, a store that can be away, a clock that is set."""

from dataclasses import replace
from datetime import UTC, datetime

from penstock.control.entries import Rates, rates
from penstock.control.ledger import LedgerKeeper
from penstock.signals.usage import Usage, UsageKey
from penstock.state.costs import PARTS, Asked, Found
from penstock.state.database import Database
from penstock.state.errors import StoreUnavailableError
from penstock.state.ledger import Amounts, Entries, LedgerKey
from penstock.state.ledger_book import LedgerBook
from penstock.state.store import Store
from penstock_policies.decision import TOTAL_WEIGHT, Decision
from penstock_policies.engine import decide
from penstock_policies.loader import load
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet

MORNING = datetime(2026, 3, 10, 9, 0, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 3, 11, 0, 0, 0, tzinfo=UTC).timestamp()

CLUSTER = """
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: {name}}}
spec:
  site: {site}
  region: eu-central
  engine: vllm
  models: [m]
  endpoints: [{{address: 10.0.0.1, port: {port}}}]
  capacity: {{concurrency: 64}}
  cost: {{usdPerMillionTokens: {price}, promptPriceRatio: 25%, egressUsdPerMillionTokens: 0.1{more}}}
"""
REST = """
apiVersion: penstock/v1
kind: Listener
metadata: {name: public}
spec: {address: 0.0.0.0, port: 10000, dataClass: public}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: edge}
spec: {match: {cluster: edge}, region: eu-central, listeners: [public]}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: chat}
spec: {match: {path: /v1/}, dataClass: public, clusters: [onprem, cloud]}
"""
BUDGET = """
apiVersion: penstock/v1
kind: Budget
metadata: {{name: {name}}}
spec: {{amount: 100, per: day, {more}scope: {{{scope}}}}}
"""
AN_HOUR = 8.5
"""USD that the on-prem cluster comes to an hour."""


def loaded(*documents: str) -> PolicySet:
    found = load({"policy.yaml": "---".join(documents)})
    assert found.policy_set is not None, [str(problem) for problem in found.problems]
    return found.policy_set


def policy_of(*, time_zone: str = "UTC", more: str = "", **budgets: str) -> PolicySet:
    return loaded(
        CLUSTER.format(name="onprem", site="on_prem", port=8000, price=1.0, more=f", amortizedUsdPerHour: {AN_HOUR}"),
        CLUSTER.format(name="cloud", site="cloud", port=8001, price=8.0, more=""),
        REST,
        *([more] if more else []),
        *(BUDGET.format(name=n, scope=scope, more=f"timeZone: {time_zone}, ") for n, scope in budgets.items()),
    )


def decision_of(policy: PolicySet, cloud: float, demand: float = 10.0) -> Decision:
    """Ten requests a second of 1000 prompt and 200 generated tokens, so many of them to the cloud."""
    decision = decide(policy, Observations(), Overrides(), None, MORNING)
    weights = {"onprem": round(TOTAL_WEIGHT * (1 - cloud)), "cloud": round(TOTAL_WEIGHT * cloud)}
    rows = {
        key: replace(row, weights=weights, demand=demand if key.model == "m" else 0.0, tokens=(1000.0, 200.0))
        for key, row in decision.rows.items()
    }
    views = {
        name: replace(view, price=policy.clusters[name].spec.cost.usd_per_million_tokens or 0.0)
        for name, view in decision.clusters.items()
    }
    return replace(decision, rows=rows, clusters=views)


def rates_of(policy: PolicySet, keeper: LedgerKeeper, cloud: float, demand: float = 10.0) -> Rates:
    return rates(policy, decision_of(policy, cloud, demand), keeper.scopes)


def cost(price: float, prompt: float = 1000.0, output: float = 200.0) -> float:
    """Of one of those requests: generated tokens, prompt tokens at a quarter, egress on both."""
    return (price * output + price * 0.25 * prompt + 0.1 * (prompt + output)) / 1e6


def named(cluster: str = "cloud", model: str = "m", **changes: str) -> UsageKey:
    fields = {"region": "eu-central", "policy": "chat", "data_class": "public", **changes}
    return UsageKey(model=model, cluster=cluster, **fields)


ONE = Usage(requests=1, prompt_tokens=1000, output_tokens=200, seconds=1.5)
"""One counted request of the usual size."""


class BrittleBook(LedgerBook):
    """A ledger whose database can be away."""

    away = False
    most = 1_000_000
    """How many more times it can be added to."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.written: list[int] = []
        """Rows of each time it was added to."""

    async def add(self, entries: Entries) -> None:
        self._reach()
        if self.most == 0:
            raise StoreUnavailableError("add", "sqlite://", "disk is full")
        self.most -= 1
        self.written.append(len(entries.amounts) + len(entries.accrued))
        await super().add(entries)

    async def spent_since(self, since: float) -> dict[tuple[str, str], float]:
        self._reach()
        return await super().spent_since(since)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("spend", "sqlite://", "database is locked")


def brittle(store: Store) -> BrittleBook:
    """Make the ledger of a store one that can be away."""
    book = BrittleBook(store.ledger._database)
    vars(store)["ledger"] = book
    return book


class Clock:
    now = MORNING


def entries_of(bucket: float = MORNING, **amounts: float) -> Entries:
    """One row of traffic at the cloud cluster."""
    key = LedgerKey(int(bucket), "chat", "public", "m", "cloud", "cloud", "eu-central", "eu-central")
    return Entries({key: Amounts(**amounts)}, {})


def everything(*, hourly: bool = False, by: tuple[str, ...] = PARTS) -> Asked:
    return Asked(0, int(MIDNIGHT) + 86400 * 365, by, hourly=hourly, most=100_000)


async def total(store: Store) -> Amounts:
    """All there is in the store."""
    found: Found = await store.ledger.report(everything())
    return sum((line.amounts for line in found.lines), Amounts())
