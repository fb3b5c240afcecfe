// SHA-256 (FIPS 180-4), fed piece by piece: the browser's own digest wants the whole file at once and a secure context.

function firstPrimes(count) {
  const primes = [];
  for (let n = 2; primes.length < count; n += 1) if (primes.every((prime) => n % prime)) primes.push(n);
  return primes;
}

const fraction = (x) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
const PRIMES = firstPrimes(64);
const INITIAL = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const ROUND = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const BLOCK = 64;

export class Sha256 {
  #state = Int32Array.from(INITIAL);
  #block = new Uint8Array(BLOCK);
  #filled = 0;
  #length = 0;
  #words = new Int32Array(64);

  update(bytes) {
    this.#length += bytes.length;
    let offset = 0;
    if (this.#filled > 0) {
      offset = Math.min(BLOCK - this.#filled, bytes.length);
      this.#block.set(bytes.subarray(0, offset), this.#filled);
      this.#filled += offset;
      if (this.#filled < BLOCK) return this;
      this.#compress(this.#block, 0);
      this.#filled = 0;
    }
    for (; offset + BLOCK <= bytes.length; offset += BLOCK) this.#compress(bytes, offset);
    this.#block.set(bytes.subarray(offset));
    this.#filled = bytes.length - offset;
    return this;
  }

  /** Finish and return the digest in lower-case hexadecimal. */
  digest() {
    const bits = this.#length * 8;
    const tail = new Uint8Array(this.#filled < 56 ? 64 - this.#filled : 128 - this.#filled);
    tail[0] = 0x80;
    const view = new DataView(tail.buffer);
    view.setUint32(tail.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(tail.length - 4, bits >>> 0);
    this.update(tail);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #compress(bytes, offset) {
    const w = this.#words;
    for (let i = 0, j = offset; i < 16; i += 1, j += 4) {
      w[i] = (bytes[j] << 24) | (bytes[j + 1] << 16) | (bytes[j + 2] << 8) | bytes[j + 3];
    }
    for (let i = 16; i < 64; i += 1) {
      const x = w[i - 15];
      const y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = this.#state;
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0;
      d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => (this.#state[i] = (this.#state[i] + value) | 0));
  }
}
