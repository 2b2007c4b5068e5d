#!/usr/bin/env node
// A client of tlsrt, written from PROTOCOL.md with nothing but Node's own library (section numbers are that document's).
// As a program:  node tlsrt.mjs [--bundle FILE] LOOP/COMPONENT METHOD [ARGUMENT...]
// As a module:   const client = await connect('admin.tlsrt'); await client.call('primary/kernel', 'uname'); client.close()

import crypto from 'node:crypto'
import fs from 'node:fs'
import tls from 'node:tls'
import { pathToFileURL } from 'node:url'
const REQUEST = 1, REPLY = 2, ERROR = 4, REFUSAL = 8
const PAYLOAD_MAX = 279104, CONTROL_MAX = 46080, OPEN_MS = 10000, STATEMENT = 104

/** What a call ends with instead of a value: `code` is a word of section 10. */
export class TlsrtError extends Error {
  constructor(code, sentence) {
    super(`${code}: ${sentence}`)
    this.code = code
  }
}

const require = (condition, what) => { if (!condition) throw new TlsrtError('rejected', `the server broke the protocol: ${what}`) }

// -- msgpack: Buffer is bin, string is str, Map is map; integers above 2^53 are BigInt ---------------------------------
const bytes = (size, value) => Buffer.from(BigInt.asUintN(8 * size, BigInt(value)).toString(16).padStart(2 * size, '0'), 'hex')
const u16 = (n) => bytes(2, n), u32 = (n) => bytes(4, n), u64 = (n) => bytes(8, n)
export function pack(value) {
  if (value === null || value === undefined) return Buffer.of(0xc0)
  if (typeof value === 'boolean') return Buffer.of(value ? 0xc3 : 0xc2)
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return packInteger(BigInt(value))
  if (typeof value === 'number') return Buffer.from([...new Uint8Array(new Float64Array([value]).buffer), 0xcb]).reverse()
  if (Buffer.isBuffer(value)) return Buffer.concat([head(value.length, [0xc4, 0xc5, 0xc6]), value])
  if (typeof value === 'string') return Buffer.concat([head(Buffer.byteLength(value), [0xd9, 0xda, 0xdb], 0xa0, 32), Buffer.from(value)])
  if (Array.isArray(value)) return Buffer.concat([head(value.length, [0, 0xdc, 0xdd], 0x90, 16), ...value.map(pack)])
  const entries = value instanceof Map ? [...value] : Object.entries(value)
  return Buffer.concat([head(entries.length, [0, 0xde, 0xdf], 0x80, 16), ...entries.flat().map(pack)])
}function packInteger(n) {
  if (n >= -32n && n < 128n) return bytes(1, n)
  const at = [8n, 16n, 32n, 64n].findIndex((bits) => (n < 0n ? n >= -(1n << (bits - 1n)) : n < 1n << bits))
  return Buffer.concat([Buffer.of((n < 0n ? 0xd0 : 0xcc) + at), bytes(1 << at, n)])
}
function head(length, [one, two, four], fixed = 0, below = 0) {
  if (length < below) return Buffer.of(fixed | length)
  if (one && length < 256) return Buffer.of(one, length)
  return length < 65536 ? Buffer.concat([Buffer.of(two), u16(length)]) : Buffer.concat([Buffer.of(four), u32(length)])
}
/** Return the one value in `data`; throw TlsrtError if it is not exactly one, within the bounds of section 9. */
export function unpack(data) {
  let at = 0, parts = 0
  const take = (size) => (require(at + size <= data.length, 'a value that is cut off'), data.subarray(at, (at += size)))
  const number = (size) => take(size).readUIntBE(0, size)
  const small = (n) => (n >= -(2n ** 53n) && n <= 2n ** 53n ? Number(n) : n)
  const text = (size) => new TextDecoder('utf-8', { fatal: true }).decode(take(size))
  const name = (key) => (require(typeof key === 'string' || Buffer.isBuffer(key), 'a map with a key that is no text'), key)
  const read = (depth) => {
    const item = () => read(depth + 1), pair = () => [name(item()), item()], code = number(1)
    const many = (count, item) => (require(depth < 32 && ++parts <= 8192, 'a value with too many levels or parts'),
      require(count <= data.length - at, 'a list that is cut off'), Array.from({ length: count }, item))
    if (code < 0x80) return code
    if (code >= 0xe0) return code - 256
    if (code < 0x90) return new Map(many(code & 15, pair))
    if (code < 0xa0) return many(code & 15, item)
    if (code < 0xc0) return text(code & 31)
    if (code === 0xc0) return null
    if (code <= 0xc3) return require(code !== 0xc1, 'no type'), code === 0xc3
    if (code <= 0xc6) return take(number(1 << (code - 0xc4)))
    if (code === 0xca) return take(4).readFloatBE()
    if (code === 0xcb) return take(8).readDoubleBE()
    if (code >= 0xcc && code <= 0xce) return number(1 << (code - 0xcc))
    if (code === 0xcf) return small(take(8).readBigUInt64BE())
    if (code >= 0xd0 && code <= 0xd2) return take(1 << (code - 0xd0)).readIntBE(0, 1 << (code - 0xd0))
    if (code === 0xd3) return small(take(8).readBigInt64BE())
    if (code >= 0xd9 && code <= 0xdb) return text(number(1 << (code - 0xd9)))
    if (code === 0xdc || code === 0xdd) return many(number(code === 0xdc ? 2 : 4), item)
    if (code === 0xde || code === 0xdf) return new Map(many(number(code === 0xde ? 2 : 4), pair))
    return require(false, 'a value of a type that has no place here')
  }
  const value = read(0)
  require(at === data.length, 'bytes after a value')
  return value
}
const within = (body, refuse) => { try { return unpack(body) } catch (error) { refuse(error.message) } } // one call's, not the connection's

