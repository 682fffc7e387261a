"""Keys, roles, files, what the wire shows."""
import os
import pathlib
import subprocess

from conftest import run, wait_for


def test_nothing_in_clear_on_the_wire(lab3, service, tmp_path):
    capture = tmp_path / "wire.pcap"
    holder = (lab3.dir / "nodes/m1/holder").read_text().strip()
    sniffer = subprocess.Popen(["nsenter", f"--net=/proc/{holder}/ns/net", "--", "tcpdump", "-i", "eth0", "-U", "-w", str(capture), "-Z", "root",
                                "tcp port 2377 or tcp port 2477 or tcp port 2577"], stderr=subprocess.PIPE)
    try:
        assert any(b"listening on" in line for line in sniffer.stderr)
        token = lab3.cli("join-token", "-q", "worker").stdout.strip()
        lab3.cli("leave", node="w2")
        lab3.cli("join", "--token", token, f"{lab3.address('m1')}:2377", node="w2")
        lab3.create(service, "--mode", "global", "--env", "PASSWORD=clear-as-day", "--label", "marker-on-the-wire=1")
        identity = lab3.state("m1") / "node/admin"
        lab3.on("w1", "swarm-cli", "--host", f"tcp://{lab3.address('m1')}:2377", "--identity", identity, "service", "inspect", service)
        wait_for(lambda: capture.stat().st_size > 20000, "traffic was captured")
    finally:
        sniffer.terminate()
        sniffer.wait()
    data = capture.read_bytes()
    for text in ("clear-as-day", "marker-on-the-wire", service, token, token.split("-")[-1], "demo:latest", "swarm.Assignments", "Heartbeat"):
        assert text.encode() not in data, text


def test_secret_files_are_closed(lab3):
    for node in lab3.nodes():
        for path in [p for p in (lab3.state(node) / "node").rglob("*") if p.is_file()]:
            assert path.stat().st_mode & 0o077 == 0, path
        assert (lab3.dir / "nodes" / node / "run").stat().st_mode & 0o077 == 0


def test_a_workers_key_is_not_an_administrators(lab3):
    """A worker's own identity gets nothing but its assignments: the control API turns it away."""
    identity = lab3.state("w1") / "node/identity"
    done = lab3.on("w1", "swarm-cli", "--host", f"tcp://{lab3.address('m1')}:2377", "--identity", identity, "node", "ls", check=False, timeout=90)
    assert done.returncode == 1 and "m1" not in done.stdout


def test_join_secrets_are_not_on_disk_or_in_logs(lab3):
    token = lab3.cli("join-token", "-q", "manager").stdout.strip()
    secret = token.split("-")[-1].encode()
    for path in lab3.dir.rglob("*"):
        if path.is_file() and path.stat().st_size < 64 << 20 and not path.is_symlink() and path.suffix != ".tar":
            data = path.read_bytes()
            assert secret not in data and token.encode() not in data, path


def test_answer_comes_after_the_sync(lab1, service, tmp_path):
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(["strace", "-f", "-tt", "-e", "trace=fdatasync,fsync,msync", "-p", str(lab1.daemon_pid("m1", "manager-raft")), "-o", str(trace)],
                              stderr=subprocess.PIPE)
    try:
        assert b"attached" in tracer.stderr.readline()
        lab1.cli("service", "create", "--detach", "--no-resolve-image", "--replicas", "0", "--name", service, "demo:latest")
        wait_for(lambda: "sync(" in trace.read_text(), "a sync before the answer")
    finally:
        tracer.terminate()
        tracer.wait()


def test_garbage_on_the_ports_is_survived(lab1):
    holder = (lab1.dir / "nodes/m1/holder").read_text().strip()
    code = ("import os, socket\nfor port in (2377, 2577):\n for n in (1, 100, 5000):\n  s = socket.create_connection(('127.0.0.1', port))\n"
            "  s.sendall(os.urandom(n))\n  s.close()\n")
    before = [lab1.daemon_pid("m1", d) for d in ("manager-raft", "dispatcher")]
    run("nsenter", f"--net=/proc/{holder}/ns/net", "--", "/usr/bin/python3", "-c", code)
    assert "m1" in lab1.cli("node", "ls").stdout
    assert [lab1.daemon_pid("m1", d) for d in ("manager-raft", "dispatcher")] == before


def test_no_key_in_arguments_or_environment(lab1):
    for daemon in ("manager-raft", "scheduler", "dispatcher", "agent", "ingress-lb"):
        pid = lab1.daemon_pid("m1", daemon)
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() + pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert b"SWMTKN" not in words and b"secret" not in words.lower()
        assert os.path.exists(f"/proc/{pid}")
