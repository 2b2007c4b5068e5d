// One session on one WebSocket: the order of messages, pushes, renewal, and how it ends (sections 3, 4 and 18 of
// PROTOCOL.md). Whatever the server says is taken in the order in which it came, though WebCrypto answers later: what is
// opened waits in `#in` for what came before, and what is sealed in `#out`.

import { Calls } from './calls.js'
import { Endpoint } from './endpoint.js'
import { require, TlsrtError } from './errors.js'
import { pack } from './msgpack.js'
import { Opening } from './opening.js'
import { Renewing } from './renewal.js'
import { isFrame, PAYLOAD_MAX, readControl, readFrame, readHeader } from './wire.js'

export const PROTOCOL = 'tlsrt.1' // a subprotocol's name has no slash (RFC 6455, 4.1)
const OPEN_MS = 10000
const RENEWAL_MS = 30000
const HELD_MAX = 16 * 1024 * 1024 // bytes that have come and are not judged
const REFUSED_MAX = 256 // frames in a session that were dropped
const SENTENCES = {
  locked: 'the host is locked: there are no sessions until an operator unlocks it',
  busy: 'the host has no room for another session now',
  draining: 'the host is stopping',
  idle: 'nothing was said for a long time',
  ended: 'the session was ended by the host',
  unlocked: 'the host was unlocked',
  timeout: 'the session was not opened in time',
  rejected: 'the host takes no session of this client: it may have been revoked',
}

/** The error for a word with which the server ends; a quarantine says for how many s. */
function ending(said, isRefusal) {
  const [word, seconds] = /^quarantined \d{1,9}$/.test(said) ? said.split(' ') : [said, '0']
  const isKnown = Object.hasOwn(SENTENCES, word) || word === 'quarantined'
  const code = isKnown ? word : 'rejected'
  const sentence = word === 'quarantined' ? `the host takes no session of this client for ${seconds} s` : SENTENCES[code]
  return Object.assign(new TlsrtError(code, sentence), { isRefusal, pauseMs: 1000 * Number(seconds) })
}

export class Session {
  #socket
  #identity
  #watcher
  #opening
  #endpoint = new Endpoint()
  #calls
  #in = Promise.resolve()
  #out = Promise.resolve()
  #controls = 0 // that are not judged: what comes after them waits
  #held = 0
  #refused = 0
  #isLocked = false
  #renewing = null
  #offset = null // of the host's clock, ms
  #timers = []
  ended = null // the error with which it ended
  heardAt = performance.now() // when the host has said something, ms

  /**
   * `socket` is a WebSocket of our subprotocol that is being opened. `watcher` has `pinned(pin)`, which resolves when
   * the pin is written, `granted(session)`, and `ended(error)`.
   */
  constructor(socket, identity, watcher) {
    this.#socket = socket
    this.#identity = identity
    this.#watcher = watcher
    this.#opening = new Opening(identity)
    this.#calls = new Calls(this.#endpoint, (frame, written) => this.#send(frame, written), () => this.now())
    this.#timers.push(setTimeout(() => this.end(ending('timeout', true)), OPEN_MS))
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.#guard(() => require(socket.protocol === PROTOCOL, 'another subprotocol'))
    socket.onmessage = (event) => this.#guard(() => this.#take(event.data))
    socket.onerror = () => {}
    socket.onclose = () => {
      this.#in = this.#in.then(() => this.end(new TlsrtError('unavailable', 'the connection to the host has ended')))
    }
  }

  get grant() {
    return this.#endpoint.grant
  }

  get calls() {
    return this.#calls
  }

  /** Frames that were dropped, as they were not for us or not authentic. */
  get refused() {
    return this.#refused
  }

  /** The host's time, ms: never above it. */
  now() {
    return performance.now() + this.#offset
  }

  close() {
    this.end(new TlsrtError('unavailable', 'the client was closed'))
  }

  /** End it, once, with this error; its calls end. */
  end(error) {
    if (this.ended) return
    this.ended = error instanceof TlsrtError ? error : new TlsrtError('failed', `a fault of this page: ${error?.stack ?? error}`)
    this.#timers.forEach(clearTimeout)
    this.#calls.endAll(this.ended.message)
    this.#renewing?.reject(this.ended)
    this.#socket.onmessage = null
    this.#socket.close()
    this.#watcher.ended(this.ended)
  }

