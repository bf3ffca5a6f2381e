#!/usr/bin/env python3
"""Pictures of the terminal interface for the README: real members in tmux, drawn as SVG.

    cargo build --release
    scripts/screenshots.py [--program target/release/p2pgroup] [--into docs/pictures]

Needs tmux and nothing else but Python's standard library.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from html import escape

CELL = (8.4, 18)
COLORS = ["#1c1f26", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0"]
BRIGHT = ["#5c6370", "#ff7b86", "#b5e890", "#ffd68a", "#7cc4ff", "#dd8ff0", "#6fd3df", "#ffffff"]
FRONT, BACK = "#d7dae0", "#1c1f26"


class Lab:
    """Members of one group, each in a terminal."""

    def __init__(self, program):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix="p2pgroup-pictures-")
        port = 20000 + os.getpid() % 20000
        self.bootstrap, self.keyauth = f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("P2PGROUP_")}
        self.env.update(
            HOME=self.dir,
            XDG_CONFIG_HOME=f"{self.dir}/config",
            XDG_DATA_HOME=f"{self.dir}/data",
            P2PGROUP_EMBEDDED_HOME=f"{self.dir}/embedded",
            P2PGROUP_MDNS="false",
            TMUX_TMPDIR=self.dir,
            TZ="UTC",
        )
        with open(f"{self.dir}/tmux.conf", "w") as settings:
            settings.write("set -g status off\nset -s escape-time 0\nset -g default-terminal tmux-256color\n")

    def tmux(self, *args):
        base = ["tmux", "-u", "-L", "pictures", "-f", f"{self.dir}/tmux.conf"]
        done = subprocess.run(base + list(args), env=self.env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"tmux {' '.join(args)}: {done.stderr}")
        return done.stdout

    def join(self, name, columns, rows):
        line = (
            f"{self.program} join --name {name} --home {self.dir}/{name} --listen 127.0.0.1:0 "
            f"--bootstrap {self.bootstrap} --keyauth {self.keyauth}; exec sleep 1000"
        )
        self.tmux("new-session", "-d", "-s", name, "-x", str(columns), "-y", str(rows), line)
        self.sees(name, "leader ")

    def sees(self, name, text):
        for _ in range(600):
            if text in self.tmux("capture-pane", "-p", "-t", name):
                return
            time.sleep(0.05)
        sys.exit(f"{name} never saw {text!r}:\n" + self.tmux("capture-pane", "-p", "-t", name))

    def line(self, name, text):
        self.tmux("send-keys", "-t", name, "-l", "--", text)
        self.tmux("send-keys", "-t", name, "Enter")

    def keys(self, name, *keys):
        self.tmux("send-keys", "-t", name, *keys)

    def end(self):
        subprocess.run(["tmux", "-L", "pictures", "kill-server"], env=self.env, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def pieces(row):
    """A captured row as (text, style) pairs."""
    style = {}
    for part in re.split(r"(\x1b\[[0-9;]*m)", row):
        match = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if not match:
            if part:
                yield re.sub(r"\x1b.", "", part), dict(style)
            continue
        codes = [int(code or 0) for code in match.group(1).split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                style = {}
            elif code == 1:
                style["bold"] = True
            elif code == 2:
                style["dim"] = True
            elif code == 7:
                style["reverse"] = True
            elif code == 22:
                style.pop("bold", None), style.pop("dim", None)
            elif code == 27:
                style.pop("reverse", None)
            elif 30 <= code <= 37:
                style["front"] = COLORS[code - 30]
            elif 90 <= code <= 97:
                style["front"] = BRIGHT[code - 90]
            elif code == 39:
                style.pop("front", None)
            elif code == 38 and codes[:1] == [5]:
                number = codes[1]
                codes = codes[2:]
                style["front"] = (COLORS + BRIGHT)[number] if number < 16 else FRONT


def columns_of(text):
    wide = lambda c: 0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return sum(wide(c) for c in text)


def svg(captured, columns, rows, title):
    width, height = columns * CELL[0] + 24, rows * CELL[1] + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img"><title>{escape(title)}</title>',
        f'<rect width="100%" height="100%" rx="8" fill="{BACK}"/>',
        '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14">',
    ]
    for y, row in enumerate(captured.split("\n")[:rows]):
        x = 0
        for text, style in pieces(row):
            span = columns_of(text)
            front = style.get("front", FRONT)
            left, top = 12 + x * CELL[0], 12 + y * CELL[1]
            if style.get("reverse"):
                out.append(
                    f'<rect x="{left:.1f}" y="{top:.1f}" width="{span * CELL[0]:.1f}" '
                    f'height="{CELL[1]}" fill="{front}"/>'
                )
                front = BACK
            if text.strip():
                # Viewers drop spaces: what stands around the words is left out, the others are hard.
                inner = text.strip(" ")
                left += columns_of(text[: text.index(inner)]) * CELL[0]
                width_of_text = columns_of(inner) * CELL[0]
                inner = escape(inner).replace(" ", "\u00a0")
                extra = ' font-weight="bold"' if style.get("bold") else ""
                extra += ' opacity="0.6"' if style.get("dim") else ""
                out.append(
                    f'<text x="{left:.1f}" y="{top + 13.5:.1f}" fill="{front}"{extra} '
                    f'textLength="{width_of_text:.1f}">{inner}</text>'
                )
            x += span
    out.append("</g></svg>\n")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="target/release/p2pgroup")
    parser.add_argument("--into", default="docs/pictures")
    options = parser.parse_args()
    if not shutil.which("tmux"):
        sys.exit("this needs tmux; install it (apt install tmux)")
    program = os.path.abspath(options.program)
    if not os.path.exists(program):
        sys.exit(f"{program} is not there: cargo build --release")
    os.makedirs(options.into, exist_ok=True)
    lab = Lab(program)
    try:
        scene(lab, options.into)
    finally:
        lab.end()


def picture(lab, name, size, into, title):
    time.sleep(0.3)
    captured = lab.tmux("capture-pane", "-e", "-N", "-p", "-t", name)
    with open(into, "w") as file:
        file.write(svg(captured, *size, title))
    print(into)


def scene(lab, into):
    size = (100, 24)
    lab.join("alice", *size)
    for name in ["bob", "carol"]:
        lab.join(name, 80, 24)
        lab.sees("alice", f"● {name}")
    lab.line("alice", "/role bob admin")
    lab.line("alice", "/room create ops free what runs where")
    lab.sees("alice", "2 #ops")
    lab.line("bob", "/join ops")
    lab.sees("bob", "2 #ops")
    # Whoever makes or joins a room is there at once.
    for name in ["alice", "bob"]:
        lab.sees(name, "#ops>")
        lab.line(name, "/go main")
        lab.sees(name, "#main>")
    for name, text in [
        ("bob", "good morning, all"),
        ("carol", "日本からおはよう 👋"),
        ("alice", "the nightly backup took four minutes; who wants to look at why it was two before?"),
        ("bob", "@alice I do. It was the index, I think"),
    ]:
        lab.line(name, text)
        lab.sees("alice", text[:12])
    lab.line("carol", "/react last +1")
    lab.line("alice", "/reply last thank you: tell us when you know")
    lab.line("alice", "/edit last thank you; tell us when you know it")
    lab.sees("alice", "(edited)")
    lab.line("bob", "/react last 👍")
    lab.line("carol", "/react last 👍")
    lab.sees("alice", "👍 bob, carol")
    lab.line("bob", "/say #ops alice: disk at 80 %")
    lab.sees("alice", "1 @1")
    lab.line("carol", "/msg alice are you coming to lunch?")
    lab.sees("alice", "carol wants to write to you")
    lab.line("alice", "/accept carol")
    lab.sees("alice", "@carol")
    lab.line("carol", "/exit")
    lab.sees("alice", "○ carol")
    lab.line("alice", "lunch at one?")
    lab.sees("alice", "1/2")
    lab.tmux("send-keys", "-t", "alice", "-l", "--", "thanks, @bo")
    lab.keys("alice", "Tab")
    picture(lab, "alice", size, f"{into}/talk.svg", "Three members talk: rooms, messages, members")
    lab.keys("alice", "C-u")
    lab.keys("alice", "C-r")
    lab.line("alice", "backup")
    lab.sees("alice", "with backup")
    picture(lab, "alice", size, f"{into}/search.svg", "A search and what it found")
    lab.keys("alice", "Escape")
    lab.tmux("resize-window", "-t", "alice", "-x", "60", "-y", "15")
    lab.sees("alice", "[1 #main]")
    picture(lab, "alice", (60, 15), f"{into}/narrow.svg", "The same at 60 by 15: the panes fold away")
    for name in ["bob", "alice"]:
        lab.line(name, "/exit")


if __name__ == "__main__":
    main()
