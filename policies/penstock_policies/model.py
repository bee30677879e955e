"""What every part of a policy document is made of: the base model and the types of names, paths and money."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION = "penstock/v1"

# DNS-label shape, as in Kubernetes: names end up in Envoy statistics, URLs and metric labels.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Region = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
# One printable line: model names end up in header matches, metric labels and messages.
ModelName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
HttpPath = Annotated[str, Field(pattern=r"^/\S*$")]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class Model(BaseModel):
    """What every part of a document has in common: camelCase, frozen, nothing unknown."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )
