// One libp2p stream on one RTCDataChannel: half-close with FIN and FIN_ACK, STOP_SENDING, RESET, back-pressure.

import { concat, decodeVarint, delimited } from './bytes.js';
import { Flag, FrameReader, MAX_PAYLOAD, encodeFrame } from './frame.js';

const SEND_HIGH_WATER = 1024 * 1024;
const SEND_LOW_WATER = 256 * 1024;
const MAX_UNREAD = 32 * 1024 * 1024;
const FIN_ACK_TIMEOUT_MS = 10_000;

export class StreamError extends Error {}

/** A promise that others settle. */
function deferred() {
  const handle = {};
  handle.promise = new Promise((resolve, reject) => Object.assign(handle, { resolve, reject }));
  handle.promise.catch(() => {});
  return handle;
}

export class Stream {
  protocol = '';

  #channel;
  #frames = new FrameReader();
  #unread = [];
  #unreadBytes = 0;
  #readEnded = false; // the peer's FIN is in, or we stopped reading
  #finSent = false;
  #finAcknowledged = deferred();
  #writeStopped = false; // the peer sent STOP_SENDING
  #failure = null;
  #wakeReader = () => {};
  #opened = deferred();
  #closed = deferred();

  constructor(channel) {
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = SEND_LOW_WATER;
    channel.addEventListener('open', () => this.#opened.resolve());
    channel.addEventListener('message', (event) => this.#onMessage(event.data));
    channel.addEventListener('close', () => this.#onClose());
    channel.addEventListener('error', () => this.#onClose());
    if (channel.readyState === 'open') this.#opened.resolve();
  }

  /** Settles when the data channel is gone. */
  get closed() {
    return this.#closed.promise;
  }

  get opened() {
    return this.#opened.promise;
  }

  /** Return the next bytes, or null at the peer's end of stream; throws StreamError when the stream was reset. */
  async read() {
    while (this.#unread.length === 0) {
      if (this.#failure) throw this.#failure;
      if (this.#readEnded) return null;
      await new Promise((resolve) => (this.#wakeReader = resolve));
    }
    const bytes = this.#unread.shift();
    this.#unreadBytes -= bytes.length;
    return bytes;
  }

  /** Put bytes back: the next read returns them. */
  unread(bytes) {
    if (bytes.length === 0) return;
    this.#unread.unshift(bytes);
    this.#unreadBytes += bytes.length;
  }

  /** Return one length-prefixed message, or null when the stream ends before it. */
  async readDelimited(limit) {
    let data = new Uint8Array(0);
    for (;;) {
      const prefix = decodeVarint(data);
      if (prefix && prefix.value > limit) throw new StreamError(`message of ${prefix.value} bytes`);
      if (prefix && data.length >= prefix.size + prefix.value) {
        const end = prefix.size + prefix.value;
        this.unread(data.subarray(end));
        return data.subarray(prefix.size, end);
      }
      const more = await this.read();
      if (more === null) {
        if (data.length === 0) return null;
        throw new StreamError('the stream ended within a message');
      }
      data = concat(data, more);
    }
  }

  writeDelimited(bytes) {
    return this.write(delimited(bytes));
  }

  /** Send bytes; waits while the channel's send buffer is full. */
  async write(bytes) {
    await this.#opened.promise;
    for (let offset = 0; offset < bytes.length; offset += MAX_PAYLOAD) {
      if (this.#channel.bufferedAmount > SEND_HIGH_WATER) await this.#drained();
      if (this.#failure) throw this.#failure;
      if (this.#finSent) throw new StreamError('our half is closed');
      if (this.#writeStopped) throw new StreamError('the peer stopped reading');
      this.#send({ message: bytes.subarray(offset, offset + MAX_PAYLOAD) });
    }
  }

  /** Half-close: the peer reads end of stream. Resolves when the peer acknowledged it. */
  async closeWrite() {
    await this.#opened.promise;
    if (!this.#finSent && !this.#failure) {
      this.#finSent = true;
      this.#send({ flag: Flag.FIN });
      setTimeout(() => this.#finAcknowledged.resolve(), FIN_ACK_TIMEOUT_MS).unref?.();
    }
    await this.#finAcknowledged.promise;
    this.#closeWhenDone();
  }

  /** Throw away what still arrives, and tell the peer. */
  closeRead() {
    if (this.#readEnded || this.#failure) return;
    this.#readEnded = true;
    this.#unread = [];
    this.#unreadBytes = 0;
    this.#send({ flag: Flag.STOP_SENDING });
    this.#wakeReader();
  }

  /** Close both halves without losing what was written. */
  async close() {
    this.closeRead();
    await this.closeWrite();
  }

  /** Abort both halves. */
  reset(reason = 'reset by us') {
    if (this.#failure) return;
    if (this.#channel.readyState === 'open') this.#send({ flag: Flag.RESET });
    this.#fail(reason);
    this.#channel.close();
  }

  #send(frame) {
    if (this.#channel.readyState === 'open') this.#channel.send(encodeFrame(frame));
  }

  #drained() {
    return new Promise((resolve) => {
      this.#channel.addEventListener('bufferedamountlow', resolve, { once: true });
      this.#closed.promise.then(resolve);
    });
  }

  #onMessage(data) {
    if (this.#failure || typeof data === 'string') return;
    let frames;
    try {
      frames = this.#frames.push(new Uint8Array(data));
    } catch (error) {
      this.reset(`malformed frame: ${error.message}`);
      return;
    }
    for (const frame of frames) this.#onFrame(frame);
  }

  #onFrame({ flag, message }) {
    if (message.length > 0 && !this.#readEnded) {
      this.#unread.push(message);
      this.#unreadBytes += message.length;
      if (this.#unreadBytes > MAX_UNREAD) this.reset('more arrived than is being read');
    }
    if (flag === Flag.FIN) {
      this.#readEnded = true;
      this.#send({ flag: Flag.FIN_ACK });
      this.#closeWhenDone();
    } else if (flag === Flag.FIN_ACK) {
      this.#finAcknowledged.resolve();
    } else if (flag === Flag.STOP_SENDING) {
      this.#writeStopped = true;
    } else if (flag === Flag.RESET) {
      this.#fail('reset by the peer');
      this.#channel.close();
    }
    this.#wakeReader();
  }

  #closeWhenDone() {
    if (!this.#readEnded || !this.#finSent) return;
    this.#finAcknowledged.promise.then(() => this.#channel.close());
  }

  #onClose() {
    if (!this.#readEnded) this.#fail('the channel closed');
    this.#finAcknowledged.resolve();
    this.#opened.reject(new StreamError('the channel closed before it opened'));
    this.#closed.resolve();
    this.#failure ??= this.#finSent ? null : new StreamError('the channel closed');
    this.#wakeReader();
  }

  #fail(reason) {
    this.#failure ??= new StreamError(reason);
    this.#finAcknowledged.resolve();
    this.#wakeReader();
  }
}
