"""What an explanation is about: the decision in force, or a recorded one, with what it was made of."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from penstock.admin.ports import ControlPlane, HistoryPoint
from penstock.admin.problem_details import ApiError, not_found
from penstock.admin.recorded import PastDecision
from penstock_policies.decision import Decision
from penstock_policies.engine.whatif import World
from penstock_policies.observations import Observations
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import SerialError, from_json


@dataclass(frozen=True, slots=True)
class Occasion:
    """A decision, the policy it was made by, and when it is looked at."""

    policies: PolicySet
    decision: Decision
    now: float
    """The time ages are counted to: this moment, or for a recorded decision its own."""
    world: World | None
    """What it was made of, to suppose otherwise; None where that was not recorded."""
    history: tuple[HistoryPoint, ...] = ()
    """Recent changes of weights, for the decision in force."""
    past: PastDecision | None = None
    """For a recorded decision."""
    recorded_as: str | None = None
    """The recorded decision that says the same but for figures: itself, for one that is recorded."""
    asked: float | None = None
    """The moment that was asked about, where one was."""

    @property
    def older_than_asked(self) -> float | None:
        """Seconds by which the figures are older than the moment asked about; None where no moment was."""
        return None if self.asked is None else max(0.0, self.asked - self.decision.at)

    @property
    def observations(self) -> Observations | None:
        """What was known about the world; None where that was not recorded."""
        return None if self.world is None else self.world.observations

    def weights_before(self, key: RowKey) -> Mapping[str, int] | None:
        """Return the weights that a row's current ones replaced, where memory reaches back that far."""
        for point in reversed(self.history):
            weights = point.weights.get(key)
            if weights is not None and dict(weights) != dict(self.decision.rows[key].weights):
                return weights
        return None


def occasion_now(control: ControlPlane) -> Occasion:
    """Return the decision in force.

    Raises:
        ApiError: 503 before the first decision.

    """
    policies, decision, now = control.policy_set, control.decision, control.now()
    if policies is None or decision is None:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "nothing is decided yet", kind="no-decision")
    world = World(policies, control.observations(), control.overrides, decision, now)
    return Occasion(
        policies, decision, now, world, tuple(control.history()), recorded_as=control.stands_for(decision.id)
    )


async def occasion_at(control: ControlPlane, at: float) -> Occasion:
    """Return the decision that was in force at a time.

    Raises:
        ApiError: 404 where none was recorded by then, 409 where what it was made by cannot be read.
        StoreUnavailableError: the store did not answer.

    """
    past = await control.decision_at(at)
    if past is None:
        detail = "no decision is recorded from that time or before"
        raise ApiError(HTTPStatus.NOT_FOUND, detail, kind="no-decision-then")
    return replace(await _past_occasion(control, past), asked=at)


async def occasion_of(control: ControlPlane, decision_id: str) -> Occasion:
    """Return a recorded decision.

    Raises:
        ApiError: 404 where there is none, 409 where what it was made by cannot be read.
        StoreUnavailableError: the store did not answer.

    """
    past = await control.past_decision(decision_id)
    if past is None:
        raise unrecorded(control, decision_id)
    return await _past_occasion(control, past)


def unrecorded(control: ControlPlane, decision_id: str) -> ApiError:
    """404 for a decision that is not recorded, which may well have been made; names the one that stands for it."""
    error = not_found("decision", decision_id, ())
    error.detail += " is recorded"
    stands = control.stands_for(decision_id)
    if stands is not None and stands != decision_id:
        error.detail += (
            f": it changed nothing but figures. {stands}, which says the same of all else, is: ask for that one"
        )
        error.members["recordedAs"] = stands
        return error
    error.detail += (
        ". Of decisions that change nothing but figures only one a minute is: ask for the one in force at a time (at)"
    )
    decision = control.decision
    latest = None if decision is None else control.stands_for(decision.id)
    if latest is not None:
        error.detail += f", or for {latest}, which stands for the one in force"
    return error


async def _past_occasion(control: ControlPlane, past: PastDecision) -> Occasion:
    policies = past.policy
    if policies is None and control.policy_set is not None and control.policy_set.digest == past.stored.policy_digest:
        policies = control.policy_set
    if policies is None:
        detail = (
            f"the policy of decision {past.stored.id}, {past.stored.policy_digest}, is not stored as a text that loads"
        )
        raise ApiError(HTTPStatus.CONFLICT, detail, kind="policy-not-stored")
    try:
        # A large fleet's takes a while to read, and Envoys are being served meanwhile.
        decision = await asyncio.to_thread(from_json, past.stored.json)
    except SerialError as error:
        detail = f"decision {past.stored.id} was recorded by a version of Penstock that this one cannot read"
        raise ApiError(HTTPStatus.CONFLICT, detail, kind="decision-unreadable") from error
    world = None
    if past.inputs is not None:
        given = past.inputs
        world = World(policies, given.observations, given.overrides, given.previous, given.now)
    return Occasion(policies, decision, decision.at, world, past=past, recorded_as=decision.id)
