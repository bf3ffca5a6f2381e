#!/usr/bin/env python3
"""Sends a large file between real processes on this machine, and prints what it took.

  speed    one member fetches it from another; beside it, before and after, a plain copy over TCP on
           loopback: one process reads the file and sends it, another writes it and syncs
  kills    four members fetch it at once; two of them are killed with SIGKILL in the middle and
           started again; it must be whole everywhere
  memory   the most that each process had resident, by the kernel's account (VmHWM)

    cargo build --release && scripts/files.py [--mib 1024]

Only the standard library of Python 3; Linux, for /proc. Ends what it started and nothing else.
"""

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PATIENCE_S = 60.0
CHUNK = 256 << 10
MEMORY_MIB_MAX = 100
RATIO_MIN = 0.5


class Failed(Exception):
    """A step did not happen in time, or not as it should."""


class Role:
    """A p2pgroup process with its events."""

    def __init__(self, binary, folder, name, arguments):
        self.name = name
        self.log = (folder / f"{name}.log").open("ab")
        command = [binary, *arguments, "--json", "--home", str(folder / name)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("P2PGROUP")}
        clean["P2PGROUP_MDNS"] = "false"
        clean["P2PGROUP_FILES_ACCEPT_MIB"] = "0"
        clean["P2PGROUP_FILES_QUOTA_MIB"] = "0"
        clean["P2PGROUP_FILES_DOWNLOADS"] = str(folder / f"{name}.received")
        self.events = []
        self.news = threading.Condition()
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

    def wait(self, what, is_it, patience=PATIENCE_S):
        """The first event that is it, and when it came."""
        until = time.monotonic() + patience
        at = 0
        with self.news:
            while True:
                while at < len(self.events):
                    when, event = self.events[at]
                    if is_it(event):
                        return when, event
                    at += 1
                left = until - time.monotonic()
                if left <= 0 or not self.news.wait(left):
                    if time.monotonic() >= until:
                        raise Failed(f"{self.name}: {what} did not come")

    def order(self, command):
        self.process.stdin.write((json.dumps(command) + "\n").encode())
        self.process.stdin.flush()

    def most_mib(self):
        """The most memory it ever had resident."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Group:
    """Bootstrap, key authority and members."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.roles = {}
        self.most = {}
        self.ports = [free_port(), free_port()]
        for name, port in zip(("bootstrap", "keyauth"), self.ports):
            role = Role(binary, folder, name, [name, "--listen", f"/ip4/127.0.0.1/tcp/{port}"])
            self.roles[name] = role
            role.wait("ready", lambda e: e["event"] == "ready")

    def join(self, name):
        arguments = ["join", "--name", name, "--no-embedded", "--listen", "/ip4/127.0.0.1/tcp/0"]
        arguments += ["--bootstrap", f"127.0.0.1:{self.ports[0]}"]
        arguments += ["--keyauth", f"127.0.0.1:{self.ports[1]}"]
        role = Role(self.binary, self.folder, name, arguments)
        self.roles[name] = role
        role.wait("ready", lambda e: e["event"] == "ready")
        return role

    def kill(self, name):
        self.note(name)
        self.roles.pop(name).end()

    def note(self, name):
        """A process that is started again has a second account."""
        self.most[name] = max(self.most.get(name, 0.0), self.roles[name].most_mib())

    def end(self):
        for name in list(self.roles):
            self.note(name)
            self.roles.pop(name).end()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_file(event, file, state):
    return event["event"] == "file" and event["id"] == file and event["state"] == state


