// Frames of a libp2p stream on a data channel: varint length + protobuf { 1: flag, 2: message bytes }.
// A frame may arrive in pieces or together with others: the channel is read as a byte stream.

import { concat, decodeVarint, delimited } from './bytes.js';
import { bytesField, fields, varintField } from './protobuf.js';

export const Flag = Object.freeze({ FIN: 0, STOP_SENDING: 1, RESET: 2, FIN_ACK: 3 });

/** Payload bytes of one frame, so that the whole data-channel message stays within 16 KiB. */
export const MAX_PAYLOAD = 16384 - 12;

/** What is accepted from a peer; others send frames larger than the specification allows. */
export const MAX_FRAME = 4 * 1024 * 1024;

const NOTHING = new Uint8Array(0);

export function encodeFrame({ flag, message }) {
  const parts = [];
  if (flag !== undefined) parts.push(varintField(1, flag));
  if (message !== undefined) parts.push(bytesField(2, message));
  return delimited(concat(...parts));
}

function decodeFrame(body) {
  const frame = { flag: undefined, message: NOTHING };
  for (const [number, value] of fields(body)) {
    if (number === 1 && typeof value === 'number') frame.flag = value;
    if (number === 2 && value instanceof Uint8Array) frame.message = value;
  }
  return frame;
}

export class FrameReader {
  #pending = NOTHING;

  /** Take the bytes of one data-channel message and return the frames that are complete; throws on malformed ones. */
  push(bytes) {
    let data = this.#pending.length ? concat(this.#pending, bytes) : bytes;
    const frames = [];
    for (;;) {
      const prefix = decodeVarint(data);
      if (prefix === null) break;
      if (prefix.value > MAX_FRAME) throw new RangeError(`frame of ${prefix.value} bytes`);
      const end = prefix.size + prefix.value;
      if (data.length < end) break;
      frames.push(decodeFrame(data.subarray(prefix.size, end)));
      data = data.subarray(end);
    }
    this.#pending = data;
    return frames;
  }
}