// -- cryptography (sections 1, 4 and 5) --------------------------------------------------------------------------------
const sha256 = (data) => crypto.createHash('sha256').update(data).digest()
const hmac = (key, ...data) => crypto.createHmac('sha256', key).update(Buffer.concat(data)).digest()
const label = (text) => Buffer.from(`${text}\0`)
const rawKey = (curve, raw) => crypto.createPublicKey({ key: { kty: 'OKP', crv: curve, x: raw.toString('base64url') }, format: 'jwk' })
const publicRaw = (pair) => Buffer.from(pair.publicKey.export({ format: 'jwk' }).x, 'base64url')
const clock = () => Number(process.hrtime.bigint() / 1000000n) // it does not count through suspend: after one, connect anew
const nonceOf = (seq) => Buffer.concat([u32(0), u64(seq)])
const signed = (key, data, signature) => crypto.verify(null, Buffer.concat(data), rawKey('Ed25519', key), signature)

function expand(key, use, ...fields) {
  const info = fields.map((field) => Buffer.from(field)).flatMap((field) => [u16(field.length), field])
  return hmac(key, Buffer.from(`tlsrt/v1/${use}`), ...info, Buffer.of(1))
}

function seal(key, nonce, plain, data) {
  const cipher = crypto.createCipheriv('aes-256-gcm', key, nonce).setAAD(data)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}
