"""Keys: found where the policy says, read anew each time, and never shown."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.signals.credentials import MOST_BYTES, CredentialError, Keyring, Secret
from penstock_policies.probing import Credential

KEY = "sk-very-secret"


async def test_a_key_of_the_environment_is_sent_as_the_policy_says() -> None:
    keyring = Keyring(environment={"PENSTOCK_SECRET_EU": KEY})
    name, secret = await keyring.header(Credential(env="PENSTOCK_SECRET_EU"))
    assert (name, secret.reveal()) == ("Authorization", f"Bearer {KEY}")
    name, secret = await keyring.header(Credential(env="PENSTOCK_SECRET_EU", header="api-key", scheme=""))
    assert (name, secret.reveal()) == ("api-key", KEY)


async def test_a_rotated_key_is_used_at_once(tmp_path: Path) -> None:
    keyring, credential = Keyring(tmp_path, {}), Credential(file="eu.key")
    (tmp_path / "eu.key").write_text("one\n")
    assert (await keyring.header(credential))[1] == Secret("Bearer one")
    (tmp_path / "eu.key").write_text("two\n")
    assert (await keyring.header(credential))[1] == Secret("Bearer two")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "file eu.key cannot be read: No such file or directory"),
        (b"", "file eu.key is empty"),
        (b"\n \n", "file eu.key is empty"),
        (b"sk-very-secret\r\nx-admin: yes", "file eu.key holds no key: expected one line of printable characters"),
        (b"sk-very-secret\xff", "file eu.key holds no key: expected one line of printable characters"),
        (b"k" * (MOST_BYTES + 1), "file eu.key holds no key: expected one line of printable characters"),
    ],
)
async def test_what_is_no_key_is_told_without_being_quoted(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "eu.key").write_bytes(content)
    with pytest.raises(CredentialError) as caught:
        await Keyring(tmp_path, {}).header(Credential(file="eu.key"))
    assert str(caught.value) == why
    assert caught.value.__cause__ is None


async def test_a_key_that_kubernetes_rotates_by_links_within_the_directory_is_found(tmp_path: Path) -> None:
    keyring, credential = Keyring(tmp_path, {}), Credential(file="eu.key")
    for version in ("one", "two"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "eu.key").write_text(version)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "eu.key").symlink_to("..data/eu.key")
    assert (await keyring.header(credential))[1] == Secret("Bearer one")
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert (await keyring.header(credential))[1] == Secret("Bearer two")


def _absolute(file: Path, other: Path) -> None:
    file.symlink_to(other)


def _upwards(file: Path, other: Path) -> None:
    file.symlink_to(Path("..") / other.name)


def _by_a_directory(file: Path, other: Path) -> None:
    (file.parent / "up").symlink_to(other.parent)
    file.symlink_to(Path("up") / other.name)


def _fifo(file: Path, _: Path) -> None:
    os.mkfifo(file)


def _directory(file: Path, _: Path) -> None:
    file.mkdir()


def _loop(file: Path, _: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_absolute, "is a link that leads out of the credentials directory"),
        (_upwards, "is a link that leads out of the credentials directory"),
        (_by_a_directory, "is a link that leads out of the credentials directory"),
        (_fifo, "is not a regular file"),
        (_directory, "(is not a regular file|cannot be read: Is a directory)"),
        (_loop, "cannot be read: Too many levels of symbolic links"),
    ],
)
async def test_no_name_leads_to_a_secret_of_anybody_else(
    tmp_path: Path, make: Callable[[Path, Path], None], why: str
) -> None:
    (tmp_path / "other").write_text(KEY)
    keys = tmp_path / "keys"
    keys.mkdir()
    make(keys / "eu.key", tmp_path / "other")
    with pytest.raises(CredentialError, match=rf"^file eu\.key {why}$"):
        await Keyring(keys, {}).header(Credential(file="eu.key"))


async def test_a_variable_that_is_not_set_and_a_directory_that_is_not_given_are_told() -> None:
    with pytest.raises(CredentialError, match="variable PENSTOCK_SECRET_EU is not set"):
        await Keyring(environment={}).header(Credential(env="PENSTOCK_SECRET_EU"))
    with pytest.raises(CredentialError, match=r"no directory for file eu\.key: penstock serve --credentials DIR"):
        await Keyring(environment={}).header(Credential(file="eu.key"))


def test_a_secret_shows_itself_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(KEY)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("key", extra={"key": secret})
    assert not any(KEY in shown for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}", caplog.text))
    assert secret != KEY
