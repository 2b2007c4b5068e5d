// DER (X.690), as much of it as certificates and signing requests take.

import { join, utf8 } from './bytes.js'
import { require } from './errors.js'

export const SEQUENCE = 0x30, SET = 0x31, INTEGER = 0x02, BIT_STRING = 0x03, OCTET_STRING = 0x04, OID = 0x06, UTF8 = 0x0c
export const UTC_TIME = 0x17, GENERALIZED_TIME = 0x18

/** Return one element: its tag, its length, its parts one after the other. */
export function element(tag, ...parts) {
  const body = join(...parts)
  const size = body.length
  if (size < 128) return join(Uint8Array.of(tag, size), body)
  return size < 256 ? join(Uint8Array.of(tag, 0x81, size), body) : join(Uint8Array.of(tag, 0x82, size >> 8, size & 255), body)
}

export const text = (value) => element(UTF8, utf8(value))

/** Return the elements in `data` as {tag, body, whole}. Throws TlsrtError (rejected) for anything else. */
export function elements(data) {
  const found = []
  let at = 0
  while (at < data.length) {
    const begin = at
    require(at + 2 <= data.length, 'a certificate that is cut off')
    const tag = data[at]
    let size = data[at + 1]
    at += 2
    if (size >= 128) {
      const digits = size - 128
      require(digits >= 1 && digits <= 3 && at + digits <= data.length, 'a certificate with an impossible length')
      size = data.subarray(at, at + digits).reduce((sum, byte) => sum * 256 + byte, 0)
      at += digits
    }
    require(at + size <= data.length, 'a certificate that is cut off')
    found.push({ tag, body: data.subarray(at, at + size), whole: data.subarray(begin, at + size) })
    at += size
  }
  return found
}

/** Return the elements inside the one element of that tag that `data` is. */
export function inside(data, tag = SEQUENCE) {
  const [only, ...more] = elements(data)
  require(only?.tag === tag && more.length === 0, 'a certificate of another shape')
  return elements(only.body)
}
