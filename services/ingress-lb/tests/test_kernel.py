"""ingress-lb on the real kernel: a node, three tasks and a client as network namespaces, the table sent as the agent sends it."""
import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

DAEMON = os.environ["INGRESS_LB"]
SEND = os.environ["SEND_TABLE"]
TABLE = "swarm_test"
NODE, CLIENT = "192.0.2.1", "192.0.2.2"

# Says "TASK CLIENT-ADDRESS" on connecting (tcp) or for each packet (udp), then repeats what it gets.
SERVER = r"""
import socket, sys, threading
me = sys.argv[1]
def tcp():
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", 80)); s.listen(64)
    print("ready", flush=True)
    while True:
        c, a = s.accept()
        threading.Thread(target=talk, args=(c, a), daemon=True).start()
def talk(c, a):
    c.sendall(f"{me} {a[0]}\n".encode())
    while data := c.recv(1000):
        c.sendall(data)
    c.close()
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 53))
    while True:
        data, a = s.recvfrom(1000)
        s.sendto(f"{me} {a[0]}\n".encode(), a)
threading.Thread(target=udp, daemon=True).start()
tcp()
"""

# Runs inside a namespace: connects N times, prints what it was told, one line each; holds the last one open if asked to.
ASK = r"""
import socket, sys
address, port, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(times):
    c = socket.create_connection((address, port), timeout=5)
    print(c.makefile().readline().strip(), flush=True)
    if len(sys.argv) > 4:
        for line in sys.stdin:
            c.sendall(line.encode()); print(c.recv(1000).decode().strip(), flush=True)
    c.close()
"""


def run(*argv, check=True, **kw):
    return subprocess.run(argv, check=check, capture_output=True, text=True, timeout=30, **kw)


class Namespace:
    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo up; exec sleep 600"], stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "up\n"
        self.enter = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *argv, **kw):
        return run(*self.enter, *argv, **kw)

    def popen(self, *argv, **kw):
        return subprocess.Popen([*self.enter, *argv], text=True, **kw)

    def ask(self, address, port, times=1):
        return self.run(sys.executable, "-c", ASK, address, str(port), str(times)).stdout.split("\n")[:-1]

    def refused(self, address, port):
        result = self.run(sys.executable, "-c", ASK, address, str(port), "1", check=False)
        return "ConnectionRefusedError" in result.stderr

    def link(self, other, here, there, address=None, peer_address=None):
        self.run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", str(other.holder.pid))
        self.run("ip", "link", "set", here, "up")
        other.run("ip", "link", "set", there, "up")
        if address:
            self.run("ip", "addr", "add", f"{address}/24", "dev", here)
        other.run("ip", "addr", "add", peer_address, "dev", there)

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Node:
    """The node's namespace with bridge, tasks, client and daemon."""

    def __init__(self, directory):
        self.dir = directory
        self.generation = 0
        self.daemon = None
        self.servers = []
        self.ns, self.client = Namespace(), Namespace()
        self.ns.run("ip", "link", "add", "swbr0", "type", "bridge")
        self.ns.run("ip", "addr", "add", "10.213.0.1/16", "dev", "swbr0")
        self.ns.run("ip", "link", "set", "swbr0", "up")
        self.ns.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.ns.link(self.client, "up0", "eth0", NODE, f"{CLIENT}/24")
        self.tasks = [self.add_task(i) for i in range(2, 5)]

    def add_task(self, number):
        task = Namespace()
        self.ns.link(task, f"task{number}", "eth0", None, f"10.213.0.{number}/16")
        self.ns.run("ip", "link", "set", f"task{number}", "master", "swbr0")
        self.ns.run("ip", "link", "set", f"task{number}", "type", "bridge_slave", "hairpin", "on")  # as the agent does
        task.run("ip", "route", "add", "default", "via", "10.213.0.1")
        server = task.popen(sys.executable, "-c", SERVER, f"t{number}", stdout=subprocess.PIPE)
        assert server.stdout.readline() == "ready\n"
        self.servers.append(server)
        return task

    def start(self):
        self.daemon = self.ns.popen(DAEMON, "--table", TABLE, "--state-dir", f"{self.dir}/state", "--run-dir", f"{self.dir}/run",
                                    "--metrics-address", "127.0.0.1:9381", "--check-interval", "100ms", stderr=subprocess.PIPE)
        seen = []
        for line in self.daemon.stderr:
            seen.append(line)
            if 'msg="ready"' in line or "msg=ready" in line:
                break
        else:
            pytest.fail("daemon did not start: " + "".join(seen))
        self.log = seen
        self.reader = threading.Thread(target=lambda err: seen.extend(err), args=(self.daemon.stderr,), daemon=True)
        self.reader.start()

    def stop(self, how=signal.SIGTERM):
        if self.daemon:
            self.daemon.send_signal(how)
            code = self.daemon.wait(timeout=10)
            self.daemon = None
            return code

    def send(self, *ports, check=True):
        self.generation += 1
        result = run(SEND, f"ipc://{self.dir}/run/ingress.sock", str(self.generation), "net:swbr0,10.213.0.0/16", *ports, check=check)
        if check:
            assert result.stdout == f"ack {self.generation}\n"
        return result

    def listing(self):
        return self.ns.run("nft", "list", "ruleset").stdout

    def metric(self, name):
        page = self.ns.run(sys.executable, "-c", "import urllib.request as u;"
                           "print(u.urlopen('http://127.0.0.1:9381/metrics').read().decode())").stdout
        return float(re.search(rf"^swarm_ingress_lb_{name} (\S+)$", page, re.M).group(1))

    def wait(self, what, seconds=10):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "".join(self.log)

    def close(self):
        self.stop(signal.SIGKILL)
        for server in self.servers:
            server.kill()
            server.wait()
        for ns in [*self.tasks, self.client, self.ns]:
            ns.close()


