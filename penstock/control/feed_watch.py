"""Tells the log once when the engine begins to refuse a feed's figure, or goes by one that is too old, and when not."""

import logging

from penstock.admin.feed_figures import feed_troubles
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)


class FeedWatch:
    """What was last told of every feed's figures. Used on the event loop's thread alone."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    def look(self, policy: PolicySet, decision: Decision) -> None:
        """Take in a decision, and log what has changed."""
        now = {(each.feed, each.key): each for each in feed_troubles(policy, decision)}
        for (feed, key), each in now.items():
            if self._told.get((feed, key)) != each.refused:
                facts = {"feed": feed, "key": key, "why": each.refused, "accepted_age": each.accepted_age}
                if each.refused:
                    logger.warning("cost feed's figure is refused by the engine", extra=facts)
                else:
                    logger.warning("cost feed's figure is older than the feed's maxAge", extra=facts)
        for feed, key in self._told.keys() - now.keys():
            logger.info("cost feed's figure is good again", extra={"feed": feed, "key": key})
        self._told = {place: each.refused for place, each in now.items()}
