"""Sending clients away little by little, so that they do not all arrive at the other replicas at once."""

from collections.abc import Awaitable, Callable, Sequence

import grpc

from penstock_xds.session import Ending, Session

_REASON = "the server is shutting down"


def farewell(session: Session) -> Ending:
    """Return how to end the stream of a server that stops.

    A stream that ends in good order is simply opened again; but one that ends before anything was sent counts as
    failed with clients (gRFC A57), which then may fall back to another server, and so it is said openly.
    """
    return Ending(_REASON, grpc.StatusCode.OK if session.answered else grpc.StatusCode.UNAVAILABLE)


async def drain(
    sessions: Sequence[Session],
    window: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """End the sessions one by one, evenly over the window; those that were not answered yet go last.

    Args:
        sessions: all that are open; there must come no more.
        window: seconds from the first to the end of the last one's share.
        clock: seconds, monotonic.
        sleep: waits so many seconds.

    """
    start = clock()
    left = 0

    async def end(session: Session) -> None:
        nonlocal left
        session.end(farewell(session))
        left += 1
        await sleep(max(0.0, start + window * left / len(sessions) - clock()))

    waiting: list[Session] = []
    for session in sessions:
        if session.answered:
            await end(session)
        else:
            waiting.append(session)
    for session in waiting:
        await end(session)
