#!/usr/bin/env python3
"""Measures a member with a million messages on its disk, beside the same one with none, in one run.

  start      from the start of the process to `ready`, first with no messages, then with all
  memory     resident after that, and at the most while it caught up
  catch-up   a member comes back to what was written meanwhile: entries a second, processor time
  index      what the words for the search cost in the background, and how long that goes on

    cargo build --release && scripts/million.py

Only the standard library of Python 3; Linux, for /proc. Some 2 GiB of disk for the time it runs.
Ends what it started and nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from roles import Failed, Group, Role, resources

TEXT_BYTES = 200
PATIENCE_S = 600.0


class Counting(Role):
    """A process whose messages are counted, not kept."""

    def _read(self):
        self.counts = {"sent": 0, "message": 0}
        self.last = time.monotonic()
        for line in self.process.stdout:
            at = time.monotonic()
            what = line[10:20]
            name = "sent" if what.startswith(b"sent") else "message" if what.startswith(b"message\"") else None
            if name:
                self.counts[name] += 1
                self.last = at
            elif not what.startswith(b"delivered"):
                with self.news:
                    self.events.append((at, json.loads(line)))
                    self.news.notify_all()
        with self.news:
            self.events.append((time.monotonic(), {"event": "ended"}))
            self.news.notify_all()

    def until(self, name, count):
        """Waits for so many; looks at the memory meanwhile, and gives the most."""
        until, most = time.monotonic() + PATIENCE_S, 0.0
        while self.counts[name] < count:
            if time.monotonic() > until:
                raise Failed(f"{self.name}: {self.counts[name]} of {count} {name}")
            time.sleep(0.05)
            most = max(most, resources(self)[0] / 1024)
        return most


def start(group, name):
    at = lambda role: role.ready()[1]["listen"][0]
    arguments = ["join", "--name", name, "--no-embedded"]
    arguments += ["--bootstrap", at(group.bootstrap), "--keyauth", at(group.keyauth)]
    member = Counting(group.binary, group.folder, name, arguments)
    group.members[name] = member
    return member, member.ready()[0]


def starts(group, name, count):
    """Starts and ends a member so many times: seconds to `ready`, MiB resident a second later."""
    took, memory = [], []
    for _ in range(count):
        member, seconds = start(group, name)
        time.sleep(1)
        took.append(seconds)
        memory.append(resources(member)[0] / 1024)
        member.exit()
    return took, memory


def write(member, count):
    """Has a member write so many messages, as fast as it takes them."""
    filler = "and so on " * (TEXT_BYTES // 10)
    began = time.monotonic()
    for first in range(0, count, 1000):
        lines = [
            '{"cmd":"send","text":"%s"}\n' % f"message {number} word{number % 5003} {filler}"[:TEXT_BYTES]
            for number in range(first, min(first + 1000, count))
        ]
        member.process.stdin.write("".join(lines).encode())
        member.process.stdin.flush()
    member.until("sent", count)
    return time.monotonic() - began


def measure(group, options):
    rows = []
    show = lambda took: f"{statistics.median(took):.2f} s | {max(took):.2f} s"
    group.start()
    alice, _ = start(group, "alice")
    bob, _ = start(group, "bob")
    group.settle(voters=3)
    bob.exit()
    none, memory = starts(group, "bob", options.starts)
    rows.append(("start with no messages until `ready`", show(none)))
    rows.append(("resident with no messages", f"{statistics.median(memory):.1f} MiB | {max(memory):.1f} MiB"))
    took = write(alice, options.count)
    print(f"written in {took:.1f} s", file=sys.stderr)
    bob, _ = start(group, "bob")
    began, (_, cpu) = time.monotonic(), resources(bob)
    most = bob.until("message", options.count)
    took, cpu = bob.last - began, resources(bob)[1] - cpu
    rate = f"{options.count / took:,.0f}/s | {options.count / cpu:,.0f} per second of one core"
    rows.append((f"catching up {options.count:,} messages", rate))
    rows.append(("resident while catching up", f"| {most:.1f} MiB"))
    bob.exit()
    size = sum(file.stat().st_size for file in (group.folder / "bob").glob("store.db*"))
    rows.append(("database", f"{size / 2**20:.0f} MiB |"))
    full, memory = starts(group, "bob", options.starts)
    rows.append(("start with all messages until `ready`", show(full)))
    rows.append(("resident with all messages", f"{statistics.median(memory):.1f} MiB | {max(memory):.1f} MiB"))
    bob, _ = start(group, "bob")
    began, quiet, cpu, spent, most = time.monotonic(), 0, [resources(bob)[1]], 0.0, 0.0
    while quiet < 5 and time.monotonic() - began < options.index:
        time.sleep(1)
        resident, used = resources(bob)
        most = max(most, resident / 1024)
        cpu.append(used)
        quiet = quiet + 1 if cpu[-1] - cpu[-2] < 0.02 else 0
    took, spent = time.monotonic() - began - quiet, cpu[-1] - cpu[0]
    state = "" if quiet else ", not done then"
    rows.append(("index in the background", f"{took:.0f} s{state}, {100 * spent / took:.0f} % of one core |"))
    rows.append(("resident meanwhile", f"| {most:.1f} MiB"))
    bob.exit()
    full, memory = starts(group, "bob", options.starts)
    rows.append(("start with all messages, indexed", show(full)))
    rows.append(("resident with all messages, indexed", f"{statistics.median(memory):.1f} MiB | {max(memory):.1f} MiB"))
    return rows


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(root / "target/release/p2pgroup"))
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--index", type=float, default=600.0, help="seconds to watch the index; 0: not")
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