def make(path, size):
    """Bytes that do not compress, on the disk; gives their hash."""
    hasher = hashlib.blake2b()
    with path.open("wb") as out:
        for _ in range(size // CHUNK):
            chunk = os.urandom(CHUNK)
            hasher.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return hasher.hexdigest()


def hash_of(path):
    hasher = hashlib.blake2b()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def plain_copy(source, target):
    """Seconds of a plain copy over TCP: from the start of reading to the end of the sync."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            with socket.create_connection(address) as out, open(source, "rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    out.sendall(chunk)
            os._exit(0)
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        taken, _ = server.accept()
        with taken, open(target, "wb", buffering=0) as out:
            while count := taken.recv_into(buffer):
                out.write(view[:count])
            os.fsync(out.fileno())
        seconds = time.monotonic() - began
        os.waitpid(child, 0)
    os.unlink(target)
    return seconds


def send(alice, path, readers):
    """Sends a file, gives its id; all readers know of it then."""
    began = time.monotonic()
    alice.order({"cmd": "send_file", "path": str(path)})
    name = path.name
    when, event = alice.wait("sent", lambda e: e["event"] == "sent" and e["text"] == name, 300)
    file = event["file"]["id"]
    for reader in readers:
        reader.wait("the offer", lambda e: is_file(e, file, "offered"))
    return file, when - began


def speed(group, source, folder, mib):
    alice, bob = group.roles["alice"], group.roles["bob"]
    copies = [plain_copy(source, folder / "copy")]
    file, took = send(alice, source, [bob])
    print(f"read, sealed and hashed once, to be sent   {mib / took:7.0f} MiB/s")
    began = time.monotonic()
    bob.order({"cmd": "get", "id": file})
    when, event = bob.wait("the file", lambda e: is_file(e, file, "complete"), 600)
    fetched = when - began
    copies.append(plain_copy(source, folder / "copy"))
    copy = sum(copies) / len(copies)
    shown = ", ".join(f"{mib / it:.0f}" for it in copies)
    print(f"fetched by one member                      {mib / fetched:7.0f} MiB/s")
    print(f"plain copy over TCP (before, after: {shown})  {mib / copy:.0f} MiB/s")
    print(f"ratio                                      {copy / fetched:7.2f}")
    return copy / fetched, event["path"]


def kills(group, source, mib):
    alice = group.roles["alice"]
    names = ["bob", "carol", "dave", "erin"]
    readers = [group.roles[name] for name in names]
    file, _ = send(alice, source, readers)
    began = time.monotonic()
    for reader in readers:
        reader.order({"cmd": "get", "id": file})
    part = mib << 18
    for name in ("carol", "dave"):
        reader = group.roles[name]
        _, event = reader.wait("a quarter", lambda e: is_file(e, file, "fetching") and e["have"] > part)
        group.kill(name)
        print(f"{name} is killed at {event['have'] * 100 // event['size']}%")
        # What it does without the others hearing of it is as it was.
        again = group.join(name)
        _, event = again.wait("it goes on", lambda e: e["event"] == "file" and e["have"] > 0)
        print(f"{name} goes on at {event['have'] * 100 // event['size']}%")
    paths = []
    for name in names:
        done = group.roles[name].wait("the file", lambda e: is_file(e, file, "complete"), 900)
        paths.append(done[1]["path"])
    took = time.monotonic() - began
    print(f"whole at four members, two of them killed  {4 * mib / took:7.0f} MiB/s in all, {took:.1f} s")
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/p2pgroup")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--dir", help="where the files go [default: a directory for the time being]")
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    folder = Path(tempfile.mkdtemp(prefix="p2pgroup-files-", dir=arguments.dir))
    group, bad = None, []
    try:
        sources = [folder / "one.bin", folder / "two.bin"]
        hashes = [make(source, arguments.mib << 20) for source in sources]
        group = Group(binary, folder)
        for name in ("alice", "bob", "carol", "dave", "erin"):
            group.join(name)
        ratio, path = speed(group, sources[0], folder, arguments.mib)
        if ratio < RATIO_MIN:
            bad.append(f"less than {RATIO_MIN} of the speed of a plain copy")
        if hash_of(path) != hashes[0]:
            bad.append(f"{path} is another file")
        for path in kills(group, sources[1], arguments.mib):
            if hash_of(path) != hashes[1]:
                bad.append(f"{path} is another file")
    except Failed as failed:
        bad.append(str(failed))
    finally:
        if group is not None:
            group.end()
            for name, most in group.most.items():
                print(f"memory of {name:<10} at the most           {most:7.1f} MiB")
                if most > MEMORY_MIB_MAX:
                    bad.append(f"{name} had more than {MEMORY_MIB_MAX} MiB")
        if bad:
            logs = [log for log in folder.glob("*.log") if log.stat().st_size]
            for log in logs:
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    for line in bad:
        print(f"BAD: {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
