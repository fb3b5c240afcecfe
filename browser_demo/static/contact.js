// A peer we know of: on the roster or not, with at most one session at a time and the conversation so far.

import { Session, State, newSessionId } from './session.js';

export class Contact extends EventTarget {
  name = '';
  kind = 'native';
  online = false;
  unread = 0;
  session = null;

  #gateway;

  /** Events: "session" when a session began, "state", "marks", "message", "received", "transfer", "identified". */
  constructor(peer, gateway) {
    super();
    this.peer = peer;
    this.#gateway = gateway;
  }

  get connected() {
    return this.session?.state === State.DIRECT || this.session?.state === State.UNSURE;
  }

  get busy() {
    return this.session !== null && !this.session.over;
  }

  /** Take what the roster says; null when the peer is not on it. */
  seen(entry) {
    this.online = entry !== null;
    if (entry) Object.assign(this, { name: entry.name, kind: entry.kind });
    if (this.session) {
      this.session.absent = entry === null;
      if (entry === null) this.session.peerLeft();
    }
  }

  /** Call the peer, unless there is a session already. */
  connect() {
    if (!this.busy) this.#begin(newSessionId(), true).call();
  }

  /** Take a call; one that crosses ours wins when the caller's peer id is the smaller one. */
  answer(id, sdp) {
    if (this.busy) {
      const crossing = this.session.caller && !this.session.marks.direct;
      if (crossing && this.#gateway.peer < this.peer) return false;
      this.session.close('replaced by a call of the peer');
    }
    this.#begin(id, false).answer(sdp);
    return true;
  }

  disconnect() {
    this.session?.close();
  }

  #begin(id, caller) {
    const session = new Session({ id, peer: this.peer, caller, gateway: this.#gateway });
    this.session = session;
    const forward = (source, name) =>
      source.addEventListener(name, (event) => {
        if (this.session === session) this.dispatchEvent(new CustomEvent(name, { detail: event.detail }));
      });
    for (const name of ['state', 'marks', 'identified']) forward(session, name);
    for (const name of ['message', 'received']) forward(session.chat, name);
    forward(session.files, 'transfer');
    this.dispatchEvent(new Event('session'));
    return session;
  }
}
