// Cryptography by WebCrypto alone (sections 1, 4 and 5 of PROTOCOL.md). Keys are CryptoKey where they are used often.

import { join, NONE, same, u16, u32, u64, utf8 } from './bytes.js'
import { require } from './errors.js'

const subtle = globalThis.crypto.subtle
const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const ECDSA = { name: 'ECDSA', hash: 'SHA-256' }

export const random = (size) => globalThis.crypto.getRandomValues(new Uint8Array(size))
export const sha256 = async (data) => new Uint8Array(await subtle.digest('SHA-256', data))

/** The nonce of a frame: section 8. */
export const nonceOf = (seq) => join(u32(0), u64(seq))

/** The nonce of the proof of a job: section 19. */
export const jobNonceOf = (number) => join(utf8('job\0'), u64(number))

export async function hmac(key, ...data) {
  // an empty key is a block of zeros (RFC 2104), which WebCrypto takes only as such
  const raw = key.length ? key : new Uint8Array(64)
  const made = await subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await subtle.sign('HMAC', made, join(...data)))
}

/** Expand(key, use, field...) of section 5. A field is bytes. */
export function expand(key, use, ...fields) {
  const info = fields.flatMap((field) => [u16(field.length), field])
  return hmac(key, utf8(`tlsrt/v1/${use}`), ...info, Uint8Array.of(1))
}

export const replyKeyOf = (requestKey, session) => expand(requestKey, 'reply', session)

// -- AES-256-GCM -----------------------------------------------------------------------------------------------------

export const aesKey = (raw) => subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])

export async function seal(key, nonce, plain, data) {
  const with_ = { name: 'AES-GCM', iv: nonce, additionalData: data, tagLength: 128 }
  return new Uint8Array(await subtle.encrypt(with_, key, plain))
}

/** Return the plaintext. Throws TlsrtError (rejected) if anything was changed. */
export async function unseal(key, nonce, sealed, data) {
  try {
    const with_ = { name: 'AES-GCM', iv: nonce, additionalData: data, tagLength: 128 }
    return new Uint8Array(await subtle.decrypt(with_, key, sealed))
  } catch {
    require(false, 'a body that does not open')
  }
}

// -- signatures ------------------------------------------------------------------------------------------------------

/** Whether `signature` is that of an Ed25519 key, 32 bytes, over the joined data. */
export async function isSigned(publicKey, signature, ...data) {
  try {
    const key = await subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
    return await subtle.verify('Ed25519', key, signature, join(...data))
  } catch {
    return false
  }
}

/** Whether this browser checks Ed25519 at all, so that a refusal is about a signature and nothing else. */
export async function canCheck() {
  try {
    const pair = await subtle.generateKey('Ed25519', false, ['sign', 'verify'])
    return await subtle.verify('Ed25519', pair.publicKey, await subtle.sign('Ed25519', pair.privateKey, NONE), NONE)
  } catch {
    return false
  }
}

/** Make a key pair for a client: ECDSA P-256, whose private half no script can read. */
export const makeClientKeys = () => subtle.generateKey(P256, false, ['sign', 'verify'])

/** Return the signature of a client's key: Ed25519, or ECDSA P-256 with SHA-256 in DER. */
export async function sign(privateKey, data) {
  if (privateKey.algorithm.name === 'Ed25519') return new Uint8Array(await subtle.sign('Ed25519', privateKey, data))
  const raw = new Uint8Array(await subtle.sign(ECDSA, privateKey, data))
  return join(Uint8Array.of(0x30, 0), derInteger(raw.subarray(0, 32)), derInteger(raw.subarray(32))).map((byte, at, all) => (at === 1 ? all.length - 2 : byte))
}

function derInteger(number) {
  let first = 0
  while (first < number.length - 1 && number[first] === 0) first++
  const digits = number.subarray(first)
  const value = digits[0] & 0x80 ? join(Uint8Array.of(0), digits) : digits
  return join(Uint8Array.of(0x02, value.length), value)
}

/** The SubjectPublicKeyInfo of a public key, DER. */
export const spkiOf = async (publicKey) => new Uint8Array(await subtle.exportKey('spki', publicKey))

// -- HPKE (RFC 9180) -------------------------------------------------------------------------------------------------

const KEM = join(utf8('KEM'), u16(0x20))
const SUITE = join(utf8('HPKE'), u16(0x20), u16(1), u16(2))
const extract = (suite, salt, label, data) => hmac(salt, utf8('HPKE-v1'), suite, utf8(label), data)
const derive = async (suite, key, label, context, size) =>
  (await hmac(key, u16(size), utf8('HPKE-v1'), suite, utf8(label), context, Uint8Array.of(1))).subarray(0, size)

/** Make the ephemeral pair of one open, X25519; its public half is raw. */
export async function makeEphemeral() {
  const pair = await subtle.generateKey('X25519', false, ['deriveBits'])
  return { privateKey: pair.privateKey, publicKey: new Uint8Array(await subtle.exportKey('raw', pair.publicKey)) }
}

/** Open `enc 32 | ct`: mode base, single shot, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. */
export async function hpkeOpen(pair, sealed, info) {
  require(sealed.length >= 48, 'an encryption that is cut off')
  const encapsulated = sealed.subarray(0, 32)
  let shared
  try {
    const peer = await subtle.importKey('raw', encapsulated, 'X25519', false, [])
    shared = new Uint8Array(await subtle.deriveBits({ name: 'X25519', public: peer }, pair.privateKey, 256))
  } catch {
    require(false, 'an encryption to no usable key')
  }
  require(!same(shared, new Uint8Array(32)), 'an encryption to no usable key')
  const secret = await derive(KEM, await extract(KEM, NONE, 'eae_prk', shared), 'shared_secret', join(encapsulated, pair.publicKey), 32)
  const context = join(Uint8Array.of(0), await extract(SUITE, NONE, 'psk_id_hash', NONE), await extract(SUITE, NONE, 'info_hash', info))
  const root = await extract(SUITE, secret, 'secret', NONE)
  const key = await aesKey(await derive(SUITE, root, 'key', context, 32))
  return unseal(key, await derive(SUITE, root, 'base_nonce', context, 12), sealed.subarray(32), NONE)
}


