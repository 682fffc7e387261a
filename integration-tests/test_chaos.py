"""Daemons killed at random moments while services come, change and go: in the end the cluster is what was asked for.

The seed is printed; SWARM_CHAOS_SEED replays the choices, SWARM_CHAOS_STEPS makes it longer.
"""
import os
import random

from conftest import wait_for

DAEMONS = ("manager-raft", "scheduler", "dispatcher", "agent", "ingress-lb")


class Wanted:
    """What was asked for and acknowledged: name -> replicas."""

    def __init__(self, lab, dice):
        self.lab, self.dice, self.services, self.count = lab, dice, {}, 0

    def ask(self, *argv):
        """Ask until it is answered; a manager that is just starting again is no answer. True: done."""
        def once():
            done = self.lab.cli(*argv, check=False, timeout=60)
            known = done.returncode == 0 or "name conflicts" in done.stderr or "not found" in done.stderr
            return [done] if known else None
        wait_for(once, f"an answer to {argv[:3]}", 60)

    def create(self):
        name, replicas = f"chaos{self.count}", self.dice.randint(1, 4)
        self.count += 1
        self.ask("service", "create", "--detach", "--name", name, "--no-resolve-image", "--replicas", replicas, "--restart-delay", "10ms",
                 "demo:latest", "sh", "-c", "trap exit TERM; while :; do sleep 1; done")
        self.services[name] = replicas

    def scale(self):
        name = self.dice.choice(sorted(self.services))
        replicas = self.dice.randint(0, 4)
        self.ask("service", "scale", "--detach", f"{name}={replicas}")
        self.services[name] = replicas

    def update(self):
        name = self.dice.choice(sorted(self.services))
        self.ask("service", "update", "--detach", "--env-add", f"N={self.dice.random()}", name)

    def remove(self):
        name = self.dice.choice(sorted(self.services))
        self.ask("service", "rm", name)
        del self.services[name]

    def kill(self):
        node = self.dice.choice(self.lab.nodes())
        self.lab.lab("kill", node, self.dice.choice(DAEMONS), check=False)  # it may be down already

    def step(self):
        choices = [self.create, self.kill, self.kill, self.kill]
        if self.services:
            choices += [self.scale, self.scale, self.update, self.remove]
        self.dice.choice(choices)()


def test_killed_at_random(lab3):
    seed = int(os.environ.get("SWARM_CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}")
    wanted = Wanted(lab3, random.Random(seed))
    for _ in range(int(os.environ.get("SWARM_CHAOS_STEPS", "60"))):
        wanted.step()

    def as_wanted():
        out = lab3.cli("service", "ls", "--format", "{{.Name}} {{.Replicas}}", check=False).stdout.splitlines()
        have = {line.split()[0]: line.split()[1] for line in out}
        return have == {name: f"{n}/{n}" for name, n in wanted.services.items()}
    wait_for(as_wanted, f"the services as asked for (seed {seed})", 90)
    names = list(wanted.services)
    if names:
        lab3.cli("service", "rm", *names)
    wait_for(lambda: not lab3.cli("task", "ls", "-q").stdout.split(), f"no task left (seed {seed})", 60)
    for node in lab3.nodes():
        wait_for(lambda n=node: not any((lab3.state(n) / "agent/containers").glob("?" * 25)), f"no container left on {node} (seed {seed})", 30)
        wait_for(lambda n=node: not lab3.task_links(n), f"no link to a task left on {node} (seed {seed})", 30)
