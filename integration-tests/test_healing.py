"""Killed containers, killed daemons: the service goes on, containers do not notice daemons."""
import os
import pathlib
import signal

import pytest

from conftest import wait_for


def test_killed_container_is_replaced(lab1, service):
    lab1.create(service, "--replicas", "2", "--restart-delay", "10ms")
    victim = lab1.tasks(service)[0]
    os.kill(lab1.pid(victim), signal.SIGKILL)
    wait_for(lambda: victim["ID"] not in {t["ID"] for t in lab1.tasks(service)} and lab1.running(service) == (2, 2), "replaced")
    assert "task: non-zero exit (137)" in lab1.cli("service", "ps", "--no-trunc", service).stdout


@pytest.mark.parametrize("daemon", ["agent", "dispatcher", "scheduler", "manager-raft", "ingress-lb"])
def test_killed_daemon_is_invisible_to_containers(lab1, service, daemon):
    lab1.create(service, "--replicas", "2")
    before = {t["ID"]: lab1.pid(t) for t in lab1.tasks(service)}
    lab1.kill("m1", daemon)
    wait_for(lambda: lab1.running(service) == (2, 2), "seen again", 30)
    lab1.cli("service", "scale", "--detach", f"{service}=3")
    lab1.wait_running(service, 3, 30)
    after = {t["ID"]: lab1.pid(t) for t in lab1.tasks(service)}
    assert before.items() <= after.items()
    assert all(pathlib.Path(f"/proc/{pid}").exists() for pid in after.values())


def test_container_that_ends_while_the_agent_is_dead(lab1, service):
    lab1.create(service, "--replicas", "1", "--restart-delay", "10ms")
    task = lab1.tasks(service)[0]
    lab1.lab("stop", "m1", "agent")
    os.kill(lab1.pid(task), signal.SIGKILL)
    lab1.kill("m1", "agent")
    wait_for(lambda: lab1.running(service) == (1, 1) and lab1.tasks(service)[0]["ID"] != task["ID"], "replaced after the restart", 30)
    assert "task: non-zero exit (137)" in lab1.cli("service", "ps", "--no-trunc", service).stdout


def test_killed_shim_is_noticed(lab1, service):
    lab1.create(service, "--restart-delay", "10ms")
    task = lab1.tasks(service)[0]
    pid = lab1.pid(task)
    parent = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: lab1.running(service) == (1, 1) and lab1.tasks(service)[0]["ID"] != task["ID"], "replaced", 30)
    wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the orphan is gone")


def test_everything_killed_at_once(lab1, service):
    lab1.create(service, "--replicas", "2")
    before = {t["ID"]: lab1.pid(t) for t in lab1.tasks(service)}
    for daemon in ("manager-raft", "scheduler", "dispatcher", "agent", "ingress-lb"):
        lab1.lab("kill", "m1", daemon)
    wait_for(lambda: lab1.running(service) == (2, 2), "all back", 40)
    assert {t["ID"]: lab1.pid(t) for t in lab1.tasks(service)} == before


def test_acknowledged_is_kept_over_kill(lab1, service):
    """Create, kill -9 the manager at once: what was answered is there."""
    lab1.create(service, "--replicas", "0")
    for n in range(5):
        lab1.cli("service", "update", "--detach", "--label-add", f"n={n}", service)
        lab1.kill("m1", "manager-raft")
        labels = wait_for(lambda: lab1.inspect("service", service)["Spec"]["Labels"], "answers again")
        assert labels == {"n": str(n)}
