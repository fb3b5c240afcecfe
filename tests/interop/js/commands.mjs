// The commands that peer.mjs takes. `target` is a multiaddr (text that starts with "/") or a peer id.
//
//   connect {target}                        -> {connection}
//   disconnect {target}
//   connections {}                          -> {connections}
//   addresses {}                            -> {addresses}
//   peer {target}                           -> {protocols, addresses: [{address, certified}], agent}
//   ping {target}                           -> {ms}, on limited connections too
//   echo {target, bytes, chunk?, protocol?, limited?} -> {bytes, ms, same}
//   send {target, bytes, limited?}          -> {bytes, same} (through the sink protocol)
//   fetch {target, bytes, limited?}         -> {bytes, sha256} (through the source protocol)
//   hold {target, protocol?, limited?}      -> {stream} a stream kept open; its end is an event "stream:close"
//   reserve {relay}                         -> {addresses} listens on <relay>/p2p-circuit
//   listen {address}
//   reservations {}                         -> {reservations} of the relay server
//   waitAddress {contains, seconds?}        -> {addresses}
//   stop {}

import { createHash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { digestOf, ECHO, SINK, SOURCE, pattern, write, writePattern } from './protocols.mjs'

const held = new Map()

const targetOf = (text) => text.startsWith('/') ? multiaddr(text) : peerIdFromString(text)

const now = () => performance.now()

export function describe (connection) {
  return {
    connection: connection.id,
    peer: connection.remotePeer.toString(),
    address: connection.remoteAddr.toString(),
    direction: connection.direction,
    limited: connection.limits != null,
    encryption: connection.encryption,
    multiplexer: connection.multiplexer,
    streams: connection.streams.map(stream => stream.protocol)
  }
}

// By a peer id, the stream runs on a connection that is there: js-libp2p itself would dial rather than take a limited one.
async function open (node, { target, limited }, protocol) {
  const options = { runOnLimitedConnection: limited === true, signal: AbortSignal.timeout(20_000) }
  if (!target.startsWith('/')) {
    const connections = node.getConnections(peerIdFromString(target)).filter(one => one.status === 'open')
    const connection = connections.find(one => one.limits == null) ?? connections[0]
    if (connection != null) {
      return connection.newStream(protocol, options)
    }
  }
  return node.dialProtocol(targetOf(target), protocol, options)
}

async function ping (node, { target }) {
  const stream = await open(node, { target, limited: true }, '/ipfs/ping/1.0.0')
  const started = now()
  const payload = crypto.getRandomValues(new Uint8Array(32))
  await write(stream, payload)
  await stream.close()
  const { length, sha256 } = await digestOf(stream)
  if (length !== 32 || !sha256.equals(createHash('sha256').update(payload).digest())) {
    throw new Error('the ping came back changed')
  }
  return { ms: now() - started }
}

async function echo (node, command) {
  const total = command.bytes ?? 1024
  const stream = await open(node, command, command.protocol ?? ECHO)
  const started = now()
  const reading = digestOf(stream)
  const [sent, got] = await Promise.all([
    writePattern(stream, total, command.chunk).then(async hash => { await stream.close(); return hash }),
    reading
  ])
  return { bytes: got.length, ms: now() - started, same: got.sha256.toString('hex') === sent }
}

async function send (node, command) {
  const stream = await open(node, command, SINK)
  const answer = (async () => {
    const parts = []
    for await (const data of stream) {
      parts.push(data.subarray())
    }
    return Buffer.concat(parts)
  })()
  const hash = await writePattern(stream, command.bytes)
  await stream.close()
  const bytes = await answer
  return {
    bytes: Number(bytes.readBigUInt64BE(0)),
    same: bytes.subarray(8).toString('hex') === hash
  }
}

async function fetch (node, command) {
  const stream = await open(node, command, SOURCE)
  const request = Buffer.alloc(8)
  request.writeBigUInt64BE(BigInt(command.bytes))
  const reading = digestOf(stream)
  await write(stream, new Uint8Array(request))
  const got = await reading
  await stream.close()
  const want = createHash('sha256')
  for (let done = 0; done < command.bytes; done += 65536) {
    want.update(pattern(Math.min(65536, command.bytes - done), done))
  }
  return { bytes: got.length, same: got.sha256.equals(want.digest()) }
}

async function hold (node, command) {
  const stream = await open(node, command, command.protocol ?? ECHO)
  held.set(stream.id, stream)
  stream.addEventListener('close', (event) => {
    held.delete(stream.id)
    const line = { event: 'stream:close', stream: stream.id, error: event.error?.message ?? null, name: event.error?.name ?? null }
    process.stdout.write(JSON.stringify(line) + '\n')
  })
  stream.addEventListener('message', () => {})
  return { stream: stream.id }
}

async function peer (node, { target }) {
  const entry = await node.peerStore.get(targetOf(target))
  const agent = entry.metadata.get('AgentVersion')
  return {
    protocols: entry.protocols,
    addresses: entry.addresses.map(({ multiaddr: address, isCertified }) => ({ address: address.toString(), certified: isCertified })),
    agent: agent == null ? null : new TextDecoder().decode(agent)
  }
}

const addresses = (node) => ({ addresses: node.getMultiaddrs().map(String) })

async function waitAddress (node, { contains, seconds = 10 }) {
  const until = now() + seconds * 1000
  while (now() < until) {
    if (addresses(node).addresses.some(address => address.includes(contains))) {
      return addresses(node)
    }
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error(`no address with ${contains} after ${seconds} s: ${addresses(node).addresses}`)
}

export const commands = {
  connect: async (node, { target }) => {
    const connection = await node.dial(targetOf(target), { signal: AbortSignal.timeout(20_000) })
    return describe(connection)
  },
  disconnect: async (node, { target }) => { await node.hangUp(targetOf(target)) },
  connections: async (node) => ({ connections: node.getConnections().map(describe) }),
  addresses: async (node) => addresses(node),
  peer,
  ping,
  echo,
  send,
  fetch,
  hold,
  reserve: async (node, { relay }) => {
    await node.components.transportManager.listen([multiaddr(relay + '/p2p-circuit')])
    return waitAddress(node, { contains: '/p2p-circuit' })
  },
  listen: async (node, { address }) => {
    await node.components.transportManager.listen([multiaddr(address)])
    return addresses(node)
  },
  reservations: async (node) => ({
    reservations: [...node.services.relay.reservations.entries()].map(([id, entry]) => ({
      peer: id.toString(),
      address: entry.addr.toString()
    }))
  }),
  waitAddress,
  stop: async (node) => {
    setTimeout(() => { node.stop().finally(() => process.exit(0)) }, 0)
  }
}
