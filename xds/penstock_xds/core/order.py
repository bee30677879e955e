"""In which order types are served, and what waits for what: the make-before-break rules, as data.

A client must never be pointed at what it does not have yet, nor lose what it still points at. For each type the table
below says so in two columns:

* **needs**: a resource of this type is held back while it names something *new* of these types that the client has
  not confirmed yet. (Something merely changed does not hold it back: the client goes on using the old one.)
* **used_by**: a resource of this type that left the snapshot is kept while the client holds a resource of these
  types that names it and is itself about to be replaced.

Together they are the three phases: the union of old and new clusters and endpoints; then listeners and routes; then
what nothing uses any more. A change that touches routes alone meets no gate and goes out at once.

Within one round types go in the order of the table, as the xDS protocol asks ("Eventual consistency considerations"):
CDS, EDS, LDS, RDS, then what those name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock_xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTE,
    RUNTIME,
    SCOPED_ROUTE,
    SECRET,
    VIRTUAL_HOST,
)


@dataclass(frozen=True, slots=True)
class TypeRule:
    """How one type is served."""

    rank: int
    """Its place within a round."""
    full_state: bool = False
    """State of the World: every response holds all the client subscribes to, and what is absent is removed."""
    legacy_wildcard: bool = False
    """A first request without any name means everything."""
    needs: tuple[str, ...] = ()
    """Types whose new resources must be confirmed before a resource of this type may name them."""
    used_by: tuple[str, ...] = ()
    """Types whose resources may still name one of this type that is to be removed."""
    overtake_after: float | None = None
    """Seconds after which a newer response may follow one not acknowledged; None: only after the phase timeout."""
    resent_after: tuple[str, ...] = ()
    """Types whose resources, when sent, make the client wait for those of this type that they name, known or not."""
    removable: bool = True
    """Delta: clients are told of removals. If not, they let go by unsubscribing alone."""
    heartbeats: bool = True
    """Delta: a resource without a body prolongs its time to live. If not, the body must go along."""


# Envoy withholds the acknowledgement of CDS while any cluster in it warms, which can take as long as its health checks
# do. It reads newer responses all the while, so an urgent change must not wait for the slowest new cluster.
_CLUSTER_OVERTAKE_SECONDS: Final = 0.25

_POINTERS = (LISTENER, ROUTE, SCOPED_ROUTE, VIRTUAL_HOST, EXTENSION_CONFIG)

RULES: Final[Mapping[str, TypeRule]] = {
    # A composite or aggregate cluster names other clusters, so clusters use clusters.
    CLUSTER: TypeRule(
        rank=0,
        full_state=True,
        legacy_wildcard=True,
        used_by=(CLUSTER, *_POINTERS),
        overtake_after=_CLUSTER_OVERTAKE_SECONDS,
    ),
    # Never gated on CDS: a warming cluster's CDS acknowledgement waits for its endpoints.
    # A changed cluster warms until its endpoints come again ("Resource warming"); Envoy does not ask for them anew.
    ENDPOINT: TypeRule(rank=1, used_by=(CLUSTER, *_POINTERS), resent_after=(CLUSTER,)),
    LISTENER: TypeRule(rank=2, full_state=True, legacy_wildcard=True, needs=(CLUSTER, ENDPOINT)),
    ROUTE: TypeRule(rank=3, needs=(CLUSTER, ENDPOINT), used_by=(LISTENER, SCOPED_ROUTE)),
    SCOPED_ROUTE: TypeRule(rank=4, needs=(CLUSTER, ENDPOINT)),
    # In Envoy, a virtual host without a body is the answer to an alias that leads nowhere.
    VIRTUAL_HOST: TypeRule(rank=5, needs=(CLUSTER, ENDPOINT), heartbeats=False),
    # Clusters and listeners warm until their secrets come, and may have dropped and retaken them unseen (envoy#33607).
    SECRET: TypeRule(rank=6, used_by=(CLUSTER, LISTENER), resent_after=(CLUSTER, LISTENER)),
    RUNTIME: TypeRule(rank=7),
    # A filter whose configuration is removed fails its requests (envoy#32823); it goes with the filter that names it.
    EXTENSION_CONFIG: TypeRule(rank=8, needs=(CLUSTER, ENDPOINT), used_by=(LISTENER, ROUTE), removable=False),
}

_OPAQUE: Final = TypeRule(rank=9)


RESENT_AFTER: Final[Mapping[str, tuple[str, ...]]] = {
    parent: tuple(child for child, rule in RULES.items() if parent in rule.resent_after)
    for parent in {parent for rule in RULES.values() for parent in rule.resent_after}
}
"""Type to the types that are sent again after its resources: `TypeRule.resent_after`, read the other way."""


def rule_for(type_url: str) -> TypeRule:
    """Return the rule of the type; any type not in the table is served by name, ungated, after all others."""
    return RULES.get(type_url, _OPAQUE)


def round_order(type_url: str) -> tuple[int, str]:
    """Sort key: the place of the type within a round."""
    return (rule_for(type_url).rank, type_url)
