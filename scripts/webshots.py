#!/usr/bin/env python3
"""Pictures of the web page for the README: real members, a real browser without a window.

    cargo build --release
    scripts/webshots.py [--program target/release/p2pgroup] [--into docs/pictures]

Needs Chromium and nothing else but Python's standard library.
"""

import argparse
import base64
import collections
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
KEYS = os.path.join(os.path.dirname(__file__), "..", "tests", "keys")


class Lab:
    """Members of one group, spoken to in --json."""

    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.dir = tempfile.mkdtemp(prefix="p2pgroup-web-")
        self.port = 20000 + os.getpid() % 20000
        bootstrap, keyauth = f"127.0.0.1:{self.next()}", f"127.0.0.1:{self.next()}"
        self.at = ["--bootstrap", bootstrap, "--keyauth", keyauth]
        self.procs = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("P2PGROUP_")}
        self.env.update(HOME=self.dir, P2PGROUP_EMBEDDED_HOME=f"{self.dir}/embedded", P2PGROUP_MDNS="false")
        self.env.update(XDG_CONFIG_HOME=f"{self.dir}/config", XDG_DATA_HOME=f"{self.dir}/data", TZ="UTC")
        self.start(["bootstrap", "--listen", bootstrap], "bootstrap")
        self.start(["keyauth", "--listen", keyauth], "keyauth", "authority.key", "authority.pem")

    def next(self):
        self.port += 1
        return self.port

    def start(self, args, name, key=None, stored=None):
        home = f"{self.dir}/{name}"
        os.makedirs(home, mode=0o700, exist_ok=True)
        if key and not os.path.exists(f"{home}/{key}"):
            # Drawing a key takes long, and this one guards nothing.
            shutil.copy(os.path.join(KEYS, stored), f"{home}/{key}")
            os.chmod(f"{home}/{key}", 0o600)
        line = [self.program, *args, "--json", "--home", home]
        proc = subprocess.Popen(line, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.procs.append(proc)
        for event in map(json.loads, proc.stdout):
            if event["event"] == "ready":
                break
            if event.get("fatal"):
                sys.exit(f"{name}: {event}")
        threading.Thread(target=lambda: [None for _ in proc.stdout], daemon=True).start()
        return proc

    def join(self, name):
        at = self.next()
        args = ["join", "--name", name, "--listen", "127.0.0.1:0", "--no-embedded", *self.at]
        proc = self.start([*args, "--api", f"127.0.0.1:{at}"], name, "member.key", f"{name}.pem")
        return Member(proc, at, open(f"{self.dir}/{name}/api.token").read().strip())

    def end(self):
        for proc in self.procs:
            proc.kill()
            proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Member:
    def __init__(self, proc, port, token):
        self.proc, self.token, self.root = proc, token, f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/#token={token}"

    def ask(self, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.root + path, data, headers)) as answer:
            return json.load(answer)

    def say(self, text, room="main"):
        return self.ask(f"/v1/rooms/{room}/messages?wait=all", {"text": text})["id"]

    def until(self, what, is_so):
        for _ in range(600):
            if is_so(self.ask("/v1/status")):
                return
            time.sleep(0.05)
        sys.exit(f"waited in vain until {what}")


class Browser:
    """Chromium, driven by its own protocol over two pipes."""

    def __init__(self):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if not program:
            sys.exit("install chromium first")
        self.profile = tempfile.mkdtemp(prefix="p2pgroup-browser-")
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += ["--no-first-run", "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={self.profile}"]
        shell = 'exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null'
        self.proc = subprocess.Popen(["sh", "-c", shell, program, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.number, self.rest = 0, b""

    def call(self, method, session=None, **params):
        self.number += 1
        call = {"id": self.number, "method": method, "params": params}
        if session:
            call["sessionId"] = session
        self.proc.stdin.write(json.dumps(call).encode() + b"\0")
        self.proc.stdin.flush()
        while True:
            while b"\0" not in self.rest:
                read = os.read(self.proc.stdout.fileno(), 1 << 16)
                if not read:
                    sys.exit("the browser has ended")
                self.rest += read
            line, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer}")
                return answer["result"]

    def open(self, url, wide, high, is_dark=False, is_phone=False):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.call("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=is_phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.call("Page.navigate", url=url)
        page.until("document.getElementById('link-state')?.textContent === 'connected'")
        return page

    def end(self):
        self.proc.kill()
        self.proc.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def eval(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            sys.exit(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression):
        for _ in range(600):
            if self.eval(f"Boolean(document.body && ({expression}))"):
                return
            time.sleep(0.05)
        sys.exit(f"waited in vain for {expression}:\n" + self.eval("document.body.innerText"))

    def picture(self, path):
        self.eval("document.activeElement?.blur()")
        self.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        data = self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)["data"]
        with open(path, "wb") as file:
            file.write(smaller(base64.b64decode(data)))
        print(path, os.path.getsize(path))


def chunks(png):
    at = 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at:at + 4])
        yield png[at + 4:at + 8], png[at + 8:at + 8 + size]
        at += size + 12


