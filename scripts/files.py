#!/usr/bin/env python3
"""Sends a large file between real processes on this machine, and prints what it took.

  speed    one member fetches it from another, several times in turn with a plain copy over TCP on
           loopback (one process reads the file and sends it, another writes it and syncs); the median
           of each. A virtual machine writes three times as fast to memory that it freed a moment ago
           as to memory that its host gives it anew, and free memory goes back to the host within
           seconds, so before each of them three times as much is written and removed.
  kills    four members fetch it at once; two of them are killed with SIGKILL in the middle and
           started again; it must be whole everywhere
  memory   the most that each process had resident, by the kernel's account (VmHWM)

    cargo build --release && scripts/files.py [--mib 1024]

Only the standard library of Python 3; Linux, for /proc. Ends what it started and nothing else.
"""

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from roles import Failed, Group, Role

CHUNK = 256 << 10
MEMORY_MIB_MAX = 100
RATIO_MIN = 0.5
ROUNDS = 5


class Carrier(Role):
    """One that fetches nothing unasked, as much as it is told to, over TCP as the copy beside it."""

    listen = ["/ip4/127.0.0.1/tcp/0"]

    def settings(self, folder):
        return {
            "P2PGROUP_FILES_ACCEPT_MIB": "0",
            "P2PGROUP_FILES_QUOTA_MIB": "0",
            "P2PGROUP_FILES_DOWNLOADS": str(folder / f"{self.name}.received"),
        }


class Carriers(Group):
    """A group, and the most memory that each of it had."""

    kind = Carrier

    def __init__(self, binary, folder):
        super().__init__(binary, folder)
        self.most = {}

    def kill(self, name):
        self.note(self.members[name])
        self.members.pop(name).kill()

    def note(self, role):
        """A process that is started again has a second account."""
        self.most[role.name] = max(self.most.get(role.name, 0.0), role.most_mib())

    def end(self):
        for role in [*self.members.values(), self.bootstrap, self.keyauth]:
            if role and role.process.poll() is None:
                self.note(role)
        super().end()


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
    alice.ask({"cmd": "send_file", "path": str(path)})
    name = path.name
    when, event = alice.wait("sent", lambda e: e["event"] == "sent" and e["text"] == name, patience=300)
    file = event["file"]["id"]
    for reader in readers:
        reader.wait("the offer", lambda e: is_file(e, file, "offered"))
    return file, when - began


def warm(folder, mib):
    """Leaves memory that was used a moment ago to whoever writes next.

    Three times as much as it needs: what lies free goes back to the host while it writes.
    """
    path, zeros = folder / "warm", bytes(1 << 20)
    with open(path, "wb", buffering=0) as out:
        for _ in range(3 * mib):
            out.write(zeros)
    os.unlink(path)


def speed(group, folder, mib):
    """Rounds of a plain copy and a fetch; whether what was fetched is what was sent."""
    alice, bob = group.members["alice"], group.members["bob"]
    copies, fetches, is_same = [], [], True
    for number in range(ROUNDS):
        source = folder / f"one{number}.bin"
        made = make(source, mib << 20)
        file, took = send(alice, source, [bob])
        if number == 0:
            print(f"read, sealed and hashed once, to be sent   {mib / took:7.0f} MiB/s")
        warm(folder, mib)
        copies.append(mib / plain_copy(source, folder / "copy"))
        warm(folder, mib)
        began = time.monotonic()
        bob.ask({"cmd": "get", "id": file})
        when, event = bob.wait("the file", lambda e: is_file(e, file, "complete"), patience=600)
        fetches.append(mib / (when - began))
        is_same = is_same and hash_of(event["path"]) == made
        os.unlink(event["path"])
        os.unlink(source)
    ratio = statistics.median(fetches) / statistics.median(copies)
    shown = [", ".join(f"{it:.0f}" for it in them) for them in (fetches, copies)]
    print(f"fetched by one member                      {statistics.median(fetches):7.0f} MiB/s  ({shown[0]})")
    print(f"plain copy over TCP                        {statistics.median(copies):7.0f} MiB/s  ({shown[1]})")
    print(f"ratio                                      {ratio:7.2f}")
    return ratio, is_same


def kills(group, source, mib):
    alice = group.members["alice"]
    names = ["bob", "carol", "dave", "erin"]
    readers = [group.members[name] for name in names]
    file, _ = send(alice, source, readers)
    began = time.monotonic()
    for reader in readers:
        reader.ask({"cmd": "get", "id": file})
    part = mib << 18
    for name in ("carol", "dave"):
        reader = group.members[name]
        _, event = reader.wait("a quarter", lambda e: is_file(e, file, "fetching") and e["have"] > part)
        group.kill(name)
        held = event["have"]
        print(f"{name} is killed at {held * 100 // event['size']}%")
        # What it does without the others hearing of it is as it was.
        group.join(name)
        again = group.members[name]
        # What is on its disk is looked through first, and told as far as it is right.
        _, event = again.wait("it goes on", lambda e: e["event"] == "file" and e["have"] >= held)
        print(f"{name} goes on at {event['have'] * 100 // event['size']}%")
    paths = []
    for name in names:
        done = group.members[name].wait("the file", lambda e: is_file(e, file, "complete"), patience=900)
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
        source = folder / "all.bin"
        made = make(source, arguments.mib << 20)
        group = Carriers(binary, folder)
        group.start()
        for name in ("alice", "bob", "carol", "dave", "erin"):
            group.join(name)
        ratio, is_same = speed(group, folder, arguments.mib)
        if ratio < RATIO_MIN:
            bad.append(f"less than {RATIO_MIN} of the speed of a plain copy")
        if not is_same:
            bad.append("what was fetched is another file")
        for path in kills(group, source, arguments.mib):
            if hash_of(path) != made:
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
