"""What a cluster is made of, as an SRE writes it: what it carries, and the power that carrying takes."""

from typing import Annotated

from pydantic import Field

from penstock_policies.model import Model
from penstock_policies.quantities import Fraction


class Capacity(Model):
    """What a cluster can carry when all its endpoints are well."""

    tokens_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Tokens generated per second, all requests together."""
    prompt_tokens_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Prompt tokens read per second when nothing is generated."""
    concurrency: Annotated[int, Field(gt=0, strict=True)]
    """Requests in flight at which the cluster is full."""
    headroom: Fraction = 0.15
    """The share of the capacity kept free when filling a cluster by plan."""
    instances: Annotated[int, Field(gt=0, strict=True)] = 1
    """How many machines this is the capacity of: what a price by the hour of one is multiplied by."""
    gpus: Annotated[int, Field(gt=0, strict=True)] | None = None
    """How many GPUs this is the capacity of: what a price by the GPU-hour is multiplied by, and lets explanations say
    what one more would save."""
    gpu_type: str | None = None
    """What they are called, for people: ``H100``."""


class Power(Model):
    """The electricity that a cluster draws, all its machines together."""

    idle_kw: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Kilowatts with nothing to do: paid for anyway, and so no part of what a token costs."""
    loaded_kw: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Kilowatts when full."""
    pue: Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)] = 1.0
    """Power usage effectiveness of the site: what is drawn in all, cooling included, for a kilowatt of machines."""

    @property
    def marginal_kw(self) -> float:
        """Kilowatts that work adds, from idle to full, cooling included."""
        return (self.loaded_kw - self.idle_kw) * self.pue
