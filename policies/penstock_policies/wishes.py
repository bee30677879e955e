"""What a policy wishes for and cannot have, or would have anyway. Warnings, all of them.

Told only of a directory whose documents all passed, as with :mod:`penstock_policies.idle`.
"""

from collections.abc import Iterator, Sequence

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.quantities import format_duration
from penstock_policies.schema import Cluster, TrafficPolicy
from penstock_policies.steering import Objective, ShareRule, Tier
from penstock_policies.suggestions import closest
from penstock_policies.words import DataClass, Measure, Site, Survive


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every wish that has no effect."""
    for cluster in catalogue.clusters.values():
        yield from _round_trips(catalogue, cluster)
        yield from _spot(cluster)
    yield from _budgets(catalogue)
    for policy in catalogue.policies.values():
        spec = policy.document.spec
        yield from _slo(catalogue, policy)
        yield from _survive(catalogue, policy)
        yield from _versions(catalogue, policy)
        yield from _objective(catalogue, policy, ("spec", "objective"), spec.objective)
        yield from _tiers(catalogue, policy, ("spec", "prefer"), spec.prefer)
        yield from _shares(catalogue, policy, ("spec", "shares"), spec.shares)
        yield from _schedules(catalogue, policy)


def _round_trips(catalogue: Catalogue, cluster: Written[Cluster]) -> Iterator[Problem]:
    regions = {group.document.spec.region for group in catalogue.groups.values()}
    for region in cluster.document.spec.latency.round_trip:
        if region not in regions:
            yield cluster.warning(
                ("spec", "latency", "roundTrip", region),
                f"no node group is in region {shown(region)}",
                expected=f"one of {listed(sorted(regions))}",
                suggestion=closest(region, regions),
            )


def _spot(cluster: Written[Cluster]) -> Iterator[Problem]:
    spot = cluster.document.spec.spot
    if spot is not None and spot.confidence == 0:
        yield cluster.warning(
            ("spec", "spot", "confidence"),
            "no plan counts on the cluster, so it serves only what nobody else can",
            expected="more than 0%",
        )


def _budgets(catalogue: Catalogue) -> Iterator[Problem]:
    for budget in catalogue.budgets.values():
        spec = budget.document.spec
        scope = spec.scope
        policies = [
            policy for policy in catalogue.policies.values() if scope.policy is None or policy.name == scope.policy
        ]
        paying = [
            policy
            for policy in policies
            if any(
                (scope.cluster is None or each.name == scope.cluster)
                and (scope.site is None or each.document.spec.site is scope.site)
                for each in catalogue.clusters_of(policy)
            )
        ]
        if not paying:
            yield budget.warning(
                ("spec", "scope"),
                "the budget matches nothing: no policy in its scope names a cluster in its scope",
                expected="a policy, cluster or site that belong together",
            )
        elif all(policy.document.spec.data_class is DataClass.RESTRICTED for policy in paying):
            yield budget.warning(
                ("spec", "scope"),
                "the budget counts and limits nothing: all traffic in its scope is restricted, which is exempt",
                expected="a scope with public or internal traffic",
            )


def _slo(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    target = policy.document.spec.slo.ttft_p95
    idle = [each.document.spec.latency.ttft_p95 for each in catalogue.clusters_of(policy)]
    known = [each for each in idle if each is not None]
    if target is not None and len(known) == len(idle) and min(known) > target:
        yield policy.warning(
            ("spec", "slo", "ttftP95"),
            "none of the policy's clusters keeps the target even when idle",
            expected=f"at least {format_duration(min(known))}, the fastest cluster's latency.ttftP95, "
            "and the round trip to it",
        )


def _survive(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    spec = policy.document.spec
    if spec.survive is Survive.ANY and len(spec.clusters) == 1:
        yield policy.warning(
            ("spec", "survive"), "the policy has one cluster, whose loss nobody can carry", expected="a second cluster"
        )
    spot = [each.document.spec.spot is not None for each in catalogue.clusters_of(policy)]
    if spec.survive is Survive.SPOT and spot and all(spot):
        yield policy.warning(
            ("spec", "clusters"),
            "all of the policy's clusters are spot, so nobody can carry the loss of one by plan",
            expected="a cluster that is not spot, or survive: none",
        )


def _versions(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    for model, rule in policy.document.spec.versions.items():
        serving = [each for each in catalogue.clusters_of(policy) if model in each.document.spec.models]
        versions = {each.name: each.document.spec.model_versions.get(model, "") for each in serving}
        if rule.canary is not None and rule.canary not in versions.values():
            known = set(versions.values()) - {"", rule.stable}
            yield policy.warning(
                ("spec", "versions", model, "canary"),
                f"none of the policy's clusters serves version {shown(rule.canary)} of {model} yet",
                expected=f"one of {listed(sorted(known))}" if known else "modelVersions in a Cluster to say so",
                suggestion=closest(rule.canary, known),
            )
        for name, version in versions.items():
            if version not in {rule.stable, rule.canary}:
                is_of = f"version {shown(version)}" if version else "no known version"
                yield policy.warning(
                    ("spec", "clusters", policy.document.spec.clusters.index(name)),
                    f"the cluster {shown(name)} serves {is_of} of {model}, so it gets none of its requests",
                    expected=f"modelVersions with {' or '.join(filter(None, (rule.stable, rule.canary)))}",
                )


def _objective(
    catalogue: Catalogue, policy: Written[TrafficPolicy], path: Path, objective: Objective
) -> Iterator[Problem]:
    if objective.parts.get(Measure.CARBON, 0.0) > 0:
        figures = [each.document.spec.carbon for each in catalogue.clusters_of(policy)]
        if all(each.feed is None and not each.grams_per_million_tokens for each in figures):
            yield policy.warning(
                path,
                "carbon decides nothing: none of the policy's clusters says what it emits",
                expected="carbon in the Clusters",
            )


def _tiers(
    catalogue: Catalogue, policy: Written[TrafficPolicy], path: Path, tiers: Sequence[Tier]
) -> Iterator[Problem]:
    sites = _sites(catalogue, policy)
    placed: dict[str, int] = {}
    for index, tier in enumerate(tiers):
        at: Path = (*path, index)
        if not (tier.clusters or tier.sites):
            yield policy.warning(at, "the tier is empty", expected="clusters or sites")
        for number, site in enumerate(tier.sites or ()):
            yield from _site(policy, (*at, "sites", number), site, sites)
        for number, name in enumerate(tier.clusters or ()):
            if name in placed:
                yield policy.warning(
                    (*at, "clusters", number),
                    f"the cluster {shown(name)} is in tier {placed[name] + 1} already, which counts",
                    expected="each cluster in one tier",
                )
        for each in catalogue.clusters_of(policy):
            if each.name in (tier.clusters or ()) or each.document.spec.site in (tier.sites or ()):
                placed.setdefault(each.name, index)


def _shares(
    catalogue: Catalogue, policy: Written[TrafficPolicy], path: Path, rules: Sequence[ShareRule]
) -> Iterator[Problem]:
    for index, rule in enumerate(rules):
        if rule.site is not None:
            yield from _site(policy, (*path, index, "site"), rule.site, _sites(catalogue, policy))
        if rule.pin is None and rule.floor == 0 and rule.ceiling == 1:
            yield policy.warning(
                (*path, index), "the rule bounds nothing", expected="minShare above 0% or maxShare below 100%"
            )


def _schedules(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    for index, schedule in enumerate(policy.document.spec.schedules):
        path: Path = ("spec", "schedules", index)
        only = schedule.only
        if only is None and schedule.objective is None and schedule.prefer is None and schedule.shares is None:
            yield policy.warning(
                path, "the schedule changes nothing", expected="only, objective, prefer or shares in it"
            )
        if only is not None:
            fitting = [
                each
                for each in catalogue.clusters_of(policy)
                if only.fits(each.name, each.document.spec.site, each.document.spec.region)
            ]
            if len(fitting) == len(policy.document.spec.clusters):
                yield policy.warning(
                    (*path, "only"), "all of the policy's clusters fit", expected="what leaves one of them out"
                )
            served = {model for each in fitting for model in each.document.spec.models}
            for model in catalogue.models_of(policy):
                if model not in served:
                    yield policy.warning(
                        (*path, "only"),
                        f"no cluster that fits serves the model {shown(model)}, which is then served as at other hours",
                        expected="a cluster that serves it",
                    )
        if schedule.objective is not None:
            yield from _objective(catalogue, policy, (*path, "objective"), schedule.objective)
        yield from _tiers(catalogue, policy, (*path, "prefer"), schedule.prefer or ())
        yield from _shares(catalogue, policy, (*path, "shares"), schedule.shares or ())


def _sites(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> frozenset[Site]:
    return frozenset(each.document.spec.site for each in catalogue.clusters_of(policy))


def _site(policy: Written[TrafficPolicy], path: Path, site: Site, sites: frozenset[Site]) -> Iterator[Problem]:
    if site not in sites:
        yield policy.warning(
            path,
            f"none of the policy's clusters is at site {shown(site)}",
            expected=f"one of {listed(sorted(sites))}",
        )
