// The WebSocket to the gateway: our identity, the roster of peers, and the envelopes of signalling. No media, no data.

const FIRST_RETRY_MS = 300;
const LAST_RETRY_MS = 5000;

export class Gateway extends EventTarget {
  #url;
  #name;
  #socket = null;
  #retryMs = FIRST_RETRY_MS;
  peer = '';
  relay = '';
  iceServers = [];

  /** Events: "state" {online}, and one per message type of the gateway, with the message as detail. */
  constructor(url, name) {
    super();
    this.#url = url;
    this.#name = name;
  }

  get online() {
    return this.#socket?.readyState === WebSocket.OPEN && this.peer !== '';
  }

  connect() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.addEventListener('open', () => this.send({ type: 'hello', name: this.#name }));
    socket.addEventListener('message', ({ data }) => this.#onMessage(data));
    socket.addEventListener('close', () => this.#onClose(socket));
  }

  /** Join again under another name; the gateway gives out a new identity. */
  rename(name) {
    this.#name = name;
    this.#retryMs = 0;
    this.#socket?.close();
  }

  /** Send a message; false when the gateway is away. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #onMessage(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (typeof message?.type !== 'string') return;
    if (message.type === 'welcome') {
      this.peer = message.peer;
      this.relay = message.relay ?? '';
      this.iceServers = message.iceServers ?? [];
      this.#retryMs = FIRST_RETRY_MS;
      this.dispatchEvent(new CustomEvent('state', { detail: { online: true } }));
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  #onClose(socket) {
    if (socket !== this.#socket) return;
    this.peer = '';
    this.dispatchEvent(new CustomEvent('state', { detail: { online: false } }));
    setTimeout(() => this.connect(), this.#retryMs);
    this.#retryMs = Math.min(LAST_RETRY_MS, Math.max(FIRST_RETRY_MS, this.#retryMs * 2));
  }
}
