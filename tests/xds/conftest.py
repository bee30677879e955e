import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.xds.shell_setting import Setting, Start


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers, and finds out whether any left a task behind."""
    tasks_before = asyncio.all_tasks()
    settings: list[Setting] = []

    async def start_one(**options: Any) -> Setting:
        setting = Setting(**options)
        await setting.open()
        settings.append(setting)
        return setting

    yield start_one
    for setting in settings:
        await setting.close()
    left = {t for t in asyncio.all_tasks() - tasks_before if t.get_name().startswith("xds-")}
    assert not left
