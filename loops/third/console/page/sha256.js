// SHA-256 (FIPS 180-4) of bytes that come piece by piece, which WebCrypto cannot: it takes a file as a whole.

import { hex } from './bytes.js'

const ROUNDS = new Int32Array(64), START = new Int32Array(8), words = new Int32Array(64)
for (let number = 2, count = 0; count < 64; number++) {
  let isPrime = true
  for (let one = 2; one * one <= number; one++) isPrime &&= number % one !== 0
  if (!isPrime) continue
  if (count < 8) START[count] = (number ** (1 / 2) % 1) * 2 ** 32
  ROUNDS[count++] = (Math.cbrt(number) % 1) * 2 ** 32
}

export class Sha256 {
  #state = START.slice()
  #block = new Uint8Array(64)
  #view = new DataView(this.#block.buffer)
  #size = 0

  /** Take the next bytes. */
  update(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < bytes.length; ) {
      const filled = this.#size % 64, count = Math.min(64 - filled, bytes.length - at)
      if (count === 64) this.#compress(view, at)
      else {
        this.#block.set(bytes.subarray(at, at + count), filled)
        if (filled + count === 64) this.#compress(this.#view, 0)
      }
      at += count
      this.#size += count
    }
    return this
  }

  /** End it; return the digest as 64 hexadecimal digits. */
  hex() {
    return hex(this.digest())
  }

  /** End it; return the digest. */
  digest() {
    const bits = this.#size * 8, filler = new Uint8Array(64 - ((this.#size + 8) % 64))
    filler[0] = 0x80
    this.update(filler)
    this.#view.setUint32(56, Math.floor(bits / 2 ** 32))
    this.#view.setUint32(60, bits)
    this.#compress(this.#view, 0)
    const digest = new Uint8Array(32), digits = new DataView(digest.buffer)
    this.#state.forEach((word, at) => digits.setInt32(at * 4, word))
    return digest
  }

  #compress(view, from) {
    for (let at = 0; at < 16; at++) words[at] = view.getInt32(from + at * 4)
    for (let at = 16; at < 64; at++) {
      const far = words[at - 15], near = words[at - 2]
      const first = ((far >>> 7) | (far << 25)) ^ ((far >>> 18) | (far << 14)) ^ (far >>> 3)
      const second = ((near >>> 17) | (near << 15)) ^ ((near >>> 19) | (near << 13)) ^ (near >>> 10)
      words[at] = words[at - 16] + first + words[at - 7] + second
    }
    const state = this.#state
    let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7]
    for (let at = 0; at < 64; at++) {
      const turned = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
      const one = (h + turned + ((e & f) ^ (~e & g)) + ROUNDS[at] + words[at]) | 0
      const other = (((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) + ((a & b) ^ (a & c) ^ (b & c))
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + other) | 0
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h
  }
}
