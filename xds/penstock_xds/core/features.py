"""What a client says it understands beyond the base protocol."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# Envoy's API documentation, "Well Known Client Features" (docs/root/api/client_features.rst). Envoy 1.40 understands
# both without saying so: who wants times to live lists them under `node.client_features` in its bootstrap. gRPC
# (C-core, Go and Java) announces the second by itself.
_RESOURCE_TTL: Final = "xds.config.supports-resource-ttl"
_RESOURCE_IN_SOTW: Final = "xds.config.resource-in-sotw"

# No client feature announces `resource_errors` (xRFC TP3): clients are to ignore what they do not know. But a State of
# the World response that holds nothing else ends the initialisation of whatever Envoy waits for (it counts an
# `update_empty`), so errors go to gRPC alone, which reads them by gRFC A88. All its languages name themselves so.
_READS_ERRORS: Final = "gRPC"


@dataclass(frozen=True, slots=True)
class Features:
    """What one client understands; by default, nothing but the base protocol."""

    ttl: bool = False
    """Resources may expire."""
    wrapped: bool = False
    """State of the World: a resource may come inside a wrapper that holds its name, version and time to live."""
    errors: bool = False
    """Why a resource is not served may be told."""

    @classmethod
    def of(cls, client_features: Iterable[str], user_agent: str = "") -> "Features":
        """Read the node of a client's first request: its `client_features` and `user_agent_name`."""
        named = set(client_features)
        return cls(
            ttl=_RESOURCE_TTL in named,
            wrapped=_RESOURCE_IN_SOTW in named,
            errors=user_agent.startswith(_READS_ERRORS),
        )


BASE_PROTOCOL: Final = Features()
