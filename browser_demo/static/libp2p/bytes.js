// Byte helpers: text, concatenation, unsigned varints (LEB128) as multiformats defines them.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

export const utf8 = (text) => encoder.encode(text);

/** Decode UTF-8; throws a TypeError on malformed input. */
export const text = (bytes) => decoder.decode(bytes);

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function encodeVarint(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not a varint`);
  const out = [];
  while (value > 0x7f) {
    out.push((value % 0x80) | 0x80);
    value = Math.floor(value / 0x80);
  }
  out.push(value);
  return Uint8Array.from(out);
}

/** Return {value, size}, or null when `bytes` ends within the varint; throws on one that is too long. */
export function decodeVarint(bytes, offset = 0) {
  let value = 0;
  let scale = 1;
  for (let index = offset; index < bytes.length; index += 1) {
    const byte = bytes[index];
    value += (byte & 0x7f) * scale;
    if (!Number.isSafeInteger(value) || index - offset >= 8) throw new RangeError('varint too long');
    if (byte < 0x80) return { value, size: index - offset + 1 };
    scale *= 0x80;
  }
  return null;
}

/** Put the length of `bytes` in front of it. */
export const delimited = (bytes) => concat(encodeVarint(bytes.length), bytes);
