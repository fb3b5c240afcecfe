// multistream-select 1.0 on one stream: both ends name it, the initiator proposes, the responder echoes or says "na".

import { concat, delimited, text, utf8 } from './bytes.js';
import { StreamError } from './stream.js';

const MULTISTREAM = '/multistream/1.0.0';
const NOT_AVAILABLE = 'na';
const MAX_TOKEN = 1024;
const MAX_PROPOSALS = 16;

const token = (name) => delimited(utf8(`${name}\n`));

async function readToken(stream) {
  const bytes = await stream.readDelimited(MAX_TOKEN);
  if (bytes === null) throw new StreamError('the stream ended during negotiation');
  const line = text(bytes);
  if (!line.endsWith('\n')) throw new StreamError('a negotiation token without its newline');
  return line.slice(0, -1);
}

async function expectHeader(stream) {
  const header = await readToken(stream);
  if (header !== MULTISTREAM) throw new StreamError(`not multistream-select: ${header}`);
}

/** Propose protocols in order; returns the one the peer took, throws StreamError when it took none. */
export async function select(stream, protocols) {
  await stream.write(concat(token(MULTISTREAM), token(protocols[0])));
  await expectHeader(stream);
  for (const [index, protocol] of protocols.entries()) {
    if (index > 0) await stream.write(token(protocol));
    const answer = await readToken(stream);
    if (answer === protocol) return protocol;
    if (answer !== NOT_AVAILABLE) throw new StreamError(`unexpected answer ${answer}`);
  }
  throw new StreamError(`the peer speaks none of ${protocols.join(', ')}`);
}

/** Answer a peer's proposals; returns the protocol agreed on. */
export async function respond(stream, isSupported) {
  await stream.write(token(MULTISTREAM));
  await expectHeader(stream);
  for (let count = 0; count < MAX_PROPOSALS; count += 1) {
    const proposal = await readToken(stream);
    if (isSupported(proposal)) {
      await stream.write(token(proposal));
      return proposal;
    }
    await stream.write(token(NOT_AVAILABLE));
  }
  throw new StreamError('too many proposals');
}