@pytest.fixture
def node():
    if os.geteuid() != 0 or run("unshare", "-n", "nft", "list", "ruleset", check=False).returncode != 0:
        pytest.skip("needs root and nf_tables")
    directory = tempfile.mkdtemp(prefix="lb-")
    node = Node(directory)
    try:
        node.start()
        yield node
    finally:
        node.close()
        shutil.rmtree(directory)


ALL = "tcp:8080=10.213.0.2:80,10.213.0.3:80,10.213.0.4:80"


def test_balanced_evenly_and_client_address_kept(node):
    node.send(ALL)
    told = node.client.ask(NODE, 8080, 300)
    assert {line.split()[1] for line in told} == {CLIENT}
    counts = collections.Counter(line.split()[0] for line in told)
    assert set(counts) == {"t2", "t3", "t4"} and min(counts.values()) > 60, counts


def test_from_the_node_itself_and_hairpin(node):
    node.send(ALL)
    assert {line.split()[1] for line in node.ns.ask("127.0.0.1", 8080, 20)} == {"10.213.0.1"}
    assert {line.split()[1] for line in node.ns.ask(NODE, 8080, 20)} == {NODE}
    told = node.tasks[0].ask(NODE, 8080, 30) + node.tasks[0].ask("10.213.0.1", 8080, 30)
    assert {line.split()[0] for line in told} == {"t2", "t3", "t4"}  # itself included
    assert {line.split()[1] for line in told} == {"10.213.0.1"}


def test_draining_takes_nothing_new_and_keeps_what_it_has(node):
    node.send("tcp:8080=10.213.0.2:80")
    talk = node.client.popen(sys.executable, "-c", ASK, NODE, "8080", "1", "hold", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert talk.stdout.readline().startswith("t2 ")
    node.send("tcp:8080=10.213.0.2:80!,10.213.0.3:80")
    assert {line.split()[0] for line in node.client.ask(NODE, 8080, 40)} == {"t3"}
    talk.stdin.write("still there\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == "still there\n"
    talk.stdin.close()
    assert talk.wait(timeout=10) == 0


def test_no_ready_backend_is_an_answer(node):
    node.send("tcp:8080=10.213.0.2:80!", "udp:5353")
    assert node.client.refused(NODE, 8080)
    assert node.ns.refused("127.0.0.1", 8080)
    node.send()
    assert node.client.refused(NODE, 8080)
    assert "tcp_8080" not in node.listing()


def test_outbound_is_masqueraded_and_tasks_are_not_reachable_directly(node):
    server = node.client.popen(sys.executable, "-c", SERVER, "outside", stdout=subprocess.PIPE)
    node.servers.append(server)
    assert server.stdout.readline() == "ready\n"
    node.send(ALL)
    assert node.tasks[0].ask(CLIENT, 80) == [f"outside {NODE}"]
    node.client.run("ip", "route", "add", "10.213.0.0/16", "via", NODE)
    result = node.client.run("timeout", "1", sys.executable, "-c", ASK, "10.213.0.2", "80", "1", check=False)
    assert result.returncode == 124
    # route_localnet must not open the node's loopback to its tasks
    assert node.ns.run("cat", "/proc/sys/net/ipv4/conf/swbr0/route_localnet").stdout == "1\n"
    node.tasks[0].run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip addr del 127.0.0.1/8 dev lo;"
                      "ip route add 127.0.0.0/8 via 10.213.0.1 dev eth0 src 10.213.0.2; ip rule del table local;"
                      "ip route add local 10.213.0.2 dev lo table 7; ip rule add table 7")
    result = node.tasks[0].run("timeout", "1", sys.executable, "-c", ASK, "127.0.0.1", "9381", "1", check=False)
    assert result.returncode == 124


def test_udp_flow_moves_when_its_backend_goes(node):
    node.send("udp:5353=10.213.0.2:53")
    talk = node.client.popen(sys.executable, "-c", r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 5353)); s.settimeout(5)
