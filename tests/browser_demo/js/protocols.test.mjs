import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { text, utf8 } from '../../../browser_demo/static/libp2p/bytes.js';
import { Muxer } from '../../../browser_demo/static/libp2p/muxer.js';
import { CHAT, Chat } from '../../../browser_demo/static/protocols/chat.js';
import { FILE, Files, MAX_FILE, safeName } from '../../../browser_demo/static/protocols/files.js';
import { phases } from '../../../browser_demo/static/ui/timeline.js';
import { RateMeter, formatBytes, formatMs } from '../../../browser_demo/static/stats.js';
import { connectionPair } from './channels.mjs';

const next = (target, name) => new Promise((resolve) => target.addEventListener(name, ({ detail }) => resolve(detail), { once: true }));

function peers() {
  return connectionPair().map((connection) => {
    const handlers = new Map();
    const muxer = new Muxer(connection, handlers);
    const peer = { muxer, chat: new Chat(muxer), files: new Files(muxer) };
    handlers.set(CHAT, (stream) => peer.chat.accept(stream));
    handlers.set(FILE, (stream) => peer.files.accept(stream));
    return peer;
  });
}

const file = (name, data) => ({ name, size: data.length, slice: (from, to) => new Blob([data.subarray(from, to)]) });

test('chat: both ways over one stream, and each message is acknowledged', async () => {
  const [ada, bob] = peers();
  const arrived = next(bob.chat, 'message');
  const acknowledged = next(ada.chat, 'received');
  const id = await ada.chat.send('hello');
  assert.deepEqual(await arrived, { id, text: 'hello' });
  assert.deepEqual(await acknowledged, { id });
  const answer = next(ada.chat, 'message');
  await bob.chat.send('hi back');
  assert.equal((await answer).text, 'hi back');
});

test('chat: what is not JSON ends the stream, and a new one can be opened', async () => {
  const [ada, bob] = peers();
  const stream = await ada.muxer.open(CHAT);
  await stream.writeDelimited(utf8('{"type":'));
  await assert.rejects(async () => { for (;;) if ((await stream.read()) === null) throw new Error('ended'); });
  const arrived = next(bob.chat, 'message');
  await ada.chat.send('again');
  assert.equal((await arrived).text, 'again');
});

test('files: bytes, progress and hash at both ends', async () => {
  const [ada, bob] = peers();
  const data = randomBytes(1_500_000);
  const received = next(bob.files, 'transfer');
  const sent = await ada.files.send(file('../etc/pass wd', data));
  const { transfer } = await received;
  assert.equal(sent.state, 'verified');
  assert.equal(transfer.state, 'verified');
  assert.equal(transfer.name, 'pass wd');
  assert.equal(transfer.sha256, createHash('sha256').update(data).digest('hex'));
  assert.deepEqual(Buffer.from(await transfer.blob.arrayBuffer()), data);
});

test('files: an empty file is a file', async () => {
  const [ada] = peers();
  assert.equal((await ada.files.send(file('empty', new Uint8Array(0)))).state, 'verified');
});

test('files: a wrong hash is found by the receiver and told to the sender', async () => {
  const [ada, bob] = peers();
  const received = next(bob.files, 'transfer');
  const stream = await ada.muxer.open(FILE);
  await stream.writeDelimited(utf8(JSON.stringify({ name: 'x', size: 3, sha256: '00'.repeat(32) })));
  assert.equal(JSON.parse(text(await stream.readDelimited(1000))).accept, true);
  await stream.write(utf8('abc'));
  stream.closeWrite();
  const verdict = JSON.parse(text(await stream.readDelimited(1000)));
  assert.equal(verdict.ok, false);
  assert.equal(verdict.sha256, 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  assert.equal((await received).transfer.state, 'failed');
});

test('files: more bytes than announced reset the stream', async () => {
  const [ada, bob] = peers();
  const received = next(bob.files, 'transfer');
  const stream = await ada.muxer.open(FILE);
  await stream.writeDelimited(utf8(JSON.stringify({ name: 'x', size: 2, sha256: '' })));
  await stream.readDelimited(1000);
  await stream.write(utf8('abc'));
  await assert.rejects(stream.read());
  assert.equal((await received).transfer.state, 'failed');
});

test('files: an absurd size is refused', async () => {
  const [ada] = peers();
  for (const size of [-1, 1.5, 2 ** 40, 'many', null]) {
    const stream = await ada.muxer.open(FILE);
    await stream.writeDelimited(utf8(JSON.stringify({ name: 'x', size, sha256: '' })));
    assert.equal(JSON.parse(text(await stream.readDelimited(1000))).accept, false);
    stream.reset();
  }
});

test('files: what one peer may fill is bounded', async () => {
  const [ada] = peers();
  const offer = async () => {
    const stream = await ada.muxer.open(FILE);
    await stream.writeDelimited(utf8(JSON.stringify({ name: 'x', size: MAX_FILE, sha256: '' })));
    return JSON.parse(text(await stream.readDelimited(1000))).accept;
  };
  assert.deepEqual([await offer(), await offer(), await offer()], [true, true, false]);
});

test('file names lose their folders, dots and control characters', () => {
  assert.equal(safeName('C:\\temp\\a.txt'), 'a.txt');
  assert.equal(safeName('/etc/../..'), 'file');
  assert.equal(safeName('...hidden\u0000\u202e.exe'), 'hidden.exe');
  assert.equal(safeName('x'.repeat(500)).length, 120);
});

test('the time line counts each phase from the end of the one before', () => {
  assert.deepEqual(phases({ start: 100, answered: 150, connected: 160, direct: 185 }, 999).map(({ ms }) => ms), [50, 10, 25]);
  const [first, second] = phases({ start: 100, answered: 150 }, 170);
  assert.equal(first.running, false);
  assert.deepEqual([second.ms, second.running], [20, true]);
});

test('rates and numbers', () => {
  const meter = new RateMeter(3);
  for (let i = 0; i < 6; i += 1) meter.push({ sent: i * 1000, received: 0, at: i * 500 });
  assert.deepEqual(meter.history, Array(3).fill({ up: 2000, down: 0 }));
  assert.equal(formatBytes(999), '999 B');
  assert.equal(formatBytes(5_000_000), '5.0 MB');
  assert.equal(formatMs(3.21), '3.2 ms');
});
