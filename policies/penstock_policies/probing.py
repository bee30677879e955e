"""How the endpoints of a cluster are probed, as an SRE writes it: the words of ``spec.health``."""

from typing import Annotated

from pydantic import Field

from penstock_policies.model import HttpPath, Model
from penstock_policies.quantities import Seconds
from penstock_policies.words import Vantage


class Health(Model):
    """How a cluster's endpoints are probed."""

    path: HttpPath = "/health"
    """Answered with 200 by a server that is well."""
    interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 5.0
    """From one probe to the next."""
    timeout: Annotated[Seconds, Field(ge=0.01, le=60)] = 2.0
    """A probe not answered by then has failed."""
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """Failed probes in a row that make an endpoint unhealthy."""
    healthy_threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 2
    """Good probes in a row that make it healthy again."""
    ramp_interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 5.0
    """How long a recovered cluster stays at each step of its ramp (1 %, then doubling)."""
    vantage: Annotated[Vantage, Field(alias="from")] = Vantage.CONTROL_PLANE
    """Who probes: the control plane, or the Envoys of each region of the edge on its behalf, so that a cluster out of
    reach of one region is down for that region alone. ``edge`` needs endpoints with IP addresses."""
    checkers: Annotated[int, Field(ge=1, le=15, strict=True)] = 3
    """With ``from: edge``: how many Envoys of each region probe it, or all of a region that has fewer. Most of their
    votes decide."""
