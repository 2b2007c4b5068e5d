// Shapes of what travels (sections 3, 7 and 9 of PROTOCOL.md): bytes in, checked values out. Nothing here is secret, and
// nothing that it returns is proved: see opening.js and endpoint.js.

import { domain, isBytes, join, u32, u64, utf8 } from './bytes.js'
import { require, TlsrtError } from './errors.js'
import { pack, unpack, unpackShape } from './msgpack.js'

export const PAYLOAD_MAX = 279104
export const BODY_MAX = 262144
export const SEQ_MAX = 2 ** 32
export const NAME_MAX = 80
export const DEADLINE_MAX_MS = 300000
export const SLACK_MS = 5000
export const Kind = Object.freeze({ REQUEST: 1, REPLY: 2, ITEM: 3, ERROR: 4, CANCEL: 5, CREDIT: 6, PART: 7, REFUSAL: 8, ALLOW: 9 })
export const Flag = Object.freeze({ FINAL: 1, UPLOAD: 2, STREAM: 4 })
const CONTROL_MAX = 46080
const HEADER_MAX = 512
const TOKEN_MAX = 16384
const CREDIT_MAX = 65536
const TRACE_MAX = 153

// -- types -----------------------------------------------------------------------------------------------------------

const characters = (text) => [...text].length
export const isInt = (value, max = 2n ** 64n - 1n) =>
  (typeof value === 'bigint' || Number.isSafeInteger(value)) && value >= 0 && value <= max
export const isBin = (value, least, most = least) => isBytes(value) && value.length >= least && value.length <= most
export const isStr = (value, least, most) => {
  if (typeof value !== 'string' || value.length > 2 * most) return false
  const size = characters(value)
  return size >= least && size <= most
}
const bin = (least, most) => (value) => isBin(value, least, most)
const word = (value) => isStr(value, 1, 32)
const number = (value) => isInt(value)

// -- control messages (section 3) ------------------------------------------------------------------------------------

const FROM_SERVER = new Map(Object.entries({
  challenge: [bin(16), bin(16), bin(32), number],
  granted: [number, bin(1, 45056), bin(64)],
  succession: [bin(104, 1664)],
  locked: [bin(16), bin(16), bin(16)],
  renewed: [bin(1, 8192), bin(64)],
  not_renewed: [word],
  refused: [word],
  goodbye: [word],
}))

/** Whether a payload claims to be a frame: an array of four that begins with a bin. */
export const isFrame = (payload) => payload.length > 1 && payload[0] === 0x94 && payload[1] >= 0xc4 && payload[1] <= 0xc6

/** Return [name, ...fields] of a control message of the server. Throws TlsrtError (rejected) for any other bytes. */
export function readControl(payload) {
  require(payload.length <= CONTROL_MAX, 'a control message that is too long')
  const message = unpackShape(payload)
  require(Array.isArray(message) && typeof message[0] === 'string', 'a message without a name')
  const rules = FROM_SERVER.get(message[0])
  require(rules, 'a message that has no place here')
  require(message.length === rules.length + 1 && rules.every((fits, at) => fits(message[at + 1])), `a field of ${message[0]} that does not fit`)
  return message
}

// -- frames and headers (section 7) ----------------------------------------------------------------------------------

/** Return {header, token, body, proof}, each bin within its limit. */
export function readFrame(payload) {
  require(payload.length <= PAYLOAD_MAX, 'a frame that is too long')
  const parts = unpackShape(payload)
  require(Array.isArray(parts) && parts.length === 4 && parts.every(isBytes), 'a frame of another shape')
  const [header, token, body, proof] = parts
  require(header.length <= HEADER_MAX && token.length <= TOKEN_MAX && body.length <= BODY_MAX + 16, 'a part of a frame that is too long')
  return { header, token, body, proof }
}

const NUMBERED = new Set([Kind.ITEM, Kind.PART])

/** Return the fields of a header by their names. Bundles, which only loops send, are refused. */
export function readHeader(data) {
  const fields = unpackShape(data)
  require(Array.isArray(fields) && fields.length === 14 && fields[0] === 1, 'a header of another shape')
  const [, kind, session, seq, part, src, dst, mailbox, gate, method, epoch, deadline, correlation, flags] = fields
  require(isInt(kind, 9) && kind >= 1, 'a frame of an unknown kind')
  require([part, mailbox, gate, epoch, deadline].every(number) && isInt(seq, SEQ_MAX) && isInt(flags, 7), 'a number of a header out of its range')
  require([src, dst, method].every((name) => isStr(name, 0, NAME_MAX)), 'a name of a header that is none')
  require(isBin(session, 16) && isBytes(correlation), 'a header without a session')
  const size = correlation.length
  require(size === 0 || size === 24 || (kind === Kind.REQUEST && size > 24 && size <= TRACE_MAX), 'a correlation of another length')
  require(part === 0 || NUMBERED.has(kind), 'a part of what has none')
  return { version: 1, kind, session, seq, part, src, dst, mailbox, gate, method, epoch, deadline, correlation, flags }
}

export const correlationOf = (session, seq) => join(session, u64(seq))
export const packHeader = (header) => pack(Object.values(header))
export const packFrame = (header, token, body, proof) => pack([header, token, body, proof])

/** What the proof of a frame covers: section 8. */
export const proofData = (header, token, body) =>
  join(u32(header.length), header, u32(token.length), token, body.subarray(-16))

// -- bodies (section 9) ----------------------------------------------------------------------------------------------

/** What the proof of a job covers: section 19. */
export const jobData = (session, target, method, deadline, job, when, missed, call) =>
  join(domain('tlsrt/job/v1'), ...[session, utf8(target), utf8(method), utf8(when), utf8(missed), u64(deadline), job, call].flatMap((field) => [u32(field.length), field]))

/** Return the body of a request; `key` is null, an idempotency key, [key, mailbox of the first attempt], or a deferral. */
export function packRequest(args, named, key) {
  if (!Array.isArray(args)) throw new TlsrtError('invalid_argument', 'arguments are an array')
  const body = pack([args, named ?? {}, key])
  if (body.length > BODY_MAX)
    throw new TlsrtError('invalid_argument', `the arguments have ${body.length} bytes, and a request at most ${BODY_MAX}: use an upload`)
  return body
}

export const readValue = unpack

/** Return {code, message} of an ERROR; what is longer than it may be is cut. */
export function readError(body) {
  const value = unpack(body)
  require(Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string'), 'an error of another shape')
  const [code, message] = value
  return { code: [...code].slice(0, 64).join(''), message: [...message].slice(0, 1000).join('') }
}

/** Return the number of an ALLOW. */
export function readCount(body) {
  const value = unpack(body)
  require(typeof value === 'number' && isInt(value, CREDIT_MAX), 'a credit that is none')
  return value
}
