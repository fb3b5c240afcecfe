// The protocols that the peer serves, and the client half of each.
//
//   echo    sends back what it reads, half-closes when the other side does
//   sink    reads to the end, then answers with 8 bytes of length (big endian) and the SHA-256 of what it read
//   source  reads 8 bytes of length, then sends that many bytes of the pattern

import { createHash } from 'node:crypto'

export const ECHO = '/lastresort/echo/1.0.0'
export const ECHOES = [ECHO, '/echo/1.0.0']
export const SINK = '/lastresort/sink/1.0.0'
export const SOURCE = '/lastresort/source/1.0.0'

const CHUNK = 64 * 1024

export function pattern (length, offset = 0) {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) {
    const position = offset + index
    bytes[index] = (position ^ (position >> 8) ^ (position >> 16)) & 0xff
  }
  return bytes
}

export async function write (stream, data) {
  if (!stream.send(data)) {
    await stream.onDrain()
  }
}

export async function writePattern (stream, total, chunk = CHUNK) {
  const hash = createHash('sha256')
  for (let sent = 0; sent < total;) {
    const data = pattern(Math.min(chunk, total - sent), sent)
    hash.update(data)
    sent += data.length
    await write(stream, data)
  }
  return hash.digest('hex')
}

export async function digestOf (stream) {
  const hash = createHash('sha256')
  let length = 0
  for await (const data of stream) {
    const bytes = data.subarray()
    hash.update(bytes)
    length += bytes.length
  }
  return { length, sha256: hash.digest() }
}

async function readExactly (stream, count) {
  const parts = []
  let length = 0
  for await (const data of stream) {
    const bytes = data.subarray()
    parts.push(bytes)
    length += bytes.length
    if (length >= count) {
      break
    }
  }
  return Buffer.concat(parts).subarray(0, count)
}

async function echo (stream) {
  for await (const data of stream) {
    await write(stream, data)
  }
  await stream.close()
}

async function sink (stream) {
  const { length, sha256 } = await digestOf(stream)
  const head = Buffer.alloc(8)
  head.writeBigUInt64BE(BigInt(length))
  await write(stream, new Uint8Array(Buffer.concat([head, sha256])))
  await stream.close()
}

async function source (stream) {
  const request = await readExactly(stream, 8)
  await writePattern(stream, Number(request.readBigUInt64BE()))
  await stream.close()
}

export async function serve (node, options) {
  const handlers = [[ECHOES, echo], [SINK, sink], [SOURCE, source]]
  for (const [protocols, handler] of handlers) {
    await node.handle(protocols, (stream) => {
      handler(stream).catch(error => { stream.abort(error) })
    }, { maxInboundStreams: 1000, runOnLimitedConnection: options.allowLimited === true })
  }
}
