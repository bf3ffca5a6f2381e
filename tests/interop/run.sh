#!/usr/bin/env bash
# Starts a key authority, a bootstrap and a member on free loopback ports, lets a js-libp2p node
# talk to them, and ends what it started. P2PGROUP names another binary.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

binary=${P2PGROUP:-}
for kind in release debug; do
    [ -z "$binary" ] && [ -x "$root/target/$kind/p2pgroup" ] && binary=$root/target/$kind/p2pgroup
done
if [ -z "$binary" ]; then
    echo "build first: cargo build --release" >&2
    exit 2
fi

[ -d node_modules ] || npm install --no-package-lock --no-audit --no-fund --loglevel=error

work=$(mktemp -d)
pids=()
end() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap end EXIT

# Nothing of the caller's settings or homes takes part.
for name in $(compgen -e P2PGROUP || true); do unset "$name"; done
export P2PGROUP_MDNS=false

# start NAME ARGUMENTS…: runs a role and waits for its `ready` event.
start() {
    local name=$1
    shift
    mkfifo "$work/$name.in"
    "$binary" "$@" --json --home "$work/$name" --listen /ip4/127.0.0.1/tcp/0 \
        <>"$work/$name.in" >"$work/$name.out" 2>"$work/$name.err" &
    pids+=($!)
    for _ in $(seq 300); do
        grep -q '"event":"ready"' "$work/$name.out" && return
        sleep 0.1
    done
    echo "$name did not get ready:" >&2
    cat "$work/$name.out" "$work/$name.err" >&2
    exit 1
}

# address NAME: its first address with its peer id.
address() {
    node -e '
        const lines = require("fs").readFileSync(process.argv[1], "utf8").split("\n")
        const ready = lines.filter(Boolean).map((line) => JSON.parse(line))
            .find((event) => event.event === "ready")
        console.log(`${ready.listen.find((one) => one.includes("/tcp/"))}/p2p/${ready.peer_id}`)
    ' "$work/$1.out"
}

plain() { local at; at=$(address "$1"); echo "${at%/p2p/*}"; }

start keyauth keyauth
start bootstrap bootstrap
start member join --name interop --no-embedded \
    --bootstrap "$(plain bootstrap)" --keyauth "$(plain keyauth)"

node interop.mjs "$(address bootstrap)" "$(address member)"
