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
    return {line.split(":")[1].split("@")[0].strip() for line in run("ip", "-o", "link").stdout.splitlines()}


def cgroups(name):
    return run("find", "/sys/fs/cgroup", "-type", "d", "-name", f"{name}*", check=False).stdout.split()


def settings(prefix):
    return dict(line.split("=") for line in (prefix / "etc/settings").read_text().split())


def attached(bridge):
    """The bridge and the links that are attached to it: other clusters of this machine come and go meanwhile."""
    lines = run("ip", "-o", "link", "show", "master", bridge).stdout.splitlines()
    return {bridge} | {line.split(":")[1].split("@")[0].strip() for line in lines}


def test_up_again_and_down(prefix):
    out = subprocess.run([ROOT / "deploy/quickstart", "--prefix", prefix], capture_output=True, text=True, timeout=500)
    assert out.returncode == 0, out.stdout + out.stderr
    assert out.stdout.count("Hello from") == 3 and "3/3" in out.stdout and "Swarm initialized" in out.stdout
    again = run(ROOT / "deploy/quickstart", "--prefix", prefix, timeout=300)
    assert again.stdout.count("Hello from") == 3 and "Swarm initialized" not in again.stdout
    chosen = settings(prefix)
    made, table = attached(chosen["BRIDGE"]), f"table inet {chosen['TABLE']}\n"
    group = "swarm-" + chosen["TABLE"].removeprefix("swarm")
    assert len(made) == 4 and table in run("nft", "list", "tables").stdout and cgroups(group)
    run(ROOT / "deploy/quickstart", "down", "--prefix", prefix, timeout=200)
    assert traces(prefix) == [] and not prefix.exists()
    assert not made & links() and table not in run("nft", "list", "tables").stdout
    assert not cgroups(group)


def test_lab_leaves_nothing():
    directory = tempfile.mkdtemp(prefix="swl", dir="/tmp")
    lab = "swlab" + run("bash", "-c", f". {ROOT}/deploy/lib.sh; hash_of {directory}/l 65536").stdout.strip() + "-"
    try:
        run(ROOT / "deploy/lab", "up", "--dir", f"{directory}/l", "--managers", "1", "--workers", "1", "--build", ROOT / "build/release", timeout=200)
        table = run(ROOT / "deploy/lab", "ps", "--dir", f"{directory}/l").stdout
        assert "m1" in table and "w1" in table and "agent=" in table
        assert run("ip", "netns", "list").stdout.count(lab) == 3
    finally:
        run(ROOT / "deploy/lab", "down", "--dir", f"{directory}/l", timeout=200)
    assert lab not in run("ip", "netns", "list").stdout and not cgroups(lab.replace("swlab", "swarm-lab"))
    assert traces(directory) == []
    shutil.rmtree(directory)
