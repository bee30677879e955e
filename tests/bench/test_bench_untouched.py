"""The guard of the push path can fail."""

import subprocess
import sys
import textwrap
import threading

import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster

from bench.untouched import TouchedError, Untouched


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )


def test_serialising_an_authored_message_in_the_block_is_noticed() -> None:
    cluster = Cluster(name="a")
    with pytest.raises(TouchedError, match="betterproto2"), Untouched():
        bytes(cluster)


def test_authoring_a_message_in_the_block_is_noticed() -> None:
    with pytest.raises(TouchedError, match="touched while pushing"), Untouched():
        Cluster(name="a")


def test_a_thread_begun_in_the_block_is_watched_too() -> None:
    cluster = Cluster(name="a")

    def serialise_elsewhere() -> None:
        thread = threading.Thread(target=bytes, args=(cluster,))
        thread.start()
        thread.join()

    with pytest.raises(TouchedError), Untouched():
        serialise_elsewhere()


def test_a_block_that_touches_nothing_ends_quietly() -> None:
    with Untouched() as watched:
        sorted([3, 1, 2])
    assert watched.touched == {}


def test_an_error_in_the_block_is_not_hidden() -> None:
    cluster = Cluster(name="a")

    def touch_and_fail() -> None:
        bytes(cluster)
        raise LookupError("of the block's own")

    with pytest.raises(LookupError), Untouched():
        touch_and_fail()


def test_watching_ends_with_the_block() -> None:
    with Untouched():
        pass
    assert sys.getprofile() is None
    assert threading.getprofile() is None


def test_a_process_that_only_pushes_cannot_import_it() -> None:
    done = run("from bench.untouched import forbid_import; forbid_import(); import envoy_data_plane.envoy.config")
    assert done.returncode != 0
    assert "TouchedError: envoy_data_plane is imported while pushing" in done.stderr


def test_a_process_that_only_pushes_must_not_have_imported_it() -> None:
    done = run("import betterproto2; from bench.untouched import forbid_import; forbid_import()")
    assert done.returncode != 0
    assert "is loaded in a process that only pushes" in done.stderr


def test_the_servers_own_code_needs_none_of_it() -> None:
    done = run("from bench.untouched import forbid_import; forbid_import(); import bench.fanout_server")
    assert done.returncode == 0, done.stderr
