// msgpack as PROTOCOL.md allows it. Uint8Array is bin, string is str, array is array. A map is read as an object without
// a prototype, so that no key can be one of Object's own; one that has a key of bytes is read as a Map. Integers beyond
// 2^53 are BigInt, and a number without a fraction is written as an integer.

import { isBytes, join, unsigned, utf8 } from './bytes.js'
import { require, TlsrtError } from './errors.js'

export const DEPTH_MAX = 32
export const CONTAINERS_MAX = 8192
const SAFE = BigInt(Number.MAX_SAFE_INTEGER)
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// -- writing ---------------------------------------------------------------------------------------------------------

const unfit = (why) => new TlsrtError('invalid_argument', `cannot send this value: ${why}`)

/** Return a value as bytes. Throws TlsrtError (invalid_argument) for what no reader would take. */
export function pack(value) {
  const parts = []
  let containers = 0
  const nest = (depth) => {
    if (depth >= DEPTH_MAX) throw unfit(`it is nested more than ${DEPTH_MAX} deep`)
    if (++containers > CONTAINERS_MAX) throw unfit(`it holds more than ${CONTAINERS_MAX} lists and maps`)
  }
  const write = (item, depth) => {
    if (item === null || item === undefined) parts.push(Uint8Array.of(0xc0))
    else if (typeof item === 'boolean') parts.push(Uint8Array.of(item ? 0xc3 : 0xc2))
    else if (typeof item === 'bigint' || Number.isSafeInteger(item)) parts.push(integer(item))
    else if (typeof item === 'number') parts.push(double(item))
    else if (typeof item === 'string') {
      if (!item.isWellFormed()) throw unfit('a text has half of a character')
      const text = utf8(item)
      parts.push(head(text.length, [0xd9, 0xda, 0xdb], 0xa0, 32), text)
    } else if (isBytes(item)) parts.push(head(item.length, [0xc4, 0xc5, 0xc6]), item)
    else if (Array.isArray(item)) {
      nest(depth)
      parts.push(head(item.length, [0, 0xdc, 0xdd], 0x90, 16))
      for (const inner of item) write(inner, depth + 1)
    } else if (item instanceof Map || isPlain(item)) {
      nest(depth)
      const entries = item instanceof Map ? [...item] : Object.entries(item)
      parts.push(head(entries.length, [0, 0xde, 0xdf], 0x80, 16))
      for (const [name, inner] of entries) {
        if (typeof name !== 'string' && !isBytes(name)) throw unfit('a map has a key that is no text')
        write(name, depth + 1)
        write(inner, depth + 1)
      }
    } else throw unfit(`a ${typeof item === 'object' ? item.constructor?.name : typeof item} is no data`)
  }
  write(value, 0)
  return join(...parts)
}

