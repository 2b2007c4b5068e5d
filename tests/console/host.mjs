// A host that does what its test wants, also what no host may do: the server's side of PROTOCOL.md by Node's own library,
// over something like a WebSocket.

import crypto from 'node:crypto'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

export const PAGE = process.env.TLSRT_PAGE
export const load = (name) => import(pathToFileURL(path.join(PAGE, name)))
const { pack, unpack } = await load('msgpack.js')
const { hex, join, u16, u32, u64, utf8, domain } = await load('bytes.js')
export { pack, unpack, hex, join, u32, u64, utf8, domain }

export const NONE = new Uint8Array()
export const bytes = (size, value = 7) => new Uint8Array(size).fill(value)
export const random = (size) => new Uint8Array(crypto.randomBytes(size))
const sha256 = (data) => new Uint8Array(crypto.createHash('sha256').update(data).digest())
const hmac = (key, ...data) => new Uint8Array(crypto.createHmac('sha256', key).update(join(...data)).digest())
const gcm = (key, nonce, plain, data) => {
  const cipher = crypto.createCipheriv('aes-256-gcm', key, nonce).setAAD(data)
  return new Uint8Array(Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]))
}
const ungcm = (key, nonce, sealed, data) => {
  const decipher = crypto.createDecipheriv('aes-256-gcm', key, nonce).setAAD(data).setAuthTag(sealed.subarray(-16))
  return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]))
}
const nonceOf = (seq) => join(u32(0), u64(seq))
const raw = (key) => new Uint8Array(Buffer.from(key.export({ format: 'jwk' }).x, 'base64url'))
export const makeIssuer = () => crypto.generateKeyPairSync('ed25519')
export const rawPublic = (pair) => raw(pair.publicKey)
export const signAs = (pair, data) => new Uint8Array(crypto.sign(null, data, pair.privateKey))

/** RFC 9180, mode base, to a raw X25519 key. */
export function hpkeSeal(peer, plain, info) {
  const kem = join(utf8('KEM'), u16(0x20)), suite = join(utf8('HPKE'), u16(0x20), u16(1), u16(2)), version = utf8('HPKE-v1')
  const extract = (id, salt, name, data) => hmac(salt, version, id, utf8(name), data)
  const derive = (id, key, name, context, size) => hmac(key, u16(size), version, id, utf8(name), context, Uint8Array.of(1)).subarray(0, size)
  const pair = crypto.generateKeyPairSync('x25519')
  const publicKey = crypto.createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: Buffer.from(peer).toString('base64url') }, format: 'jwk' })
  const shared = crypto.diffieHellman({ privateKey: pair.privateKey, publicKey })
  const encapsulated = raw(pair.publicKey)
  const secret = derive(kem, extract(kem, NONE, 'eae_prk', shared), 'shared_secret', join(encapsulated, peer), 32)
  const context = join(Uint8Array.of(0), extract(suite, NONE, 'psk_id_hash', NONE), extract(suite, NONE, 'info_hash', info))
  const root = extract(suite, secret, 'secret', NONE)
  return join(encapsulated, gcm(derive(suite, root, 'key', context, 32), derive(suite, root, 'base_nonce', context, 12), plain, NONE))
}

/** What the page holds of a WebSocket, with the host at its other end. */
export class Wire {
  protocol = 'tlsrt.1'
  isClosed = false

  constructor(host) {
    host.wires.push(this)
    setTimeout(() => {
      this.onopen?.()
      host.welcome(this)
    })
    this.host = host
  }

  send(data) {
    setTimeout(() => this.host.heard(this, new Uint8Array(data)))
  }

  close() {
    if (this.isClosed) return
    this.isClosed = true
    setTimeout(() => this.onclose?.())
  }

  /** Say a payload to the client. */
  say(payload) {
    const data = typeof payload === 'string' ? payload : payload.slice().buffer
    this.onmessage?.({ data })
  }
}

export class Host {
  install = random(16)
  boot = random(16)
  issuer = makeIssuer()
  session = random(16)
  replier = random(16)
  requestKey = random(32)
  proofKey = random(32)
  token = random(40)
  wires = []
  number = 0
  now = 1_000_000
  seq = 0
  requests = []
  answer = (wire, request) => wire.say(this.frame(request, 2, pack('done')))

