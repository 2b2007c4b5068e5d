// A client of a host, in a browser: one session after the other, and the calls over them. What an application uses:
//
//   const identity = await enrol({ url, code })     or     await loadIdentity()
//   const client = await connect(identity)
//   await client.call('secondary/store', 'get', ['greeting'])
//   for await (const item of client.stream('third/files', 'subscribe', ['changed'])) ...
//
// Events: `rights` (what may be called has changed), `online`, `offline` (detail: {since, code, message}; it connects
// again by itself), `locked` (the same, and the host says that it is locked), `closed` (detail: {code, message}; it does
// not come again: revoked, forgotten, closed).

import { hex } from './bytes.js'
import { socketUrl } from './enrolment.js'
import { TlsrtError } from './errors.js'
import { loadIdentity, onForgotten, saveCertificate, savePin } from './identity.js'
import { random } from './primitives.js'
import { dueInMs, retryInMs } from './renewal.js'
import { Backoff, Retry } from './retry.js'
import { PROTOCOL, Session } from './session.js'

export { enrol, takeCode } from './enrolment.js'
export { TlsrtError } from './errors.js'
export { forget, loadIdentity } from './identity.js'

const REJECTED_MAX = 2 // in a row, after which this client has no place here any more
const REFUSAL_MS = 1000
const LAST_MS = 50 // before its deadline a call is not repeated
const DAY_MS = 86400000
const SUSPENDED_MS = 5000
const STREAM_WAIT_MS = 30000
const WATCH_MS = 2000
const SILENT_MS = 8000 // after which the host is asked whether it is there
const THERE_MS = 6000
const IN_BROWSER = { load: loadIdentity, onForgotten, savePin, saveCertificate }

/** A new idempotency key, for one logical call. */
export const newKey = () => hex(random(16))

/** Tell whether the host of a WebSocket's address answers at all: a connection whose network is gone says nothing. */
async function isThere(url) {
  try {
    await fetch(new URL('/', url.replace(/^wss/, 'https')), { method: 'HEAD', cache: 'no-store', signal: AbortSignal.timeout(THERE_MS) })
    return true
  } catch {
    return false
  }
}

/**
 * Open a session; resolve to a Client. Rejects with why there is none now, and does not try again then. With `meanwhile`
 * it tries again as later, until it is told that this client has no place there; `meanwhile(client)` may listen before.
 */
export async function connect(identity, { url = identity.url, open, keeper, meanwhile } = {}) {
  const client = new Client(identity, { url, open, keeper })
  meanwhile?.(client)
  await client.begin(Boolean(meanwhile))
  return client
}

export class Client extends EventTarget {
  #identity
  #url
  #open
  #keeper
  #session = null // that is open
  #opening = null // that is being opened
  #waiting = [] // who waits for a session
  #backoff = new Backoff()
  #rejected = 0
  #timer
  #renewal
  #closed = null // the error for good
  #begun = false
  #insists = false // also on the first session
  #life = new AbortController()
  #watch
  #isAsking = false
  #isIdle = false
  #rights = ''
  #offlineSince = null // ms since 1970
  #wallClock = Date.now() - performance.now()
  #onOnline = () => this.#connectNow()

  /** `open(url, protocol)` makes a WebSocket; `keeper` keeps pins and certificates. */
  constructor(identity, { url, open = (to, protocol) => new WebSocket(to, protocol), keeper = IN_BROWSER }) {
    super()
    this.#identity = identity
    this.#url = socketUrl(url)
    this.#open = open
    this.#keeper = keeper
  }

  // -- what it is -----------------------------------------------------------------------------------------------------

  get subject() {
    return this.#session?.grant.subject ?? `client/${this.#identity.name}`
  }

  get host() {
    return { name: new URL(this.#url).host, install: hex(this.#identity.install) }
  }

  /** What may be called: a Map of target -> {methods, running}. Empty while there is no session. */
  get rights() {
    const rights = this.#session?.grant.rights ?? new Map()
    return new Map([...rights].map(([target, { mailbox, methods }]) => [target, { methods: [...methods], running: mailbox !== 0 }]))
  }

  /** Since when there is no session, in ms since 1970; null while there is one. */
  get offlineSince() {
    return this.#offlineSince
  }

  // -- calls ----------------------------------------------------------------------------------------------------------

  /** Call a method and return its value. With `key` it runs once however often it is sent, and is repeated at need. */
  call(target, method, args = [], { named = {}, timeoutMs = 30000, key = null, signal } = {}) {
    const retry = new Retry(key)
    return this.#repeated(retry, timeoutMs, signal, (session, left) =>
      session.calls.call(target, method, args, named, { timeoutMs: left, key: retry.key(hex(session.grant.boot)), signal }))
  }

  /** Ask `describe` of a target about this client's jobs there (section 19): `deferral` is such as `['list']`. */
  askJobs(target, deferral, { timeoutMs = 30000, signal } = {}) {
    return this.#repeated(new Retry(null), timeoutMs, signal, (session, left) =>
      session.calls.call(target, 'describe', [], {}, { timeoutMs: left, key: deferral, signal }))
  }

