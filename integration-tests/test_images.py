"""Images from archives, layouts and a real registry on loopback."""
import hashlib
import json
import os
import shutil
import signal
import subprocess

import pytest

from conftest import ROOT, run, wait_for


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "demo.tar"
    run("/usr/bin/python3", ROOT / "deploy/demo-image", path, "demo:latest")
    return path


def names(lab):
    return lab.cli("image", "ls").stdout


def test_import_ls_rm(lab1, archive):
    lab1.cli("image", "import", f"docker-archive:{archive}", "first:1")
    assert "first" in names(lab1)
    lab1.cli("image", "rm", "first:1")
    assert "first" not in names(lab1)


def test_oci_layout(lab1, archive, tmp_path, service):
    run("skopeo", "copy", f"docker-archive:{archive}", f"oci:{tmp_path}/layout:v1")
    lab1.cli("image", "import", f"oci:{tmp_path}/layout:v1", "laid:out")
    lab1.cli("service", "create", "--quiet", "--name", service, "--no-resolve-image", "--update-monitor", "100ms", "laid:out")
    assert lab1.running(service) == (1, 1)


def test_broken_archive_is_refused(lab1, tmp_path):
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"not a tar" * 1000)
    done = lab1.cli("image", "import", f"docker-archive:{bad}", "bad:1", check=False)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "bad" not in names(lab1)


def test_image_for_another_machine_is_refused(lab1, archive, tmp_path):
    other = "arm64" if os.uname().machine == "x86_64" else "amd64"
    layout, image = tmp_path / "layout", tmp_path / "layout" / "blobs" / "sha256"
    run("skopeo", "copy", f"docker-archive:{archive}", f"oci:{layout}:v1")
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((image / index["manifests"][0]["digest"][7:]).read_text())
    config = json.loads((image / manifest["config"]["digest"][7:]).read_text())

    def put(value):
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        (image / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    manifest["config"].update(put(dict(config, architecture=other)))
    index["manifests"][0].update(put(manifest))
    (layout / "index.json").write_text(json.dumps(index))
    done = lab1.cli("image", "import", "--quiet", f"oci:{layout}:v1", "other:1", check=False)
    assert done.returncode == 1 and f"is for linux/{other}, this node is linux/" in done.stderr
    assert "other" not in names(lab1)


def test_image_in_use_is_kept(lab1, service):
    lab1.create(service)
    done = lab1.cli("image", "rm", "demo:latest", check=False)
    assert done.returncode == 1 and "1 container of this node uses it" in done.stderr


@pytest.fixture
def registry(lab1, tmp_path):
    """The distribution's registry on the node's loopback, on a port of its own choosing by trial."""
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {tmp_path}/registry\nhttp:\n  addr: 127.0.0.1:{port}\n")
    ns = f"/proc/{(lab1.dir / 'nodes/m1/holder').read_text().strip()}/ns/net"
    server = subprocess.Popen(["nsenter", f"--net={ns}", "--", "docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: lab1.get(f"http://127.0.0.1:{port}/v2/", node="m1") is not None, "the registry answers")
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_registry_pull_by_digest(lab1, registry, archive, service):
    ref = f"127.0.0.1:{registry}/team/web:1"
    lab1.on("m1", "skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{ref}")
    out = lab1.cli("service", "create", "--quiet", "--name", service, "--update-monitor", "100ms", "--replicas", "2", ref)
    assert "could not be accessed" not in out.stderr
    image = lab1.inspect("service", service)["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert image.startswith(ref + "@sha256:")
    assert lab1.running(service) == (2, 2)
    assert "@sha256" not in lab1.cli("service", "ls").stdout
    pulled = lab1.cli("image", "pull", ref)
    assert pulled.returncode == 0 and f"127.0.0.1:{registry}/team/web" in names(lab1)


@pytest.fixture
def docker_host(lab1, archive, tmp_path):
    """A Docker engine with the demo image that m1's agent is told of; where no engine is installed, an address without one."""
    host = f"unix://{tmp_path}/docker/docker.sock"
    script = lab1.dir / "nodes/m1/s6/swarm-agent/run"
    before = script.read_text()
    engine = None
    try:
        if shutil.which("dockerd"):
            engine = subprocess.Popen([ROOT / "tools/dockerd-apart", tmp_path / "docker", "--bridge=none", "--iptables=false"],
                                      stdin=subprocess.DEVNULL, start_new_session=True)
            wait_for(lambda: run("docker", "-H", host, "load", "-i", archive, check=False).returncode == 0, "the engine has the image", 60)
        script.write_text(before.rstrip("\n") + f" --docker-host {host}\n")
        lab1.kill("m1", "agent")
        yield host
    finally:
        if engine is not None:
            engine.terminate()
            engine.wait(30)
        script.write_text(before)
        lab1.kill("m1", "agent")


def test_docker_daemon_source(lab1, docker_host, service):
    """docker-daemon: reads from a Docker engine; without one it is one clear line."""
    done = lab1.cli("image", "import", "docker-daemon:demo:latest", "from-docker:1", check=False)
    if shutil.which("dockerd"):
        assert done.returncode == 0, done.stderr
        assert "from-docker" in names(lab1)
        lab1.cli("service", "create", "--quiet", "--name", service, "--no-resolve-image", "--update-monitor", "100ms", "from-docker:1")
        assert lab1.running(service) == (1, 1)
        missing = lab1.cli("image", "import", "docker-daemon:nowhere:1", check=False)
        assert missing.returncode == 1 and len(missing.stderr.strip().splitlines()) == 1
    else:
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
        assert f"Cannot connect to the Docker daemon at {docker_host}" in done.stderr
