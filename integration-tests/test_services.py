"""The life of services as a user of the command line sees it."""
import json
import re

from conftest import wait_for


def test_create_shows_and_removes(lab1, service):
    out = lab1.create(service, "--replicas", "3")
    assert re.fullmatch(r"[0-9a-z]{25}", out)
    table = lab1.cli("service", "ls").stdout.splitlines()
    assert re.match(r"ID +NAME +MODE +REPLICAS +IMAGE +PORTS", table[0])
    row = next(line for line in table if service in line)
    assert "replicated" in row and "3/3" in row and "demo:latest" in row
    ps = lab1.cli("service", "ps", service).stdout.splitlines()
    assert re.match(r"ID +NAME +IMAGE +NODE +DESIRED STATE +CURRENT STATE +ERROR +PORTS", ps[0])
    assert [f"{service}.{slot}" for slot in (1, 2, 3)] == [line.split()[1] for line in ps[1:]]
    assert all("Running" in line for line in ps[1:])
    assert lab1.cli("service", "rm", service).stdout.strip() == service
    assert service not in lab1.cli("service", "ls").stdout
    wait_for(lambda: not lab1.tasks_left(service), "tasks gone")


def test_inspect_reads_back_every_flag(lab1, service):
    lab1.create(service, "--replicas", "0", "--env", "A=1", "--env", "B=2", "--label", "tier=front", "--container-label", "c=d",
                "--constraint", "node.role==manager", "--limit-cpu", "0.5", "--limit-memory", "64m", "--limit-pids", "50",
                "--reserve-cpu", "0.1", "--reserve-memory", "32m", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m", "--user", "web",
                "--workdir", "/www", "--hostname", "h-{{.Task.Slot}}", "--read-only", "--init", "--stop-signal", "SIGINT",
                "--stop-grace-period", "3s", "--restart-condition", "on-failure", "--restart-delay", "1s", "--restart-max-attempts", "4",
                "--restart-window", "1m", "--cap-add", "net_admin", "--cap-drop", "CAP_CHOWN", "--sysctl", "net.core.somaxconn=512",
                "--ulimit", "nofile=100:200", "--publish", "published=0,target=80", "--replicas-max-per-node", "2")
    spec = lab1.inspect("service", service)["Spec"]
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert container["Image"] == "demo:latest" and container["Env"] == ["A=1", "B=2"] and container["Labels"] == {"c": "d"}
    assert container["User"] == "web" and container["Dir"] == "/www" and container["Hostname"] == "h-{{.Task.Slot}}"
    assert container["ReadOnly"] is True and container["Init"] is True and container["StopSignal"] == "SIGINT"
    assert container["StopGracePeriod"] == 3_000_000_000 and container["Args"] == ["serve"]
    assert container["CapabilityAdd"] == ["CAP_NET_ADMIN"] and container["CapabilityDrop"] == ["CAP_CHOWN"]
    assert container["Sysctls"] == {"net.core.somaxconn": "512"}
    assert container["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]
    assert container["Mounts"][0]["Target"] == "/t" and container["Mounts"][0]["Type"] == "tmpfs"
    task = spec["TaskTemplate"]
    assert task["Resources"]["Limits"] == {"NanoCPUs": 500_000_000, "MemoryBytes": 64 << 20, "Pids": 50}
    assert task["Resources"]["Reservations"] == {"NanoCPUs": 100_000_000, "MemoryBytes": 32 << 20}
    assert task["RestartPolicy"] == {"Condition": "on-failure", "Delay": 1_000_000_000, "MaxAttempts": 4, "Window": 60_000_000_000}
    assert task["Placement"]["Constraints"] == ["node.role==manager"] and task["Placement"]["MaxReplicas"] == 2
    assert spec["Labels"] == {"tier": "front"} and spec["Mode"] == {"Replicated": {"Replicas": 0}}
    port = wait_for(lambda: lab1.inspect("service", service).get("Endpoint", {}).get("Ports"), "a port was chosen")[0]
    assert 30000 <= port["PublishedPort"] <= 32767 and port["TargetPort"] == 80


def test_scale_up_down_and_zero(lab1, service):
    lab1.create(service)
    for count in (4, 1, 0, 2):
        lab1.cli("service", "scale", f"{service}={count}")
        lab1.wait_running(service, count)


def test_update_env_replaces_tasks_and_labels_do_not(lab1, service):
    lab1.create(service, "--replicas", "2")
    before = {t["ID"] for t in lab1.tasks(service)}
    lab1.cli("service", "update", "--quiet", "--label-add", "x=y", "--replicas", "2", service)
    assert {t["ID"] for t in lab1.tasks(service)} == before
    lab1.cli("service", "update", "--quiet", "--env-add", "NEW=1", service)
    lab1.wait_running(service, 2)
    after = lab1.tasks(service)
    assert not before & {t["ID"] for t in after}
    assert all(b"NEW=1" in open(f"/proc/{lab1.pid(t)}/environ", "rb").read().split(b"\0") for t in after)
    history = lab1.cli("service", "ps", service).stdout
    assert "\\_ " in history and "Shutdown" in history


def test_force_update_replaces_everything(lab1, service):
    lab1.create(service, "--replicas", "2")
    before = {t["ID"] for t in lab1.tasks(service)}
    lab1.cli("service", "update", "--quiet", "--force", service)
    wait_for(lambda: not before & {t["ID"] for t in lab1.tasks(service)}, "all replaced")
    lab1.wait_running(service, 2)


def test_progress_in_plain_lines(lab1, service):
    out = lab1.cli("service", "create", "--name", service, "--no-resolve-image", "--replicas", "2", "--update-monitor", "200ms", "demo:latest")
    lines = out.stdout.splitlines()
    assert re.fullmatch(r"[0-9a-z]{25}", lines[0])
    assert any(re.match(r"overall progress: \d out of 2 tasks", line) for line in lines)
    assert lines[-1].startswith("verify: Service ") and lines[-1].endswith(" converged")


def test_a_failing_service_says_why(lab1, service):
    lab1.create(service, "--restart-condition", "none", detach=True, command=("sh", "-c", "exit 7"))
    row = wait_for(lambda: [line for line in lab1.cli("service", "ps", "--no-trunc", service).stdout.splitlines() if "Failed" in line],
                   "the task failed")[0]
    assert "task: non-zero exit (7)" in row


def test_logs_of_all_tasks(lab1, service):
    lab1.create(service, "--replicas", "2", command=("sh", "-c", "echo to-out; echo to-err >&2; exec sleep 1000"))

    def lines():
        done = lab1.cli("service", "logs", service)
        return done.stdout.count("to-out") == 2 and done.stderr.count("to-err") == 2 and done
    done = wait_for(lines, "both tasks' lines")
    assert re.match(rf"{service}\.[12]\.[0-9a-z]+@m1 +\| to-out", done.stdout)
    raw = lab1.cli("service", "logs", "--raw", "--tail", "2", service)
    assert raw.stdout == "to-out\nto-out\n" and raw.stderr == "to-err\nto-err\n"


def test_history_is_limited(lab1, service):
    lab1.create(service, "--restart-delay", "1ms", detach=True, command=("false",))
    wait_for(lambda: len(lab1.cli("service", "ps", "-q", service).stdout.split()) >= 5, "five tasks in the slot", 30)
    for _ in range(5):
        assert len(lab1.cli("service", "ps", "-q", service).stdout.split()) <= 7


def test_restart_policy_counts_attempts(lab1, service):
    lab1.create(service, "--restart-delay", "1ms", "--restart-max-attempts", "2", detach=True, command=("false",))
    wait_for(lambda: len(re.findall("Failed", lab1.cli("service", "ps", service).stdout)) == 3, "one start and two attempts")
    ids = lab1.cli("service", "ps", "-q", service).stdout.split()
    wait_for(lambda: lab1.running(service) == (0, 1), "gave up")
    assert sorted(lab1.cli("service", "ps", "-q", service).stdout.split()) == sorted(ids)


def test_json_output_parses(lab1, service):
    lab1.create(service)
    for words in (["service", "ls"], ["service", "ps", service], ["node", "ls"], ["task", "ls"]):
        rows = [json.loads(line) for line in lab1.cli(*words, "--format", "json").stdout.splitlines()]
        assert rows and all(list(row) == sorted(row) for row in rows)
