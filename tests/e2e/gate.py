"""A place on the way to a server that lets some processes through and drops others, as a broken network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Gate:
    """Forwards TCP connections on loopback; those of ``blocked`` processes are dropped, new and old."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self.blocked = 0
        """Process id; 0 for none."""
        self._open: dict[asyncio.StreamWriter, int] = {}
        """Connection to the caller's port."""

    def block(self, pid: int) -> None:
        """Cut off this process, and no other."""
        self.blocked = pid
        for writer, port in tuple(self._open.items()):
            if self._is_blocked(port):
                writer.transport.abort()

    def open(self) -> None:
        """Let everybody through again."""
        self.blocked = 0

    def _is_blocked(self, caller: int) -> bool:
        return self.blocked != 0 and _inode(caller, self.port) in _sockets(self.blocked)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = writer.get_extra_info("peername")[1]
        if self._is_blocked(caller):
            writer.transport.abort()
            return
        self._open[writer] = caller
        try:
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", self._to)
                await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            del self._open[writer]


def _inode(caller: int, server: int) -> str:
    """Find the socket of the calling side of a connection on loopback, as the kernel names it."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if (int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16)) == (caller, server):
            return f"socket:[{fields[9]}]"
    return ""


def _sockets(pid: int) -> set[str]:
    found: set[str] = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(each.readlink()))
    return found


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    finally:
        writer.close()


@asynccontextmanager
async def gate(port: int) -> AsyncIterator[Gate]:
    """A gate before a port, open inside the block."""
    made = Gate(port)
    server = await asyncio.start_server(made._pass, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in tuple(made._open):
            writer.transport.abort()
        await server.wait_closed()