  #guard(work) {
    try {
      work()
    } catch (error) {
      this.end(error)
    }
  }

  // -- what goes out --------------------------------------------------------------------------------------------------

  /** Send a payload, or what a promise gives, after all that was sent before. */
  #send(payload, written) {
    Promise.resolve(payload).catch(() => {}) // it is judged in its turn
    this.#out = this.#out.then(async () => {
      const data = await payload
      if (this.ended) return
      written?.()
      this.#socket.send(data)
    }).catch((error) => this.end(error))
  }

  // -- what comes in --------------------------------------------------------------------------------------------------

  #take(data) {
    require(data instanceof ArrayBuffer, 'a text')
    require(data.byteLength >= 1 && data.byteLength <= PAYLOAD_MAX, 'a payload of an impossible length')
    this.heardAt = performance.now()
    this.#held += data.byteLength
    require(this.#held <= HELD_MAX, 'more than can be read')
    const payload = new Uint8Array(data)
    const isControl = !isFrame(payload)
    // A frame that comes before a push was judged may need its keys: it begins in its turn. Most begin at once.
    const begun = isControl || this.#controls ? null : this.#begin(payload)
    if (isControl) this.#controls++
    this.#in = this.#in.then(async () => {
      if (this.ended) return
      if (isControl) await this.#control(payload)
      else await this.#frame(begun ?? this.#begin(payload))
    }).catch((error) => this.end(error)).finally(() => {
      this.#held -= data.byteLength
      if (isControl) this.#controls--
    })
  }

  /** Begin to open a frame; what is wrong with it is said in its turn. */
  #begin(payload) {
    let isShaped = false
    try {
      require(this.grant, 'a frame before the grant')
      const frame = readFrame(payload)
      const header = readHeader(frame.header)
      isShaped = true
      const opened = this.#endpoint.begin(header, frame, this.now())
      opened.catch(() => {})
      return { header, opened }
    } catch (error) {
      return { error, isShaped }
    }
  }

  async #frame({ header, opened, error, isShaped }) {
    if (error && !isShaped) throw error
    try {
      if (error) throw error
      const body = await opened
      this.#endpoint.advance(header)
      this.#calls.take(header, body)
    } catch (refusal) {
      if (refusal.code !== 'rejected') throw refusal
      if (++this.#refused > REFUSED_MAX) throw refusal // it is dropped, as it may be late; so many are no accident
    }
  }

  async #control(payload) {
    const [name, ...fields] = readControl(payload)
    if (name === 'refused') throw ending(fields[0], true)
    if (name === 'goodbye') throw ending(fields[0], false)
    if (name === 'locked') {
      require(this.#opening.boot === null, 'a message that has no place here')
      throw ending('locked', true)
    }
    if (name === 'challenge') this.#send(pack(['open', ...(await this.#opening.answer(...fields.slice(0, 3)))]))
    else if (name === 'succession') {
      if (await this.#opening.follow(fields[0])) await this.#watcher.pinned(this.#opening.pin)
    } else if (name === 'granted') this.#granted(await this.#opening.accept(...fields))
    else await this.#renewed(name, fields)
  }

  #granted(grant) {
    const offset = Number(grant.now) - performance.now()
    const isFirst = this.#offset === null
    this.#offset = isFirst ? offset : Math.max(this.#offset, offset)
    const { restarted, isSudden } = this.#endpoint.apply(grant, this.now())
    for (const target of restarted) this.#calls.endOf(target)
    if (isSudden) this.#calls.endBefore(grant.epoch)
    this.#timers.splice(0).forEach(clearTimeout)
    const left = Math.min(Number(grant.tokenExpires), Number(grant.sessionEnds)) - this.now()
    this.#timers.push(setTimeout(() => this.end(new TlsrtError('unavailable', 'the session has run out')), Math.max(0, left)))
    this.#watcher.granted(this, isFirst)
  }

  // -- another certificate --------------------------------------------------------------------------------------------

  /** Get another certificate, once in a session; resolves to {certificate, privateKey, publicKey}. */
  async renew() {
    require(this.#renewing === null, 'a session renews once')
    const renewing = { begun: Renewing.begin(this.#identity, this.#opening.boot, this.grant.session) }
    renewing.answer = new Promise((resolve, reject) => Object.assign(renewing, { resolve, reject }))
    renewing.answer.catch(() => {}) // the session may end before it is awaited
    this.#renewing = renewing
    const { request, signature } = await renewing.begun
    renewing.timer = setTimeout(() => renewing.reject(new TlsrtError('deadline', 'no answer about another certificate')), RENEWAL_MS)
    this.#send(pack(['renew', request, signature]))
    return renewing.answer.finally(() => clearTimeout(renewing.timer))
  }

  async #renewed(name, fields) {
    const renewing = this.#renewing
    require(renewing?.timer && !renewing.isAnswered, 'a message that has no place here')
    renewing.isAnswered = true
    if (name === 'not_renewed') return renewing.reject(new TlsrtError('denied', 'the host gives no other certificate now'))
    try {
      renewing.resolve(await (await renewing.begun).accept(this.#opening.pin.issuer, ...fields))
    } catch (error) {
      renewing.reject(error)
      throw error
    }
  }
}