function isPlain(value) {
  if (typeof value !== 'object') return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function integer(value) {
  const n = BigInt(value)
  if (n < -(1n << 63n) || n >= 1n << 64n) throw unfit('an integer has more than 64 bits')
  if (n >= -32n && n < 128n) return unsigned(1, BigInt.asUintN(8, n))
  const at = [8n, 16n, 32n, 64n].findIndex((bits) => (n < 0n ? n >= -(1n << (bits - 1n)) : n < 1n << bits))
  const size = 1 << at
  return join(Uint8Array.of((n < 0n ? 0xd0 : 0xcc) + at), unsigned(size, BigInt.asUintN(8 * size, n)))
}

function double(value) {
  const data = new Uint8Array(9)
  data[0] = 0xcb
  new DataView(data.buffer).setFloat64(1, value)
  return data
}

function head(length, [one, two, four], fixed = 0, below = 0) {
  if (length < below) return Uint8Array.of(fixed | length)
  if (one && length < 256) return Uint8Array.of(one, length)
  return length < 65536 ? join(Uint8Array.of(two), unsigned(2, length)) : join(Uint8Array.of(four), unsigned(4, length))
}

// -- reading ---------------------------------------------------------------------------------------------------------

/** Return the one value in `data`. Throws TlsrtError (rejected) if it is not exactly one, within its bounds. */
export function unpack(data) {
  return new Reader(data, false).whole()
}

/** The same for what is outside of bodies: arrays, bin, str and unsigned integers, and nothing else. */
export function unpackShape(data) {
  return new Reader(data, true).whole()
}

class Reader {
  #data
  #view
  #strict
  #at = 0
  #containers = 0

  constructor(data, strict) {
    this.#data = data
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    this.#strict = strict
  }

  whole() {
    const value = this.#read(0)
    require(this.#at === this.#data.length, 'bytes after a value')
    return value
  }

  #skip(size) {
    const at = this.#at
    require(size <= this.#data.length - at, 'a value that is cut off')
    this.#at = at + size
    return at
  }

  #size(bytes) {
    const at = this.#skip(bytes)
    return bytes === 1 ? this.#view.getUint8(at) : bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  #bin(size) {
    const at = this.#skip(size)
    return this.#data.slice(at, at + size)
  }

  #str(size) {
    const at = this.#skip(size)
    try {
      return decoder.decode(this.#data.subarray(at, at + size))
    } catch {
      require(false, 'a text that is no UTF-8')
    }
  }

  #nest(count, depth) {
    require(depth < DEPTH_MAX && ++this.#containers <= CONTAINERS_MAX, 'a value with too many levels or parts')
    require(count <= this.#data.length - this.#at, 'a list that is cut off')
  }

  #array(count, depth) {
    this.#nest(count, depth)
    const items = []
    for (let at = 0; at < count; at++) items.push(this.#read(depth + 1))
    return items
  }

  #map(count, depth) {
    require(!this.#strict, 'a map outside of a body')
    this.#nest(2 * count, depth)
    const entries = []
    let isText = true
    for (let at = 0; at < count; at++) {
      const code = this.#data[this.#at] // nothing but str and bin is read as a key
      require((code >= 0xa0 && code < 0xc0) || (code >= 0xc4 && code <= 0xc6) || (code >= 0xd9 && code <= 0xdb), 'a map with a key that is no text')
      const name = this.#read(depth + 1)
      isText &&= typeof name === 'string'
      entries.push([name, this.#read(depth + 1)])
    }
    if (!isText) return new Map(entries)
    const found = Object.create(null)
    for (const [name, value] of entries) found[name] = value
    return found
  }

  #signed(bytes) {
    require(!this.#strict, 'a signed integer outside of a body')
    const at = this.#skip(bytes)
    if (bytes === 8) return small(this.#view.getBigInt64(at))
    return bytes === 1 ? this.#view.getInt8(at) : bytes === 2 ? this.#view.getInt16(at) : this.#view.getInt32(at)
  }

  #float(bytes) {
    require(!this.#strict, 'a float outside of a body')
    const at = this.#skip(bytes)
    return bytes === 4 ? this.#view.getFloat32(at) : this.#view.getFloat64(at)
  }

  #read(depth) {
    const code = this.#size(1)
    if (code < 0x80) return code
    if (code < 0x90) return this.#map(code & 15, depth)
    if (code < 0xa0) return this.#array(code & 15, depth)
    if (code < 0xc0) return this.#str(code & 31)
    if (code >= 0xe0) {
      require(!this.#strict, 'a negative integer outside of a body')
      return code - 256
    }
    if (code === 0xc2 || code === 0xc3) {
      require(!this.#strict, 'a bool outside of a body')
      return code === 0xc3
    }
    switch (code) {
      case 0xc0: return null
      case 0xc4: case 0xc5: case 0xc6: return this.#bin(this.#size(1 << (code - 0xc4)))
      case 0xca: return this.#float(4)
      case 0xcb: return this.#float(8)
      case 0xcc: case 0xcd: case 0xce: return this.#size(1 << (code - 0xcc))
      case 0xcf: return small(this.#view.getBigUint64(this.#skip(8)))
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return this.#signed(1 << (code - 0xd0))
      case 0xd9: case 0xda: case 0xdb: return this.#str(this.#size(1 << (code - 0xd9)))
      case 0xdc: case 0xdd: return this.#array(this.#size(code === 0xdc ? 2 : 4), depth)
      case 0xde: case 0xdf: return this.#map(this.#size(code === 0xde ? 2 : 4), depth)
    }
    require(false, 'a value of a type that has no place here')
  }
}

const small = (n) => (n >= -SAFE && n <= SAFE ? Number(n) : n)
