"""The plain notice, for what no cloud announces: a firmware upgrade tonight, say. Our own form, so read strictly."""

import hashlib
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from penstock.admin.requests import Words
from penstock.signals.notices import AFTERWARDS, LONGEST_AHEAD, Announcement, NoticeKind, rfc3339
from penstock_policies.quantities import Seconds

Moment = Annotated[float, BeforeValidator(lambda value: rfc3339("", value))]
"""RFC 3339 with its zone; in memory, Unix time."""
_Ahead = Annotated[Seconds, Field(ge=0, le=LONGEST_AHEAD)]


class PlainNotice(BaseModel):
    """``{"cluster", "endpoint", "kind", "at" or "in", "until" or "for", "reason", "id"}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: Annotated[str, Field(min_length=1, max_length=63)]
    endpoint: Annotated[str, Field(max_length=260)] = ""
    kind: NoticeKind
    at: Moment | None = None
    lead: Annotated[_Ahead | None, Field(alias="in")] = None
    until: Moment | None = None
    duration: Annotated[_Ahead | None, Field(alias="for")] = None
    reason: Words = ""
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")] | None = None

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if (self.at is None) == (self.lead is None):
            raise ValueError('expected either "at", such as 2026-11-24T02:10:00Z, or "in", such as 2m')
        if self.until is not None and self.duration is not None:
            raise ValueError('expected "until" or "for", not both')
        return self

    def announcement(self) -> Announcement:
        """Return what it says."""
        content = hashlib.sha256(self.model_dump_json().encode()).hexdigest()
        return Announcement(
            source="plain",
            kind=self.kind,
            identity=self.id or content,
            event=self.id or "",
            reason=self.reason or self.kind.value,
            at=self.at,
            lead=self.lead or 0.0,
            until=self.until,
            afterwards=AFTERWARDS if self.duration is None else self.duration,
            cluster=self.cluster,
            endpoint=self.endpoint,
        )
