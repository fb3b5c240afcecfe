// Streams over one RTCPeerConnection: each is a data channel with an empty label, negotiated with multistream-select.

import { respond, select } from './multistream.js';
import { Stream } from './stream.js';

const INIT_LABEL = 'init';
const MAX_INBOUND = 64;
const NEGOTIATION_TIMEOUT_MS = 10_000;

export class Muxer {
  #connection;
  #handlers;
  #inbound = 0;

  /** `handlers`: Map of protocol id to async (stream) => void. */
  constructor(connection, handlers) {
    this.#connection = connection;
    this.#handlers = handlers;
    connection.addEventListener('datachannel', ({ channel }) => this.#accept(channel));
  }

  /** Open a stream for the first of `protocols` that the peer speaks. */
  async open(...protocols) {
    const stream = new Stream(this.#connection.createDataChannel(''));
    try {
      stream.protocol = await select(stream, protocols);
    } catch (error) {
      stream.reset();
      throw error;
    }
    return stream;
  }

  async #accept(channel) {
    if (channel.label === INIT_LABEL) {
      channel.close();
      return;
    }
    if (this.#inbound >= MAX_INBOUND) {
      channel.close();
      return;
    }
    this.#inbound += 1;
    const stream = new Stream(channel);
    stream.closed.then(() => (this.#inbound -= 1));
    const timer = setTimeout(() => stream.reset('no protocol in time'), NEGOTIATION_TIMEOUT_MS);
    try {
      stream.protocol = await respond(stream, (protocol) => this.#handlers.has(protocol));
      clearTimeout(timer);
      await this.#handlers.get(stream.protocol)(stream);
    } catch (error) {
      console.debug(`stream ${stream.protocol || '(negotiating)'} ended:`, error.message);
      stream.reset();
    } finally {
      clearTimeout(timer);
    }
  }
}
