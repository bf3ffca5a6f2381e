// A stock js-libp2p node against a running p2pgroup: connects over TCP with Noise and Yamux, and with
// TLS and Yamux, identifies and pings both processes, reserves a relay slot at the bootstrap, and is reached by
// another js-libp2p node through it.
//
//   node interop.mjs BOOTSTRAP MEMBER       two multiaddrs that end in /p2p/PEER_ID
//
// Prints a line for each check; exits with 1 if any failed.

import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// Node 20 lacks this; js-libp2p uses it.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => { [resolve, reject] = [yes, no] })
  return { promise, resolve, reject }
}

const PATIENCE_MS = 15_000

const [bootstrap, member] = process.argv.slice(2)
if (member === undefined) {
  console.error('usage: node interop.mjs BOOTSTRAP MEMBER')
  process.exit(2)
}

let failed = 0
const nodes = []

async function check(what, work) {
  const started = performance.now()
  try {
    const detail = await work(AbortSignal.timeout(PATIENCE_MS))
    const took = (performance.now() - started).toFixed(0)
    console.log(`OK      ${what}${detail ? `: ${detail}` : ''} (${took} ms)`)
  } catch (error) {
    failed += 1
    console.log(`failed  ${what}: ${error.message}`)
  }
}

function assert(is, message) {
  if (!is) throw new Error(message)
}

async function makeNode(listen = [], encrypter = noise()) {
  const node = await createLibp2p({
    start: false,
    addresses: { listen },
    transports: [tcp(), circuitRelayTransport()],
    connectionEncrypters: [encrypter],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping() }
  })
  nodes.push(node)
  return node
}

/** Calls `look` until it gives something, or time is up. */
async function until(look, signal, what) {
  for (;;) {
    const found = look()
    if (found) return found
    assert(!signal.aborted, `no ${what} within ${PATIENCE_MS} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function meet(node, name, address, encryption = '/noise') {
  const known = []
  const learn = ({ detail }) => known.push(detail)
  node.addEventListener('peer:identify', learn)
  const wanted = address.split('/p2p/').pop()
  await check(`${name}: connects with ${encryption} and Yamux`, async (signal) => {
    const connection = await node.dial(multiaddr(address), { signal })
    assert(connection.remotePeer.toString() === wanted, `is ${connection.remotePeer}`)
    assert(connection.encryption === encryption, `encrypted by ${connection.encryption}`)
    assert(connection.multiplexer === '/yamux/1.0.0', `multiplexed by ${connection.multiplexer}`)
    return `${connection.remotePeer.type} ${connection.remotePeer}`
  })
  await check(`${name}: identifies itself`, async (signal) => {
    const it = await until(
      () => known.find((one) => one.peerId.toString() === wanted), signal, 'identify')
    assert(it.protocols.includes('/ipfs/ping/1.0.0'), `speaks only ${it.protocols}`)
    return `${it.agentVersion}, ${it.protocolVersion}`
  })
  await check(`${name}: answers pings`, async (signal) => {
    const times = []
    for (let i = 0; i < 5; i += 1) {
      times.push(await node.services.ping.ping(multiaddr(address), { signal }))
    }
    return `${times.length} in ${times.join(', ')} ms`
  })
  node.removeEventListener('peer:identify', learn)
}

const outside = await makeNode()
await outside.start()
await meet(outside, 'bootstrap', bootstrap)
await meet(outside, 'member', member)

const underTls = await makeNode([], tls())
await underTls.start()
await meet(underTls, 'bootstrap', bootstrap, '/tls/1.0.0')
await meet(underTls, 'member', member, '/tls/1.0.0')

let relayed
const hidden = await makeNode([`${bootstrap}/p2p-circuit`])
await check('bootstrap: reserves a relay slot', async (signal) => {
  await hidden.start()
  relayed = await until(
    () => hidden.getMultiaddrs().find((one) => one.toString().includes('/p2p-circuit')),
    signal, 'relay address')
  return relayed.toString()
})
await check('bootstrap: relays a connection', async (signal) => {
  assert(relayed, 'there is no reservation')
  const connection = await outside.dial(relayed, { signal })
  assert(connection.remotePeer.equals(hidden.peerId), `is ${connection.remotePeer}`)
  const took = await outside.services.ping.ping(relayed, { signal })
  return `ping in ${took} ms`
})

await Promise.allSettled(nodes.map((node) => node.stop()))
console.log(failed === 0 ? 'all checks passed' : `${failed} checks failed`)
process.exit(failed === 0 ? 0 : 1)
