"""The two commands a newcomer types, beside whatever else runs here, and nothing left after `down`."""
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from conftest import ROOT, run


@pytest.fixture
def prefix():
    directory = tempfile.mkdtemp(prefix="swq", dir="/tmp")
    yield pathlib.Path(directory) / "q"
    run(ROOT / "deploy/quickstart", "down", "--prefix", pathlib.Path(directory) / "q", check=False, timeout=200)
    shutil.rmtree(directory, ignore_errors=True)


def traces(prefix):
    """What a run may leave: processes, mounts, links, tables, cgroups that name the prefix or its settings."""
    left = [line for line in open("/proc/mounts") if str(prefix) in line]
    left += [line for line in run("ps", "-eo", "args").stdout.splitlines() if str(prefix) in line and "pytest" not in line]
    return left


def links():
    return {line.split(":")[1].strip() for line in run("ip", "-o", "link").stdout.splitlines()}


def cgroups():
    return set(run("find", "/sys/fs/cgroup", "-type", "d", "-name", "swarm*", check=False).stdout.split())


def test_up_again_and_down(prefix):
    before_links, before_cgroups = links(), cgroups()
    before_tables = run("nft", "list", "tables").stdout
    out = subprocess.run([ROOT / "deploy/quickstart", "--prefix", prefix], capture_output=True, text=True, timeout=500)
    assert out.returncode == 0, out.stdout + out.stderr
    assert out.stdout.count("Hello from") == 3 and "3/3" in out.stdout and "Swarm initialized" in out.stdout
    again = run(ROOT / "deploy/quickstart", "--prefix", prefix, timeout=300)
    assert again.stdout.count("Hello from") == 3 and "Swarm initialized" not in again.stdout
    run(ROOT / "deploy/quickstart", "down", "--prefix", prefix, timeout=200)
    assert traces(prefix) == [] and not prefix.exists()
    assert links() == before_links and run("nft", "list", "tables").stdout == before_tables
    assert cgroups() <= before_cgroups


def test_lab_leaves_nothing():
    directory = tempfile.mkdtemp(prefix="swl", dir="/tmp")
    before = links(), run("ip", "netns", "list").stdout, cgroups()
    try:
        run(ROOT / "deploy/lab", "up", "--dir", f"{directory}/l", "--managers", "1", "--workers", "1", "--build", ROOT / "build/release", timeout=200)
        table = run(ROOT / "deploy/lab", "ps", "--dir", f"{directory}/l").stdout
        assert "m1" in table and "w1" in table and "agent=" in table
    finally:
        run(ROOT / "deploy/lab", "down", "--dir", f"{directory}/l", timeout=200)
    assert (links(), run("ip", "netns", "list").stdout) == before[:2] and cgroups() <= before[2]
    assert traces(directory) == []
    shutil.rmtree(directory)
