// Flow control of streams and uploads (section 9 of PROTOCOL.md): credit, and parts in order without a gap.

import { TlsrtError } from './errors.js'

export const WINDOW = 32

/** The sender's half: how many parts may still be sent. */
export class Credit {
  #left = WINDOW
  #waiting = []

  add(count) {
    this.#left = Math.min(this.#left + count, 1 << 20)
    while (this.#left && this.#waiting.length) {
      this.#left--
      this.#waiting.shift()()
    }
  }

  /** Wait until one part may be sent. */
  take() {
    if (this.#left) {
      this.#left--
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

/** The receiver's half: items in order, an end, or an error. Bounded by the credit that it gives. */
export class Inbox {
  #items = []
  #next = 0
  #taken = 0
  #error = null
  #wake = null
  ended = false
  isBroken = false // by this side, so that the sender does not know

  /** Take item number `part`; a gap or more than two windows break the stream. */
  put(part, item) {
    if (this.ended) return
    if (part !== this.#next) this.#break(`item ${this.#next} is missing: got item ${part}`)
    else if (this.#items.length >= 2 * WINDOW) this.#break('the sender ignores flow control')
    else {
      this.#next++
      this.#items.push(item)
      this.#tell()
    }
  }

  finish(part) {
    if (!this.ended && part !== this.#next) return this.#break(`the stream ends at item ${part}, but item ${this.#next} is missing`)
    this.ended = true
    this.#tell()
  }

  /** End with an error; what has arrived is delivered before it. */
  fail(error) {
    if (this.ended) return
    this.ended = true
    this.#error = error
    this.#tell()
  }

  #break(why) {
    this.isBroken = true
    this.fail(new TlsrtError('stream_broken', why))
  }

  #tell() {
    this.#wake?.()
    this.#wake = null
  }

  /** Return {value} of the next item, or null at the end. Throws the error that ended the stream. */
  async get() {
    while (!this.#items.length) {
      if (this.#error) throw this.#error
      if (this.ended) return null
      await new Promise((resolve) => { this.#wake = resolve })
    }
    this.#taken++
    return { value: this.#items.shift() }
  }

  /** Return how much credit to give now: half a window at a time. */
  creditDue() {
    if (this.#taken < WINDOW / 2 || this.ended) return 0
    const due = this.#taken
    this.#taken = 0
    return due
  }
}
