"""Cost feeds: one task per feed of the policy set in force, writing prices or carbon intensities to the board.

Owned by the composition root, which calls :meth:`CostFeeds.apply` for every new policy set (after the board's own
``apply``). A feed that did not change keeps its task. A document that cannot be had or read changes nothing: the last
good figures stand, growing older, and the error is shown; the feed is tried again soon, then ever less often, up to its
refresh time, and not before its source said that it might be. A document that lacks one key's figure leaves that key
alone, and is tried again at its refresh time. Every good read renews the figures' time, changed or not: the source
still stands by them, unless the policy says for how long that is to be believed
(:mod:`penstock.signals.price_changes`).

Figures that were published for hours to come (:mod:`penstock.signals.price_series`) change when their hour comes, asked
again or not, and while they reach into the present a source that is away takes nothing from them.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp

from penstock.signals.addresses import GuardedResolver
from penstock.signals.asking import MOST_TRIES, Asker
from penstock.signals.board import ObservationBoard
from penstock.signals.credentials import Keyring
from penstock.signals.feed_readers import FeedReader, reader_of
from penstock.signals.price_changes import Changes, Times
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.readings import Reading
from penstock.signals.workers import Workers
from penstock_policies.feed_apis import Reach
from penstock_policies.feeds import API_TYPES, CostFeedSpec
from penstock_policies.observations import Intensity
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)

JITTER: Final = 0.1
"""Share of the refresh time by which it varies either way, so that replicas do not ask in one beat."""

FIRST_RETRY: Final = 1.0
"""Seconds after a first failure; doubled by each further one."""

LEAST_WAIT: Final = 0.05
"""Seconds between two looks at a series: a clock that stands still must not make a busy loop."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """How a feed is doing."""

    name: str
    refreshed_at: float | None = None
    """Unix time of the last good read, or at which published figures were last taken; None when there was none yet."""
    error: str = ""
    """Why the last read failed, or which keys it gave no figure for; empty when all is well."""
    failures: int = 0
    """Reads failed in a row."""
    prices: int = 0
    """Figures in the last good document."""
    frozen: frozenset[str] = frozenset()
    """Keys whose figures have not changed for the feed's ``maxUnchanged``, however often they were read."""

    def age(self, now: float) -> float | None:
        """Seconds since the last good read."""
        return None if self.refreshed_at is None else now - self.refreshed_at


@dataclass(frozen=True, slots=True)
class _Assignment:
    spec: CostFeedSpec
    base: Path
    wanted: frozenset[str]
    """The keys that clusters ask the feed for."""


