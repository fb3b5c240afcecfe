// One peer: signalling carried by the gateway, an RTCPeerConnection, and the streams on it. This is libp2p's /webrtc
// as js-libp2p speaks it, so a native peer, another tab and a js-libp2p page all look alike from here: the caller makes
// an "init" data channel, both trickle, and the caller closes "init" once the connection is up.

import { Chat, CHAT } from './protocols/chat.js';
import { ECHO, echoHandler } from './protocols/echo.js';
import { FILE, Files } from './protocols/files.js';
import { hex } from './libp2p/bytes.js';
import { IDENTIFY, identify, identifyHandler } from './libp2p/identify.js';
import { Muxer } from './libp2p/muxer.js';
import { PING, pingHandler } from './libp2p/ping.js';

/** Where a session stands. */
export const State = Object.freeze({
  SIGNALLING: 'signalling', // offer and answer travel through the relay
  CHECKING: 'checking', // ICE tries the candidate pairs
  DIRECT: 'direct', // streams can be opened
  UNSURE: 'unsure', // the peer has not answered for a while
  LOST: 'lost', // gone; a new session can be tried
  CLOSED: 'closed', // ended by us or by the peer, on purpose
});

const CONNECT_TIMEOUT_MS = 30_000;
const OVER = new Set([State.LOST, State.CLOSED]);

export const newSessionId = () => hex(crypto.getRandomValues(new Uint8Array(8)));

export class Session extends EventTarget {
  state = State.SIGNALLING;
  reason = '';
  absent = false; // the peer is not on the roster
  agent = ''; // what the peer says it runs
  protocols = [];
  marks = { start: performance.now() }; // start, relayed, answered, checking, connected, direct: in ms of the page's clock

  #gateway;
  #pending = []; // candidates that arrived before the remote description
  #initClosed = false;
  #timer;

  constructor({ id, peer, caller, gateway }) {
    super();
    Object.assign(this, { id, peer, caller });
    this.#gateway = gateway;
    this.connection = new RTCPeerConnection({ iceServers: gateway.iceServers });
    this.handlers = new Map();
    this.muxer = new Muxer(this.connection, this.handlers);
    this.chat = new Chat(this.muxer);
    this.files = new Files(this.muxer);
    this.#register();
    this.#watch();
    this.#timer = setTimeout(() => this.#end(State.LOST, 'no path was found in time'), CONNECT_TIMEOUT_MS);
  }

  get over() {
    return OVER.has(this.state);
  }

  /** Whether the peer speaks a protocol, as far as is known: before it told, it is given the benefit of the doubt. */
  speaks(protocol) {
    return this.protocols.length === 0 || this.protocols.includes(protocol);
  }

