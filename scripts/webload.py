#!/usr/bin/env python3
"""How the web page holds up while messages come fast: a real member, a real browser.

    cargo build --release
    scripts/webload.py [--program target/release/p2pgroup] [--rate 100] [--seconds 30]

Keys are typed all the while. Told are: how long a key took until it was painted, frames that came
late, stretches of more than 50 ms in which the page was busy, how late messages were shown, rows in
the document, and memory. Needs Chromium and nothing else but Python's standard library.
"""

import argparse
import json
import time

from webshots import Browser, Lab

WATCH = """
window.told = { keys: [], long: [], frames: [], late: [] };
new PerformanceObserver(list => { for (const it of list.getEntries())
  if (it.name === 'keydown') told.keys.push(it.duration); }).observe({ type: 'event', durationThreshold: 16 });
new PerformanceObserver(list => { for (const it of list.getEntries()) told.long.push(it.duration); }).observe({ type: 'longtask' });
let last = performance.now();
(function frame(now) { told.frames.push(now - last); last = now; requestAnimationFrame(frame); })(last);
let seen = new Set();
new MutationObserver(() => { const row = document.querySelector('#log > :last-child .text');
  const at = Number(row?.textContent.split(' ')[0]);
  if (at > 1e12 && !seen.has(at)) { seen.add(at); told.late.push(Date.now() - at); } })
  .observe(document.getElementById('log'), { childList: true });
"""


def share(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/p2pgroup")
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=30)
    args = parser.parse_args()
    lab, browser = Lab(args.program), None
    try:
        alice, bob = lab.join("alice"), lab.join("bob")
        for member in (alice, bob):
            member.until("both are linked", lambda it: any(row["linked"] for row in it["members"]))
        browser = Browser()
        page = browser.open(alice.url, 1180, 720)
        page.eval("document.getElementById('text').focus()")
        page.eval(WATCH + "0")
        began, sent, keys = time.monotonic(), 0, 0
        while (now := time.monotonic() - began) < args.seconds:
            while sent < now * args.rate:
                text = f"{int(time.time() * 1000)} and a line as people write it, with https://example.org/{sent}"
                bob.proc.stdin.write(json.dumps({"cmd": "send", "room": "main", "text": text}) + "\n")
                sent += 1
            bob.proc.stdin.flush()
            if keys < now * 5:
                page.call("Input.dispatchKeyEvent", type="keyDown", key="x", text="x", windowsVirtualKeyCode=88)
                page.call("Input.dispatchKeyEvent", type="keyUp", key="x", windowsVirtualKeyCode=88)
                keys += 1
            time.sleep(0.005)
        page.until(f"[...document.querySelectorAll('#log .text')].at(-1).textContent.endsWith('/{sent - 1}')")
        told = page.eval("told")
        rows = page.eval("document.querySelectorAll('#log article').length")
        typed = page.eval("document.getElementById('text').value.length")
        heap = page.eval("performance.memory.usedJSHeapSize")
        # A key that is painted within 16 ms is not told of at all.
        late = told["late"]
        slow = sorted(told["keys"] + [16] * (keys - len(told["keys"])))
        frames = [it for it in told["frames"] if it < 5000]
        print(f"{sent} messages in {args.seconds} s, {typed} of {keys} keys typed")
        print(f"a key is painted after: p50 {share(slow, .5)} ms, p99 {share(slow, .99)} ms, worst {slow[-1]} ms (in steps of 8)")
        print(f"frames: {len(frames)}, p50 {share(frames, .5):.1f} ms, p99 {share(frames, .99):.1f} ms, worst {max(frames):.0f} ms")
        print(f"busy for more than 50 ms: {len(told['long'])} times, the worst {max(told['long'], default=0):.0f} ms")
        print(f"shown after it was sent: p50 {share(late, .5)} ms, p99 {share(late, .99)} ms")
        print(f"rows in the document: {rows}; heap: {heap / 2**20:.0f} MiB")
    finally:
        if browser:
            browser.end()
        lab.end()


if __name__ == "__main__":
    main()
