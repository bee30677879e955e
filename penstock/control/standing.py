"""Which decisions are recorded: every one that changes what matters, and at least one a minute for its figures.

A decision is made every second, and most differ from the one before in figures alone: demand, ages, prices. Those that
change what Envoys see or an auditor asks about are recorded at once and vouched for in the audit log. Of the others one
a minute is recorded, so that the figures of any moment are never more than a minute off. Used on the event loop's
thread alone.
"""

import math
from collections import OrderedDict
from typing import Final

from penstock.control.recorder import Recorder
from penstock_policies.decision import Decision
from penstock_policies.inputs import DecisionInputs

FIGURES_EVERY_SECONDS: Final = 60.0
"""The greatest age of recorded figures."""
_BEAT_SECONDS: Final = 1.0
"""Between two decisions: recorded with the next one, figures would be older than they may be by so much."""
_REMEMBERED: Final = 3600
"""An hour of decisions: long enough to ask about one that was just shown, in some hundred kilobytes."""


class Standing:
    """Has decisions recorded, and remembers which recorded one stands for each that is not."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._material = ""
        self._at = -math.inf
        self._for: OrderedDict[str, str] = OrderedDict()

    def take(self, decision: Decision, inputs: DecisionInputs, *, material: bool) -> None:
        """Take in a decision, in the order they are made; ``material`` when it changes more than figures."""
        if material:
            self._recorder.record(decision, inputs)
            self._material = decision.id
            self._at = decision.at
        # A clock that was set back must not keep figures from being recorded until it has caught up.
        elif not 0 <= decision.at - self._at < FIGURES_EVERY_SECONDS - _BEAT_SECONDS:
            self._recorder.record_figures(decision, inputs)
            self._at = decision.at
        self._for[decision.id] = self._material
        if len(self._for) > _REMEMBERED:
            self._for.popitem(last=False)

    def stands_for(self, decision_id: str) -> str | None:
        """Name the recorded decision that says the same as this one but for figures; None for one not remembered."""
        return self._for.get(decision_id) or None
