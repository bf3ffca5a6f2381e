#!/usr/bin/env python3
"""Measures a group of real processes on this machine, in one run, and prints one table.

  failover   five members, the leader killed with SIGKILL and restarted, twenty times: from the
             kill to the bootstrap's next `leader` event; the system closes a dead process's
             connections, so this is noticed at once
  freeze     the same with SIGSTOP, five times: nothing is closed, as when a machine loses its
             power or its network, and only the silence tells
  join       from the start of a new member's process, keys yet to be made, to its `ready`
  memory     resident, of every member of a quiet group of ten, or of `--members`
  idle       processor time of every member of that group

    cargo build --release && scripts/failover.py

Only the standard library of Python 3; Linux, for /proc. Ends what it started and nothing else.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from roles import Failed, Group, resources


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
        if len(group.members) > options.members:
            group.members.pop(name).exit()
    if took:
        shown = f"{statistics.median(took):.2f} s | {max(took):.2f} s"
        rows.append((f"join, {len(took)} new members, keys made first", shown))
    if options.seconds:
        for number in range(len(group.members), options.members):
            group.join(f"member{number + 1}")
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
    parser.add_argument("--members", type=int, default=10, help="of the quiet group, 5 at least")
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
