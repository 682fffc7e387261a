"""Real processes, real containers, network namespaces as hosts.

Each module gets the lab it asks for (deploy/lab); waiting is always for a condition with a deadline. Everything a test
makes lies in one directory below /tmp (short: socket paths have 108 bytes) and is taken away again, also on failure.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("SWARM_TEST_BUILD", ROOT / "build" / "release"))


def run(*argv, check=True, timeout=60, **kwargs):
    """Run a program; its result with text output. Fails with all that was printed."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_for(condition, what, seconds=20.0):
    """Poll `condition` until it is true; its value. The deadline is for failure, not a guess at the duration."""
    end = time.monotonic() + seconds
    last = None
    pause = __import__("threading").Event()
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
            last = value
        except AssertionError as wrong:
            last = wrong
        pause.wait(0.03)
    raise AssertionError(f"not within {seconds} s: {what}; last: {last}")


class Lab:
    """A cluster made by deploy/lab."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.images = set()

    def lab(self, *argv, **kwargs):
        return run(ROOT / "deploy" / "lab", *argv[:1], "--dir", self.dir, *argv[1:], **kwargs)

    def up(self, managers=1, workers=0):
        self.lab("up", "--managers", managers, "--workers", workers, "--build", BUILD, timeout=180)
        nodes = managers + workers
        wait_for(lambda: self.cli("node", "ls", "--format", "{{.Status}}").stdout.split().count("Ready") == nodes, "all nodes ready")
        for node in self.nodes():
            self.load_image(node)

    def nodes(self):
        return sorted(p.name for p in (self.dir / "nodes").iterdir())

    def down(self):
        self.lab("down", check=False, timeout=180)

    def on(self, node, *argv, **kwargs):
        """Run a command on a node."""
        return self.lab("run", node, *argv, **kwargs)

    def cli(self, *argv, node="m1", **kwargs):
        return self.on(node, "swarm-cli", *argv, **kwargs)

    def address(self, node):
        return (self.dir / "nodes" / node / "address").read_text().strip()

    def state(self, node):
        return self.dir / "nodes" / node / "state"

    def load_image(self, node, name="demo:latest"):
        archive = self.dir / "demo.tar"
        if not archive.exists():
            run("/usr/bin/python3", ROOT / "deploy" / "demo-image", archive)
        self.cli("image", "import", f"docker-archive:{archive}", name, node=node)

    def log(self, node, daemon):
        return self.lab("logs", node, daemon, check=False).stdout

    # ---- what people ask ----
    def inspect(self, kind, ref):
        return json.loads(self.cli(kind, "inspect", ref).stdout)[0]

    def tasks(self, service, state="running"):
        """Tasks of a service wanted running: dicts as `task inspect` prints them, in the given observed state (None: any)."""
        ids = self.cli("service", "ps", "-q", "--no-trunc", "--filter", "desired-state=running", service).stdout.split()
        found = [self.inspect("task", i) for i in ids]
        return [t for t in found if state is None or t["Status"]["State"] == state]

    def running(self, service):
        out = self.cli("service", "ls", "--filter", f"name={service}", "--format", "{{.Name}} {{.Replicas}}").stdout
        for line in out.splitlines():
            name, replicas = line.split(maxsplit=1)
            if name == service:
                have, want = replicas.split()[0].split("/")
                return int(have), int(want)
        return None

    def wait_running(self, service, count, seconds=20):
        wait_for(lambda: self.running(service) == (count, count), f"{count} of {service} running", seconds)

    def create(self, name, *argv, command=("serve",), detach=False, **kwargs):
        flags = ["--detach"] if detach else ["--quiet"]
        return self.cli("service", "create", "--name", name, "--no-resolve-image", "--update-monitor", "100ms", *flags, *argv, "demo:latest",
                        *command, **kwargs).stdout.strip()

    def remove(self, *names):
        self.cli("service", "rm", *names, check=False)
        for name in names:
            wait_for(lambda: not self.tasks_left(name), f"tasks of {name} gone", 30)

    def tasks_left(self, name):
        out = self.cli("task", "ls", "--format", "{{.Name}}", check=False).stdout
        return [line for line in out.splitlines() if line.startswith(name + ".")]

    def pid(self, task):
        """Process id of a task's container, on this machine."""
        return task["Status"]["ContainerStatus"]["PID"]

    def task_links(self, node):
        """Lines of the node's links that lead to tasks: the ports of its task bridge."""
        return self.on(node, "ip", "-o", "link", "show", "master", "swarm0", check=False).stdout.splitlines()

    def exec(self, task, *argv, **kwargs):
        """Run a command of the image in a task's namespaces."""
        return run("nsenter", "-t", self.pid(task), "-m", "-n", "-p", "-u", "-i", "--", *argv, **kwargs)

    def daemon_pid(self, node, daemon):
        return int(run("s6-svstat", "-o", "pid", self.dir / "nodes" / node / "s6" / f"swarm-{daemon}").stdout)

    def kill(self, node, daemon):
        """kill -9 a daemon and wait until its supervisor has it ready again."""
        before = self.daemon_pid(node, daemon)
        self.lab("kill", node, daemon)

        def again():
            out = run("s6-svstat", "-o", "pid,ready", self.dir / "nodes" / node / "s6" / f"swarm-{daemon}").stdout.split()
            return int(out[0]) > 0 and int(out[0]) != before and out[1] == "true"
        wait_for(again, f"{daemon} on {node} back")

    def get(self, url, node="hub", timeout=5):
        done = self.on(node, "curl", "-sS", "--max-time", str(timeout), url, check=False)
        return done.stdout if done.returncode == 0 else None


def lab_fixture(managers, workers):
    directory = tempfile.mkdtemp(prefix="swt", dir="/tmp")
    lab = Lab(pathlib.Path(directory) / "l")
    try:
        lab.up(managers, workers)
        yield lab
    finally:
        failed = os.environ.get("SWARM_TEST_KEEP")
        if not failed:
            lab.down()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def lab1():
    """One manager."""
    yield from lab_fixture(1, 0)


@pytest.fixture(scope="module")
def lab3():
    """One manager and two workers."""
    yield from lab_fixture(1, 2)


@pytest.fixture
def service(request):
    """A name for a service, removed after the test from whichever lab the test uses."""
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "").removeprefix("test-")[:50].strip("-").lower()
    yield name
    lab = request.node.funcargs.get("lab1") or request.node.funcargs.get("lab3")
    if lab is not None:
        lab.remove(name)
