"""p2pgroup processes and their events, for the scripts beside this one.

Only the standard library of Python 3; Linux, for /proc. Ends what it started and nothing else.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

PATIENCE_S = 60.0


class Failed(Exception):
    """A step did not happen in time."""


class Role:
    """A p2pgroup process with its events."""

    listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]

    def __init__(self, binary, folder, name, arguments):
        self.name = name
        self.log = (folder / f"{name}.log").open("ab")
        # The authority is reached over TCP alone.
        listen = ["--listen", *(self.listen[:1] if arguments[0] == "keyauth" else self.listen)]
        command = [binary, *arguments, "--json", "--home", str(folder / name), *listen]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("P2PGROUP")}
        clean["P2PGROUP_MDNS"] = "false"
        clean.update(self.settings(folder))
        self.events = []
        self.news = threading.Condition()
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=clean
        )
        threading.Thread(target=self._read, daemon=True).start()

    def settings(self, folder):
        """What its environment says beside that."""
        return {}

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

    def most_mib(self):
        """The most memory it ever had resident."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def exit(self):
        since = self.mark()
        self.process.terminate()
        self.wait("end", lambda event: event["event"] == "ended", since)
        self.process.wait()
        self.log.close()


class Group:
    """An authority, a bootstrap and members, all in one folder."""

    kind = Role

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder
        self.members = {}
        self.keyauth = self.bootstrap = None

    def start(self):
        self.keyauth = self.kind(self.binary, self.folder, "keyauth", ["keyauth"])
        self.bootstrap = self.kind(self.binary, self.folder, "bootstrap", ["bootstrap"])
        self.keyauth.ready()
        self.bootstrap.ready()

    def join(self, name):
        """Starts a member; how long it took until it was ready."""
        at = lambda role: role.ready()[1]["listen"][0]
        arguments = ["join", "--name", name, "--no-embedded"]
        arguments += ["--bootstrap", at(self.bootstrap), "--keyauth", at(self.keyauth)]
        member = self.kind(self.binary, self.folder, name, arguments)
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


def resources(member):
    """Resident kibibytes, and processor seconds used so far."""
    proc = Path("/proc") / str(member.process.pid)
    status = (proc / "status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    # After the name in parentheses: fields 14 and 15 of proc(5) are utime and stime.
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    return resident, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