  /** What a client of this host has; its certificate is never looked at here. */
  async identity() {
    const { makeClientKeys } = await load('primitives.js')
    const { privateKey, publicKey } = await makeClientKeys()
    return {
      version: 1, url: 'wss://host.test:7000/tlsrt', install: this.install, name: 'tab', certificate: CERTIFICATE,
      issuer: rawPublic(this.issuer), issuerVersion: 1, ca: NONE, privateKey, publicKey,
    }
  }

  welcome(wire) {
    wire.say(this.challenge())
  }

  challenge() {
    return pack(['challenge', this.install, this.boot, random(32), this.now])
  }

  heard(wire, payload) {
    const message = unpack(payload)
    if (message[0] === 'open') {
      this.opened = { digest: sha256(message[1]), ephemeral: unpack(message[1])[5] }
      wire.say(this.granted())
    } else if (message[0] === 'renew') this.renew?.(wire, message[1], message[2])
    else this.request(wire, message)
  }

  /** A grant, each field of which may be another, and so what is around it. */
  granted({ fields = {}, issuer = this.issuer, number = ++this.number, change = (plain) => plain, digest = this.opened.digest } = {}) {
    const grant = {
      version: 1, now: this.now, install: this.install, boot: this.boot, epoch: 7, grace: 5000, session: this.session, subject: 'client/tab',
      token: this.token, expires: this.now + 300_000, ends: this.now + 8 * 3600_000, gate: 1, proofKey: this.proofKey,
      rights: [['secondary/store', 2, this.requestKey, ['*']]], ...fields,
    }
    const info = join(domain('tlsrt/grant/v1'), digest)
    const ciphertext = hpkeSeal(this.opened.ephemeral, change(pack(Object.values(grant))), info)
    return pack(['granted', number, ciphertext, signAs(issuer, join(info, u64(number), ciphertext))])
  }

  /** Take a request as the gate and the component do; whatever is wrong with it fails the test. */
  request(wire, [header, token, body, proof]) {
    const fields = unpack(header)
    const [, kind, session, seq, part, src, dst, mailbox, gate, method, epoch, deadline, correlation, flags] = fields
    if (seq <= this.seq) throw new Error(`number ${seq} came after ${this.seq}`)
    this.seq = seq
    const covered = join(u32(header.length), header, u32(token.length), token, body.subarray(-16))
    ungcm(this.proofKey, nonceOf(seq), proof, covered)
    const plain = ungcm(this.requestKey, nonceOf(seq), body, header)
    const request = { kind, session, seq, part, src, dst, mailbox, gate, method, epoch, deadline, correlation, flags, value: plain.length ? unpack(plain) : null }
    this.requests.push(request)
    this.answer(wire, request)
  }

  #answers = 0

  /** A frame that answers a request, each field of whose header may be another. */
  frame(request, kind, plain, { key, ...fields } = {}) {
    const header = {
      version: 1, kind, session: this.replier, seq: ++this.#answers, part: 0, src: request.dst, dst: request.src, mailbox: request.mailbox,
      gate: 1, method: request.method, epoch: request.epoch, deadline: this.now + 30_000,
      correlation: request.kind === 1 ? join(request.session, u64(request.seq)) : request.correlation, flags: 0, ...fields,
    }
    const data = pack(Object.values(header))
    const info = [utf8('tlsrt/v1/reply'), u16(16), header.session, Uint8Array.of(1)]
    return pack([data, this.token, gcm(key ?? hmac(this.requestKey, ...info), nonceOf(header.seq), plain, data), bytes(16)])
  }

  /** The gate's word about a request. */
  refusal(request, word, fields = {}) {
    const header = {
      version: 1, kind: 8, session: bytes(16, 0), seq: 0, part: 0, src: 'gate', dst: request.src, mailbox: 0, gate: 0, method: '',
      epoch: request.epoch, deadline: request.deadline, correlation: join(request.session, u64(request.seq)), flags: 0, ...fields,
    }
    return pack([pack(Object.values(header)), NONE, utf8(word), NONE])
  }

  /** The statement that another issuer follows. */
  successor(next, version = 1, by = this.issuer, install = this.install) {
    const said = join(u32(version), u32(version + 1), rawPublic(next))
    return join(said, signAs(by, join(domain('tlsrt/succession/v1'), install, said)))
  }
}

// Of the vectors; it ends in 2035.
const CERTIFICATE = new Uint8Array(Buffer.from(process.env.TLSRT_CERTIFICATE, 'hex'))
