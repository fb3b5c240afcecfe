// Chat, /lastresort/chat/1.0.0: one stream, length-prefixed JSON both ways.
//   {"type":"message","id":string,"text":string}    {"type":"received","id":string}
// Either side may open the stream; a message goes out on whichever stream is open.

import { hex, text, utf8 } from '../libp2p/bytes.js';

export const CHAT = '/lastresort/chat/1.0.0';
export const MAX_TEXT = 4000;
const MAX_MESSAGE = 32 * 1024;

const newId = () => hex(crypto.getRandomValues(new Uint8Array(6)));

export class Chat extends EventTarget {
  #muxer;
  #stream = null;
  #opening = null;

  /** Events: "message" {id, text} from the peer, "received" {id} when the peer has one of ours. */
  constructor(muxer) {
    super();
    this.#muxer = muxer;
  }

  /** Handler of inbound chat streams. */
  async accept(stream) {
    this.#stream = stream;
    await this.#read(stream);
  }

  /** Send a text; returns its id. Throws when no stream can be opened. */
  async send(message) {
    const stream = await this.#open();
    const id = newId();
    await this.#write(stream, { type: 'message', id, text: message.slice(0, MAX_TEXT) });
    return id;
  }

  async #open() {
    if (this.#stream) return this.#stream;
    this.#opening ??= this.#muxer.open(CHAT).finally(() => (this.#opening = null));
    const stream = await this.#opening;
    if (this.#stream === null) {
      this.#stream = stream;
      this.#read(stream).catch(() => stream.reset());
    }
    return this.#stream;
  }

  #write(stream, message) {
    return stream.writeDelimited(utf8(JSON.stringify(message)));
  }

  async #read(stream) {
    try {
      for (;;) {
        const bytes = await stream.readDelimited(MAX_MESSAGE);
        if (bytes === null) break;
        await this.#onMessage(stream, JSON.parse(text(bytes)));
      }
      await stream.close();
    } finally {
      if (this.#stream === stream) this.#stream = null;
    }
  }

  async #onMessage(stream, message) {
    const { type, id } = message ?? {};
    if (typeof id !== 'string') return;
    if (type === 'message' && typeof message.text === 'string') {
      this.dispatchEvent(new CustomEvent('message', { detail: { id, text: message.text.slice(0, MAX_TEXT) } }));
      await this.#write(stream, { type: 'received', id });
    } else if (type === 'received') {
      this.dispatchEvent(new CustomEvent('received', { detail: { id } }));
    }
  }
}
