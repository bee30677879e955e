"""One sentence on one weight, from the decision's own facts."""

from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Row

# Below this a target and its weight are the same figure, rounded.
SAME_SHARE = 0.0005


def why(cluster: str, row: Row, decision: Decision) -> str:
    """Tell what bounds or drives this weight."""
    share, target = row.weights.get(cluster, 0) / TOTAL_WEIGHT, row.target.get(cluster, 0.0)
    if cluster in row.excluded:
        return row.excluded[cluster]
    parts: list[str] = []
    left = decision.draining.get(cluster)
    if left is not None:
        parts.append(f"an operator's drain leaves {left:.0%} of its share")
    health = decision.health_in(row.key.region, cluster)
    if health is not None and health.state is not HealthState.UP:
        because = f": {health.reason}" if health.reason else ""
        parts.append(f"health is {health.state}, at most {health.ceiling:.0%}{because}")
    if abs(target - share) > SAME_SHARE:
        parts.append(f"wanted at {target:.1%}, on its way there within the limits")
    elif not parts:
        parts.append("at the share the solver wants" if share else "not needed now")
    return "; ".join(parts)
