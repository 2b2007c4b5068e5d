// Entries of the audit log (docs/reference/audit-log-format.md), read as supervisor/audit/record.py reads them: what is written in
// another form than the one there is is refused. Throws AuditFault with a word of texts.audit.faults.

import { domain, isBytes, join, readU32, same, u64 } from './bytes.js'
import { pack, unpack } from './msgpack.js'
import { Sha256 } from './sha256.js'

export const HEADER = 0, RECORD = 1, CHECKPOINT = 2
export const HASH = 32, LEAF = 8
const BODY_MAX = 16384, VERSION = 1, PAIRS_MAX = 16
const DOMAINS = [domain('tlsrt/audit/header/v1'), null, domain('tlsrt/audit/checkpoint/v1')]
const FIELDS = {
  [HEADER]: { version: 'n', install: 16, file: 'n', life: 'n', fileInLife: 'n', boot: 16, boottime: 'n', wall: 'n', root: 32, nextKey: 32, headerKey: 32,
    beforeFile: 'n', beforeBytes: 'n', beforeSequence: 'n', beforeChain: 32, beforeEnd: ['none', 'cut', 'final'] },
  [CHECKPOINT]: { file: 'n', size: 'n', root: 32, chain: 32, leavesHash: 32, nextKey: 32, rootKey: 32, boottime: 'n', wall: 'n', end: ['', 'stopped', 'rotated'] },
}

/** What is wrong first: the part, the sequence of the entry or of the one that should stand there, and a word. */
export class AuditFault extends Error {
  constructor(file, sequence, word, more = '') {
    super(`part ${file}, sequence ${sequence}: ${word} ${more}`)
    Object.assign(this, { file, sequence, word, more })
  }
}

export const hashOf = (...parts) => parts.reduce((hash, part) => hash.update(part), new Sha256()).digest()
export const chainAfter = (chain, body) => hashOf(Uint8Array.of(2), chain, body)

const isCount = (value) => (typeof value === 'number' || typeof value === 'bigint') && value >= 0 && value < 2n ** 63n
const isText = (value, most) => typeof value === 'string' && value.length <= most && /^[ -~]*$/.test(value)
const isValue = (value) => (typeof value === 'string' ? isText(value, 256) : (typeof value === 'bigint' ? value < 2n ** 63n && value > -(2n ** 63n) : Number.isSafeInteger(value)))
const fits = (value, rule) => (rule === 'n' ? isCount(value) : Array.isArray(rule) ? rule.includes(value) : isBytes(value) && value.length === rule)

function arrayIn(data) {
  try {
    const array = unpack(data)
    return Array.isArray(array) && same(pack(array), data) ? array : null
  } catch {
    return null
  }
}

function signed(kind, array) {
  const [, , content, signature, leaves] = array, values = isBytes(content) && arrayIn(content), fields = Object.entries(FIELDS[kind])
  if (array.length !== 5 || !values || values.length !== fields.length || !isBytes(signature) || signature.length !== 64 || !isBytes(leaves)) return null
  if (!fields.every(([, rule], at) => fits(values[at], rule))) return null
  const value = Object.fromEntries(fields.map(([name], at) => [name, values[at]]))
  const isWhole = kind === HEADER ? value.version === VERSION && value.file >= 1 && !leaves.length : leaves.length % LEAF === 0 && same(hashOf(leaves), value.leavesHash)
  return isWhole ? { ...value, content, signature, leaves } : null
}

function record([, , boottime, wall, kind, subject, flat], length) {
  if (length !== 7 || !isCount(boottime) || !isCount(wall) || !isText(kind, 48) || !isText(subject, 160) || !Array.isArray(flat)) return null
  if (flat.length % 2 || flat.length > 2 * PAIRS_MAX || !flat.every((one, at) => (at % 2 ? isValue(one) : isText(one, 48)))) return null
  return { boottime, wall, kind, subject, detail: flat }
}

/** Return {type, sequence, value} of a body, or null for what is none. */
export function bodyIn(body) {
  const array = arrayIn(body)
  if (!array || array.length < 5 || !Number.isSafeInteger(array[1]) || array[1] < 1) return null
  const [type, sequence] = array
  const value = type === RECORD ? record(array, array.length) : type === HEADER || type === CHECKPOINT ? signed(type, array) : null
  return value && { type, sequence, value }
}

/** Return the entry at the beginning of `data` with its `size`, null if it is not whole, and undefined if it is none. */
export function entryIn(data) {
  if (data.length < 4) return null
  const length = readU32(data, 0), size = 4 + length + 2 * HASH
  if (!length || length > BODY_MAX) return undefined
  if (data.length < size) return null
  const body = data.slice(4, 4 + length), read = bodyIn(body)
  return read ? { ...read, body, chain: data.slice(4 + length, 4 + length + HASH), size } : undefined
}

/** What the signature of a header or a checkpoint is over. */
export const signedBytes = ({ type, sequence, value }) => join(DOMAINS[type], u64(sequence), value.content)
