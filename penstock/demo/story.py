"""Plays the acts in order within a time, and keeps the record that the demo is judged by."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TypedDict

from penstock.demo.acts import ACTS, Act, Scene
from penstock.demo.admin_client import AdminError

logger = logging.getLogger(__name__)

ROUND_SECONDS = 90.0
"""The time of one round when nobody asked for another: slow enough to follow on the dashboard."""


class ActRecord(TypedDict):
    """What became of an act."""

    act: str
    held: bool
    seconds: float
    detail: str


@dataclass(slots=True)
class Record:
    """What became of the story so far."""

    acts: list[ActRecord] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether every act that was played kept its promise."""
        return all(act["held"] for act in self.acts)


class Summary(TypedDict):
    """The demo's last line."""

    requests: int
    failed: int
    restricted: int
    restricted_503: int
    restricted_to_cloud: int
    share: dict[str, float]
    weight_changes: int
    cost_usd: float
    retried: int
    ttft_p95_ms: float | None
    acts: list[ActRecord]


def summary(scene: Scene, record: Record, *, restricted_to_cloud: int) -> Summary:
    """All that a machine would want to know of a run. ``restricted_to_cloud`` is counted at the simulators."""
    tally = scene.load.tally
    ttft = tally.first_token.quantile(0.95)
    return {
        "requests": tally.requests,
        "failed": tally.failed,
        "restricted": tally.restricted,
        "restricted_503": tally.restricted_503,
        "restricted_to_cloud": restricted_to_cloud,
        "share": {cluster: round(part, 4) for cluster, part in tally.share().items()},
        "weight_changes": scene.gauge.weight_changes,
        "cost_usd": round(tally.cost_usd, 6),
        "retried": tally.retried,
        "ttft_p95_ms": None if ttft is None else round(ttft * 1000, 1),
        "acts": record.acts,
    }


async def play(scene: Scene, record: Record, *, seconds: float | None) -> None:
    """Play the story once in about ``seconds``, or over and over until cancelled when that is None.

    An act takes its part of the time, and longer when its promise needs longer to be seen.
    """
    budget = ROUND_SECONDS if seconds is None else seconds
    whole = sum(act.weight for act in ACTS)
    while True:
        for number, act in enumerate(ACTS, start=1):
            record.acts.append(await _play_act(scene, number, act, budget * act.weight / whole))
        if seconds is not None:
            return


async def _play_act(scene: Scene, number: int, act: Act, budget: float) -> ActRecord:
    loop = asyncio.get_running_loop()
    scene.stage.headline(number, act.title, act.promise)
    started = loop.time()
    before = scene.load.tally.copy()
    try:
        held, detail = await act.play(scene)
    except AdminError as error:
        logger.exception("an act was cut short", extra={"act": act.name})
        held, detail = False, str(error)
    passed = scene.load.tally.minus(before)
    if passed.restricted_503 and not act.restricted_may_fail:
        held, detail = False, f"{detail}; {passed.restricted_503} restricted requests were told 503"
    if passed.failed:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in passed.failures.most_common(3))
        held, detail = False, f"{detail}; {passed.failed} requests failed: {reasons}"
    taken = loop.time() - started
    scene.stage.verdict(held=held, detail=detail, seconds=taken)
    await scene.watch(budget - taken)
    return {"act": act.name, "held": held, "seconds": round(taken, 1), "detail": detail}
