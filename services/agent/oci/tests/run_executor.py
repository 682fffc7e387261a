"""Runs real containers through the executor and looks at what they see and what they leave behind. Needs root.

Usage: run_executor.py DRIVER. Exit code 77 = skipped. Everything lives in a new directory and the cgroup parent /swarm-test.
"""
import glob, hashlib, io, json, os, queue, shutil, signal, subprocess, sys, tarfile, tempfile, threading, time


def wait_until(condition, what, seconds=30):
    """Asks again and again: a deadline, not a guess at how long it takes."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        pause.wait(0.01)


def layer(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if data is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


def make_image(path):
    """A docker-archive of the distribution's static busybox in two layers; the second takes a file of the first away."""
    busybox = open("/bin/busybox", "rb").read()
    links = [("bin/" + n, "busybox") for n in ("sh", "sleep", "id", "cat", "ls", "grep", "mount", "hostname")]
    passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:100:101::/home/web:/bin/sh\n"
    layers = [layer([("bin", None), ("bin/busybox", busybox)] + links + [
                     ("etc", None), ("etc/passwd", passwd), ("etc/group", b"web:x:101:\nextra:x:55:web\n"), ("etc/gone", b"x"),
                     ("tmp", None), ("data", None), ("data/seed", b"seed\n")]),
              layer([("etc/.wh.gone", b""), ("hello", b"hi\n")])]
    config = {"architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
              "config": {"Env": ["A=1", "B=2"], "Cmd": ["/bin/sh", "-c", "echo default"], "WorkingDir": "/some/deep",
                         "StopSignal": "SIGINT", "Volumes": {"/anon": {}}},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]}}
    text = json.dumps(config).encode()
    with tarfile.open(path, "w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        add("config.json", text)
        for i, data in enumerate(layers):
            add(f"l{i}.tar", data)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["demo:latest"],
                                          "Layers": [f"l{i}.tar" for i in range(len(layers))]}]).encode())


