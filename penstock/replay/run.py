"""One strategy through one scenario, and all of them in worker processes.

A worker loads the policy from its text, as models do not travel well between processes, and tells how far it is.
"""

import math
import multiprocessing
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any, Final

from penstock.replay.clairvoyant import Clairvoyant
from penstock.replay.movement import Movement
from penstock.replay.results import Result, result_of
from penstock.replay.scenario import Scenario
from penstock.replay.simulator import Simulator
from penstock.replay.strategies import (
    CheapestFirst,
    LatencyGreedy,
    OneSite,
    Penstock,
    StaticSplit,
    Strategy,
    Waterfall,
)
from penstock.replay.telemetry import REPORT_DELAY, Telemetry
from penstock.replay.time_prices import with_token_prices
from penstock_policies.loader import load

STRATEGIES: Final[Mapping[str, Callable[[Scenario, Simulator], Strategy]]] = {
    "penstock": lambda scenario, _: Penstock(scenario),
    "clairvoyant": lambda scenario, simulator: Clairvoyant(scenario, simulator.queues),
    "static_split": lambda scenario, _: StaticSplit(scenario),
    "on_prem_only": lambda scenario, _: OneSite(scenario, on_prem=True),
    "cloud_only": lambda scenario, _: OneSite(scenario, on_prem=False),
    "waterfall": lambda scenario, _: Waterfall(scenario),
    "cheapest_first": lambda scenario, _: CheapestFirst(scenario),
    "latency_greedy": lambda scenario, _: LatencyGreedy(scenario),
}
"""By name: Penstock, the optimum, the rivals."""

_TOLD_EVERY: Final = 100
"""Ticks between two words of progress."""
_POLL: Final = 0.2
"""Seconds between two looks at the progress."""


def run_one(scenario: Scenario, name: str, told: Callable[[float], None] = lambda _: None) -> Result:
    """Replay a scenario under a strategy; ``told`` is told the part that is done."""
    simulator = Simulator(scenario)
    strategy = STRATEGIES[name](scenario, simulator)
    telemetry = Telemetry(scenario, simulator)
    movement = Movement(scenario)
    index = {key: number for number, key in enumerate(scenario.rows)}
    changes = scenario.changes()
    counting = False
    for number, now in enumerate(_moments(scenario, strategy)):
        before = now - REPORT_DELAY
        if now >= 0 and not counting:
            counting = True
            movement.count_from_here()
        while changes and changes[0] <= now:
            change = changes.pop(0)
            simulator.run_until(change)
            simulator.refresh(change)
        if before > -scenario.run_in:
            simulator.run_until(before)
            telemetry.sample(before)
        simulator.run_until(now)
        for key, spread in strategy.decide(now, telemetry.observe(now)).items():
            if key in index:
                simulator.route(index[key], spread.shares, spread.legs)
                movement.seen(key, spread.shares)
        if number % _TOLD_EVERY == 0:
            told((now + scenario.run_in) / (scenario.duration + scenario.run_in) if scenario.duration > 0 else 1.0)
    for change in changes:
        simulator.run_until(change)
        simulator.refresh(change)
    simulator.finish()
    told(1.0)
    return result_of(name, simulator.tally, movement)


def _moments(scenario: Scenario, strategy: Strategy) -> list[float]:
    count = math.floor((scenario.duration + scenario.run_in) / scenario.tick) + 1
    ticks = {scenario.tick * number - scenario.run_in for number in range(count)}
    asked = {time for time in strategy.moments() if time < scenario.duration}
    return sorted(ticks | asked | set(scenario.close_looks()))


_progress: Any = None


def _begin(channel: Any) -> None:  # noqa: ANN401 - a queue of multiprocessing has no public type
    global _progress  # noqa: PLW0603 - a worker's only state, set once as it begins
    _progress = channel


def _work(scenario: Scenario, name: str) -> Result:
    policy, _ = with_token_prices(load(scenario.files).require(), scenario.rates)
    return run_one(replace(scenario, policy=policy), name, lambda part: _progress.put((name, part)))


def run_all(
    scenario: Scenario, names: Sequence[str], *, processes: int, told: Callable[[str, float], None]
) -> dict[str, Result]:
    """Replay a scenario under several strategies, ``processes`` at a time; ``told`` is told how far each is."""
    if processes <= 1 or len(names) == 1:
        return {name: run_one(scenario, name, lambda part, name=name: told(name, part)) for name in names}  # type: ignore[misc]
    # spawn: a fork of a process that has threads, as a progress bar has, may hang.
    context = multiprocessing.get_context("spawn")
    channel = context.Queue()
    light: Any = replace(scenario, policy=None)  # type: ignore[arg-type]
    results: dict[str, Result] = {}
    with ProcessPoolExecutor(min(processes, len(names)), context, _begin, (channel,)) as pool:
        waiting: dict[str, Future[Result]] = {name: pool.submit(_work, light, name) for name in names}
        for _ in count():
            _drain(channel, told)
            results |= {name: future.result() for name, future in waiting.items() if future.done()}
            if len(results) == len(waiting):
                break
    for name in names:
        # A worker's last word may still be on its way when its result is here.
        told(name, 1.0)
    return {name: results[name] for name in names}


def _drain(channel: Any, told: Callable[[str, float], None]) -> None:  # noqa: ANN401 - see above
    try:
        while True:
            told(*channel.get(timeout=_POLL))
    except queue.Empty:
        return
