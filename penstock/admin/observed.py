"""What a decision went by, cluster by cluster, and how old each fact was."""

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.admin.feed_figures import accepted_ages
from penstock.admin.wire import timestamp
from penstock_policies.decision import ClusterView, Decision
from penstock_policies.observations import Observations
from penstock_policies.policyset import PolicySet

MEAN_SECONDS: Final[Mapping[str, float]] = {"day": 900.0, "month": 4 * 3600.0}
"""By a budget's period: over about how many seconds what is being spent is averaged, as the engine does it."""


def observed(
    policies: PolicySet, names: Iterable[str], decision: Decision, observations: Observations | None, now: float
) -> list[dict[str, object]]:
    """Return the inputs about some clusters; ages in seconds, None for what was never observed."""
    ages = accepted_ages(policies, decision)
    return [_cluster(policies, name, decision, observations, ages, now) for name in names if name in policies.clusters]


def _cluster(  # noqa: PLR0917 - what is known, and of which cluster
    policies: PolicySet,
    name: str,
    decision: Decision,
    observations: Observations | None,
    accepted: Mapping[tuple[str, str], float],
    now: float,
) -> dict[str, object]:
    spec, view, health = policies.clusters[name].spec, decision.clusters.get(name), decision.health.get(name)
    return {
        "cluster": name,
        "site": spec.site,
        "region": spec.region,
        "spot": spec.spot is not None,
        "health": None
        if health is None
        else {"state": health.state, "since": timestamp(health.since), "reason": health.reason},
        "healthByRegion": {
            region: {"state": by[name].state, "since": timestamp(by[name].since), "reason": by[name].reason}
            for region, by in sorted(decision.edge_health.items())
            if name in by
        },
        "price": None
        if view is None
        else {"usdPerMillionTokens": view.price, "source": view.price_source, "ageSeconds": view.price_age},
        "carbon": None
        if view is None
        else {
            "gramsPerMillionTokens": view.carbon,
            "source": view.carbon_source,
            "ageSeconds": accepted.get((spec.carbon.feed or "", spec.carbon.key or ""))
            if view.carbon_source.startswith("feed ")
            else None,
        },
        "capacity": None if view is None else _capacity(view, spec.capacity.concurrency),
        "tokensPerRequest": None if view is None else {"prompt": view.tokens[0], "output": view.tokens[1]},
        "draining": decision.draining.get(name),
        **({} if observations is None else _ages(name, observations, now)),
    }


def _capacity(view: ClusterView, declared: int) -> dict[str, object]:
    return {
        "inFlight": view.in_flight,
        "inFlightByPlan": view.planned,
        "plannedUpTo": view.capacity,
        "declared": declared,
        "limitedBy": view.limited_by,
        "learntPart": view.trim,
    }


def _ages(name: str, observations: Observations, now: float) -> dict[str, object]:
    outer = [by[name] for _, by in sorted(observations.edge_probes.items()) if name in by]
    told = [*observations.probes.get(name, {}).values(), *(probe for probes in outer for probe in probes.values())]
    loads = {region: by[name] for region, by in sorted(observations.load.items()) if name in by}
    engine = observations.engines.get(name)
    return {
        "probes": {
            "endpoints": max([len(observations.probes.get(name, {})), *map(len, outer)]),
            "failing": sum(1 for probe in told if probe.consecutive_failed > 0),
            "ageSeconds": _oldest((probe.at for probe in told), now),
            **({"regions": len(outer)} if outer else {}),
        },
        "load": [
            {
                "region": region,
                "inFlight": load.in_flight,
                "requestsPerSecond": load.request_rate,
                "errorsPerSecond": load.error_rate,
                "ageSeconds": now - load.at,
            }
            for region, load in loads.items()
        ],
        "loadAgeSeconds": _oldest((load.at for load in loads.values()), now),
        "engine": None
        if engine is None
        else {"waiting": engine.waiting, "running": engine.running, "ageSeconds": now - engine.at},
    }


def _oldest(times: Iterable[float], now: float) -> float | None:
    """Return the greatest age; None where there is none, and never less than 0."""
    return max((max(0.0, now - at) for at in times), default=None)


def budgets_view(
    policies: PolicySet, decision: Decision, observations: Observations | None, now: float
) -> Mapping[str, object]:
    """Return how the budgets stand, and how old the count of what was spent is."""
    spend = {} if observations is None else observations.spend
    return {
        name: {
            "amountUsd": view.amount,
            "spentUsd": view.spent,
            "spentAgeSeconds": max(0.0, now - spend[name].at) if name in spend else None,
            "periodStart": timestamp(view.period_start),
            "periodEnd": timestamp(view.period_end),
            "burnUsdPerHour": view.burn,
            "burnMeanSeconds": MEAN_SECONDS[policies.budgets[name].spec.per] if name in policies.budgets else None,
            "forecastUsd": view.forecast,
            "limitUsdPerHour": view.limit,
            "price": view.price,
            "exhausted": view.exhausted,
        }
        for name, view in sorted(decision.budgets.items())
    }