  /** Put a call off: {job, target, method, when, missed, body}; jobs.js repeats it. */
  putJob(job, { timeoutMs = 30000, signal } = {}) {
    return this.#repeated(new Retry(null), timeoutMs, signal, (session, left) => session.calls.put(job, { timeoutMs: left, signal }))
  }

  /** Do it in a session, and once more in the present one after what `retry` takes for an accident. */
  async #repeated(retry, timeoutMs, signal, work) {
    const ends = performance.now() + timeoutMs
    for (;;) {
      const session = await this.#ready(ends, signal).catch((error) => { throw retry.verdict(error) })
      try {
        return await work(session, Math.max(1, ends - performance.now()))
      } catch (error) {
        if (!retry.mayFollow(error, hex(session.grant.boot)) || performance.now() + LAST_MS >= ends) throw retry.verdict(error)
      }
      await retry.pause()
    }
  }

  /**
   * Iterate what a method streams, or what is published for `subscribe` with a topic. It ends with its session. For a
   * method that takes a stream of bytes as well, `parts` is an iterable of Uint8Array.
   */
  async *stream(target, method, args = [], { named = {}, signal, parts } = {}) {
    const session = await this.#ready(performance.now() + STREAM_WAIT_MS, signal)
    yield* session.calls.stream(target, method, args, named, { signal, parts })
  }

  /** Call a method that takes a stream of bytes: `parts` is an iterable of Uint8Array. Return its value. */
  async upload(target, method, args, parts, { named = {}, timeoutMs = 300000, signal } = {}) {
    const ends = performance.now() + timeoutMs
    const session = await this.#ready(ends, signal)
    return session.calls.upload(target, method, args, parts, named, { timeoutMs: Math.max(1, ends - performance.now()), signal })
  }

  /** Return what a component says of its methods and topics. */
  describe(target) {
    return this.call(target, 'describe')
  }

  /** Close it for good. */
  close() {
    this.#finish(new TlsrtError('unavailable', 'the client was closed'))
  }

  // -- sessions -------------------------------------------------------------------------------------------------------

  /** Open the first session; `insists` if it is tried again, like those after it. */
  begin(insists = false) {
    this.#insists = insists
    const first = this.#ready(Infinity)
    globalThis.addEventListener?.('online', this.#onOnline)
    this.#watch = setInterval(() => this.#listen(), WATCH_MS)
    this.#watch.unref?.() // where there are other ends
    this.#keeper.onForgotten?.(this.#life.signal, () => this.#finish(new TlsrtError('denied', 'the key of this browser was forgotten in another tab')))
    return first
  }

  /** Resolve to the session, once there is one. */
  #ready(ends, signal) {
    if (this.#closed) return Promise.reject(this.#closed)
    this.#watchClocks()
    if (this.#session) return Promise.resolve(this.#session)
    this.#isIdle &&= this.#connectNow()
    if (!this.#begun) this.#connectNow()
    return new Promise((resolve, reject) => {
      const one = { resolve, reject }
      const leave = (error) => {
        this.#waiting = this.#waiting.filter((other) => other !== one)
        reject(error)
      }
      const timer = Number.isFinite(ends) &&
        setTimeout(() => leave(new TlsrtError('unavailable', 'there was no session until the deadline; nothing was sent')), Math.max(0, ends - performance.now()))
      signal?.addEventListener('abort', () => leave(new TlsrtError('cancelled', 'the call was cancelled before it was sent')), { once: true })
      one.settle = () => clearTimeout(timer)
      this.#waiting.push(one)
    })
  }

  #settle(session, error) {
    for (const one of this.#waiting.splice(0)) {
      one.settle()
      error ? one.reject(error) : one.resolve(session)
    }
  }

  /** A machine that slept has another idea of the host's time: a session of before is worth nothing. */
  #watchClocks() {
    const wallClock = Date.now() - performance.now()
    const hasSlept = Math.abs(wallClock - this.#wallClock) > SUSPENDED_MS
    this.#wallClock = wallClock
    if (hasSlept) this.#session?.end(new TlsrtError('unavailable', 'this machine has slept'))
  }

  /** End a session of which nothing is heard, if the host is not there any more. What nobody looks at may wait. */
  async #listen() {
    const session = this.#session, heard = session?.heardAt
    if (!session || this.#isAsking || globalThis.document?.hidden || performance.now() - heard < SILENT_MS) return
    this.#isAsking = true
    const isGone = !(await isThere(this.#url))
    this.#isAsking = false
    if (isGone && session.heardAt === heard)
      session.end(Object.assign(new TlsrtError('unavailable', 'nothing is heard from the host'), { since: Date.now() - (performance.now() - heard) }))
  }

  #connectNow() {
    clearTimeout(this.#timer)
    if (this.#closed || this.#session || this.#opening) return false
    this.#begun = true
    this.#opening = new Session(this.#open(this.#url, PROTOCOL), this.#identity, {
      pinned: async (pin) => {
        this.#identity = { ...this.#identity, issuer: pin.issuer, issuerVersion: pin.version }
        await this.#keeper.savePin(this.#identity.install, pin)
      },
      granted: (session, isFirst) => this.#granted(session, isFirst),
      ended: (error) => this.#ended(error),
    })
    return false
  }

  #granted(session, isFirst) {
    if (isFirst) {
      this.#session = session
      this.#opening = null
      this.#insists = true
      this.#rejected = 0
      this.#backoff.reset()
      const wasOffline = this.#offlineSince !== null
      this.#offlineSince = null
      if (wasOffline) this.#tell('online')
      this.#settle(session)
      this.#planRenewal(dueInMs(this.#identity.certificate, Date.now(), Math.random()))
    }
    const rights = JSON.stringify([...this.rights])
    if (rights !== this.#rights) this.#tell('rights')
    this.#rights = rights
  }

  async #ended(error) {
    this.#session = this.#opening = null
    clearTimeout(this.#renewal)
    if (this.#closed) return
    if (!this.#insists) return this.#finish(error) // the first session: who asked for it is told why there is none
    if (error.code === 'idle') {
      this.#isIdle = true // it comes again when there is something to say
      if (!this.#waiting.length) return
    }
    this.#offlineSince ??= error.since ?? Date.now()
    const isRejected = error.isRefusal && error.code === 'rejected'
    this.#rejected = isRejected ? this.#rejected + 1 : 0
    if (isRejected && !(await this.#reload()) && this.#rejected >= REJECTED_MAX) return this.#finish(error)
    if (this.#closed) return
    this.#tell(error.code === 'locked' ? 'locked' : 'offline', { since: this.#offlineSince, code: error.code, message: error.message })
    const least = error.pauseMs || (error.isRefusal || error.code === 'rejected' ? REFUSAL_MS : 0)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#connectNow(), this.#backoff.pause(least))
  }

  #finish(error) {
    if (this.#closed) return
    this.#closed = error
    this.#offlineSince ??= Date.now()
    clearTimeout(this.#timer)
    clearTimeout(this.#renewal)
    clearInterval(this.#watch)
    globalThis.removeEventListener?.('online', this.#onOnline)
    this.#life.abort()
    this.#session?.close()
    this.#opening?.close()
    this.#settle(null, error)
    this.#tell('closed', { code: error.code, message: error.message })
  }

  #tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }))
  }

  // -- certificates ---------------------------------------------------------------------------------------------------

  /** Look whether another tab has another certificate by now; whether there is one. */
  async #reload() {
    const kept = await this.#keeper.load().catch(() => null) // it was cleared under us: what we have is what there is
    const isOther = kept !== null && hex(kept.install) === hex(this.#identity.install) && hex(kept.certificate) !== hex(this.#identity.certificate)
    if (isOther) this.#identity = kept
    return isOther
  }

  #planRenewal(dueMs) {
    clearTimeout(this.#renewal)
    const pause = Math.min(dueMs, DAY_MS) // a browser's timers end at 24 days
    this.#renewal = setTimeout(() => (dueMs > DAY_MS ? this.#planRenewal(dueInMs(this.#identity.certificate, Date.now(), Math.random())) : this.renew().catch(() => {})), pause)
  }

  /** Get another certificate now, and keep it; it is used from the next connection on. One tab does it at a time. */
  async renew() {
    const session = await this.#ready(performance.now() + STREAM_WAIT_MS)
    const before = this.#identity.certificate
    try {
      await oneTab(async () => {
        if (await this.#reload()) return
        const renewed = await session.renew()
        if (await this.#keeper.saveCertificate(before, renewed)) this.#identity = { ...this.#identity, ...renewed }
        else await this.#reload()
      })
    } catch (error) {
      if (!this.#closed) this.#planRenewal(retryInMs(before, Date.now()))
      throw error
    }
  }
}

function oneTab(work) {
  return globalThis.navigator?.locks ? navigator.locks.request('tlsrt-renewal', work) : work()
}
