#!/usr/bin/env python3
"""Measures a group of real processes on this machine, in one run, and prints one table.

  failover   five members, the leader killed with SIGKILL and restarted, twenty times: from the
             kill to the bootstrap's next `leader` event; the system closes a dead process's
             connections, so this is noticed at once
  freeze     the same with SIGSTOP, five times: nothing is closed, as when a machine loses its
             power or its network, and only the silence tells
  join       from the start of a new member's process, keys yet to be made, to its `ready`
  memory     resident, of every member of a quiet group of ten
  idle       processor time of every member of that group

    cargo build --release && scripts/failover.py

Only the standard library of Python 3; Linux, for /proc. Ends what it started and nothing else.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PATIENCE_S = 60.0


class Failed(Exception):
    """A step did not happen in time."""


class Role:
    """A p2pgroup process with its events."""

    def __init__(self, binary, folder, name, arguments):
        self.name = name
        self.log = (folder / f"{name}.log").open("ab")
        listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
        if arguments[0] == "keyauth":
            listen.pop()
        command = [binary, *arguments, "--json", "--home", str(folder / name), *listen]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("P2PGROUP")}
        clean["P2PGROUP_MDNS"] = "false"
        self.events = []
        self.news = threading.Condition()
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=clean
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            at = time.monotonic()
            with self.news:
                self.events.append((at, json.loads(line)))
                self.news.notify_all()
        with self.news:
            self.events.append((time.monotonic(), {"event": "ended"}))
            self.news.notify_all()

    def mark(self):
        """Where the events stand, for a later `wait`."""
        with self.news:
            return len(self.events)

    def wait(self, what, is_it, since=0, patience=PATIENCE_S):
        """The first event from `since` on that is it, and when it came."""
        until = time.monotonic() + patience
        at = since
        with self.news:
            while True:
                while at < len(self.events):
                    when, event = self.events[at]
                    if is_it(event):
                        return when, event
                    if event["event"] == "ended" and what != "end":
                        raise Failed(f"{self.name} ended while waiting for {what}")
                    at += 1
                left = until - time.monotonic()
                if left <= 0:
                    raise Failed(f"{self.name}: no {what} within {patience:.0f} s")
                self.news.wait(left)

    def ready(self):
        when, event = self.wait("ready", lambda event: event["event"] == "ready")
        return when - self.started, event

    def ask(self, command):
        self.process.stdin.write((json.dumps(command) + "\n").encode())
        self.process.stdin.flush()

    def status(self):
        since = self.mark()
        self.ask({"cmd": "status"})
        return self.wait("status", lambda event: event["event"] == "status", since)[1]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def exit(self):
        since = self.mark()
        self.process.terminate()
        self.wait("end", lambda event: event["event"] == "ended", since)
        self.process.wait()
        self.log.close()


class Group:
    """An authority, a bootstrap and members, all in one folder."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder
        self.members = {}
        self.keyauth = self.bootstrap = None

    def start(self):
        self.keyauth = Role(self.binary, self.folder, "keyauth", ["keyauth"])
        self.bootstrap = Role(self.binary, self.folder, "bootstrap", ["bootstrap"])
        self.keyauth.ready()
        self.bootstrap.ready()

    def join(self, name):
        """Starts a member; how long it took until it was ready."""
        at = lambda role: role.ready()[1]["listen"][0]
        arguments = ["join", "--name", name, "--no-embedded"]
        arguments += ["--bootstrap", at(self.bootstrap), "--keyauth", at(self.keyauth)]
        member = Role(self.binary, self.folder, name, arguments)
        self.members[name] = member
        return member.ready()[0]

    def leader(self):
        """As the bootstrap told last."""
        with self.bootstrap.news:
            told = [event for _, event in self.bootstrap.events if event["event"] == "leader"]
        return told[-1]["name"] if told and told[-1]["name"] in self.members else None

    def settle(self, voters):
        """Waits until so many vote, everything is committed, and every member knows one leader."""
        until = time.monotonic() + PATIENCE_S
        why = "no leader"
        while time.monotonic() < until:
            leader = self.leader()
            if leader:
                status = self.members[leader].status()
                control = status["control"]
                is_settled = (
                    status["role"] == "leader"
                    and status["quorum"]
                    and len(status["voters"]) == voters
                    and control["last"] == control["committed"]
                    and len(status["links"]) >= len(self.members)
                )
                why = f"voters {status['voters']}, {len(status['links'])} links"
                if is_settled:
                    return leader
            time.sleep(0.2)
        raise Failed(f"the group does not settle: {why}")

    def end(self):
        for role in [*self.members.values(), self.bootstrap, self.keyauth]:
            if role and role.process.poll() is None:
                role.kill()


