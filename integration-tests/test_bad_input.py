"""Bad input: one clear line, the right exit code, nothing changed, nothing crashed."""
import pytest

from conftest import wait_for

CASES = [
    (["service", "create", "--nope", "demo"], 125, "unknown flag: --nope"),
    (["service", "create", "--replicas", "-1", "demo"], 125, 'invalid argument "-1" for "--replicas"'),
    (["service", "create", "--limit-memory", "1q", "demo"], 125, "invalid suffix: 'q'"),
    (["service", "create", "--limit-memory", "1m", "--no-resolve-image", "demo"], 1, "at least 4MiB"),
    (["service", "create", "--name", "-bad-", "--no-resolve-image", "demo"], 1, "must be valid as a DNS name component"),
    (["service", "create", "--mode", "sometimes", "demo"], 1, "Unknown mode: sometimes"),
    (["service", "create", "--mode", "global", "--replicas", "2", "demo"], 1, "replicas can only be used with replicated"),
    (["service", "create", "--constraint", "node.role=manager", "--no-resolve-image", "demo"], 1, "expected one operator from ==, !="),
    (["service", "create", "--constraint", "node.colour==red", "--no-resolve-image", "demo"], 1, "unknown key 'node.colour'"),
    (["service", "create", "--publish", "80:80/foo", "demo"], 125, "invalid proto"),
    (["service", "create", "--publish", "70000:80", "demo"], 125, "70000"),
    (["service", "create", "--mount", "type=bind,source=/x", "demo"], 125, "target is required"),
    (["service", "create", "--stop-grace-period", "10", "demo"], 125, "missing unit in duration"),
    (["service", "create"], 1, "requires at least 1 argument"),
    (["service", "inspect", "nobody"], 1, "no such service: nobody"),
    (["service", "ps", "nobody"], 1, "no such service: nobody"),
    (["service", "rm", "nobody"], 1, "service nobody not found"),
    (["service", "scale", "web"], 1, "invalid scale specifier"),
    (["service", "ls", "--filter", "foo=bar"], 1, "invalid filter 'foo'"),
    (["service", "ls", "--filter", "foo"], 125, "foo"),
    (["node", "ls", "--format", "{{.Nope}}"], 1, "template parsing error"),
    (["node", "inspect", "nobody"], 1, "nobody"),
    (["node", "update", "--availability", "gone", "m1"], 1, "gone"),
    (["node", "update", "--label-rm", "nope", "m1"], 1, "key nope doesn't exist in node's labels"),
    (["init"], 1, "already part of a swarm"),
    (["join", "--token", "SWMTKN-1-x-y", "127.0.0.1:2377"], 1, "already part of a swarm"),
    (["image", "rm", "nobody"], 1, "nobody"),
    (["image", "import", "docker-archive:/nonexistent.tar", "x"], 1, "/nonexistent.tar"),
    (["bogus"], 1, "bogus"),
    (["leave"], 1, "--force"),
]


@pytest.mark.parametrize("argv,code,text", CASES, ids=[" ".join(c[0])[:60] for c in CASES])
def test_refused(lab1, argv, code, text):
    before = lab1.cli("service", "ls", "-q").stdout
    done = lab1.cli(*argv, check=False)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr and "assert" not in done.stderr.lower()
    assert lab1.cli("service", "ls", "-q").stdout == before


def test_unknown_image_is_a_reason(lab1, service):
    lab1.cli("service", "create", "--name", service, "--no-resolve-image", "--detach", "127.0.0.1:1/nothing/here:latest")
    row = wait_for(lambda: [r for r in lab1.cli("service", "ps", "--no-trunc", service).stdout.splitlines() if "Rejected" in r], "rejected", 40)[0]
    assert "127.0.0.1:1/nothing/here" in row or "No such image" in row


def test_too_much_memory_is_a_reason(lab1, service):
    lab1.create(service, "--reserve-memory", "900g", detach=True)
    row = wait_for(lambda: [r for r in lab1.cli("service", "ps", "--no-trunc", service).stdout.splitlines() if "insufficient" in r], "a reason")
    assert "no suitable node (insufficient resources on 1 node)" in row[0]


def test_missing_bind_source_rejects(lab1, service):
    lab1.create(service, "--mount", "type=bind,source=/no/such/dir,target=/x", "--restart-condition", "none", detach=True)
    wait_for(lambda: "bind source path does not exist: /no/such/dir" in lab1.cli("service", "ps", "--no-trunc", service).stdout, "rejected with a reason")


def test_port_conflict_names_the_holder(lab1, service):
    lab1.create(service, "--replicas", "0", "--publish", "18080:80")
    done = lab1.cli("service", "create", "--name", "second", "--no-resolve-image", "--publish", "18080:81", "demo", check=False)
    assert done.returncode == 1
    assert f"port '18080' is already in use by service '{service}'" in done.stderr


def test_name_conflict(lab1, service):
    lab1.create(service, "--replicas", "0")
    done = lab1.cli("service", "create", "--name", service.upper(), "--no-resolve-image", "demo", check=False)
    assert done.returncode == 1 and "name conflicts with an existing object" in done.stderr