class Driver:
    def __init__(self, program, base, *args):
        self.process = subprocess.Popen([program, "--state-dir", base + "/state", "--run-dir", base + "/run", *args],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def send(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def until(self, start):
        """Lines up to the first that starts with `start`, which is the last of them."""
        seen = []
        while True:
            line = self.lines.get(timeout=30)
            seen.append(line)
            if line is None:
                raise AssertionError(f"driver ended, waiting for {start!r}: {seen} {self.process.stderr.read()}")
            if line.startswith(start):
                return seen

    def ask(self, text, start):
        self.send(text)
        return self.until(start)

    def run(self, task, settings, image="demo"):
        assert "failure=0" in self.ask(f"prepare {task} {image} {json.dumps(settings)}", f"prepared {task}")[-1]
        line = self.ask(f"start {task}", f"started {task}")[-1]
        assert "failure=0" in line, line
        return int(line.split("pid=")[1].split()[0])

    def log(self, task, tail=-1):
        return [l.split(" ", 2)[2] for l in self.ask(f"logs {task} {tail} 0", "log-end") if l.startswith("log ")]

    def remove(self, task):
        assert "failure=0" in self.ask(f"remove {task}", f"removed {task}")[-1]

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0, self.process.stderr.read()


def shell(script, **settings):
    return dict(args=["/bin/sh", "-c", script], **settings)


def test_ordinary(d, base):
    d.run("basic", shell("id; echo $PWD $A $B $C $HOSTNAME; cat /hello; ls /etc; ls /data; echo oops >&2; cat /proc/self/status; exit 4",
                         user="web", env=["B", "C=3"]))
    assert "code=4 oom=0" in d.until("exited basic")[-1]
    log = d.log("basic")
    assert log[0] == "uid=100(web) gid=101(web) groups=55(extra)", log[0]
    assert log[1].startswith("/some/deep 1 3 ") or log[1].startswith("/some/deep 1  3 "), log[1]
    assert "hi" in log and "gone" not in log and "seed" in log and "oops" in log
    status = {l.split(":")[0]: l.split(":")[1].strip() for l in log if ":" in l}
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "0"
    assert status["CapBnd"] == "00000000a80425fb" and status["CapEff"] == "0000000000000000", status
    assert d.log("basic", 1) == [log[-1]]
    d.remove("basic")


def test_signals(d, base):
    d.run("sig", shell("trap 'echo got; exit 7' INT; echo ready; while :; do sleep 0.05; done"))
    d.ask("logs sig -1 1", "log 0 ready")  # follows
    d.send("signal sig")  # the image's stop signal
    seen = d.until("log-end")
    assert "log 0 got" in seen and any("exited sig" in l and "code=7" in l for l in seen), seen
    d.remove("sig")
    pid = d.run("kill", {"args": ["/bin/sleep", "100"]})
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert "pids=1" in d.ask("stats kill", "stats")[-1]
    d.send("kill kill")
    assert "code=137 oom=0" in d.until("exited kill")[-1]
    d.remove("kill")


def test_init_and_tty(d, base):
    pid = d.run("init", {"args": ["/bin/sleep", "100"], "init": True})
    while not open(f"/proc/{pid}/task/{pid}/children").read():
        pass  # a first process that has not come to its own handlers yet is deaf
    d.send("signal init 15")
    assert "code=143" in d.until("exited init")[-1]
    d.remove("init")
    d.run("tty", shell("[ -t 0 ] && [ -t 1 ] && echo is a terminal", tty=True))
    assert "code=0" in d.until("exited tty")[-1]
    log = [l.strip() for l in d.log("tty")]
    assert log == ["is a terminal"], log
    d.remove("tty")


def test_oom(d, base):
    d.run("oom", {"args": ["/bin/sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"], "memory": 16 << 20})
    assert "code=137 oom=1" in d.until("exited oom")[-1]
    d.remove("oom")


def test_mounts(d, base):
    line = d.ask('prepare nobind demo {"mounts":[{"type":0,"source":"/nowhere/x","target":"/m"}]}', "prepared nobind")[-1]
    assert 'failure=2' in line and 'invalid mount config for type "bind": bind source path does not exist: /nowhere/x' in line
    mounts = [{"type": 1, "source": "vol", "target": "/data"}, {"type": 2, "target": "/t"}]
    for task in ("vola", "volb"):
        d.run(task, shell("cat /data/*; echo more >> /data/more; grep ' /t ' /proc/mounts; grep -c ' / .*ro' /proc/mounts; echo x > /f || echo ro",
                          mounts=mounts, read_only=True))
        d.until(f"exited {task}")
    log = d.log("volb")
    assert sorted(log[:2]) == ["more", "seed"] and "tmpfs /t tmpfs" in log[2] and "ro" in log, log
    assert len(glob.glob(base + "/state/volumes/*")) == 3  # vol, and the image's own for each
    d.remove("vola")
    d.remove("volb")
    assert os.listdir(base + "/state/volumes") == ["vol"]


def test_failures(d, base):
    line = d.ask('prepare noimg nosuch.invalid/x {}', "prepared noimg")[-1]
    assert "failure=2" in line and "nosuch.invalid/x" in line, line  # another node may reach the registry: no retry here
    assert "failure=0" in d.ask('prepare nocmd demo {"args":["/no/such"]}', "prepared nocmd")[-1]
    line = d.ask("start nocmd", "started nocmd")[-1]
    assert "failure=2" in line and "/no/such" in line, line
    d.remove("nocmd")
    assert "unable to find user nobody" in d.ask('prepare nouser demo {"user":"nobody"}', "prepared nouser")[-1]


def test_endless_output(d, base):
    """A container that writes without a pause is still listened past: it can be signalled and killed."""
    d.run("endless", {"args": ["/bin/busybox", "yes"]})
    wait_until(lambda: os.path.exists(base + "/state/logs/endless/json.log.1"), "the log was not rotated")
    d.send("kill endless")
    assert "code=137 oom=0" in d.until("exited endless")[-1]
    d.remove("endless")


def of_base_shims(base, task):
    return [pid for pid in of_base(base) if open(f"/proc/{pid}/cmdline").read().endswith(f"/containers/{task}\0")]


def test_cut_preparation(d, base, program):
    """The agent is killed while a shim is being started; the shim finds that its bundle was taken away, and goes."""
    d.ask('prepare cut demo {"args":["/bin/sleep","1000"]}', "prepared cut")
    os.unlink(base + "/state/agent/containers/cut/container.json")  # what is written last
    os.rename(base + "/run/containers/cut", base + "/run/hidden")  # and the socket is not there yet
    d.process.send_signal(signal.SIGKILL)
    d.process.wait()
    d = Driver(program, base)
    d.until("ready")
    os.rename(base + "/run/hidden", base + "/run/containers/cut")
    wait_until(lambda: not of_base_shims(base, "cut"), "the shim stayed")
    assert not os.path.exists(base + "/run/containers/cut")
    return d


def test_full_disk(program, base):
    """An agent that starts while the disk is full knows its runtime all the same."""
    state = base + "/full/state"
    os.makedirs(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", state], check=True)
    try:
        for name in ("/agent/containers", "/images/layers", "/images/blobs/sha256", "/logs"):
            os.makedirs(state + name)
        try:
            with open(state + "/fill", "wb") as fill:
                fill.write(bytes(1 << 20))
        except OSError:
            pass
        d = Driver(program, base + "/full")
        assert "none" not in d.until("ready")[-1]
        d.close()
    finally:
        subprocess.run(["umount", state], check=True)


def test_modes(d, base):
    d.ask('prepare modes demo {"args":["/bin/true"],"env":["PASSWORD=x"]}', "prepared modes")
    bundle = base + "/state/agent/containers/modes/"
    assert {f: oct(os.stat(bundle + f).st_mode & 0o777) for f in ("config.json", "shim.conf", "container.json", "hosts")} == {
        "config.json": "0o600", "shim.conf": "0o600", "container.json": "0o600", "hosts": "0o644"}
    d.remove("modes")


def test_rotation(d, base):
    d.run("rot", shell("i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done"))
    d.until("exited rot")
    assert sorted(os.listdir(base + "/state/logs/rot")) == ["json.log", "json.log.1", "json.log.2"]
    assert d.log("rot", 100) == [f"line {i}" for i in range(300, 400)]
    assert d.log("rot")[-1] == "line 399"
    d.remove("rot")


def test_recovery(d, base, program):
    """The agent is killed: what ran runs on, what ended meanwhile is found; a killed shim takes its container along."""
    stays = d.run("stays", {"args": ["/bin/sleep", "1000"]})
    d.run("ends", shell("cat /data/go; exit 9", mounts=[{"type": 0, "source": base + "/fifo", "target": "/data"}]))
    lost = d.run("lost", {"args": ["/bin/sleep", "1000"]})
    d.ask('prepare waits demo {"args":["/bin/sh","-c","exit 5"]}', "prepared waits")
    d.process.send_signal(signal.SIGKILL)
    d.process.wait()
    with open(base + "/fifo/go", "w") as pipe:  # "ends" goes on, and ends
        pipe.write("x\n")
    while not os.path.exists(base + "/state/agent/containers/ends/exit"):
        pass
    d = Driver(program, base)
    d.until("ready")
    found = {l.split()[1]: l for l in d.ask("list", "list-end")[:-1]}
    assert f"state=1 pid={stays}" in found["stays"] and "state=2 pid=0 code=9" in found["ends"], found
    assert "state=0" in found["waits"]
    d.ask("start waits", "started waits")
    assert "code=5" in d.until("exited waits")[-1]
    shim = int(open(f"/proc/{lost}/stat").read().rsplit(")", 1)[1].split()[1])
    os.kill(shim, signal.SIGKILL)
    line = d.until("exited lost")[-1]
    assert "code=137" in line and "monitor" in line, line
    assert not os.path.exists(f"/proc/{lost}") or open(f"/proc/{lost}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
    for task in ("stays", "ends", "lost", "waits"):
        d.remove(task)
    return d


def test_images(d, base):
    d.ask('prepare uses demo {}', "prepared uses")
    assert "must be forced" in d.ask("rmi demo", "rmi")[-1]
    d.ask("rmi demo force", "rmi-ok")
    assert d.ask("images", "images-end") == ["images-end"]
    assert len(os.listdir(base + "/state/images/layers")) == 2
    d.remove("uses")
    assert "No such image" in d.ask("rmi demo", "rmi")[-1]


def test_speed(d, base, count=60):
    begin = time.monotonic()
    for i in range(count):
        d.send(f'prepare s{i} demo ' + json.dumps({"args": ["/bin/sleep", "1000"]}))
    left = count
    while left:
        line = d.lines.get(timeout=30)
        if line.startswith("prepared"):
            assert "failure=0" in line, line
            d.send("start " + line.split()[1])
        left -= line.startswith("started")
    print(f"{count} containers in {time.monotonic() - begin:.2f} s")
    begin = time.monotonic()
    for i in range(count):
        d.send(f"remove s{i}")
    left = count
    while left:
        left -= d.lines.get(timeout=60).startswith("removed")
    print(f"{count} containers removed in {time.monotonic() - begin:.2f} s")


def of_base(base):
    """Processes whose command line names our directory: the driver and the shims, no others."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if base in open(path).read():
                yield int(path.split("/")[2])
        except (FileNotFoundError, ProcessLookupError):
            pass


def kill_leftovers(base):
    """After a failed test only. A shim whose container is killed cleans up and ends by itself."""
    for pid in of_base(base):
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
        for victim in children or [pid]:
            os.kill(int(victim), signal.SIGKILL)
    wait_until(lambda: not list(of_base(base)), "processes stayed")
    for path in sorted(glob.glob("/sys/fs/cgroup/**/swarm-test/**/", recursive=True), key=len, reverse=True):
        os.rmdir(path)


def check_clean(base):
    assert os.listdir(base + "/state/agent/containers") == [], os.listdir(base + "/state/agent/containers")
    assert os.listdir(base + "/state/logs") == [] and os.listdir(base + "/run/containers") == []
    assert not glob.glob("/sys/fs/cgroup/swarm-test") and not glob.glob("/sys/fs/cgroup/*/swarm-test")
    assert base not in open("/proc/self/mounts").read()
    assert list(of_base(base)) == []


def main():
    if os.geteuid() != 0 or not os.path.exists("/bin/busybox") or not (shutil.which("crun") or shutil.which("runc")):
        return 77
    base = tempfile.mkdtemp(prefix="swarm-oci-")
    program = sys.argv[1]
    extra = sys.argv[2:]
    try:
        make_image(base + "/demo.tar")
        os.mkdir(base + "/fifo")
        os.mkfifo(base + "/fifo/go")
        d = Driver(program, base, *extra)
        print(d.until("ready")[-1])
        assert "size=" in d.ask(f"import docker-archive:{base}/demo.tar demo", "image")[-1]
        assert "local=1" in d.ask("resolve demo", "resolve")[-1]
        for test in (test_ordinary, test_signals, test_init_and_tty, test_oom, test_mounts, test_failures, test_rotation, test_endless_output,
                     test_modes):
            print(test.__name__, flush=True)
            test(d, base)
        print("test_recovery", flush=True)
        d = test_recovery(d, base, program)
        d = test_cut_preparation(d, base, program)
        test_speed(d, base)
        test_images(d, base)
        d.close()
        print("test_full_disk", flush=True)
        test_full_disk(program, base)
        check_clean(base)
    finally:
        kill_leftovers(base)
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
