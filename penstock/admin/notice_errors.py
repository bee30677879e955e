"""Why the control plane did not take a notice, or did not end one."""

from collections.abc import Sequence

from penstock.admin.ports import ControlPlaneError


class UnknownEndpointError(ControlPlaneError):
    """No such endpoint."""

    def __init__(self, endpoint: str, where: str, known: Sequence[str]) -> None:
        super().__init__(f"no endpoint {endpoint!r} in {where}")
        self.endpoint = endpoint
        self.known = tuple(known)


class UnmatchedNoticeError(ControlPlaneError):
    """No machine of a notice is one of ours."""

    def __init__(self, names: Sequence[str], where: str) -> None:
        super().__init__(
            f"nothing in {where} goes by {', '.join(names)}: looked for an endpoint of that address or host name, and "
            "for the name in metadata.annotations['instance-ids'] of a Cluster. Name the place with ?cluster= and "
            "?endpoint=host:port, or write the annotation (NAME=host:port, separated by commas)"
        )
        self.names = tuple(names)


class PlaceMissingError(ControlPlaneError):
    """A notice that names neither machine nor cluster."""

    def __init__(self) -> None:
        super().__init__("the notice names no machine: say with ?cluster= or ?endpoint=host:port what goes away")


class UnknownNoticeError(ControlPlaneError):
    """There is no such notice to end."""

    def __init__(self, notice: str, known: Sequence[str]) -> None:
        super().__init__(f"no notice {notice!r} stands")
        self.notice = notice
        self.known = tuple(known)


class TooManyNoticesError(ControlPlaneError):
    """More notices than there can be machines."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} notices are kept already: end some, or let them end")
