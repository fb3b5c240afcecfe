// The two wire types that libp2p's small messages need: varints (0) and length-delimited fields (2).

import { concat, decodeVarint, encodeVarint } from './bytes.js';

export const varintField = (number, value) => concat(encodeVarint(number << 3), encodeVarint(value));

export const bytesField = (number, bytes) =>
  concat(encodeVarint((number << 3) | 2), encodeVarint(bytes.length), bytes);

/** Yield [field number, value] of every field; fixed-width fields of unknown meaning are stepped over. */
export function* fields(message) {
  let offset = 0;
  const varint = () => {
    const result = decodeVarint(message, offset);
    if (result === null) throw new RangeError('protobuf ends within a varint');
    offset += result.size;
    return result.value;
  };
  while (offset < message.length) {
    const key = varint();
    const number = Math.floor(key / 8);
    const wire = key & 7;
    if (wire === 0) {
      yield [number, varint()];
      continue;
    }
    if (wire !== 1 && wire !== 2 && wire !== 5) throw new RangeError(`protobuf wire type ${wire}`);
    const length = wire === 2 ? varint() : wire === 1 ? 8 : 4;
    if (offset + length > message.length) throw new RangeError('protobuf ends within a field');
    if (wire === 2) yield [number, message.subarray(offset, offset + length)];
    offset += length;
  }
}
