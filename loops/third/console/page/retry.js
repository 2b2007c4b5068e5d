// The attempts of one call (section 9 of PROTOCOL.md, Repetition): which failure may be followed by another attempt, what
// stands beside the key then, and what the caller is told at the end. And the pauses of one who connects again.

import { TlsrtError } from './errors.js'

const PAUSE_MS = 10
const PAUSE_MAX_MS = 500
const TIMER_MAX_MS = 86400000 // a browser's timer above 24 days fires at once
const AWAY_MS = 2000 // how long a call without a key waits for a recipient that is starting
const LOST = new Set(['outcome_unknown', 'stale'])
const REFUSED = new Set(['rejected', 'stale', 'busy', 'unavailable'])
const SETTLED = new Set(['outcome_unknown', 'deadline', 'cancelled'])

export class Retry {
  #key
  #first = null // {boot, mailbox} of the first attempt that may have run
  #waitedMs = 0
  #pauseMs = PAUSE_MS

  constructor(key) {
    this.#key = key
  }

  /** Return the key of the next request, to a host of this boot (in hex). */
  key(boot) {
    if (this.#key === null || this.#first === null) return this.#key
    return [this.#key, this.#first.boot === boot ? this.#first.mailbox : 0]
  }

  /** Whether another attempt may follow an attempt that failed at a host of this boot. */
  mayFollow(error, boot) {
    const isUnread = (error.isUnsent && error.code !== 'denied' && error.code !== 'cancelled') || (error.isTold && error.code === 'away')
    if (isUnread) return this.#key !== null || this.#waitedMs < AWAY_MS
    if (this.#key === null || error.isTold) return false
    if (!LOST.has(error.code) && !(error.isFromGate && REFUSED.has(error.code))) return false
    this.#first ??= { boot, mailbox: error.mailbox }
    return true
  }

  /** Wait a moment; the next one is longer. */
  async pause() {
    const pause = this.#pauseMs
    this.#waitedMs += pause
    this.#pauseMs = Math.min(pause * 1.5, PAUSE_MAX_MS)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }

  /** Return the error for the caller: none says that nothing ran, if an earlier attempt may have run. */
  verdict(error) {
    if (this.#first === null || error.isTold || SETTLED.has(error.code)) return error
    return new TlsrtError('outcome_unknown', `the request may have run before it was repeated: ${error.message}`)
  }
}

/** Pauses between connections: exponential, with full jitter, and not before a host that refused wants it. */
export class Backoff {
  #attempt = 0
  #chance

  constructor(chance = Math.random) {
    this.#chance = chance
  }

  reset() {
    this.#attempt = 0
  }

  /** Return how long to wait now, in ms. */
  pause(leastMs = 0) {
    const pause = this.#chance() * Math.min(30000, 500 * 2 ** Math.min(this.#attempt++, 16))
    return Math.min(TIMER_MAX_MS, leastMs ? Math.max(pause, leastMs * (1 + this.#chance())) : pause)
  }
}
