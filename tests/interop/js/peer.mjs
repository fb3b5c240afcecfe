// A js-libp2p peer that a test drives.
//
//   node peer.mjs '{"transports": ["tcp", "circuit"], "listen": ["/ip4/127.0.0.1/tcp/0"]}'
//
// It prints one JSON object a line and takes one JSON command a line on standard input. Each command carries an "id",
// each answer repeats it: {"id": 1, "ok": true, ...} or {"id": 1, "ok": false, "error": "...", "name": "..."}.
// Lines without an id are events: ready, connection:open, connection:close, peer:identify.
//
// Options (all optional):
//   transports   of "tcp", "ws", "webrtc", "webrtc-direct", "circuit"; default ["tcp"]
//   listen       multiaddrs; "/webrtc" and "<relay>/p2p-circuit" too
//   keyType      "Ed25519" (default), "secp256k1", "RSA", "ECDSA"
//   relayServer  true, or the options of circuitRelayServer() with numbers for its limits
//   iceServers   for RTCPeerConnection; default none
//   allowLimited whether the echo, sink and source protocols run on limited connections; default false
//
// Commands: see commands.mjs.

import './compat.mjs'
import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify, identifyPush } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webRTC, webRTCDirect } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import { createLibp2p } from 'libp2p'
import { commands, describe } from './commands.mjs'
import { serve } from './protocols.mjs'

const print = (object) => { process.stdout.write(JSON.stringify(object) + '\n') }

const TRANSPORTS = {
  tcp: () => tcp(),
  ws: () => webSockets(),
  webrtc: (options) => webRTC({ rtcConfiguration: { iceServers: options.iceServers ?? [] } }),
  'webrtc-direct': (options) => webRTCDirect({ rtcConfiguration: { iceServers: options.iceServers ?? [] } }),
  circuit: () => circuitRelayTransport()
}

function relayServer (options) {
  const { reservations = {}, ...rest } = options === true ? {} : options
  const limits = { ...reservations }
  if (limits.defaultDataLimit != null) {
    limits.defaultDataLimit = BigInt(limits.defaultDataLimit)
  }
  return circuitRelayServer({ ...rest, reservations: limits })
}

async function createNode (options) {
  const services = { identify: identify(), identifyPush: identifyPush(), ping: ping() }
  if (options.relayServer) {
    services.relay = relayServer(options.relayServer)
  }
  return createLibp2p({
    privateKey: await generateKeyPair(options.keyType ?? 'Ed25519'),
    addresses: { listen: options.listen ?? [] },
    transports: (options.transports ?? ['tcp']).map(name => TRANSPORTS[name](options)),
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 100 },
    services
  })
}

async function run (node, line) {
  let command
  try {
    command = JSON.parse(line)
    const handler = commands[command.cmd]
    if (handler == null) {
      throw new Error(`unknown command ${command.cmd}`)
    }
    const answer = await handler(node, command)
    print({ id: command.id, ok: true, ...answer })
  } catch (error) {
    print({ id: command?.id ?? null, ok: false, error: String(error?.message ?? error), name: error?.name })
  }
}

const options = JSON.parse(process.argv[2] ?? '{}')
const node = await createNode(options)
for (const name of ['connection:open', 'connection:close']) {
  node.addEventListener(name, ({ detail }) => { print({ event: name, ...describe(detail) }) })
}
node.addEventListener('peer:identify', ({ detail }) => {
  print({
    event: 'peer:identify',
    peer: detail.peerId.toString(),
    agent: detail.agentVersion,
    protocolVersion: detail.protocolVersion,
    protocols: detail.protocols,
    listenAddresses: detail.listenAddrs.map(String),
    observed: detail.observedAddr?.toString(),
    signed: detail.signedPeerRecord?.addresses.map(String)
  })
})
await serve(node, options)
print({ event: 'ready', peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) })

const input = createInterface({ input: process.stdin })
input.on('line', (line) => { void run(node, line) })
input.on('close', () => {
  node.stop().finally(() => process.exit(0))
  setTimeout(() => process.exit(0), 3000).unref()
})
