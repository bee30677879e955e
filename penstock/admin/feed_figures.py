"""What the engine makes of the feeds' figures: a feed that is read well may still say nothing it believes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import Decision, Stage
from penstock_policies.engine.prices import remembered_as
from penstock_policies.feeds import Basis
from penstock_policies.policyset import PolicySet

_REFUSALS = {"price refused", "carbon intensity refused"}


@dataclass(frozen=True, slots=True)
class FeedTrouble:
    """One key of a feed whose figure is not what clusters are judged by."""

    feed: str
    key: str
    refused: str
    """Why the engine refuses the figure; empty where it refuses none, and the accepted one is too old."""
    accepted_age: float | None
    """Seconds since the figure that holds was read; None where none was ever accepted."""

    @property
    def sentence(self) -> str:
        """All of it for people."""
        age = self.accepted_age
        holds = "none was accepted yet" if age is None else f"the last accepted, {age:.0f} s old, holds"
        if self.refused:
            return f"Cost feed {self.feed}: its figure for {self.key} is refused ({self.refused}); {holds}"
        return f"Cost feed {self.feed}: no figure for {self.key} is newer than {age or 0.0:.0f} s; it moves no traffic"


def feed_troubles(policy: PolicySet, decision: Decision) -> list[FeedTrouble]:
    """List the keys whose figures are refused, or accepted longer ago than their feed's ``maxAge``, sorted."""
    refused = {
        (str(note.fields["feed"]), str(note.fields["key"])): str(note.fields.get("why", ""))
        for note in decision.notes
        if note.stage is Stage.SANITISE and note.message in _REFUSALS and {"feed", "key"} <= note.fields.keys()
    }
    ages = accepted_ages(policy, decision)
    found = []
    for feed, key in sorted({*refused, *ages}):
        if feed not in policy.feeds:
            continue
        age, why = ages.get((feed, key)), refused.get((feed, key), "")
        if why or (age is not None and age > policy.feeds[feed].spec.max_age):
            found.append(FeedTrouble(feed, key, why, age))
    return found


@dataclass(frozen=True, slots=True)
class AcceptedFigure:
    """A figure of a feed that clusters are judged by."""

    feed: str
    key: str
    figure: float
    """In ``unit``."""
    unit: str
    age: float
    """Seconds since it was read."""


def accepted_figures(policy: PolicySet, decision: Decision) -> list[AcceptedFigure]:
    """List what is gone by of every feed, in the feed's own unit, sorted."""
    bases = {name: feed.spec.bases() for name, feed in policy.feeds.items()}
    found: set[tuple[str, str, float, str, float]] = set()
    for cluster in policy.clusters.values():
        cost, carbon = cluster.spec.cost, cluster.spec.carbon
        if cost.feed in bases and cost.key is not None:
            basis = bases[cost.feed].get(cost.key, Basis.TOKENS)
            known = decision.memory.prices.get(cost.feed, {}).get(remembered_as(basis, cost.key))
            if known is not None:
                found.add((cost.feed, cost.key, known[0], f"USD/{basis}", known[1]))
        if carbon.feed in bases and carbon.key is not None:
            known = decision.memory.carbon.get(carbon.feed, {}).get(carbon.key)
            if known is not None:
                found.add((carbon.feed, carbon.key, known[0], "g CO2/Mtok", known[1]))
    return [
        AcceptedFigure(feed, key, figure, unit, max(0.0, decision.at - at))
        for feed, key, figure, unit, at in sorted(found)
    ]


def accepted_ages(policy: PolicySet, decision: Decision) -> Mapping[tuple[str, str], float]:
    """Give, by feed and key, the seconds since the figure was read that a decision went by."""
    return {(one.feed, one.key): one.age for one in accepted_figures(policy, decision)}
