"""Reading and watching a policy directory, ConfigMap mounts included."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import watchfiles

from penstock.policy_source import MAX_FILE_BYTES, PolicyDirectory, PolicySourceError, Reading, read_directory
from penstock_policies.problems import PolicyError

FOR_EVER = 3600.0
"""A poll interval no test waits for: whatever is seen was told by the kernel."""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _config_map(root: Path, version: str, text: str) -> None:
    """Put a version in place as a kubelet does: new directory, then one rename of the ``..data`` link."""
    _write(root / f"..{version}" / "policy.yaml", text)
    (root / "..tmp").symlink_to(f"..{version}")
    (root / "..tmp").rename(root / "..data")
    if not (root / "policy.yaml").is_symlink():
        (root / "policy.yaml").symlink_to("..data/policy.yaml")


# Reading


def test_policy_files_are_read_by_relative_name_at_any_depth(tmp_path: Path) -> None:
    _write(tmp_path / "b.yml", "b")
    _write(tmp_path / "teams" / "chat" / "a.yaml", "\u00fc")
    _write(tmp_path / "prices.json", "{}")
    _write(tmp_path / "README.md", "")
    assert read_directory(tmp_path) == {"b.yml": "b", "teams/chat/a.yaml": "\u00fc"}
    assert read_directory(str(tmp_path)) == read_directory(tmp_path)


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    for name in (".hidden.yaml", ".git/a.yaml", "..2024/a.yaml", "a.yaml"):
        _write(tmp_path / name, name)
    assert list(read_directory(tmp_path)) == ["a.yaml"]


def test_a_config_map_is_read_once_by_its_own_names(tmp_path: Path) -> None:
    _config_map(tmp_path, "v1", "one")
    assert read_directory(tmp_path) == {"policy.yaml": "one"}


def test_a_file_seen_by_two_names_is_read_once(tmp_path: Path) -> None:
    _write(tmp_path / "real" / "a.yaml", "text")
    (tmp_path / "again.yaml").symlink_to("real/a.yaml")
    (tmp_path / "round").symlink_to(tmp_path)
    assert list(read_directory(tmp_path).values()) == ["text"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfkind: Cluster")
    assert read_directory(tmp_path) == {"a.yaml": "kind: Cluster"}


def _not_utf8(path: Path) -> None:
    path.write_bytes(b"kind: \xff")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_not_utf8, "is not UTF-8: byte 6 is 0xff"),
        (_dangling, "cannot be read: No such file"),
        (_huge, "a policy file may have"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_every_file_that_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    _write(tmp_path / "a.yaml", "fine")
    spoil(tmp_path / "b.yaml")
    (tmp_path / "sub").mkdir()
    spoil(tmp_path / "sub" / "c.yaml")
    with pytest.raises(PolicySourceError, match=says) as caught:
        read_directory(tmp_path)
    assert isinstance(caught.value, PolicyError)
    assert [problem.file for problem in caught.value.problems] == ["b.yaml", "sub/c.yaml"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicySourceError, match="nosuch: is not a directory"):
        read_directory(tmp_path / "nosuch")


# Watching


@asynccontextmanager
async def _watching(path: Path, poll_interval: float = FOR_EVER) -> AsyncIterator[AsyncGenerator[Reading, None]]:
    async with aclosing(PolicyDirectory(path, poll_interval=poll_interval).watch()) as readings:
        yield readings


async def _next(readings: AsyncGenerator[Reading, None]) -> Reading:
    async with asyncio.timeout(20):
        return await anext(readings)


@asynccontextmanager
async def _edit_once_watched(
    readings: AsyncGenerator[Reading, None], edit: Callable[[], None]
) -> AsyncIterator[Reading]:
    """Start waiting for the next reading, repeat the edit until it comes: the kernel's watch is set up unseen."""
    waiting = asyncio.ensure_future(_next(readings))
    while not waiting.done():
        edit()
        await asyncio.wait({waiting}, timeout=0.5)
    yield await waiting


