// base58btc, in which peer ids are written.

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

export function base58Decode(input) {
  const bytes = [];
  for (const character of input) {
    let carry = ALPHABET.indexOf(character);
    if (carry < 0) throw new RangeError(`${character} is not base58`);
    for (let index = 0; index < bytes.length; index += 1) {
      carry += bytes[index] * 58;
      bytes[index] = carry & 0xff;
      carry >>= 8;
    }
    for (; carry > 0; carry >>= 8) bytes.push(carry & 0xff);
  }
  for (const character of input) {
    if (character !== ALPHABET[0]) break;
    bytes.push(0);
  }
  return Uint8Array.from(bytes.reverse());
}
