// Files, /lastresort/file/1.0.0. The sender opens the stream:
//   sender   {"name":string,"size":number,"sha256":hex}   length-prefixed JSON
//   receiver {"accept":true} or {"accept":false,"reason":string}
//   sender   `size` bytes, then end of stream
//   receiver {"ok":bool,"size":number,"sha256":hex}        what it counted and hashed itself
// and /lastresort/file-request/1.0.0, with which a peer asks for a file that the other side shares:
//   {"list":true} -> {"files":[{"name","size"}]}      {"get":name} -> {"ok":true} or {"ok":false,"reason"}
// after which the other side opens a file stream.

import { text, utf8 } from '../libp2p/bytes.js';
import { StreamError } from '../libp2p/stream.js';
import { Sha256 } from '../sha256.js';

export const FILE = '/lastresort/file/1.0.0';
export const FILE_REQUEST = '/lastresort/file-request/1.0.0';
export const MAX_FILE = 256 * 1024 * 1024;
export const MAX_HELD = 2 * MAX_FILE; // of what one peer sent: received files stay in memory

const MAX_MESSAGE = 64 * 1024;
const SLICE = 256 * 1024;
const MAX_NAME = 120;

const sendJson = (stream, value) => stream.writeDelimited(utf8(JSON.stringify(value)));

async function receiveJson(stream) {
  const bytes = await stream.readDelimited(MAX_MESSAGE);
  if (bytes === null) throw new StreamError('the stream ended early');
  const value = JSON.parse(text(bytes));
  if (value === null || typeof value !== 'object') throw new StreamError('not a JSON object');
  return value;
}

/** Keep the last path component of a file name, without control characters. */
export function safeName(name) {
  const last = String(name).split(/[\\/]/).pop();
  const cleaned = last.replace(/[\p{C}<>:"|?*]/gu, '').replace(/^\.+/, '').trim();
  return cleaned.slice(0, MAX_NAME) || 'file';
}

async function* slices(file) {
  for (let offset = 0; offset < file.size; offset += SLICE) {
    yield new Uint8Array(await file.slice(offset, offset + SLICE).arrayBuffer());
  }
}

async function hashFile(file) {
  const hash = new Sha256();
  for await (const bytes of slices(file)) hash.update(bytes);
  return hash.digest();
}

/** One file on its way; events: "change". */
export class Transfer extends EventTarget {
  state = 'hashing'; // hashing, waiting, moving, checking, verified, failed
  moved = 0;
  sha256 = '';
  reason = '';
  blob = null;
  startedAt = 0;
  endedAt = 0;

  constructor(direction, name, size) {
    super();
    Object.assign(this, { direction, name, size });
  }

  get seconds() {
    return this.startedAt ? ((this.endedAt || performance.now()) - this.startedAt) / 1000 : 0;
  }

  set(changes) {
    if (changes.state === 'moving' && !this.startedAt) this.startedAt = performance.now();
    if (changes.state === 'verified' || changes.state === 'failed') this.endedAt = performance.now();
    Object.assign(this, changes);
    this.dispatchEvent(new Event('change'));
  }
}

export class Files extends EventTarget {
  #muxer;
  #held = 0;

  /** Events: "transfer" {transfer} when one begins, in either direction. */
  constructor(muxer) {
    super();
    this.#muxer = muxer;
  }

  #begin(direction, name, size) {
    const transfer = new Transfer(direction, name, size);
    this.dispatchEvent(new CustomEvent('transfer', { detail: { transfer } }));
    return transfer;
  }

  /** Send a File; resolves with its transfer, verified or failed. */
  async send(file) {
    const transfer = this.#begin('out', safeName(file.name), file.size);
    let stream = null;
    try {
      const sha256 = await hashFile(file);
      transfer.set({ sha256, state: 'waiting' });
      stream = await this.#muxer.open(FILE);
      await sendJson(stream, { name: transfer.name, size: file.size, sha256 });
      const answer = await receiveJson(stream);
      if (!answer.accept) throw new StreamError(`refused: ${answer.reason ?? 'no reason given'}`);
      transfer.set({ state: 'moving' });
      for await (const bytes of slices(file)) {
        await stream.write(bytes);
        transfer.set({ moved: transfer.moved + bytes.length });
      }
      const acknowledged = stream.closeWrite();
      transfer.set({ state: 'checking' });
      const verdict = await receiveJson(stream);
      await acknowledged;
      const matches = verdict.ok === true && verdict.sha256 === sha256;
      transfer.set(matches ? { state: 'verified' } : { state: 'failed', reason: 'the hashes differ' });
    } catch (error) {
      stream?.reset();
      transfer.set({ state: 'failed', reason: error.message });
    }
    return transfer;
  }

  /** Handler of inbound file streams. */
  async accept(stream) {
    const header = await receiveJson(stream);
    const { size } = header;
    const refusal = this.#refusal(size);
    if (refusal) {
      await sendJson(stream, { accept: false, reason: refusal });
      await stream.close();
      return;
    }
    this.#held += size;
    const transfer = this.#begin('in', safeName(header.name), size);
    try {
      await this.#receive(stream, header, transfer);
    } catch (error) {
      this.#held -= size;
      if (!transfer.endedAt) transfer.set({ state: 'failed', reason: error.message });
      throw error;
    }
  }

  #refusal(size) {
    if (!Number.isSafeInteger(size) || size < 0 || size > MAX_FILE) return `files up to ${MAX_FILE} bytes only`;
    if (this.#held + size > MAX_HELD) return 'the page holds enough files of this peer';
    return null;
  }

  async #receive(stream, header, transfer) {
    await sendJson(stream, { accept: true });
    transfer.set({ state: 'moving' });
    const hash = new Sha256();
    const parts = [];
    for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) {
      if (transfer.moved + bytes.length > header.size) throw new StreamError('more bytes than announced');
      hash.update(bytes);
      parts.push(bytes);
      transfer.set({ moved: transfer.moved + bytes.length });
    }
    const sha256 = hash.digest();
    const ok = transfer.moved === header.size && sha256 === header.sha256;
    await sendJson(stream, { ok, size: transfer.moved, sha256 });
    if (!ok) this.#held -= header.size;
    if (ok) transfer.set({ state: 'verified', sha256, blob: new Blob(parts) });
    else transfer.set({ state: 'failed', sha256, reason: 'size or hash differs from what was announced' });
    await stream.closeWrite();
  }

  /** Return the files that the peer shares: [{name, size}]. */
  async list() {
    const answer = await this.#ask({ list: true });
    const files = Array.isArray(answer.files) ? answer.files : [];
    return files
      .filter((file) => typeof file?.name === 'string' && Number.isSafeInteger(file.size))
      .map(({ name, size }) => ({ name, size }));
  }

  /** Ask the peer to send a file that it shares; throws StreamError when it will not. */
  async request(name) {
    const answer = await this.#ask({ get: name });
    if (!answer.ok) throw new StreamError(answer.reason ?? 'the peer did not send it');
  }

  async #ask(question) {
    const stream = await this.#muxer.open(FILE_REQUEST);
    await sendJson(stream, question);
    const answer = await receiveJson(stream);
    stream.close().catch(() => {});
    return answer;
  }
}