def failovers(group, count, is_kill):
    """Takes the leader away so many times; seconds from each to the bootstrap's new leader."""
    took = []
    for number in range(count):
        leader = group.settle(voters=5)
        since = group.bootstrap.mark()
        began = time.monotonic()
        if is_kill:
            group.members.pop(leader).kill()
        else:
            group.members[leader].process.send_signal(signal.SIGSTOP)
        when, event = group.bootstrap.wait(
            "new leader", lambda event: event["event"] == "leader" and event["name"], since
        )
        took.append(when - began)
        what = "kill" if is_kill else "freeze"
        line = f"{what} {number + 1}: {leader} -> {event['name']}, {took[-1]:.2f} s"
        print(line, file=sys.stderr)
        if is_kill:
            group.join(leader)
        else:
            group.members[leader].process.send_signal(signal.SIGCONT)
    return took


def resources(member):
    """Resident kibibytes, and processor seconds used so far."""
    proc = Path("/proc") / str(member.process.pid)
    status = (proc / "status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    # After the name in parentheses: fields 14 and 15 of proc(5) are utime and stime.
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    return resident, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quiet(group, seconds):
    """Resident MiB and percent of a core of every member, while nobody talks."""
    before = {name: resources(member) for name, member in group.members.items()}
    began = time.monotonic()
    time.sleep(seconds)
    length = time.monotonic() - began
    after = {name: resources(member) for name, member in group.members.items()}
    memory = [after[name][0] / 1024 for name in after]
    cpu = {name: 100 * (after[name][1] - before[name][1]) / length for name in after}
    return memory, cpu


def measure(group, options):
    rows = []
    group.start()
    for name in ["alice", "bob", "carol", "dave", "erin"]:
        group.join(name)
    for count, is_kill, what in [
        (options.kills, True, "leader of 5 killed"),
        (options.freezes, False, "leader of 5 frozen"),
    ]:
        if count:
            took = failovers(group, count, is_kill)
            shown = f"{statistics.median(took):.2f} s | {max(took):.2f} s"
            rows.append((f"{what}, {count} times, until the bootstrap tells the next", shown))
    group.settle(voters=5)
    took = []
    for number in range(options.joins):
        name = f"guest{number + 1}"
        took.append(group.join(name))
        print(f"join {number + 1}: {took[-1]:.2f} s", file=sys.stderr)
        if len(group.members) > 10:
            group.members.pop(name).exit()
    if took:
        shown = f"{statistics.median(took):.2f} s | {max(took):.2f} s"
        rows.append((f"join, {len(took)} new members, keys made first", shown))
    if options.seconds:
        leader = group.settle(voters=5)
        time.sleep(5)
        memory, cpu = quiet(group, options.seconds)
        count = len(memory)
        shown = f"{statistics.median(memory):.1f} MiB | {max(memory):.1f} MiB"
        rows.append((f"resident, a member of {count}", shown))
        others = [used for name, used in cpu.items() if name != leader]
        shown = f"{statistics.median(others):.2f} % | {max(others):.2f} %"
        rows.append((f"idle, a follower of {count}, of one core", shown))
        rows.append((f"idle, the leader of {count}, of one core", f"{cpu[leader]:.2f} % |"))
    return rows


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(root / "target/release/p2pgroup"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--freezes", type=int, default=5)
    parser.add_argument("--joins", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0, help="of idling; 0: not measured")
    options = parser.parse_args()
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"{options.binary} is not there; build it first: cargo build --release")
    folder = Path(tempfile.mkdtemp(prefix="p2pgroup-"))
    group = Group(options.binary, folder)
    try:
        rows = measure(group, options)
    except Failed as why:
        for log in sorted(folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-5:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)
        sys.exit(f"failed: {why}")
    finally:
        group.end()
        shutil.rmtree(folder, ignore_errors=True)
    print("| | median | maximum |\n|---|---|---|")
    for what, figures in rows:
        print(f"| {what} | {figures} |")


if __name__ == "__main__":
    main()
