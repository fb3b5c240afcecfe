import assert from 'node:assert/strict';
import { test } from 'node:test';

import { concat, hex, text, utf8 } from '../../../browser_demo/static/libp2p/bytes.js';
import { Flag, FrameReader, MAX_FRAME, MAX_PAYLOAD, encodeFrame } from '../../../browser_demo/static/libp2p/frame.js';
import { Muxer } from '../../../browser_demo/static/libp2p/muxer.js';
import { Stream, StreamError } from '../../../browser_demo/static/libp2p/stream.js';
import { channelPair, connectionPair } from './channels.mjs';

const streams = () => channelPair().map((channel) => new Stream(channel));
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

async function readAll(stream) {
  const parts = [];
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) parts.push(bytes);
  return concat(...parts);
}

test('frames: the bytes of the specification', () => {
  assert.equal(hex(encodeFrame({ flag: Flag.FIN })), '020800');
  assert.equal(hex(encodeFrame({ flag: Flag.FIN_ACK })), '020803');
  assert.equal(hex(encodeFrame({ message: utf8('hi') })), '0412026869');
});

test('frames: any cut of the byte stream gives the same frames', () => {
  const whole = concat(encodeFrame({ message: utf8('hello') }), encodeFrame({ flag: Flag.FIN }), encodeFrame({ message: new Uint8Array(300) }));
  for (let cut = 1; cut < whole.length; cut += 1) {
    const reader = new FrameReader();
    const frames = [...reader.push(whole.subarray(0, cut)), ...reader.push(whole.subarray(cut))];
    assert.deepEqual(frames.map(({ flag, message }) => [flag, message.length]), [[undefined, 5], [0, 0], [undefined, 300]]);
  }
});

test('frames: too long a frame is refused before it is buffered', () => {
  const reader = new FrameReader();
  assert.throws(() => reader.push(Uint8Array.of(0x81, 0x80, 0x80, 0x02)), RangeError);
  assert.ok(MAX_FRAME < 0x0400001);
});

test('bytes arrive in order and a data-channel message stays within 16 KiB', async () => {
  const [a, b] = channelPair();
  const [near, far] = [new Stream(a), new Stream(b)];
  const data = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
  const reading = readAll(far);
  await near.write(data);
  await near.closeWrite();
  assert.deepEqual(await reading, data);
  assert.ok(Math.max(...a.sent.map((message) => message.length)) <= 16384);
  assert.equal(a.sent.length, Math.ceil(100_000 / MAX_PAYLOAD) + 1);
});

test('half-close: FIN is answered with FIN_ACK, the other direction goes on, then the channel closes', async () => {
  const [a, b] = channelPair();
  const [near, far] = [new Stream(a), new Stream(b)];
  await near.closeWrite();
  assert.equal(await far.read(), null);
  assert.deepEqual(b.sent.map((message) => hex(message)), ['020803']);
  await far.write(utf8('still here'));
  assert.equal(text(await near.read()), 'still here');
  await far.closeWrite();
  await Promise.all([near.closed, far.closed]);
  await assert.rejects(near.write(utf8('x')), StreamError);
});

test('reset reaches the other side', async () => {
  const [near, far] = streams();
  await near.write(utf8('lost?'));
  near.reset();
  await assert.rejects(near.read(), StreamError);
  await turn();
  assert.equal(text(await far.read()), 'lost?');
  await assert.rejects(far.read(), StreamError);
  await assert.rejects(far.write(utf8('x')), StreamError);
});

test('a channel that closes without FIN fails the reader', async () => {
  const [a, b] = channelPair();
  const far = new Stream(b);
  const reading = far.read();
  await far.opened;
  a.close();
  await assert.rejects(reading, StreamError);
});

test('STOP_SENDING stops the writer and is not answered with RESET', async () => {
  const [a, b] = channelPair();
  const [near, far] = [new Stream(a), new Stream(b)];
  await near.write(utf8('x'));
  far.closeRead();
  await turn();
  await assert.rejects(near.write(utf8('y')), /stopped reading/);
  assert.ok(!a.sent.some((message) => hex(message) === '020802'));
  assert.equal(await far.read(), null);
});

test('a malformed frame resets the stream', async () => {
  const [a, b] = channelPair();
  const far = new Stream(b);
  await far.opened;
  a.send(Uint8Array.of(3, 0x12, 0x7f, 0));
  await turn();
  await assert.rejects(far.read(), /malformed/);
});

test('a writer waits while the channel is full', async () => {
  const [a, b] = channelPair();
  const [near, far] = [new Stream(a), new Stream(b)];
  let highest = 0;
  const send = a.send.bind(a);
  a.send = (data) => { send(data); highest = Math.max(highest, a.bufferedAmount); };
  const reading = readAll(far);
  await near.write(new Uint8Array(5_000_000));
  await near.closeWrite();
  assert.equal((await reading).length, 5_000_000);
  assert.ok(highest < 1024 * 1024 + 2 * 16384, `highest ${highest}`);
});

test('delimited messages survive any chunking', async () => {
  const [near, far] = streams();
  await near.writeDelimited(utf8('one'));
  await near.writeDelimited(new Uint8Array(40_000));
  await near.closeWrite();
  assert.equal(text(await far.readDelimited(10)), 'one');
  assert.equal((await far.readDelimited(50_000)).length, 40_000);
  assert.equal(await far.readDelimited(10), null);
});

test('a delimited message above the limit throws', async () => {
  const [near, far] = streams();
  await near.writeDelimited(new Uint8Array(100));
  await assert.rejects(far.readDelimited(99), StreamError);
});

test('multistream-select: the first protocol in common, na for the others', async () => {
  const [left, right] = connectionPair();
  const served = [];
  new Muxer(right, new Map([['/echo', async (stream) => {
    served.push(stream.protocol);
    await stream.write(await stream.read());
    await stream.close();
  }]]));
  const muxer = new Muxer(left, new Map());
  const stream = await muxer.open('/unknown/1', '/echo');
  assert.equal(stream.protocol, '/echo');
  await stream.write(utf8('ping'));
  assert.equal(text(await stream.read()), 'ping');
  assert.equal(await stream.read(), null);
  assert.deepEqual(served, ['/echo']);
});

test('multistream-select: header and proposal go out in one message, as js-libp2p does', async () => {
  const [left, right] = connectionPair();
  new Muxer(right, new Map([['/p', async (stream) => stream.close()]]));
  await new Muxer(left, new Map()).open('/p');
  assert.ok(text(left.channels[0].sent[0].subarray(3)).endsWith('/multistream/1.0.0\n\x03/p\n'));
});

test('multistream-select: nothing in common is an error, and the stream is reset', async () => {
  const [left, right] = connectionPair();
  new Muxer(right, new Map());
  await assert.rejects(new Muxer(left, new Map()).open('/a', '/b'), /speaks none/);
  assert.equal(hex(left.channels[0].sent.at(-1)), '020802');
});

test('the init channel is closed and not taken for a stream', async () => {
  const [left, right] = connectionPair();
  new Muxer(right, new Map());
  const init = left.createDataChannel('init');
  await new Promise((resolve) => init.addEventListener('close', resolve));
});
