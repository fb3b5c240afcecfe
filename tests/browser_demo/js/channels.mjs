// A pair of data channels in memory: what one sends arrives at the other in order, in later tasks, as RTCDataChannel does.

export class FakeChannel extends EventTarget {
  readyState = 'connecting';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  binaryType = 'blob';
  label = '';
  sent = []; // every message, as it went out

  send(data) {
    if (this.readyState !== 'open') throw new Error('InvalidStateError');
    const copy = data.slice();
    this.sent.push(copy);
    this.bufferedAmount += copy.length;
    setImmediate(() => this.#deliver(copy));
  }

  #deliver(copy) {
    const before = this.bufferedAmount;
    this.bufferedAmount -= copy.length;
    if (before > this.bufferedAmountLowThreshold && this.bufferedAmount <= this.bufferedAmountLowThreshold) {
      this.dispatchEvent(new Event('bufferedamountlow'));
    }
    const peer = this.peer;
    if (peer.readyState === 'closed') return;
    peer.dispatchEvent(new MessageEvent('message', { data: copy.buffer }));
  }

  open() {
    this.readyState = 'open';
    this.dispatchEvent(new Event('open'));
  }

  close() {
    if (this.readyState === 'closed' || this.readyState === 'closing') return;
    this.readyState = 'closing';
    setImmediate(() => [this, this.peer].forEach((side) => side.closed()));
  }

  closed() {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.dispatchEvent(new Event('close'));
  }
}

/** Return two ends that are open. */
export function channelPair() {
  const [a, b] = [new FakeChannel(), new FakeChannel()];
  a.peer = b;
  b.peer = a;
  setImmediate(() => {
    a.open();
    b.open();
  });
  return [a, b];
}

/** Two peer connections in memory: a channel made by one is announced to the other. */
export function connectionPair() {
  const make = () => Object.assign(new EventTarget(), { channels: [] });
  const [a, b] = [make(), make()];
  for (const [own, other] of [[a, b], [b, a]]) {
    own.createDataChannel = (label) => {
      const [near, far] = channelPair();
      near.label = far.label = label;
      own.channels.push(near);
      setImmediate(() => other.dispatchEvent(Object.assign(new Event('datachannel'), { channel: far })));
      return near;
    };
  }
  return [a, b];
}
