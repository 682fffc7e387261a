"""A container from inside and outside: namespaces, cgroup, capabilities, files, limits, ends."""
import os
import pathlib

from conftest import run, wait_for

SLEEP = ("sleep", "10000")


def one(lab, service, *flags, command=SLEEP, **kwargs):
    lab.create(service, *flags, command=command, **kwargs)
    return lab.tasks(service)[0]


def status_field(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.split(":", 1)[1].strip()
    return None


def test_isolation(lab1, service):
    task = one(lab1, service)
    pid = lab1.pid(task)
    agent = lab1.daemon_pid("m1", "agent")
    for name in ("pid", "mnt", "ipc", "uts", "net"):
        inside = os.readlink(f"/proc/{pid}/ns/{name}")
        assert inside != os.readlink(f"/proc/self/ns/{name}") and inside != os.readlink(f"/proc/{agent}/ns/{name}"), name
    assert status_field(pid, "Seccomp") == "2"
    assert int(status_field(pid, "CapEff"), 16) == 0x00000000A80425FB  # the fourteen that Docker leaves
    assert status_field(pid, "NSpid").split()[-1] == "1"
    assert "/swarm" in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    out = lab1.exec(task, "sh", "-c", "mount -t proc p /proc 2>&1; cat /proc/1/comm; ls /dev | head -3; id -u").stdout
    assert "sleep" in out
    mounts = pathlib.Path(f"/proc/{pid}/mounts").read_text()
    assert "overlay / overlay" in mounts and "proc /proc/sys proc ro" in mounts


def test_capabilities_and_no_new_privileges(lab1, service):
    task = one(lab1, service, "--cap-drop", "ALL", "--cap-add", "CAP_NET_BIND_SERVICE", "--user", "web")
    pid = lab1.pid(task)
    assert int(status_field(pid, "CapBnd"), 16) == 1 << 10
    assert status_field(pid, "Uid").split()[0] == "1000"


def cgroup_value(pid, controller, v1, v2):
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return pathlib.Path(f"/sys/fs/cgroup/{controller}{path}/{v1}").read_text().strip()
    path = next(line.split(":", 2)[2] for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return pathlib.Path(f"/sys/fs/cgroup{path}/{v2}").read_text().strip()


def test_limits_are_in_the_cgroup(lab1, service):
    pid = lab1.pid(one(lab1, service, "--limit-memory", "64m", "--limit-cpu", "0.5", "--limit-pids", "40"))
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert cgroup_value(pid, "pids", "pids.max", "pids.max") == "40"
    assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_out_of_memory_is_told(lab1, service):
    lab1.create(service, "--limit-memory", "16m", "--restart-condition", "none", detach=True,
                command=("sh", "-c", "x=a; while :; do x=$x$x; done"))
    row = wait_for(lambda: [r for r in lab1.cli("service", "ps", "--no-trunc", service).stdout.splitlines() if "Failed" in r], "OOM", 40)[0]
    assert "137" in row and ("oom" in row.lower() or "out of memory" in row.lower())


def test_environment_hostname_and_templates(lab1, service):
    task = one(lab1, service, "--replicas", "1", "--env", "WHO={{.Service.Name}}/{{.Task.Slot}}@{{.Node.Hostname}}", "--hostname",
               "web-{{.Task.Slot}}", "--workdir", "/www")
    env = pathlib.Path(f"/proc/{lab1.pid(task)}/environ").read_bytes().decode().split("\0")
    assert f"WHO={service}/1@m1" in env and "PATH=/bin" in env
    assert lab1.exec(task, "hostname").stdout.strip() == "web-1"
    assert os.readlink(f"/proc/{lab1.pid(task)}/cwd") == "/www"


def test_mounts(lab1, service, tmp_path):
    (tmp_path / "given").write_text("from outside")
    task = one(lab1, service, "--mount", f"type=bind,source={tmp_path},target=/bind,readonly", "--mount",
               f"type=volume,source={service}-data,target=/data", "--mount", "type=tmpfs,target=/scratch,tmpfs-size=1m", "--read-only")
    assert lab1.exec(task, "cat", "/bind/given").stdout == "from outside"
    assert lab1.exec(task, "touch", "/bind/new", check=False).returncode != 0
    assert lab1.exec(task, "touch", "/www/new", check=False).returncode != 0
    lab1.exec(task, "sh", "-c", "echo kept > /data/file; echo gone > /scratch/file")
    assert lab1.exec(task, "dd", "if=/dev/zero", "of=/scratch/big", "bs=1M", "count=3", check=False).returncode != 0
    lab1.cli("service", "update", "--quiet", "--force", service)
    again = wait_for(lambda: [t for t in lab1.tasks(service) if t["ID"] != task["ID"]], "the next task")[0]
    assert lab1.exec(again, "cat", "/data/file").stdout == "kept\n"
    assert lab1.exec(again, "ls", "/scratch").stdout == ""


def test_sysctl_ulimit_and_init(lab1, service):
    task = one(lab1, service, "--sysctl", "net.core.somaxconn=77", "--ulimit", "nofile=123:456", "--init")
    pid = lab1.pid(task)
    assert lab1.exec(task, "cat", "/proc/sys/net/core/somaxconn").stdout.strip() == "77"
    assert "123                  456" in pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert "sleep" not in pathlib.Path(f"/proc/{pid}/comm").read_text()  # process 1 is the init


def test_tty(lab1, service):
    task = one(lab1, service, "--tty", command=("sh", "-c", "test -t 1 && echo is-a-tty; exec sleep 1000"))
    wait_for(lambda: "is-a-tty" in lab1.cli("service", "logs", "--raw", service).stdout, "the terminal's line")
    assert lab1.pid(task) > 1


def test_stop_signal_and_grace(lab1, service):
    script = "trap 'echo got-int; exit 0' INT; while :; do sleep 0.1; done"
    lab1.create(service, "--stop-signal", "SIGINT", "--stop-grace-period", "20s", command=("sh", "-c", script))
    task = lab1.tasks(service)[0]
    lab1.cli("service", "scale", "--detach", f"{service}=0")
    wait_for(lambda: not pathlib.Path(f"/proc/{lab1.pid(task)}").exists(), "stopped by its signal", 10)


def test_grace_period_ends_in_kill(lab1, service):
    lab1.create(service, "--stop-grace-period", "300ms", command=("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"))
    pid = lab1.pid(lab1.tasks(service)[0])
    lab1.cli("service", "scale", "--detach", f"{service}=0")
    wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "killed", 10)


def test_seccomp_refuses_what_docker_refuses(lab1, service):
    task = one(lab1, service)
    done = run("nsenter", "-t", lab1.pid(task), "-m", "--", "true")
    assert done.returncode == 0
    lab1.create(service + "-x", "--restart-condition", "none", detach=True, command=("mount", "-t", "tmpfs", "x", "/tmp"))
    wait_for(lambda: "non-zero exit" in lab1.cli("service", "ps", "--no-trunc", service + "-x").stdout, "mount is refused")
    lab1.remove(service + "-x")


def test_nothing_is_left_of_a_removed_service(lab1, service):
    lab1.create(service, "--replicas", "3")
    tasks = lab1.tasks(service)
    pids = [lab1.pid(t) for t in tasks]
    assert len(lab1.task_links("m1")) == 3
    lab1.remove(service)

    def clean():
        left = run("find", "/sys/fs/cgroup", "-type", "d", "-path", "*swarm*", check=False).stdout
        return (not any(t["ID"] in left for t in tasks) and not lab1.task_links("m1") and
                not any(pathlib.Path(f"/proc/{p}").exists() for p in pids) and
                not any((lab1.state("m1") / "agent/containers" / t["ID"]).exists() for t in tasks))
    wait_for(clean, "processes, cgroups, links and bundles gone")
    assert "overlay" not in "".join(line for line in open("/proc/mounts") if str(lab1.dir) in line)


def test_groups_hosts_resolver_and_oom_score(lab1, service):
    lab1.create(service, "--user", "web", "--group", "77", "--oom-score-adj", "333", "--host", "db:1.2.3.4", "--dns", "9.9.9.9",
                "--dns-search", "example.org", "--dns-option", "ndots:2",
                command=("sh", "-c", "id; cat /proc/self/oom_score_adj /etc/hosts /etc/resolv.conf; sleep 1000"))
    wait_for(lambda: "ndots" in lab1.cli("service", "logs", "--raw", service).stdout, "the settings in the log")
    said = lab1.cli("service", "logs", "--raw", service).stdout
    for line in ("groups=77", "333", "1.2.3.4\tdb", "nameserver 9.9.9.9", "search example.org", "options ndots:2"):
        assert line in said, line
