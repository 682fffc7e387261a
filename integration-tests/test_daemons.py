"""What each daemon has: help, version, options from a file, readiness, a clean stop, metrics, health."""
import os
import re
import signal
import subprocess

import pytest

from conftest import BUILD, run, wait_for

PORTS = {"manager-raft": 9377, "scheduler": 9378, "dispatcher": 9379, "agent": 9380, "ingress-lb": 9381}


def binary(daemon):
    return BUILD / "services" / daemon / f"swarm-{daemon}"


@pytest.mark.parametrize("daemon", PORTS)
def test_help_version_and_usage(daemon):
    text = run(binary(daemon), "--help").stdout
    assert "--state-dir" in text and "--config" in text and "--metrics-address" in text
    assert re.match(rf"swarm-{daemon} \d+\.\d+\.\d+, commit \S+, built \S+", run(binary(daemon), "--version").stdout)
    done = run(binary(daemon), "--nope", check=False)
    assert done.returncode == 125 and "unknown flag: --nope" in done.stderr


@pytest.mark.parametrize("daemon", PORTS)
def test_metrics_and_health(lab1, daemon):
    url = f"http://127.0.0.1:{PORTS[daemon]}"
    text = lab1.get(f"{url}/metrics", node="m1")
    assert f"swarm_{daemon.replace('-', '_')}_" in text
    checked = run("promtool", "check", "metrics", input=text, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert lab1.get(f"{url}/healthz", node="m1") == "ok\n"


@pytest.mark.parametrize("daemon", PORTS)
def test_idle_daemon_reads_its_file_tells_readiness_and_stops(daemon, tmp_path):
    config = tmp_path / "conf"
    lines = [f"state-dir = {tmp_path}/s", f"run-dir = {tmp_path}/r", "metrics-address = 127.0.0.1:0"]
    if daemon == "ingress-lb":
        lines.append("table = swtestidle")
    config.write_text("\n".join(lines) + "\n")
    reader, writer = os.pipe()
    process = subprocess.Popen(["unshare", "--net", str(binary(daemon)), "--config", str(config), "--ready-fd", str(writer)], pass_fds=[writer],
                               stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert os.read(reader, 1) == b"\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert all(re.match(r"<\d>ts=\S+ level=\w+ daemon=swarm-\S+ msg=\"", line) for line in err.splitlines())


def test_logs_are_key_value(lab1):
    wait_for(lambda: "level=info" in lab1.log("m1", "agent"), "a line")
    assert re.search(r"ts=\S+Z level=info daemon=swarm-agent msg=\"", lab1.log("m1", "agent"))


def test_prometheus_scrapes_all(lab1, tmp_path):
    config = tmp_path / "prometheus.yml"
    targets = ", ".join(f"'127.0.0.1:{p}'" for p in PORTS.values())
    config.write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: swarm\n  static_configs:\n  - targets: [{targets}]\n")
    holder = (lab1.dir / "nodes/m1/holder").read_text().strip()
    server = subprocess.Popen(["nsenter", f"--net=/proc/{holder}/ns/net", "--", "prometheus", f"--config.file={config}",
                               f"--storage.tsdb.path={tmp_path}/db", "--web.listen-address=127.0.0.1:19090"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        def all_up():
            text = lab1.get("http://127.0.0.1:19090/api/v1/targets", node="m1") or ""
            return text.count('"health":"up"') == 5
        wait_for(all_up, "five targets up", 40)
    finally:
        server.terminate()
        server.wait()
