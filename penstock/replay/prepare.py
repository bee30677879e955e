"""From what a user names on the command line to a scenario."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from penstock.plan.feeds import with_feeds
from penstock.plan.inputs import Inputs
from penstock.replay.fault_file import read_faults
from penstock.replay.faults import Fault, described
from penstock.replay.price_file import read_prices
from penstock.replay.scenario import Scenario, build
from penstock.replay.time_prices import with_token_prices
from penstock.replay.trace import Trace, read_trace
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import row_name


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
    fed = with_feeds(Inputs(at=recorded.start), policy, directory, None)
    observed = fed.inputs.observations
    policy, turned = with_token_prices(policy, observed.rates)
    wrong: tuple[Fault, ...] = read_faults(faults, policy) if faults is not None else ()
    moves = read_prices(prices, policy) if prices is not None else ()
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
    return replace(scenario, rates=observed.rates), (*fed.unread, *turned, *_doubts(recorded, scenario))


def _doubts(recorded: Trace, scenario: Scenario) -> Iterator[str]:
    """Tell what a reader of the report would otherwise take for granted."""
    yield from recorded.warnings
    if recorded.skipped:
        yield f"{recorded.skipped} records without an answer are left out"
    strange = sorted({row_name(request.row) for request in recorded.requests if request.row} - _names(scenario))
    if strange:
        yield f"the policies have no row {', '.join(strange)}: those requests are spread over the rows they have"
    for fault in scenario.faults:
        if fault.start >= scenario.duration:
            yield f"{described(fault)}: never comes, as the trace ends at {scenario.duration:.0f} s"


def _names(scenario: Scenario) -> set[str]:
    return {row_name(key) for key in scenario.rows}