function open(key, nonce, sealed, data) {
  const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAAD(data)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

/** RFC 9180, mode base, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. */
function hpkeOpen(pair, sealed, info) {
  const kem = Buffer.concat([Buffer.from('KEM'), u16(0x20)]), suite = Buffer.concat([Buffer.from('HPKE'), u16(0x20), u16(1), u16(2)])
  const version = Buffer.from('HPKE-v1'), none = Buffer.alloc(0), encapsulated = sealed.subarray(0, 32)
  const extract = (id, salt, name, data) => hmac(salt, version, id, Buffer.from(name), data)
  const derive = (id, key, name, context, size) => hmac(key, u16(size), version, id, Buffer.from(name), context, Buffer.of(1)).subarray(0, size)
  const shared = crypto.diffieHellman({ privateKey: pair.privateKey, publicKey: rawKey('X25519', encapsulated) })
  const both = Buffer.concat([encapsulated, publicRaw(pair)])
  const secret = derive(kem, extract(kem, none, 'eae_prk', shared), 'shared_secret', both, 32)
  const context = Buffer.concat([Buffer.of(0), extract(suite, none, 'psk_id_hash', none), extract(suite, none, 'info_hash', info)])
  const root = extract(suite, secret, 'secret', none)
  return open(derive(suite, root, 'key', context, 32), derive(suite, root, 'base_nonce', context, 12), sealed.subarray(32), none)
}

// -- one session on one connection -------------------------------------------------------------------------------------
/** Open a session by a bundle file; resolve to a Client, or reject with TlsrtError. */
export function connect(path) {
  if (fs.statSync(path).mode & 0o077) throw new TlsrtError('denied', `others can read ${path}: chmod 600 it`)
  const bundle = JSON.parse(fs.readFileSync(path, 'utf8'))
  if (bundle.tlsrt_bundle !== 1) throw new TlsrtError('invalid_argument', `${path} is no bundle of version 1`)
  return new Promise((resolve, reject) => new Client(path, bundle, resolve, reject))
}

export class Client {
  #path; #bundle; #socket; #timer; #settle; #install; #opening; #grant; #ended
  #received = Buffer.alloc(0); #grants = 0; #offset = -Infinity; #seq = 0; #calls = new Map(); #highest = new Map()

  constructor(path, bundle, resolve, reject) {
    this.#path = path
    this.#bundle = bundle
    this.#install = Buffer.from(bundle.install, 'hex')
    this.#settle = { resolve, reject }
    this.#timer = setTimeout(() => this.#end(new TlsrtError('timeout', 'no session in time')), OPEN_MS)
    this.#socket = tls.connect({
      host: bundle.host, port: bundle.port, ca: bundle.ca, cert: bundle.certificate, key: bundle.key,
      minVersion: 'TLSv1.3', ALPNProtocols: ['tlsrt/1'],
      checkServerIdentity: (_, certificate) => tls.checkServerIdentity(bundle.server_name, certificate),
    })
    this.#socket.on('secureConnect', () => this.#guard(() => require(this.#socket.alpnProtocol === 'tlsrt/1', 'no tlsrt/1')))
    this.#socket.on('data', (data) => this.#guard(() => this.#take(data)))
    this.#socket.on('error', (error) => this.#end(new TlsrtError('unavailable', error.message)))
    this.#socket.on('close', () => this.#end(new TlsrtError('unavailable', 'the connection has ended')))
  }

  /** Call a method and return its value; rejects with TlsrtError. With `key` (128 random bits) a repetition runs once. */
  call(target, method, args = [], { named = {}, key = null, timeoutMs = 30000 } = {}) {
    const body = pack([args, named, key])
    return new Promise((resolve, reject) =>
      within(body, (why) => reject(new TlsrtError('invalid_argument', why))) && this.#call(target, method, body, timeoutMs, resolve, reject))
  }
  close() {
    this.#end(new TlsrtError('unavailable', 'the client was closed'))
  }

  #guard(work) {
    try {
      work()
    } catch (error) {
      this.#end(error instanceof TlsrtError ? error : new TlsrtError('rejected', error.message))
    }
  }

  #end(error) {
    if (this.#ended) return
    this.#ended = error
    clearTimeout(this.#timer)
    this.#settle?.reject(error)
    for (const call of [...this.#calls.values()]) call.end('outcome_unknown', error.message)
    this.#socket.destroy()
  }

  #write = (payload) => this.#socket.write(Buffer.concat([u32(payload.length), payload]))

  #take(data) { // section 3
    this.#received = Buffer.concat([this.#received, data])
    while (this.#received.length >= 4 && !this.#ended) {
      const size = this.#received.readUInt32BE()
      require(size >= 1 && size <= PAYLOAD_MAX, 'a payload of an impossible length')
      if (this.#received.length < 4 + size) return
      const payload = this.#received.subarray(4, 4 + size)
      this.#received = this.#received.subarray(4 + size)
      if (payload[0] === 0x94 && payload[1] >= 0xc4 && payload[1] <= 0xc6) this.#frame(payload)
      else this.#control(payload)
    }
  }

  #control(payload) {
    require(payload.length <= CONTROL_MAX, 'a control message that is too long')
    const [name, ...fields] = unpack(payload)
    if (name === 'locked') throw new TlsrtError(name, 'the host is locked')
    if (name === 'challenge' && !this.#opening) this.#answer(...fields)
    else if (name === 'succession' && this.#opening) this.#succeed(...fields)
    else if (name === 'granted' && this.#opening) this.#granted(...fields)
    else if (['refused', 'goodbye'].includes(name)) throw new TlsrtError(fields[0], 'the server has ended the connection')
    else require(false, `a message ${name} that has no place here`)
  }

  #answer(install, boot, challenge) { // section 4, open
    require(this.#install.equals(install) && boot.length === 16 && challenge.length === 32, 'a challenge of another host')
    const pair = crypto.generateKeyPairSync('x25519'), key = crypto.createPrivateKey(this.#bundle.key)
    const certificate = new crypto.X509Certificate(this.#bundle.certificate).raw
    const wish = pack([1, install, boot, challenge, certificate, publicRaw(pair)])
    this.#opening = { pair, boot, digest: sha256(wish) }
    const hash = key.asymmetricKeyType === 'ec' ? 'sha256' : null
    this.#write(pack(['open', wish, crypto.sign(hash, Buffer.concat([label('tlsrt/open/v1'), wish]), key)]))
  }

  #succeed(chain) { // section 4, another issuer key
    require(chain.length > 0 && chain.length % STATEMENT === 0 && chain.length <= 16 * STATEMENT, 'a chain of an impossible length')
    const before = this.#bundle.issuer
    for (let at = 0; at < chain.length; at += STATEMENT) {
      const said = chain.subarray(at, at + 40), version = said.readUInt32BE(0), next = said.readUInt32BE(4)
      require(next === version + 1 && next >= 2 && (at === 0 || chain.readUInt32BE(at - STATEMENT + 4) === version), 'a chain that is none')
      if (version !== (this.#bundle.issuer_version ?? 1)) continue
      const pin = Buffer.from(this.#bundle.issuer, 'hex')
      const covered = [label('tlsrt/succession/v1'), this.#install, said]
      require(signed(pin, covered, chain.subarray(at + 40, at + STATEMENT)), 'a succession that the issuer did not sign')
      Object.assign(this.#bundle, { issuer: said.subarray(8).toString('hex'), issuer_version: next })
    }
    if (this.#bundle.issuer === before) return
    fs.writeFileSync(`${this.#path}.new`, JSON.stringify(this.#bundle, null, 2), { mode: 0o600, flush: true })
    fs.renameSync(`${this.#path}.new`, this.#path)
  }

  #granted(number, ciphertext, signature) { // section 4, granted
    const { pair, boot, digest } = this.#opening, info = Buffer.concat([label('tlsrt/grant/v1'), digest])
    require(signed(Buffer.from(this.#bundle.issuer, 'hex'), [info, u64(number), ciphertext], signature), 'a grant that the issuer did not sign')
    require(number > this.#grants, 'a grant that is not newer')
    const fields = unpack(hpkeOpen(pair, ciphertext, info))
    const [version, now, install, again, epoch, , session, subject, token, , , gate, proofKey, rights] = fields
    require(fields.length === 14 && version === 1 && install.equals(this.#install) && again.equals(boot), 'a grant of another host')
    const last = this.#grant
    require(!last || (last.session.equals(session) && last.subject === subject), 'a grant of another session')
    this.#grants = number
    this.#offset = Math.max(this.#offset, now - clock())
    const byTarget = new Map(rights.map(([target, mailbox, key, methods]) => [target, { mailbox, key, methods }]))
    require(byTarget.size === rights.length, 'a grant with a target twice')
    this.#grant = { epoch, session, subject, token, gate, proofKey, rights: byTarget }
    for (const call of [...this.#calls.values()])
      if (byTarget.get(call.target)?.mailbox !== call.mailbox) call.end('outcome_unknown', `${call.target} was started anew`)
    clearTimeout(this.#timer)
    this.#settle?.resolve(this)
    this.#settle = null
  }

  #call(target, method, plain, timeoutMs, resolve, reject) { // sections 7 to 9
    const { epoch, session, subject, token, gate, proofKey, rights } = this.#grant, right = rights.get(target)
    if (this.#ended) return reject(this.#ended)
    if (!right || !(method === 'describe' || right.methods.includes('*') || right.methods.includes(method)))
      return reject(new TlsrtError('denied', `no policy line of the host lets this client call ${target} ${method}`))
    if (!right.mailbox) return reject(new TlsrtError('unavailable', `${target} is not running`))
    const seq = ++this.#seq, nonce = nonceOf(seq), deadline = Math.floor(clock() + this.#offset + timeoutMs)
    const header = pack([1, REQUEST, session, seq, 0, subject, target, right.mailbox, gate, method, epoch, deadline, Buffer.alloc(0), 0])
    const body = seal(right.key, nonce, plain, header)
    const covered = Buffer.concat([u32(header.length), header, u32(token.length), token, body.subarray(-16)])
    const id = Buffer.concat([session, u64(seq)]).toString('hex')
    const end = (code, value) => {
      clearTimeout(timer)
      this.#calls.delete(id)
      code === null ? resolve(value) : reject(new TlsrtError(code, value))
    }
    const timer = setTimeout(() => end('deadline', `no answer in ${timeoutMs} ms`), timeoutMs)
    this.#calls.set(id, { target, mailbox: right.mailbox, key: right.key, end })
    this.#write(pack([header, token, body, seal(proofKey, nonce, Buffer.alloc(0), covered)]))
  }

  #frame(payload) { // what a client checks: section 10
    const [header, , body] = unpack(payload)
    const [, kind, session, seq, , src, dst, mailbox, , , epoch, , correlation] = unpack(header)
    require(this.#grant && dst === this.#grant.subject, 'a frame for somebody else')
    const call = this.#calls.get(correlation.toString('hex')), replier = session.toString('hex')
    if (!call) return // it has ended here
    if (kind === REFUSAL) return call.end(body.toString('ascii'), 'refused by the gate')
    if (src !== call.target || mailbox !== call.mailbox || epoch > this.#grant.epoch || seq <= (this.#highest.get(replier) ?? 0)) return
    const opened = open(expand(call.key, 'reply', session), nonceOf(seq), body, header)
    this.#highest.set(replier, seq)
    const plain = within(opened, (why) => call.end('failed', `cannot read the answer of ${src}: ${why}`))
    if (plain !== undefined && (kind === REPLY || kind === ERROR)) call.end(...(kind === REPLY ? [null, plain] : plain))
  }
}

async function main(words) {
  const at = words.indexOf('--bundle'), path = at < 0 ? process.env.TLSRT_BUNDLE ?? 'var/admin.tlsrt' : words.splice(at, 2)[1]
  const [target, method, ...args] = words
  if (!method) throw new TlsrtError('usage', 'node tlsrt.mjs [--bundle FILE] LOOP/COMPONENT METHOD [ARGUMENT...]')
  const client = await connect(path)
  const value = await client.call(target, method, args.map((word) => { try { return JSON.parse(word) } catch { return word } }))
  client.close()
  console.log(JSON.stringify(value, (_, item) => (item instanceof Map ? Object.fromEntries(item) : typeof item === 'bigint' ? `${item}` : item)))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  main(process.argv.slice(2)).catch((error) => (console.error(`tlsrt.mjs: ${error.message}`), process.exit(1)))