async def test_the_directory_is_given_at_once_and_then_when_its_text_changes(tmp_path: Path) -> None:
    _write(tmp_path / "a.yaml", "one")
    async with _watching(tmp_path) as readings:
        assert (await _next(readings)).files == {"a.yaml": "one"}
        async with _edit_once_watched(readings, lambda: _write(tmp_path / "a.yaml", "two")) as reading:
            assert reading == Reading({"a.yaml": "two"})


async def test_a_config_map_swap_is_seen(tmp_path: Path) -> None:
    _config_map(tmp_path, "v1", "one")
    versions = iter(range(2, 1000))
    async with _watching(tmp_path) as readings:
        assert (await _next(readings)).files == {"policy.yaml": "one"}
        async with _edit_once_watched(readings, lambda: _config_map(tmp_path, f"v{next(versions)}", "two")) as reading:
            assert reading.files == {"policy.yaml": "two"}


async def test_prices_beside_the_policies_do_not_wake_anybody(tmp_path: Path) -> None:
    _write(tmp_path / "a.yaml", "one")
    edits = iter(range(1000))

    def edit() -> None:
        for _ in range(20):
            _write(tmp_path / "prices.json", str(next(edits)))
        os.utime(tmp_path / "a.yaml")
        if next(edits) > 60:
            _write(tmp_path / "a.yaml", "two")

    async with _watching(tmp_path) as readings:
        await _next(readings)
        async with _edit_once_watched(readings, edit) as reading:
            assert reading.files == {"a.yaml": "two"}


async def test_a_broken_file_is_reported_and_its_mending_too(tmp_path: Path) -> None:
    _write(tmp_path / "a.yaml", "one")
    async with _watching(tmp_path, 0.05) as readings:
        await _next(readings)
        (tmp_path / "b.yaml").symlink_to("nowhere")
        assert [problem.file for problem in (await _next(readings)).problems] == ["b.yaml"]
        (tmp_path / "b.yaml").unlink()
        assert await _next(readings) == Reading({"a.yaml": "one"})


async def test_a_directory_that_is_replaced_or_missing_is_followed_by_its_name(tmp_path: Path) -> None:
    root = tmp_path / "policies"
    _write(root / "a.yaml", "one")
    async with _watching(root, 0.05) as readings:
        assert (await _next(readings)).files == {"a.yaml": "one"}
        root.rename(tmp_path / "old")
        assert (await _next(readings)).problems
        _write(root / "a.yaml", "two")
        assert (await _next(readings)).files == {"a.yaml": "two"}
        shutil.rmtree(root)
        assert (await _next(readings)).problems
        _write(root / "a.yaml", "three")
        assert (await _next(readings)).files == {"a.yaml": "three"}


async def test_a_linked_directory_is_followed_to_its_new_target(tmp_path: Path) -> None:
    for version in ("one", "two", "three"):
        _write(tmp_path / version / "a.yaml", version)
    (tmp_path / "current").symlink_to("one")
    async with _watching(tmp_path / "current", 0.05) as readings:
        assert (await _next(readings)).files == {"a.yaml": "one"}
        for version in ("two", "three"):
            (tmp_path / "next").symlink_to(version)
            (tmp_path / "next").rename(tmp_path / "current")
            assert (await _next(readings)).files == {"a.yaml": version}


async def test_polling_goes_on_where_the_kernel_will_not_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> AsyncGenerator[set[watchfiles.main.FileChange], None]:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr(watchfiles, "awatch", refuse)
    _write(tmp_path / "a.yaml", "one")
    async with _watching(tmp_path, 0.02) as readings:
        await _next(readings)
        _write(tmp_path / "a.yaml", "two")
        assert (await _next(readings)).files == {"a.yaml": "two"}


async def test_a_known_reading_is_not_given_again(tmp_path: Path) -> None:
    _write(tmp_path / "a.yaml", "one")
    directory = PolicyDirectory(tmp_path, poll_interval=0.05)
    async with aclosing(directory.watch(await directory.read())) as readings:
        _write(tmp_path / "b.yaml", "two")
        assert (await _next(readings)).files == {"a.yaml": "one", "b.yaml": "two"}