def pixels(png):
    """Width, height and rows of pixels, three bytes each, of a picture as browsers write it."""
    parts = list(chunks(png))
    wide, high, depth, kind, *_ = struct.unpack(">IIBBBBB", parts[0][1])
    count = {2: 3, 6: 4}[kind]
    assert depth == 8
    data = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    rows, above, stride = [], bytearray(wide * count), wide * count
    for y in range(high):
        how, row = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride) if how else ():
            left, up = row[x - count] if x >= count else 0, above[x]
            corner = above[x - count] if x >= count else 0
            if how == 4:
                guess = left + up - corner
                near = [abs(guess - left), abs(guess - up), abs(guess - corner)]
                add = (left, up, corner)[near.index(min(near))]
            else:
                add = (0, left, up, (left + up) // 2)[how]
            row[x] = (row[x] + add) & 255
        rows.append([bytes(row[x:x + 3]) for x in range(0, stride, count)])
        above = row
    return wide, high, rows


def smaller(png, colors=48):
    """The same picture in so many colours: of a page of text they are enough."""
    wide, high, rows = pixels(png)
    counted = collections.Counter(pixel for row in rows for pixel in row)
    kept = [color for color, _ in counted.most_common(colors)]
    place = {}
    for color in counted:
        place[color] = min(range(len(kept)), key=lambda at: sum((a - b) ** 2 for a, b in zip(kept[at], color)))
    data = b"".join(b"\0" + bytes(place[pixel] for pixel in row) for row in rows)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", wide, high, 8, 3, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"PLTE", b"".join(kept)) + chunk(b"IDAT", zlib.compress(data, 9))
    return png[:8] + parts + chunk(b"IEND", b"")


def talk(lab):
    """Some members, rooms and messages, as an afternoon leaves them."""
    dave, alice, bob, carol = (lab.join(name) for name in ["dave", "alice", "bob", "carol"])
    everybody = [alice, bob, carol, dave]
    for member in everybody:
        member.until("all are linked", lambda it: sum(row["linked"] for row in it["members"]) == 3 and it["quorum"])
    for name, about in [("ops", "what breaks, and who mends it"), ("garden", "Saturdays, and seeds")]:
        alice.ask(f"/v1/rooms/{name}", {"entry": "free", "text": about})
        for member in everybody[1:]:
            for _ in range(200):
                if any(row["room"] == name for row in member.ask("/v1/rooms")["rooms"]):
                    break
                time.sleep(0.05)
            member.ask(f"/v1/rooms/{name}/join", {})
    for member in everybody:
        for name in ["ops", "garden"]:
            for _ in range(400):
                room = member.ask(f"/v1/rooms/{name}")
                if len(room["members"]) == 4 and len(room["holders"]) == 4:
                    break
                time.sleep(0.05)
    bob.say("Morning! The new switch is in, all links are direct again.")
    bob.say("Round trips are under a millisecond from here.")
    asked = carol.say("Nice. Does anybody still reach the old printer?")
    dave.ask(f"/v1/messages/{asked}/reply", {"room": "main", "text": "No, and I hope nobody ever does."})
    alice.ask(f"/v1/messages/{asked}/react", {"room": "main", "text": "😄"})
    bob.ask(f"/v1/messages/{asked}/react", {"room": "main", "text": "😄"})
    plan = alice.say("Plan for today: backup at three, then we pull the plug on the old bootstrap.")
    alice.ask(f"/v1/messages/{plan}/edit", {"room": "main", "text": "Plan for today: backup at four, then we pull the plug on the old bootstrap."})
    bob.ask(f"/v1/messages/{plan}/react", {"room": "main", "text": "♥"})
    carol.ask(f"/v1/messages/{plan}/react", {"room": "main", "text": "♥"})
    dave.ask(f"/v1/messages/{plan}/react", {"room": "main", "text": "☕"})
    carol.say("@alice I take the backup. Notes are at https://wiki.example/backup")
    dave.say("If somebody pastes \x1b[31mcolours\x1b[0m or <b>tags</b>, one sees what they are.")
    alice.say("Good. Talk goes on while we do it, whoever leads.")
    for text in ["db1 is at 81 %", "@alice may I reboot it?"]:
        bob.say(text, "ops")
    carol.say("the beans are up!", "garden")
    carol.ask("/v1/members/alice/messages", {"text": "lunch?"})
    for _ in range(400):
        if alice.ask("/v1/commands", {"cmd": "accept"})["events"][-1]["requests"]:
            break
        time.sleep(0.05)
    alice.ask("/v1/commands", {"cmd": "accept", "name": "carol"})
    alice.ask("/v1/members/bob/verify", {"verified": True})
    # Who came first leads; now another one does.
    dave.proc.kill()
    alice.until("another one leads", lambda it: it["leader"] and it["leader"]["name"] != "dave")
    alice.until("dave is away", lambda it: any(row["name"] == "dave" and row["state"] != "active" for row in it["members"]))
    return alice


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/p2pgroup")
    parser.add_argument("--into", default="docs/pictures")
    args = parser.parse_args()
    lab, browser = Lab(args.program), None
    try:
        alice = talk(lab)
        browser = Browser()
        said = "document.querySelectorAll('#log article').length >= 8"
        dark = browser.open(alice.url, 1180, 720, is_dark=True)
        dark.until(said)
        dark.eval("document.querySelector('[data-panel=group]').click()")
        dark.until("document.querySelectorAll('.picture line').length === 3 && document.querySelector('.terms')")
        dark.picture(f"{args.into}/web-dark.png")
        light = browser.open(alice.url, 1180, 720)
        light.until(said)
        light.picture(f"{args.into}/web-light.png")
        phone = browser.open(alice.url, 390, 720, is_phone=True)
        phone.until(said)
        phone.picture(f"{args.into}/web-phone.png")
    finally:
        if browser:
            browser.end()
        lab.end()


if __name__ == "__main__":
    main()
