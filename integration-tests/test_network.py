"""Published ports: balanced, client address kept, drained before a stop; the way out."""
import collections
import json
import subprocess

from conftest import run, wait_for

CLIENT = """
import http.client, json, sys, time
host, port, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
import os
good, bad = 0, []
while not os.path.exists(end):
    try:
        c = http.client.HTTPConnection(host, port, timeout=5)
        c.request("GET", "/")
        r = c.getresponse()
        body = r.read()
        assert r.status == 200 and body.startswith(b"Hello from "), (r.status, body)
        good += 1
        c.close()
    except Exception as wrong:
        bad.append(repr(wrong))
print(json.dumps({"good": good, "bad": bad[:5], "failed": len(bad)}))
"""


class Load:
    """Clients in the hub's network that ask until told to stop."""

    def __init__(self, lab, host, port, directory, clients=8):
        self.end = directory / "end"
        ns = f"/run/netns/{hub_name(lab)}"
        self.clients = [subprocess.Popen(["nsenter", f"--net={ns}", "--", "/usr/bin/python3", "-c", CLIENT, host, str(port), str(self.end)],
                                         stdout=subprocess.PIPE, text=True) for _ in range(clients)]

    def stop(self):
        self.end.touch()
        results = [json.loads(c.communicate(timeout=30)[0]) for c in self.clients]
        return sum(r["good"] for r in results), sum(r["failed"] for r in results), [b for r in results for b in r["bad"]]


def hub_name(lab):
    names = run("ip", "netns", "list").stdout.split()
    sums = run("sh", "-c", f"printf %s '{lab.dir}' | cksum").stdout.split()[0]
    name = f"swlab{int(sums) % 65536}-hub"
    assert name in names
    return name


def test_balanced_with_the_clients_address(lab1, service):
    lab1.create(service, "--replicas", "3", "--publish", "18081:80")
    url = f"http://{lab1.address('m1')}:18081/"
    wait_for(lambda: lab1.get(url), "answers")
    answers = [lab1.get(url) for _ in range(60)]
    assert all(a and a.endswith("you are 10.77.0.1\n") for a in answers), answers[:3]
    counts = collections.Counter(a.split()[2] for a in answers)
    assert len(counts) == 3 and min(counts.values()) >= 5


def test_from_the_node_itself_and_from_a_container(lab1, service):
    lab1.create(service, "--replicas", "2", "--publish", "published=18082,target=80,mode=ingress")
    for host in ("127.0.0.1", lab1.address("m1")):
        wait_for(lambda h=host: lab1.get(f"http://{h}:18082/", node="m1"), f"answers on {host}")
    task = lab1.tasks(service)[0]
    for _ in range(6):
        answer = lab1.exec(task, "nc", "-w", "5", lab1.address("m1"), "18082", input="GET / HTTP/1.0\r\n\r\n").stdout
        assert "Hello from" in answer


def test_way_out_is_masqueraded(lab1, service):
    lab1.create(service)
    task = lab1.tasks(service)[0]
    ns = f"/run/netns/{hub_name(lab1)}"
    server = subprocess.Popen(["nsenter", f"--net={ns}", "--", "/bin/busybox", "nc", "-l", "-p", "9999", "-e", "/bin/busybox", "env"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "9999" in run("nsenter", f"--net={ns}", "--", "ss", "-Hltn").stdout, "the server listens")
        lab1.exec(task, "nc", "-w", "3", "10.77.0.1", "9999", input="x\n")
    finally:
        server.kill()
        server.wait()


ECHO = """#include <arpa/inet.h>
#include <sys/socket.h>
int main(void)
{
    char text[512];
    struct sockaddr_in peer, own = { .sin_family = AF_INET, .sin_port = htons(5353) };
    socklen_t size;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0)
        return 1;
    for (;;) {
        size = sizeof peer;
        ssize_t got = recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&peer, &size);
        if (got > 0 && sendto(fd, text, (size_t)got, 0, (struct sockaddr *)&peer, size) < 0)
            return 1;
    }
}
"""
ASK = ("import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(1)\n"
       "s.sendto(b'ping', (sys.argv[1], 18083))\nprint(s.recv(100))\n")


def test_udp(lab1, service, tmp_path):
    (tmp_path / "echo.c").write_text(ECHO)
    run("cc", "-static", "-O1", "-o", tmp_path / "echo", tmp_path / "echo.c")
    lab1.create(service, "--replicas", "2", "--publish", "18083:5353/udp", "--mount", f"type=bind,source={tmp_path},target=/opt,readonly",
                command=("/opt/echo",))
    for node, host in (("hub", lab1.address("m1")), ("m1", "127.0.0.1")):
        wait_for(lambda n=node, h=host: "ping" in lab1.on(n, "/usr/bin/python3", "-c", ASK, h, check=False).stdout, f"an answer over UDP at {node}")


def test_host_mode_only_where_it_runs(lab1, service):
    lab1.create(service, "--publish", "published=18084,target=80,mode=host")
    wait_for(lambda: lab1.get(f"http://{lab1.address('m1')}:18084/"), "answers")
    assert "*:18084->80/tcp" in lab1.cli("service", "ps", service).stdout
    lab1.cli("service", "scale", "--detach", f"{service}=2")
    wait_for(lambda: "host-mode port already in use on 1 node" in lab1.cli("service", "ps", "--no-trunc", service).stdout, "the second waits with a reason")


def test_no_request_is_lost(lab1, service, tmp_path):
    """Rolling updates, scaling down and up under load."""
    lab1.create(service, "--replicas", "3", "--publish", "18085:80")
    wait_for(lambda: lab1.get(f"http://{lab1.address('m1')}:18085/"), "answers")
    load = Load(lab1, lab1.address("m1"), 18085, tmp_path)
    for n in range(2):
        lab1.cli("service", "update", "--quiet", "--env-add", f"N={n}", service, timeout=120)
    lab1.cli("service", "scale", f"{service}=1", timeout=120)
    lab1.cli("service", "scale", f"{service}=4", timeout=120)
    lab1.kill("m1", "ingress-lb")
    lab1.kill("m1", "agent")
    lab1.cli("service", "scale", f"{service}=2", timeout=120)
    good, failed, what = load.stop()
    assert good > 100 and failed == 0, (good, failed, what)


def test_own_table_only_and_mended(lab1, service):
    lab1.create(service, "--publish", "18086:80")
    url = f"http://{lab1.address('m1')}:18086/"
    wait_for(lambda: lab1.get(url), "answers")
    tables = lab1.on("m1", "nft", "list", "tables").stdout.splitlines()
    assert len(tables) == 1
    lab1.on("m1", "nft", "flush", "ruleset")
    wait_for(lambda: lab1.get(url, timeout=1), "mended by itself", 30)


def test_port_of_a_local_process(lab1, service):
    server = subprocess.Popen(["nsenter", f"--net=/proc/{(lab1.dir / 'nodes/m1/holder').read_text().strip()}/ns/net", "--", "/usr/bin/python3", "-m",
                               "http.server", "18087"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "18087" in lab1.on("m1", "ss", "-Hltn").stdout, "the process listens")
        lab1.create(service, "--publish", "published=18087,target=80,mode=host", "--restart-condition", "none", detach=True)
        wait_for(lambda: "18087" in "".join(r for r in lab1.cli("service", "ps", "--no-trunc", service).stdout.splitlines() if "in use" in r),
                 "a reason that names the port")
    finally:
        server.kill()
        server.wait()
