"""What an SRE may wish for a policy's traffic: objectives, tiers, shares, schedules, versions, affinity.

The words only; what the engine makes of them is told in :mod:`penstock_policies.engine`. Owns their units, ranges and
defaults.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from penstock_policies.model import Model, Name, Region
from penstock_policies.quantities import Fraction, Seconds, format_percentage
from penstock_policies.words import Measure, Site

_MIX_TOLERANCE: Final = 1e-6
"""How far a mix may be off 100 %: the rounding of percentages, no more."""
_CRON_FIELDS: Final = 5
_SOME_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError("expected a time zone of the IANA database, such as Europe/Berlin") from error
    return name


def _cron(expression: str) -> str:
    fields = len(expression.split())
    # CronSim would take a sixth for seconds, which no schedule keeps.
    if fields != _CRON_FIELDS:
        raise ValueError(f"expected five cron fields, such as '0 22 * * *', not {fields}")
    try:
        CronSim(expression, _SOME_MOMENT)
    except CronSimError as error:
        raise ValueError(f"expected five cron fields, such as '0 22 * * *': {error}") from error
    return expression


TimeZone = Annotated[str, AfterValidator(_zone)]
"""A name of the IANA time zone database."""

Cron = Annotated[str, AfterValidator(_cron)]
"""Five cron fields: minute, hour, day of month, month, day of week."""


class Objective(Model):
    """What the engine optimises once every rule is kept."""

    minimize: Measure = Measure.COST
    """One measure alone; see ``mix`` for several."""
    mix: dict[Measure, Fraction] = Field(default_factory=dict)
    """Measure to its part, together 100 %; in place of ``minimize``. Each measure is divided by its worst figure in the
    fleet, so that parts compare."""
    distance_penalty: Fraction = 0.1
    """Mark-up on a price per step of distance (same region 0, same area 1, elsewhere 2), so that a far cluster must be
    clearly cheaper to be used."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.mix and "minimize" in self.model_fields_set:
            raise ValueError("expected minimize or mix, not both")
        if self.mix and abs(sum(self.mix.values()) - 1) > _MIX_TOLERANCE:
            raise ValueError(f"expected parts that add up to 100%, not {format_percentage(sum(self.mix.values()))}")
        return self

    @property
    def parts(self) -> dict[Measure, float]:
        """Measure to its part; they add up to 1."""
        return dict(self.mix) if self.mix else {self.minimize: 1.0}


class Selection(Model):
    """Some of a policy's clusters: those that fit every field given."""

    clusters: tuple[Name, ...] | None = None
    """By name, among the policy's own."""
    sites: tuple[Site, ...] | None = None
    """By site."""
    regions: tuple[Region, ...] | None = None
    """By region."""

    def fits(self, name: str, site: Site, region: str) -> bool:
        """Whether a cluster is one of them."""
        return (
            (self.clusters is None or name in self.clusters)
            and (self.sites is None or site in self.sites)
            and (self.regions is None or region in self.regions)
        )


class Tier(Model):
    """Clusters of equal preference."""

    clusters: tuple[Name, ...] | None = None
    """By name, among the policy's own."""
    sites: tuple[Site, ...] | None = None
    """All of the policy's clusters at these sites."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.clusters is None) == (self.sites is None):
            raise ValueError("expected clusters or sites, one of them")
        return self


class ShareRule(Model):
    """Bounds on the share of every row's traffic that a cluster, or all clusters of a site together, shall get."""

    cluster: Name | None = None
    """One of the policy's clusters."""
    site: Site | None = None
    """All of the policy's clusters at a site, together."""
    min_share: Fraction | None = None
    """A floor."""
    max_share: Fraction | None = None
    """A ceiling."""
    pin: Fraction | None = None
    """Both at once."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.cluster is None) == (self.site is None):
            raise ValueError("expected cluster or site, one of them")
        if self.pin is not None and (self.min_share is not None or self.max_share is not None):
            raise ValueError("expected a pin or bounds, not both")
        if self.pin is None and self.min_share is None and self.max_share is None:
            raise ValueError("expected minShare, maxShare or pin")
        if self.floor > self.ceiling:
            raise ValueError("expected minShare not above maxShare")
        return self

    @property
    def floor(self) -> float:
        """The least share, 0 to 1."""
        return self.pin if self.pin is not None else self.min_share or 0.0

    @property
    def ceiling(self) -> float:
        """The greatest share, 0 to 1."""
        if self.pin is not None:
            return self.pin
        return 1.0 if self.max_share is None else self.max_share


class Schedule(Model):
    """Hours at which a policy is different. Of several at once, the first in order decides what it sets."""

    name: Name
    """Unique within the policy; explanations name it."""
    cron: Cron
    """When it begins, by the clock of ``timeZone``."""
    duration: Annotated[Seconds, Field(ge=60, le=31 * 86400)]
    """How long it lasts, in time that really passes."""
    time_zone: TimeZone = "UTC"
    """Of the clock on the wall that ``cron`` means, daylight saving included."""
    only: Selection | None = None
    """Only these clusters may serve meanwhile; a hard rule, unless it would leave none at all."""
    objective: Objective | None = None
    """In place of the policy's."""
    prefer: tuple[Tier, ...] | None = None
    """In place of the policy's."""
    shares: tuple[ShareRule, ...] | None = None
    """In place of the policy's."""


class VersionRule(Model):
    """Which versions of a model may serve, and how much of the traffic tries a new one."""

    stable: Annotated[str, Field(min_length=1, max_length=128)]
    """The version that serves."""
    canary: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """A version on trial."""
    canary_share: Fraction = 0.05
    """Its share of every row, whatever the objective says; less where its clusters have less room. It takes over
    altogether only where no cluster with the stable version is left."""


class Affinity(Model):
    """What tells that requests belong together: they then go to the same cluster, and there to the same endpoint."""

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")] | None = None
    """A request header, such as a session id or a hash of the prompt's prefix."""
    cookie: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")] | None = None
    """A cookie; Envoy makes one for a client that has none when ``ttl`` is given."""
    ttl: Seconds | None = None
    """How long a cookie that Envoy makes lasts."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("expected header or cookie, one of them")
        if self.ttl is not None and self.cookie is None:
            raise ValueError("expected ttl only with cookie")
        return self


class TypicalRequest(Model):
    """The size of a request where none was measured."""

    prompt_tokens: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)] = 1000.0
    """Tokens read."""
    output_tokens: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)] = 200.0
    """Tokens generated."""
