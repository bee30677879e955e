"""How the endpoints of a cluster are probed, as an SRE writes it: the words of ``spec.health``."""

from typing import Annotated

from pydantic import Field

from penstock_policies.model import HttpPath, Model
from penstock_policies.quantities import Seconds


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
