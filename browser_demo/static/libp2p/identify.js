// Identify, /ipfs/id/1.0.0: the responder sends one message about itself and closes.
// A page's key never leaves the gateway, but an Ed25519 peer id carries the public key, so the page can state it.

import { base58Decode } from './base58.js';
import { concat, delimited, text, utf8 } from './bytes.js';
import { bytesField, fields } from './protobuf.js';

export const IDENTIFY = '/ipfs/id/1.0.0';
export const AGENT = 'lastresort-page/0.1';
const PROTOCOL_VERSION = 'ipfs/0.1.0';
const MAX_MESSAGE = 8192;
const IDENTITY_MULTIHASH = 0x00;

function publicKeyOf(peerId) {
  const multihash = base58Decode(peerId);
  return multihash[0] === IDENTITY_MULTIHASH ? multihash.subarray(2) : null;
}

export function encodeIdentify(peerId, protocols) {
  const key = publicKeyOf(peerId);
  return concat(
    ...(key ? [bytesField(1, key)] : []),
    ...protocols.map((protocol) => bytesField(3, utf8(protocol))),
    bytesField(5, utf8(PROTOCOL_VERSION)),
    bytesField(6, utf8(AGENT)),
  );
}

export function decodeIdentify(message) {
  const info = { protocols: [], agent: '' };
  for (const [number, value] of fields(message)) {
    if (number === 3) info.protocols.push(text(value));
    if (number === 6) info.agent = text(value);
  }
  return info;
}

/** A handler that answers with who we are. */
export function identifyHandler(ownPeerId, protocols) {
  return async (stream) => {
    await stream.write(delimited(encodeIdentify(ownPeerId(), protocols())));
    await stream.close();
  };
}

/** Ask the peer which protocols it speaks and what software it is. */
export async function identify(muxer) {
  const stream = await muxer.open(IDENTIFY);
  const message = await stream.readDelimited(MAX_MESSAGE);
  stream.close().catch(() => {});
  return decodeIdentify(message ?? new Uint8Array(0));
}