for line in sys.stdin:
    s.send(b"x"); print(s.recv(1000).decode().strip(), flush=True)
""", NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask():
        talk.stdin.write("\n")
        talk.stdin.flush()
        return talk.stdout.readline()
    assert ask() == f"t2 {CLIENT}\n"
    node.send("udp:5353=10.213.0.2:53!,10.213.0.3:53")
    assert ask() == f"t2 {CLIENT}\n"  # draining: a known flow goes on
    node.send("udp:5353=10.213.0.3:53")
    assert ask() == f"t3 {CLIENT}\n"
    assert node.metric("udp_flows_forgotten_total") == 1
    talk.stdin.close()
    assert talk.wait(timeout=10) == 0


def test_flushed_table_is_repaired_and_strangers_are_left_alone(node):
    node.ns.run("nft", "add table inet theirs; add chain inet theirs c; add rule inet theirs c counter")
    node.send(ALL)
    node.ns.run("nft", "flush", "table", "inet", TABLE)
    node.wait(lambda: node.metric("repairs_total") == 1)
    assert len(node.client.ask(NODE, 8080, 5)) == 5
    node.ns.run("nft", "delete", "table", "inet", TABLE)
    node.wait(lambda: node.metric("repairs_total") == 2)
    assert len(node.client.ask(NODE, 8080, 5)) == 5
    before = node.metric("applies_total")
    node.ns.run("nft", "add", "rule", "inet", "theirs", "c", "accept")
    node.ns.run("nft", "delete", "element", "inet", TABLE, "ports", "{ tcp . 8080 }")
    node.wait(lambda: node.metric("repairs_total") == 3)
    assert node.metric("applies_total") == before + 1
    assert "table inet theirs" in node.listing()


def test_restart_and_kill_keep_the_rules(node):
    node.send(ALL)
    assert node.stop() == 0
    assert len(node.client.ask(NODE, 8080, 5)) == 5
    node.ns.run("nft", "delete", "table", "inet", TABLE)  # as after a reboot
    node.start()
    assert len(node.client.ask(NODE, 8080, 5)) == 5
    node.stop(signal.SIGKILL)
    assert len(node.client.ask(NODE, 8080, 5)) == 5
    node.start()
    node.send("tcp:8080=10.213.0.4:80")
    assert {line.split()[0] for line in node.client.ask(NODE, 8080, 10)} == {"t4"}


def test_refusals_change_nothing(node):
    node.send(ALL)
    before = node.listing()
    for bad, why in [("tcp:0=10.213.0.2:80", "published port 0"), ("tcp:80=nowhere:80", "is no IP address"),
                     ("tcp:80=10.0.0.1:0", "backend port 0")]:
        result = node.send(bad, check=False)
        assert result.returncode == 1 and why in result.stderr, result
    assert node.listing() == before


def test_one_change_is_small(node):
    node.send(ALL)
    node.send(*[f"tcp:{9000 + i}=10.213.0.2:80,10.213.0.3:80" for i in range(50)], ALL)
    before = node.metric("applies_total")
    node.send(*[f"tcp:{9000 + i}=10.213.0.2:80,10.213.0.3:80" for i in range(50)], "tcp:8080=10.213.0.2:80")
    assert node.metric("applies_total") == before + 1
    assert {line.split()[0] for line in node.client.ask(NODE, 8080, 10)} == {"t2"}
    assert len(node.client.ask(NODE, 9049, 2)) == 2


def test_metrics_are_clean(node):
    node.send(ALL)
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    page = node.ns.run(sys.executable, "-c", "import urllib.request as u;"
                       "print(u.urlopen('http://127.0.0.1:9381/metrics').read().decode(), end='')").stdout
    assert run("promtool", "check", "metrics", input=page).returncode == 0


def test_cleanup_leaves_nothing(node):
    node.send(ALL)
    assert node.stop() == 0
    node.ns.run(DAEMON, "--cleanup", "--table", TABLE, "--state-dir", f"{node.dir}/state", "--run-dir", f"{node.dir}/run")
    assert node.listing() == ""
    assert os.listdir(f"{node.dir}/state/ingress") == []
    node.ns.run(DAEMON, "--cleanup", "--table", TABLE, "--state-dir", f"{node.dir}/state", "--run-dir", f"{node.dir}/run")
