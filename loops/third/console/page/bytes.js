// Bytes: joining, comparing, integers and notations. A Uint8Array is bin everywhere in these modules.

export const NONE = new Uint8Array()
const encoder = new TextEncoder()

export const utf8 = (text) => encoder.encode(text)
export const isBytes = (value) => value instanceof Uint8Array

export function join(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Compare without an early end; lengths are no secret. */
export function same(one, other) {
  if (!isBytes(one) || !isBytes(other) || one.length !== other.length) return false
  let difference = 0
  for (let at = 0; at < one.length; at++) difference |= one[at] ^ other[at]
  return difference === 0
}

/** An unsigned integer, big-endian, of `size` bytes: u16, u32 and u64 of PROTOCOL.md. */
export function unsigned(size, value) {
  const data = new Uint8Array(size)
  let rest = BigInt(value)
  for (let at = size - 1; at >= 0; at--) {
    data[at] = Number(rest & 255n)
    rest >>= 8n
  }
  return data
}
export const u16 = (value) => unsigned(2, value)
export const u32 = (value) => unsigned(4, value)
export const u64 = (value) => unsigned(8, value)
export const readU32 = (data, at) => new DataView(data.buffer, data.byteOffset).getUint32(at)

export const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('')
export const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16))

/** A text as the bytes of a domain: it ends with one zero byte. */
export const domain = (text) => utf8(`${text}\0`)
