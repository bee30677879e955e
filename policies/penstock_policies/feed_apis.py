"""What is asked of the price APIs that Penstock knows, as an SRE writes it: one figure after the other, by key.

The words only, as in :mod:`penstock_policies.feeds`; what needs or excludes what is judged in
:mod:`penstock_policies.feed_api_checks`.
"""

from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field

from penstock_policies.model import Model
from penstock_policies.quantities import Seconds
from penstock_policies.secret_places import SecretPlace

Key = Annotated[str, Field(min_length=1, max_length=256)]
# One printable line: these end up in queries, and in messages for people.
Word = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
AwsRegion = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$")]
InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]


class Keyed(Protocol):
    """A figure of whatever API."""

    @property
    def key(self) -> str:
        """What clusters call it by in ``cost.key``."""
        ...


class Reach(StrEnum):
    """Which addresses a feed's server may have."""

    PUBLIC = "public"
    """Of the internet alone."""
    PRIVATE = "private"
    """Also private ones and this machine; never link-local ones, where clouds keep their machines' credentials."""
    ANY = "any"
    """All that there are."""


class Credentials(SecretPlace):
    """Where the secret of a feed is; never the secret. It is read anew at each use, so that it may be rotated."""

    profile: Annotated[str, Field(min_length=1)] = "default"
    """For AWS, whose ``file`` is a shared credentials file: the section of it."""


class OpenCostFigure(Model):
    """What OpenCost (or Kubecost) says that an hour of something cost."""

    key: Key
    """What clusters call it by in ``cost.key``."""
    path: Literal["/allocation", "/allocation/compute", "/assets"] = "/allocation"
    """What workloads cost, or what nodes do."""
    window: Annotated[Seconds, Field(ge=60, le=32 * 86400)] = 86400.0
    """How far back is averaged over: its ``window``."""
    aggregate: Word | None = None
    """For allocations, its ``aggregate``: ``namespace``, ``controller``, ``node``, ``label:app`` and so on."""
    name: Word | None = None
    """The allocation's name in that aggregate, or the name of a node."""
    label: Annotated[str, Field(pattern=r"^[^=\s]+=[^=\s]*$")] | None = None
    """For assets, in place of ``name``: the nodes with this label, ``NAME=VALUE``."""
    cost: Literal["total", "gpu"] = "total"
    """All that it cost, or its GPUs alone."""
    unit: Literal["perGpuHour", "perHour"] = "perGpuHour"
    """Divided by its GPU-hours, or by the hours it ran."""


class AzureFigure(Model):
    """A price of Azure's retail list. Values are compared to the letter, as Azure does."""

    key: Key
    """What clusters call it by in ``cost.key``."""
    service: Word = "Virtual Machines"
    """Its ``serviceName``."""
    region: Word
    """Its ``armRegionName``, such as ``westeurope``."""
    sku: Word | None = None
    """Its ``armSkuName``, such as ``Standard_ND96isr_H100_v5``."""
    meter: Word | None = None
    """Its ``meterName``, in place of or beside ``sku``."""
    spot: bool = False
    """The spot price; else the one for pay as you go. Reservations and savings plans are never taken."""
    windows: bool = False
    """With a Windows licence."""
    unit: Literal["perHour", "perMillionTokens"] = "perHour"
    """By the hour of a machine, or of tokens; a list price in another measure is refused."""


class AwsSpotFigure(Model):
    """The spot price of an EC2 instance type."""

    key: Key
    """What clusters call it by in ``cost.key``."""
    region: AwsRegion
    """Where it is asked for."""
    instance_type: InstanceType
    """Such as ``p5.48xlarge``."""
    zone: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    """An availability zone. Omitted: the dearest of the region's, for nobody knows where machines will be had."""
    product: Literal[
        "Linux/UNIX",
        "Linux/UNIX (Amazon VPC)",
        "Red Hat Enterprise Linux",
        "SUSE Linux",
        "Windows",
    ] = "Linux/UNIX"
    """Its ``ProductDescription``."""


class AwsPriceFigure(Model):
    """The on-demand list price of an EC2 instance type."""

    key: Key
    """What clusters call it by in ``cost.key``."""
    region: AwsRegion
    """Where the machines are."""
    instance_type: InstanceType
    """Such as ``p5.48xlarge``."""
    operating_system: Word = "Linux"
    """Its ``operatingSystem``."""
    endpoint: Literal["us-east-1", "eu-central-1", "ap-south-1"] = "us-east-1"
    """The region whose price list service is asked."""


class EntsoeFigure(Model):
    """The day-ahead price of electricity in a bidding zone."""

    key: Key
    """What clusters call it by in ``cost.key``."""
    zone: Annotated[str, Field(pattern=r"^[0-9A-Z-]{16}$")]
    """Its EIC code, such as ``10Y1001A1001A82H`` for Germany and Luxembourg."""
