"""The few calls the story makes to the admin API, as any operator's script would."""

from dataclasses import dataclass
from typing import Self

import aiohttp

CALL_TIMEOUT_SECONDS = 5.0


class AdminError(Exception):
    """The admin API refused a call, or answered what it should not."""

    def __init__(self, call: str, status: int, text: str) -> None:
        super().__init__(f"{call} answered {status}: {text}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One row of weights as the API tells it."""

    policy: str
    region: str
    model: str
    weights: dict[str, int]
    reason: str


class AdminClient:
    """A client of one control plane; close it, or use it as a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def ready(self) -> bool:
        """Whether the control plane has a complete snapshot; an unreachable one has not."""
        try:
            async with self._session.get(f"{self.url}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def weights(self) -> list[WeightRow]:
        """The rows of the decision in force.

        Raises:
            AdminError: the API did not answer with weights.
        """
        document = await self._call("GET", "/api/v1/weights")
        items = document.get("items")
        if not isinstance(items, list):
            raise AdminError("GET /api/v1/weights", 200, "no items")
        return [
            WeightRow(item["policy"], item["region"], item["model"], dict(item["weights"]), item["reason"])
            for item in items
        ]

    async def drain(self, cluster: str, *, seconds: int, reason: str, dry_run: bool = False) -> dict[str, object]:
        """Take a cluster out of service.

        Raises:
            AdminError: refused; status 409 when what remains could not carry the load.
        """
        body = {"cluster": cluster, "for": f"{seconds}s", "reason": reason, "owner": "demo", "dryRun": dry_run}
        return await self._call("POST", "/api/v1/drains", body)

    async def undrain(self, cluster: str) -> dict[str, object]:
        """Put a cluster back.

        Raises:
            AdminError: refused.
        """
        return await self._call("DELETE", f"/api/v1/drains/{cluster}")

    async def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        try:
            async with self._session.request(method, self.url + path, json=body) as response:
                if response.status >= 300:
                    raise AdminError(f"{method} {path}", response.status, (await response.text()).strip())
                document = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AdminError(f"{method} {path}", 0, f"unreachable: {error}") from error
        if not isinstance(document, dict):
            raise AdminError(f"{method} {path}", 200, "not an object")
        return document
