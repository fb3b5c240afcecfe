// One ICE agent of werift that a test drives.
//
//   node ice.mjs '{"controlling": true, "hosts": ["127.0.0.1"], "stun": ["127.0.0.1", 3478]}'
//
// It prints one JSON object a line and takes one JSON command a line on standard input, as peer.mjs does.
//
// Options:
//   controlling  the role to begin with
//   hosts        addresses to have host candidates on, beside those of the interfaces
//   only         use no other addresses than hosts
//   stun         [host, port]; must be given, because werift asks a public server otherwise
//   turn         {"host", "port", "username", "password", "transport": "udp" | "tcp" | "tls", "ca": PEM}
//   relayOnly    no candidates but relayed ones
//   tcp          TCP candidates too
//   lite         an ICE-lite agent
//
// Events: ready {ufrag, pwd, version}, candidate {sdp, or null when there are no more}, state {state}, data {data: base64}.
// Commands: remote {ufrag, pwd, lite}, gather, candidate {sdp | null}, connect, send {data}, selected, role,
// restart (answers with the new ufrag and pwd), close.

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { Candidate, Connection } from 'werift'

const print = (object) => { process.stdout.write(JSON.stringify(object) + '\n') }
const version = createRequire(import.meta.url)('./node_modules/werift/package.json').version
const options = JSON.parse(process.argv[2] ?? '{}')
const turn = options.turn ?? {}
const connection = new Connection(options.controlling, {
  stunServer: options.stun,
  stunGatherTimeout: 1,
  turnServer: options.turn && [turn.host, turn.port],
  turnUsername: turn.username,
  turnPassword: turn.password,
  turnTransport: turn.transport,
  turnTlsOptions: turn.ca && { ca: turn.ca },
  forceTurn: options.relayOnly ?? false,
  useTcp: options.tcp ?? false,
  iceLite: options.lite ?? false,
  useIpv4: !options.only,
  useIpv6: false,
  additionalHostAddresses: options.hosts
})
const credentials = () => ({ ufrag: connection.localUsername, pwd: connection.localPassword })

const commands = {
  async remote ({ ufrag, pwd, lite }) {
    connection.setRemoteParams({ iceLite: lite ?? false, usernameFragment: ufrag, password: pwd })
  },
  async gather () {
    await connection.gatherCandidates()
    print({ event: 'candidate', sdp: null })
    return { candidates: connection.localCandidates.map(candidate => candidate.toSdp()) }
  },
  async candidate ({ sdp }) {
    await connection.addRemoteCandidate(sdp == null ? undefined : Candidate.fromSdp(sdp))
  },
  async connect () {
    await connection.connect()
  },
  async send ({ data }) {
    await connection.send(Buffer.from(data, 'base64'))
  },
  async selected () {
    const pair = connection.nominated
    return pair == null
      ? { local: null, remote: null }
      : { local: pair.localCandidate.toSdp(), remote: pair.remoteCandidate.toSdp() }
  },
  async role () {
    return { controlling: connection.iceControlling }
  },
  async restart ({ controlling }) {
    await connection.restart()
    if (controlling != null) {
      connection.iceControlling = controlling
    }
    return credentials()
  },
  async close () {
    await connection.close()
  }
}

async function run (line) {
  let command
  try {
    command = JSON.parse(line)
    print({ id: command.id, ok: true, ...await commands[command.cmd](command) })
  } catch (error) {
    print({ id: command?.id ?? null, ok: false, error: String(error?.message ?? error), name: error?.name })
  }
}

connection.onIceCandidate.subscribe(candidate => { print({ event: 'candidate', sdp: candidate.toSdp() }) })
connection.stateChanged.subscribe(state => { print({ event: 'state', state }) })
connection.onData.subscribe(data => { print({ event: 'data', data: data.toString('base64') }) })
print({ event: 'ready', version, ...credentials() })

const input = createInterface({ input: process.stdin })
input.on('line', (line) => { void run(line) })
input.on('close', () => {
  connection.close().finally(() => process.exit(0))
  setTimeout(() => process.exit(0), 1000).unref()
})
