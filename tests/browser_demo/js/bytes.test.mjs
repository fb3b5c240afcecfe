import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { base58Decode } from '../../../browser_demo/static/libp2p/base58.js';
import { concat, decodeVarint, delimited, encodeVarint, hex, utf8 } from '../../../browser_demo/static/libp2p/bytes.js';
import { decodeIdentify, encodeIdentify } from '../../../browser_demo/static/libp2p/identify.js';
import { fields } from '../../../browser_demo/static/libp2p/protobuf.js';
import { Sha256 } from '../../../browser_demo/static/sha256.js';

test('varints: known encodings, both ways', () => {
  for (const [value, encoded] of [[0, '00'], [1, '01'], [127, '7f'], [128, '8001'], [300, 'ac02'], [16384, '808001'], [2 ** 40, '808080808020']]) {
    assert.equal(hex(encodeVarint(value)), encoded);
    assert.deepEqual(decodeVarint(encodeVarint(value)), { value, size: encoded.length / 2 });
  }
});

test('varints: an incomplete one is null, an endless one throws', () => {
  assert.equal(decodeVarint(Uint8Array.of(0x80)), null);
  assert.equal(decodeVarint(new Uint8Array(0)), null);
  assert.throws(() => decodeVarint(new Uint8Array(12).fill(0xff)), RangeError);
  assert.throws(() => encodeVarint(-1), RangeError);
});

test('delimited puts the length in front', () => {
  assert.equal(hex(delimited(utf8('/multistream/1.0.0\n'))).slice(0, 4), '132f');
});

test('protobuf: unknown fields are stepped over, truncated ones throw', () => {
  const message = Uint8Array.of(0x08, 0x05, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0x12, 2, 0x68, 0x69);
  assert.deepEqual([...fields(message)], [[1, 5], [2, utf8('hi')]]);
  assert.throws(() => [...fields(Uint8Array.of(0x12, 5, 1))], RangeError);
  assert.throws(() => [...fields(Uint8Array.of(0x0b))], RangeError);
});

test('base58: the peer id of the libp2p key vector', () => {
  const id = base58Decode('12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq');
  assert.equal(hex(id), '0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e');
  assert.throws(() => base58Decode('0OIl'), RangeError);
});

test('identify states the key inside the peer id, the protocols and the agent', () => {
  const message = encodeIdentify('12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq', ['/a', '/b']);
  const [[number, key]] = [...fields(message)];
  assert.equal(number, 1);
  assert.equal(hex(key), '080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e');
  assert.deepEqual(decodeIdentify(message), { protocols: ['/a', '/b'], agent: 'lastresort-page/0.1' });
});

test('SHA-256 agrees with another implementation, however it is fed', () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 70_000]) {
    const data = randomBytes(length);
    const expected = createHash('sha256').update(data).digest('hex');
    assert.equal(new Sha256().update(data).digest(), expected);
    const pieces = new Sha256();
    for (let at = 0; at < length; at += 37) pieces.update(data.subarray(at, at + 37));
    assert.equal(pieces.digest(), expected, `length ${length} in pieces`);
  }
  assert.equal(new Sha256().update(utf8('abc')).digest(), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

test('concat', () => assert.deepEqual(concat(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)), Uint8Array.of(1, 2, 3)));
