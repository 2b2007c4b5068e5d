// A signing request (PKCS #10, RFC 2986) for a client's key, and what is read of the certificate that answers it
// (RFC 5280). Who signed a certificate is not checked here: its receiver has a MAC or a signature over all of it.

import { same, unhex } from './bytes.js'
import { BIT_STRING, element, elements, GENERALIZED_TIME, inside, INTEGER, OCTET_STRING, SEQUENCE, SET, text, UTC_TIME } from './der.js'
import { require } from './errors.js'
import { sign, spkiOf } from './primitives.js'

const COMMON_NAME = unhex('0603550403')
const ECDSA_SHA256 = unhex('300a06082a8648ce3d040302')
const SUBJECT_ALT_NAME = unhex('0603551d11')
const NO_ATTRIBUTES = unhex('a000')
const URI = 0x86
const EXTENSIONS = 0xa3
const EXPLICIT_VERSION = 0xa0
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Return a signing request, DER, for a pair of ECDSA P-256 keys; its private half signs and is not read. */
export async function makeRequest(keys) {
  const name = element(SEQUENCE, element(SET, element(SEQUENCE, COMMON_NAME, text('tlsrt client'))))
  const wish = element(SEQUENCE, element(INTEGER, Uint8Array.of(0)), name, await spkiOf(keys.publicKey), NO_ATTRIBUTES)
  const signature = await sign(keys.privateKey, wish)
  return element(SEQUENCE, wish, ECDSA_SHA256, element(BIT_STRING, Uint8Array.of(0), signature))
}

/** Return {spki, uris, begins, ends} of a certificate, DER; times are ms since 1970. */
export function readCertificate(data) {
  const [wish] = inside(data)
  require(wish?.tag === SEQUENCE, 'a certificate of another shape')
  const fields = elements(wish.body)
  if (fields[0]?.tag === EXPLICIT_VERSION) fields.shift()
  const [, , , validity, , spki, ...rest] = fields
  require(validity && spki, 'a certificate of another shape')
  const [begins, ends] = elements(validity.body).map(timeOf)
  const extensions = rest.find((field) => field.tag === EXTENSIONS)
  const uris = []
  for (const extension of extensions ? inside(extensions.body) : []) {
    const parts = elements(extension.body)
    if (!parts[0] || !same(parts[0].whole, SUBJECT_ALT_NAME)) continue
    const value = parts.find((part) => part.tag === OCTET_STRING)
    require(value, 'a certificate without its names')
    for (const name of inside(value.body)) {
      require(name.tag === URI, 'a certificate with a name of another kind')
      uris.push(decoder.decode(name.body))
    }
  }
  return { spki: spki.whole, uris, begins, ends }
}

function timeOf({ tag, body }) {
  const said = decoder.decode(body)
  const match = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(said)
  require(match && (tag === UTC_TIME || tag === GENERALIZED_TIME) && match[1].length === (tag === UTC_TIME ? 2 : 4), 'a certificate with a time that is none')
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number)
  const whole = tag === UTC_TIME ? year + (year < 50 ? 2000 : 1900) : year
  return Date.UTC(whole, month - 1, day, hour, minute, second)
}

/** Check that a certificate is for this public key and this client: the answer to a request of ours. Return it, read. */
export async function checkCertificate(data, publicKey, subjectUri) {
  const certificate = readCertificate(data)
  require(same(certificate.spki, await spkiOf(publicKey)), 'a certificate for another key')
  require(certificate.uris.length === 1 && certificate.uris[0] === subjectUri, 'a certificate with another name')
  return certificate
}

/** The one name of a client's certificate: section 2 of PROTOCOL.md. */
export const subjectUri = (installHex, name) => `spiffe://tlsrt.${installHex}/client/${name}`
