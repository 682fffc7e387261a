"""Several nodes: joining, placement, drain, pause, constraints, a node that goes away."""
import pytest

from conftest import run, wait_for


def nodes_of(lab, service):
    out = lab.cli("service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}", service).stdout
    return sorted(line.split()[0] for line in out.splitlines() if "Running" in line)


def status(lab, node):
    for line in lab.cli("node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}}").stdout.splitlines():
        name, state, availability = line.split()
        if name == node:
            return state, availability
    return None


@pytest.fixture
def all_active(lab3):
    yield
    for node in lab3.nodes():
        lab3.lab("heal", node)
        lab3.cli("node", "update", "--availability", "active", node)
        wait_for(lambda n=node: status(lab3, n) == ("Ready", "Active"), f"{node} ready", 40)


def test_node_ls(lab3):
    out = lab3.cli("node", "ls").stdout.splitlines()
    assert out[0].split() == ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER", "STATUS", "ENGINE", "VERSION"]
    assert sum(" * " in line for line in out[1:]) == 1 and sum("Leader" in line for line in out[1:]) == 1
    assert len(out) == 4


def test_spread_and_global(lab3, service):
    lab3.create(service, "--replicas", "6")
    assert nodes_of(lab3, service) == ["m1", "m1", "w1", "w1", "w2", "w2"]
    lab3.create(service + "-g", "--mode", "global")
    assert nodes_of(lab3, service + "-g") == ["m1", "w1", "w2"]
    lab3.remove(service + "-g")


def test_constraints_by_label(lab3, service):
    lab3.cli("node", "update", "--label-add", "disk=ssd", "w2")
    lab3.create(service, "--replicas", "2", "--constraint", "node.labels.disk==ssd")
    assert nodes_of(lab3, service) == ["w2", "w2"]
    lab3.cli("node", "update", "--label-rm", "disk", "w2")
    wait_for(lambda: "no suitable node (scheduling constraints not satisfied on 3 nodes)" in
             lab3.cli("service", "ps", "--no-trunc", service).stdout, "evicted with a reason")


def test_max_replicas_per_node(lab3, service):
    lab3.create(service, "--replicas", "4", "--replicas-max-per-node", "1", detach=True)
    wait_for(lambda: nodes_of(lab3, service) == ["m1", "w1", "w2"], "one a node")
    assert "max replicas per node limit exceed" in lab3.cli("service", "ps", "--no-trunc", service).stdout


def test_drain_moves_and_pause_keeps(lab3, service, all_active):
    lab3.create(service, "--replicas", "3")
    lab3.cli("node", "update", "--availability", "pause", "w1")
    lab3.cli("node", "update", "--availability", "drain", "w2")
    wait_for(lambda: nodes_of(lab3, service) == ["m1", "m1", "w1"], "w2 empty, w1 kept", 30)
    lab3.cli("service", "scale", "--detach", f"{service}=5")
    wait_for(lambda: nodes_of(lab3, service) == ["m1", "m1", "m1", "m1", "w1"], "nothing new on w1", 30)


def test_a_lost_node_is_replaced_and_comes_back(lab3, service, all_active):
    lab3.create(service, "--replicas", "3")
    lab3.lab("cut", "w1")
    wait_for(lambda: status(lab3, "w1")[0] == "Down", "seen as down", 30)
    wait_for(lambda: "w1" not in nodes_of(lab3, service) and len(nodes_of(lab3, service)) == 3, "replaced", 30)
    lab3.lab("heal", "w1")
    wait_for(lambda: status(lab3, "w1")[0] == "Ready", "back", 40)

    def stopped():
        return not [r for r in lab3.cli("node", "ps", "w1").stdout.splitlines() if "Running" in r.split("Shutdown")[-1] and service in r]
    wait_for(stopped, "its old container was stopped", 30)


def test_a_dead_node_starts_again(lab3, service, all_active):
    lab3.create(service, "--replicas", "3")
    lab3.lab("kill", "w2", "all")
    wait_for(lambda: status(lab3, "w2")[0] == "Down", "seen as down", 30)
    wait_for(lambda: lab3.running(service) == (3, 3), "replaced", 30)
    lab3.lab("start", "w2")
    wait_for(lambda: status(lab3, "w2") == ("Ready", "Active"), "back", 40)


def test_worker_refuses_manager_commands(lab3):
    done = lab3.cli("service", "ls", node="w1", check=False)
    assert done.returncode == 1 and "not a swarm manager" in done.stderr
    assert "Swarm: active" in lab3.cli("info", node="w1").stdout
    assert "Is Manager: false" in lab3.cli("info", node="w1").stdout


def test_join_needs_the_right_token(lab3, service):
    token = lab3.cli("join-token", "-q", "worker").stdout.strip()
    assert token.startswith("SWMTKN-1-") and len(token) == len("SWMTKN-1-") + 50 + 1 + 25
    lab3.create(service, "--mode", "global")
    lab3.cli("leave", node="w2")
    wait_for(lambda: status(lab3, "w2")[0] == "Down", "left", 20)
    states = lab3.cli("service", "ps", service, "--filter", "node=w2", "--format", "{{.CurrentState}}").stdout.splitlines()
    assert [s.split()[0] for s in states] == ["Shutdown"]  # no other was given to a node that leaves
    address = f"{lab3.address('m1')}:2377"
    wrong = token[:-3] + ("aaa" if not token.endswith("aaa") else "bbb")
    done = lab3.cli("join", "--token", wrong, address, node="w2", check=False)
    assert done.returncode == 1 and "token" in done.stderr
    other_root = "SWMTKN-1-" + "0" * 49 + "1" + token[-26:]
    done = lab3.cli("join", "--token", other_root, address, node="w2", check=False, timeout=90)
    assert done.returncode == 1
    out = lab3.cli("join", "--token", token, address, node="w2").stdout
    assert out.strip() == "This node joined a swarm as a worker."
    wait_for(lambda: status(lab3, "w2") and lab3.cli("node", "ls").stdout.count("Ready") == 3, "ready again", 20)
    for line in lab3.cli("node", "ls", "--format", "{{.ID}} {{.Status}}").stdout.splitlines():
        if line.endswith("Down"):
            lab3.cli("node", "rm", line.split()[0])


def test_remote_administration(lab3, tmp_path):
    identity = next(lab3.state("m1").glob("node/admin"))
    done = lab3.on("w1", "swarm-cli", "--host", f"tcp://{lab3.address('m1')}:2377", "--identity", identity, "node", "ls")
    assert "m1" in done.stdout
    assert (identity.stat().st_mode & 0o777) == 0o600
    copy = tmp_path / "open"
    copy.write_bytes(identity.read_bytes())
    copy.chmod(0o644)
    done = run(*(str(x) for x in ["nsenter", f"--net=/proc/{(lab3.dir / 'nodes/w1/holder').read_text().strip()}/ns/net", "--",
                                  lab3.dir / "bin/swarm-cli", "--host", f"tcp://{lab3.address('m1')}:2377", "--identity", copy, "node", "ls"]), check=False)
    assert done.returncode == 1 and "0600" in done.stderr
