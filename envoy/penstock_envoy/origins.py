"""Which policy documents a resource comes from: so that an Envoy's refusal can name a file and a line."""

from penstock_envoy import names
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from penstock_policies.policyset import Origin, PolicySet


def origin_of(policy: PolicySet, type_url: str, resource_name: str) -> tuple[Origin, ...]:
    """Where the documents that caused a resource were written, the most telling first; empty when none did.

    A cluster or its endpoints come from a ``Cluster``; a leg from its clusters and the policies that could ask for
    it; a listener from a ``Listener``; a route table from its ``Listener`` and every policy it may carry.
    """
    return tuple(policy.origins[each] for each in _documents(policy, type_url, resource_name) if each in policy.origins)


def _documents(policy: PolicySet, type_url: str, name: str) -> list[tuple[str, str]]:
    """The (kind, name) of the documents."""
    if type_url == CLUSTER and (leg := names.parse_leg(name)) is not None:
        data_class, members = leg
        askers = [
            ("TrafficPolicy", each.name)
            for each in policy.policies.values()
            if each.spec.data_class is data_class and set(members) <= set(each.spec.clusters)
        ]
        return [*(("Cluster", member) for member in dict.fromkeys(members)), *sorted(askers)]
    if type_url in (CLUSTER, ENDPOINT):
        return [("Cluster", name)]
    if type_url == LISTENER:
        return [("Listener", name)]
    if type_url == ROUTE and name in policy.listeners:
        classes = policy.listeners[name].spec.data_class.at_least()
        carried = [each.name for each in policy.policies.values() if each.spec.data_class in classes]
        return [*(("TrafficPolicy", each) for each in sorted(carried)), ("Listener", name)]
    return []
