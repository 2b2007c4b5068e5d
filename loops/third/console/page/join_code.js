// A join code and what is proved by it (section 18 of PROTOCOL.md). The secret itself never travels.

import { same, u32 } from './bytes.js'
import { require, TlsrtError } from './errors.js'
import { pack, unpackShape } from './msgpack.js'
import { expand, hmac, sha256 } from './primitives.js'
import { isBin, isStr } from './wire.js'

const DIGITS = 'abcdefghijklmnopqrstuvwxyz234567'
const CERTIFICATE_MAX = 8192
const ANSWER_MAX = 2 * CERTIFICATE_MAX + 512
const ANSWERING_MAX = 8 * (CERTIFICATE_MAX + 8)
const AUTHORITIES_MAX = 8
const VERSION_MAX = 2 ** 32 - 1

/** Return {id, secret, pin} of a code, in either case and with spaces around it. */
export function parseCode(text) {
  const match = /^([a-z2-7]{8})-([a-z2-7]{26})-([a-z2-7]{32})$/.exec(String(text).trim().toLowerCase())
  const parts = match?.slice(1).map(base32)
  if (!parts?.every((part) => part !== null))
    throw new TlsrtError('invalid_argument', 'this is no whole link or join code: copy all of it, or ask for another one')
  const [id, secret, pin] = parts
  return { id, secret, pin }
}

/** Return the bytes of a text in base32, or null if the bits that do not count are not zero. */
function base32(text) {
  const found = []
  let held = 0
  let bits = 0
  for (const letter of text) {
    held = (held << 5) | DIGITS.indexOf(letter)
    bits += 5
    if (bits >= 8) {
      bits -= 8
      found.push(held >> bits)
      held &= (1 << bits) - 1
    }
  }
  return held === 0 ? Uint8Array.from(found) : null
}

async function enrolKey(code, use) {
  return expand(await hmac(code.id, code.secret), `enrol/${use}`)
}

/** Return what the client shows: a MAC over the id and its signing request. */
export const requestMac = async (code, request) => hmac(await enrolKey(code, 'c'), code.id, request)

/** Return the one message of a client that enrols. */
export const packAsking = async (code, request) => pack(['enrol', code.id, request, await requestMac(code, request)])

/** Return [name, ...fields] of a message of the server. */
export function readAnswering(payload) {
  require(payload.length <= ANSWERING_MAX, 'a message that is too long')
  const message = unpackShape(payload)
  require(Array.isArray(message) && message.length >= 1, 'a message without a name')
  const [name, ...fields] = message
  const isCertificate = (value) => isBin(value, 1, CERTIFICATE_MAX)
  const fits = {
    authorities: () => fields.length === 1 && Array.isArray(fields[0]) && fields[0].length <= AUTHORITIES_MAX && fields[0].every(isCertificate),
    enrolled: () => fields.length === 2 && isBin(fields[0], 1, ANSWER_MAX) && isBin(fields[1], 32),
    refused: () => fields.length === 1 && isStr(fields[0], 1, 32),
  }
  require(typeof name === 'string' && Object.hasOwn(fits, name) && fits[name](), 'a message that has no place here')
  return message
}

/** Whether one of these certificates is the one that the code pins. */
export async function findPinned(code, certificates) {
  for (const certificate of certificates) if (same((await sha256(certificate)).subarray(0, 20), code.pin)) return certificate
  return null
}

/** Return the answer to our request, which the authority alone can have made: the MAC comes before all reading. */
export async function checkAnswer(code, request, said, mac) {
  const expected = await hmac(await enrolKey(code, 's'), u32(request.length), request, said)
  require(same(expected, mac), 'an answer that was changed on its way')
  require(said.length <= ANSWER_MAX, 'an answer that is too long')
  const fields = unpackShape(said)
  require(Array.isArray(fields) && fields.length === 7 && fields[0] === 1, 'an answer of another shape')
  const [, install, name, certificate, issuer, issuerVersion, ca] = fields
  require(isBin(install, 16) && isStr(name, 1, 31) && isBin(issuer, 32), 'an answer of another shape')
  require(Number.isSafeInteger(issuerVersion) && issuerVersion >= 1 && issuerVersion <= VERSION_MAX, 'an answer of another shape')
  require([certificate, ca].every((value) => isBin(value, 1, CERTIFICATE_MAX)), 'an answer of another shape')
  require((await findPinned(code, [ca])) !== null, 'an answer with another CA than the code says')
  return { install, name, certificate, issuer, issuerVersion, ca }
}