class CostFeeds:
    """Reads every feed there is.

    ``keyring`` has the secrets that feeds show. ``failed`` is told the name of a feed at each failed read. ``sleep``,
    by which feeds wait for their next read, ``pause``, by which they wait for a busy server, and ``jitter`` are
    replaced in tests.
    """

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        keyring: Keyring,
        failed: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: random.Random | None = None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._notify = notify
        self._keyring = keyring
        self._failed = failed
        self._sleep = sleep
        self._pause = pause
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._sessions: dict[Reach, aiohttp.ClientSession] = {}
        self._states: dict[str, FeedState] = {}
        self._readings: dict[str, Reading] = {}
        self._figures: dict[str, Mapping[str, float]] = {}
        self._changes: dict[str, Changes] = {}
        self._assigned: Mapping[str, _Assignment] = {}
        self._tried: dict[str, asyncio.Event] = {}
        self._workers = Workers[str, _Assignment]("cost feed", self._work)

    async def apply(self, policy_set: PolicySet, base_dir: Path | str) -> None:
        """Read the feeds of this policy set and no others, paths relative to ``base_dir``."""
        keys = keys_wanted(policy_set)
        wanted = {
            name: _Assignment(feed.spec, Path(base_dir), frozenset(keys.get(name, ())))
            for name, feed in policy_set.feeds.items()
        }
        self._states = {name: self._states.get(name, FeedState(name)) for name in sorted(wanted)}
        self._readings = {name: reading for name, reading in self._readings.items() if name in wanted}
        self._figures = {name: figures for name, figures in self._figures.items() if name in wanted}
        # Another key in use is no reason to believe a frozen figure anew; another source is.
        self._changes = {
            name: changes
            for name, changes in self._changes.items()
            if name in wanted and name in self._assigned and self._assigned[name].spec == wanted[name].spec
        }
        same = {name for name, assignment in wanted.items() if self._assigned.get(name) == assignment}
        self._tried = {name: self._tried[name] if name in same else asyncio.Event() for name in wanted}
        self._assigned = wanted
        self._workers.apply(wanted)
        await self._workers.settled()

    async def first_read(self) -> None:
        """Wait until every feed, as it is now, was read or failed to be at least once; the caller says how long."""
        for tried in list(self._tried.values()):
            await tried.wait()

    async def stop(self) -> None:
        """End all reading. The feeds may be told to begin again by :meth:`apply`."""
        await self._workers.stop()
        self._assigned = {}
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def states(self) -> tuple[FeedState, ...]:
        """Return how every feed is doing, by name."""
        return tuple(self._states.values())

    def _session(self, reach: Reach) -> aiohttp.ClientSession:
        if reach not in self._sessions:
            self._sessions[reach] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=GuardedResolver(reach)),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "penstock-cost-feed"},
            )
        return self._sessions[reach]

    async def _work(self, name: str, assignment: _Assignment) -> None:
        spec = assignment.spec
        # A document is asked for again soon enough by the feed itself; a conversation is not to be begun anew.
        asker = Asker(
            self._session(spec.reach),
            spec.reach,
            self._clock,
            tries=MOST_TRIES if spec.type in API_TYPES else 1,
            sleep=self._pause,
            jitter=self._jitter,
        )
        reader = reader_of(spec, assignment.base, assignment.wanted, asker, self._clock, keyring=self._keyring)
        # What was read by another specification is no reading of this one.
        self._readings.pop(name, None)
        self._figures.pop(name, None)
        while True:
            pause = await self._refresh(name, reader, assignment)
            self._tried[name].set()
            await self._until_next(name, assignment, pause)

    async def _until_next(self, name: str, assignment: _Assignment, pause: float) -> None:
        """Wait for the next read; meanwhile take the figures of each hour as it comes."""
        # Counted down and not compared with a clock, which may be stepped meanwhile.
        left = pause
        while True:
            held, now = self._readings.get(name), self._clock()
            until = held.as_of(now).until if held is not None else None
            # What was published is stood by as time goes on, and must not look old in the middle of a long hour.
            look = None if until is None else min(until - now, assignment.spec.max_age / 2)
            if look is None or look >= left:
                await self._sleep(left)
                return
            nap = max(LEAST_WAIT, look)
            left -= nap
            await self._sleep(nap)
            if held is not None:
                self._settle(name, assignment, held, self._states[name])

    async def _refresh(self, name: str, reader: FeedReader, assignment: _Assignment) -> float:
        """Read once; return for how many seconds to wait then."""
        before, spec = self._states[name], assignment.spec
        pause = spec.period * self._jitter.uniform(1 - JITTER, 1 + JITTER)
        try:
            reading = await reader.read()
        except (PriceSourceError, PriceDocumentError) as error:
            if str(error) != before.error:
                logger.warning("cost feed failed, last good figures stand", extra={"feed": name, "error": str(error)})
            self._failed(name)
            failed = replace(before, error=str(error), failures=before.failures + 1)
            self._states[name] = failed
            held = self._readings.get(name)
            if held is not None and held.series:
                self._settle(name, assignment, held, failed)
            soon = min(pause, FIRST_RETRY * 2.0 ** min(before.failures, 30))
            return max(soon, error.leave_alone if isinstance(error, PriceSourceError) else 0.0)
        told = replace(before, error=reading.as_of(self._clock()).trouble, failures=0)
        self._settle(name, assignment, reading, told, before)
        return pause

    def _settle(
        self, name: str, assignment: _Assignment, held: Reading, state: FeedState, before: FeedState | None = None
    ) -> None:
        """Take the figures of this moment. ``before`` is the state before a good read, and None between two reads."""
        now, spec, last = self._clock(), assignment.spec, self._figures.get(name)
        reading = held.as_of(now)
        self._readings[name] = held
        if not reading.figures and reading.refused:
            # A series that has run out: its last figure stands, and grows older.
            self._states[name] = replace(state, error=state.error or reading.trouble)
            if before is not None:
                _tell(before, self._states[name])
            return
        changes = self._changes.setdefault(name, Changes(spec.max_age, spec.max_unchanged))
        times = changes.times(reading.figures, assignment.wanted, now)
        self._figures[name] = reading.figures
        known = before or self._states[name]
        self._states[name] = replace(state, refreshed_at=now, prices=len(reading.figures), frozen=times.frozen)
        self._pin(name, spec, reading, times)
        if before is not None:
            _tell(before, self._states[name])
        age = known.age(now)
        if (
            last != reading.figures
            or (before is not None and before.failures)
            or age is None
            or age > spec.max_age
            or times.frozen != known.frozen
        ):
            self._notify()

    def _pin(self, name: str, spec: CostFeedSpec, reading: Reading, times: Times) -> None:
        if spec.measures == "carbon":
            self._board.set_carbon(name, {key: Intensity(times.at[key], each) for key, each in reading.figures.items()})
        else:
            self._board.set_prices(name, reading.prices(spec, times.at), reading.rates(spec, times.at))


def _tell(before: FeedState, after: FeedState) -> None:
    """Log what is new of a feed that was read well."""
    if after.error and after.error != before.error:
        facts = {"feed": after.name, "error": after.error}
        logger.warning("cost feed lacks figures, the last good ones of their keys stand", extra=facts)
    elif before.error and not after.error:
        logger.info("cost feed is well again", extra={"feed": after.name})
    for key in sorted(after.frozen - before.frozen):
        logger.warning("cost feed's figure is frozen and counts as stale", extra={"feed": after.name, "key": key})
    for key in sorted(before.frozen - after.frozen):
        logger.info("cost feed's figure is frozen no more", extra={"feed": after.name, "key": key})


def keys_wanted(policy_set: PolicySet) -> Mapping[str, set[str]]:
    """Collect the keys that clusters ask every feed for."""
    keys: dict[str, set[str]] = {}
    for cluster in policy_set.clusters.values():
        cost, carbon = cluster.spec.cost, cluster.spec.carbon
        for feed, key in ((cost.feed, cost.key), (carbon.feed, carbon.key)):
            if feed is not None and key is not None:
                keys.setdefault(feed, set()).add(key)
    return keys
