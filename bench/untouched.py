"""The guard of the push path: betterproto2, which authors resources and is slow, must not be touched while pushing.

Two strengths. `forbid_import` costs nothing and suits a process that never needs it: any import of it fails.
`Untouched` suits a process that has it loaded: every call into it while the block runs is noted, in every thread begun
meanwhile, and the block ends with an error. Tracing makes the block slow, so it is not for what is timed.
"""

import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType, TracebackType
from typing import Any, Final, Self

SLOW: Final = ("betterproto2", "envoy_data_plane")


class TouchedError(Exception):
    """Something slow was touched where it must not be."""


def forbid_import(packages: Sequence[str] = SLOW) -> None:
    """Have every import of the packages fail from now on.

    Raises:
        TouchedError: one of them is loaded already.
    """
    loaded = sorted(name for name in sys.modules if _package(name) in packages)
    if loaded:
        raise TouchedError(f"{loaded[0]} is loaded in a process that only pushes")
    sys.meta_path.insert(0, _Refuser(frozenset(packages)))


class _Refuser(MetaPathFinder):
    def __init__(self, packages: frozenset[str]) -> None:
        self._packages = packages

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 -- the protocol's
        target: ModuleType | None = None,  # noqa: ARG002 -- the protocol's
    ) -> ModuleSpec | None:
        if _package(fullname) in self._packages:
            raise TouchedError(f"{fullname} is imported while pushing")
        return None


class Untouched:
    """A block in which nothing of the packages may be called."""

    def __init__(self, packages: Sequence[str] = SLOW) -> None:
        self._packages = frozenset(packages)
        self.touched: dict[str, int] = {}
        """What was called, by its name, and how often."""

    def __enter__(self) -> Self:
        threading.setprofile(self._trace)
        sys.setprofile(self._trace)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        if self.touched and error is None:
            most = sorted(self.touched, key=lambda name: -self.touched[name])[:5]
            calls = ", ".join(f"{name} ({self.touched[name]} times)" for name in most)
            raise TouchedError(f"touched while pushing: {calls}")

    def _trace(self, frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401 -- whatever was called
        if event == "call":
            # Methods that dataclasses generate have no file of their own, but the globals of their module.
            module, name = frame.f_globals.get("__name__"), frame.f_code.co_qualname
        elif event == "c_call":
            module, name = getattr(argument, "__module__", None), getattr(argument, "__qualname__", repr(argument))
        else:
            return
        if isinstance(module, str) and _package(module) in self._packages:
            called = f"{module}.{name}"
            self.touched[called] = self.touched.get(called, 0) + 1


def _package(module: str) -> str:
    return module.partition(".")[0]