  /** Call the peer. */
  async call() {
    this.#closeInitWhenDone(this.connection.createDataChannel('init'));
    await this.#guard(async () => {
      await this.connection.setLocalDescription(await this.connection.createOffer());
      this.#signal({ type: 'offer', peer: this.peer, sdp: this.connection.localDescription.sdp });
    });
  }

  /** Answer the peer's offer. */
  async answer(sdp) {
    this.#mark('relayed');
    await this.#guard(async () => {
      await this.connection.setRemoteDescription({ type: 'offer', sdp });
      await this.connection.setLocalDescription(await this.connection.createAnswer());
      this.#signal({ type: 'answer', sdp: this.connection.localDescription.sdp });
      this.#mark('answered');
      this.#setState(State.CHECKING);
      await this.#addPending();
    });
  }

  /** Take a message of the gateway that names this session. */
  async onSignal(message) {
    if (this.over) return;
    if (message.type === 'signalling' && message.state === 'relayed') this.#mark('relayed');
    if (message.type === 'answer') await this.#onAnswer(message.sdp);
    if (message.type === 'candidate') await this.#onCandidate(message.candidate);
    if (message.type === 'error' && !this.marks.direct) this.#end(State.LOST, message.message ?? message.code);
    if (message.type === 'bye') this.#onBye(message.reason);
  }

  /** Whoever is connected first ends the signalling; only an end before the answer means that nothing will come of it. */
  #onBye(reason) {
    if (this.state === State.SIGNALLING && reason !== 'connected') this.#end(State.LOST, reason || 'the peer hung up');
  }

  /** The peer left the roster: with an unanswering path that means it is gone. */
  peerLeft() {
    this.absent = true;
    if (this.state === State.UNSURE) this.#end(State.LOST, 'the peer is gone');
  }

  /** Hang up. */
  close(reason = 'closed here') {
    if (!this.over) this.#signal({ type: 'bye', reason });
    this.#end(State.CLOSED, reason);
  }

  #register() {
    this.handlers.set(IDENTIFY, identifyHandler(() => this.#gateway.peer, () => [...this.handlers.keys()]));
    this.handlers.set(PING, pingHandler);
    this.handlers.set(ECHO, echoHandler);
    this.handlers.set(CHAT, (stream) => this.chat.accept(stream));
    this.handlers.set(FILE, (stream) => this.files.accept(stream));
  }

  #watch() {
    const connection = this.connection;
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate === null || candidate.candidate !== '') {
        this.#signal({ type: 'candidate', candidate: candidate && candidate.toJSON() });
      }
    });
    connection.addEventListener('iceconnectionstatechange', () => {
      if (connection.iceConnectionState === 'checking') this.#mark('checking');
      if (['connected', 'completed'].includes(connection.iceConnectionState)) this.#mark('connected');
    });
    connection.addEventListener('connectionstatechange', () => this.#onConnectionState());
  }

  #onConnectionState() {
    const state = this.connection.connectionState;
    if (state === 'connected') {
      if (this.state === State.UNSURE) this.#setState(State.DIRECT);
      if (!this.caller || this.#initClosed) this.#ready();
    } else if (state === 'disconnected' && this.state === State.DIRECT) {
      this.#setState(State.UNSURE);
      if (this.absent) this.#end(State.LOST, 'the peer is gone');
    } else if (state === 'failed') {
      this.#end(State.LOST, this.marks.direct ? 'the peer stopped answering' : 'no candidate pair worked');
    } else if (state === 'closed') {
      this.#end(State.LOST, 'the peer closed the connection');
    }
  }

  #closeInitWhenDone(init) {
    init.addEventListener('open', () => init.close());
    init.addEventListener('close', () => {
      this.#initClosed = true;
      this.#ready();
    });
  }

  /** The path is up and stream ids are settled: signalling is over. */
  #ready() {
    if (this.over || this.marks.direct || this.connection.connectionState !== 'connected') return;
    clearTimeout(this.#timer);
    this.#mark('connected');
    this.#mark('direct');
    this.#signal({ type: 'bye', reason: 'connected' });
    this.connection.sctp?.transport.addEventListener('statechange', () => this.#onDtlsState());
    this.#setState(State.DIRECT);
    this.#identify();
  }

  #onDtlsState() {
    if (this.connection.sctp?.transport.state === 'closed') this.#end(State.LOST, 'the peer closed the connection');
  }

  async #identify() {
    try {
      const { agent, protocols } = await identify(this.muxer);
      Object.assign(this, { agent, protocols });
      this.dispatchEvent(new Event('identified'));
    } catch (error) {
      console.debug('identify failed:', error.message);
    }
  }

  async #onAnswer(sdp) {
    this.#mark('relayed');
    this.#mark('answered');
    await this.#guard(async () => {
      await this.connection.setRemoteDescription({ type: 'answer', sdp });
      this.#setState(State.CHECKING);
      await this.#addPending();
    });
  }

  async #onCandidate(candidate) {
    if (!candidate?.candidate) return;
    if (this.connection.remoteDescription) await this.#add(candidate);
    else if (this.#pending.length < 100) this.#pending.push(candidate);
  }

  async #addPending() {
    for (const candidate of this.#pending.splice(0)) await this.#add(candidate);
  }

  async #add(candidate) {
    try {
      await this.connection.addIceCandidate({ ...candidate, candidate: candidate.candidate.replace(/^a=/, '') });
    } catch (error) {
      console.debug('candidate ignored:', error.message);
    }
  }

  async #guard(work) {
    try {
      await work();
    } catch (error) {
      this.#signal({ type: 'bye', reason: error.message });
      this.#end(State.LOST, error.message);
    }
  }

  #signal(message) {
    this.#gateway.send({ session: this.id, ...message });
  }

  #mark(name) {
    if (name in this.marks) return;
    this.marks[name] = performance.now();
    this.dispatchEvent(new Event('marks'));
  }

  #setState(state) {
    if (this.state === state || this.over) return;
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }

  #end(state, reason) {
    if (this.over) return;
    clearTimeout(this.#timer);
    this.reason = reason;
    this.#setState(state);
    this.connection.close();
  }
}
