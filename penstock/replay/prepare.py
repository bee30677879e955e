"""From what a user names on the command line to a scenario."""

from collections.abc import Mapping
from pathlib import Path

from penstock.plan.feeds import with_feeds
from penstock.plan.inputs import Inputs
from penstock.replay.faults import Fault, read_faults, read_prices
from penstock.replay.scenario import Scenario, build
from penstock.replay.trace import read_trace
from penstock_policies.policyset import PolicySet


def prepare(
    directory: Path,
    files: Mapping[str, str],
    policy: PolicySet,
    *,
    trace: Path,
    faults: Path | None = None,
    prices: Path | None = None,
    tick: float | None = None,
    limit: float | None = None,
    scale: float = 1.0,
    run_in: float = 0.0,
    seed: int = 1,
) -> tuple[Scenario, tuple[str, ...]]:
    """Read all files, and give the scenario and what is worth a warning.

    Raises:
        ReplayError: a file cannot be read or is wrong.
        MixError: the policies' shares of the traffic do not fit.
    """
    recorded = read_trace(trace, seed=seed, limit=limit)
    wrong: tuple[Fault, ...] = read_faults(faults, policy) if faults is not None else ()
    moves = read_prices(prices, policy) if prices is not None else ()
    fed = with_feeds(Inputs(at=recorded.start), policy, directory, None)
    observed = fed.inputs.observations
    scenario = build(
        policy,
        files,
        recorded,
        feeds={
            feed: {key: price.usd_per_million_tokens for key, price in by.items()}
            for feed, by in observed.prices.items()
        },
        carbon={
            feed: {key: figure.grams_per_million_tokens for key, figure in by.items()}
            for feed, by in observed.carbon.items()
        },
        faults=(*moves, *wrong),
        tick=tick,
        seed=seed,
        scale=scale,
        run_in=run_in,
    )
    skipped = (f"{recorded.skipped} records without an answer are left out",) if recorded.skipped else ()
    return scenario, (*fed.unread, *skipped)
