// The calls of one session: what is under way, by the number of its request (section 9 of PROTOCOL.md).

import { NONE } from './bytes.js'
import { require, TlsrtError } from './errors.js'
import { Credit, Inbox } from './flow.js'
import { pack } from './msgpack.js'
import { correlationOf, DEADLINE_MAX_MS, Flag, jobData, Kind, packRequest, readCount, readError, readValue } from './wire.js'

const CALLS_MAX = 1024
const PART_MAX = 131072
const STREAM_LIFE_MS = 180000
const RENEW_MS = 60000
const CANCEL_MS = 10000
const REFUSALS = new Set(['rejected', 'stale', 'busy', 'unavailable'])

/** An error with what its caller has to know to decide on a repetition. */
export function failure(code, sentence, { isUnsent = false, isFromGate = false, isTold = false, mailbox = 0 } = {}) {
  return Object.assign(new TlsrtError(code, sentence), { isUnsent, isFromGate, isTold, mailbox })
}

export class Calls {
  #endpoint
  #send
  #now
  #open = new Map() // number of the request -> call

  /** `send(promise of a frame, written)` sends frames in the order of the calls to it; `now` is the host's time, ms. */
  constructor(endpoint, send, now) {
    this.#endpoint = endpoint
    this.#send = send
    this.#now = now
  }

  get size() {
    return this.#open.size
  }

  // -- what the application does --------------------------------------------------------------------------------------

  /** Call a method and return its value. `key` is null, an idempotency key, [key, mailbox of the first attempt], or a deferral. */
  call(target, method, args, named, { timeoutMs, key = null, signal }) {
    const call = this.#begin(target, method, packRequest(args, named, key), this.#deadline(timeoutMs), 0, signal)
    this.#setTimer(call, timeoutMs)
    return call.answer
  }

  /** Put a call off (section 19): `body` is that of its request, and `job` the 8 bytes of its id. */
  async put({ job, target, method, when, missed, body }, { timeoutMs, signal }) {
    const deadline = this.#deadline(timeoutMs), { session } = this.#endpoint.grant
    const { epoch, number, proof } = await this.#endpoint.prove(jobData(session, target, method, deadline, job, when, missed, body))
    return this.call(target, method, [], {}, { timeoutMs, key: ['put', job, when, missed, body, deadline, epoch, number, proof], signal })
  }

  /** Call a method that takes a stream of bytes; return its value. */
  async upload(target, method, args, parts, named, { timeoutMs, signal }) {
    const deadline = this.#deadline(timeoutMs)
    const call = this.#begin(target, method, packRequest(args, named, null), deadline, Flag.UPLOAD, signal)
    this.#setTimer(call, timeoutMs)
    this.#upload(call, parts, deadline)
    return call.answer
  }

  /** Call a method that streams; iterate its items. `parts` is for one that takes a stream of bytes as well. */
  async *stream(target, method, args, named, { signal, parts = null } = {}) {
    const flags = Flag.STREAM | (parts ? Flag.UPLOAD : 0)
    const call = this.#begin(target, method, packRequest(args, named, null), this.#now() + STREAM_LIFE_MS, flags, signal)
    const inbox = call.inbox
    if (parts) this.#upload(call, parts, null)
    const renewal = setInterval(() => inbox.ended || this.#credit(call, 0), RENEW_MS)
    try {
      for (let item; (item = await inbox.get()); ) {
        const due = inbox.creditDue()
        if (due) this.#credit(call, due)
        yield item.value
      }
    } finally {
      clearInterval(renewal)
      if (this.#forget(call) && (!inbox.ended || inbox.isBroken)) this.#cancel(call)
    }
  }

  #deadline(timeoutMs) {
    if (!(timeoutMs > 0 && timeoutMs <= DEADLINE_MAX_MS))
      throw new TlsrtError('invalid_argument', `a timeout is more than 0 and at most ${DEADLINE_MAX_MS} ms, not ${timeoutMs}`)
    return Math.floor(this.#now() + timeoutMs)
  }

  #begin(target, method, body, deadline, flags, signal) {
    if (signal?.aborted) throw failure('cancelled', 'the call was cancelled before it was sent', { isUnsent: true })
    if (this.#open.size >= CALLS_MAX) throw failure('busy', 'too many calls of this session are under way; nothing was sent', { isUnsent: true })
    let sealed
    try {
      sealed = this.#endpoint.seal(Kind.REQUEST, target, method, body, Math.floor(deadline), { flags })
    } catch (error) {
      throw failure(error.code, error.message, { isUnsent: true })
    }
    const { seq, mailbox, epoch } = sealed
    const call = { seq, target, method, mailbox, epoch, flags, isWritten: false, inbox: flags & Flag.STREAM ? new Inbox() : null }
    call.answer = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }))
    call.answer.catch(() => {}) // a stream's is its inbox
    if (signal) {
      const abort = () => this.#end(call, failure('cancelled', 'the call was cancelled')) && this.#cancel(call)
      signal.addEventListener('abort', abort, { once: true })
      call.release = () => signal.removeEventListener('abort', abort)
    }
    this.#open.set(seq, call)
    this.#send(sealed.frame, () => { call.isWritten = true })
    return call
  }

  #setTimer(call, timeoutMs) {
    call.timer = setTimeout(() => this.#end(call, failure('deadline', `no answer of ${call.target} in ${timeoutMs} ms`)), timeoutMs)
  }

  #upload(call, parts, deadline) {
    call.credit = new Credit()
    this.#feed(call, parts, deadline).catch((error) => {
      if (this.#end(call, error)) this.#cancel(call)
    })
  }

  /** Send the parts with the deadline of the call, or that of a stream that is renewed (null). */
  async #feed(call, parts, deadline) {
    const correlation = correlationOf(this.#endpoint.grant.session, call.seq)
    let number = 0
    const send = async (data, flags) => {
      if (!flags) await call.credit.take()
      if (this.#open.get(call.seq) !== call) return false
      const plain = flags ? NONE : pack(data)
      const sealed = this.#endpoint.seal(Kind.PART, call.target, call.method, plain, deadline ?? Math.floor(this.#now() + STREAM_LIFE_MS), { part: number++, correlation, flags })
      this.#send(sealed.frame)
      return true
    }
    for await (const part of parts) {
      if (!(part instanceof Uint8Array)) throw new TlsrtError('invalid_argument', 'a part of an upload is a Uint8Array')
      for (let at = 0; at < part.length; at += PART_MAX) if (!(await send(part.subarray(at, at + PART_MAX), 0))) return
    }
    await send(NONE, Flag.FINAL)
  }

  #credit(call, count) {
    this.#about(call, Kind.CREDIT, pack(count), this.#now() + STREAM_LIFE_MS)
  }

  #cancel(call) {
    this.#about(call, Kind.CANCEL, NONE, this.#now() + CANCEL_MS)
  }

  /** Send a frame about a call; if that is impossible the call has ended anyway. */
  #about(call, kind, plain, deadline) {
    try {
      const correlation = correlationOf(this.#endpoint.grant.session, call.seq)
      this.#send(this.#endpoint.seal(kind, call.target, call.method, plain, Math.floor(deadline), { correlation }).frame)
    } catch {
      // the right has ended, and the call with it
    }
  }

  // -- how a call ends ------------------------------------------------------------------------------------------------

  #forget(call) {
    clearTimeout(call.timer)
    call.release?.()
    return this.#open.get(call.seq) === call && this.#open.delete(call.seq)
  }

  #end(call, error, value) {
    if (!this.#forget(call)) return false
    if (error) {
      if (error.mailbox === 0) error.mailbox = call.mailbox
      call.inbox?.fail(error)
      call.credit?.add(1 << 20) // who waits for it sees that the call has ended
      call.reject(error)
    } else call.resolve(value)
    return true
  }

  /** End what was asked of this recipient, which was started anew or which may not be called any more. */
  endOf(target) {
    for (const call of [...this.#open.values()])
      if (call.target === target) this.#lose(call, 'outcome_unknown', `${target} was started anew, or the right to it has ended`)
  }

  /** End the calls of lower epochs, whose keys are forgotten at once. */
  endBefore(epoch) {
    for (const call of [...this.#open.values()])
      if (call.epoch < epoch) this.#lose(call, 'stale', 'the keys of the host have just changed')
  }

  /** End all calls, as their session has ended. */
  endAll(why) {
    for (const call of [...this.#open.values()]) this.#lose(call, 'outcome_unknown', why)
  }

  #lose(call, code, why) {
    if (call.inbox) this.#end(call, failure('stream_broken', why))
    else if (call.isWritten) this.#end(call, failure(code, why))
    else this.#end(call, failure('unavailable', `${why}; nothing was sent`, { isUnsent: true }))
  }

  // -- what comes back ------------------------------------------------------------------------------------------------

  /** Whether an answer is for a call that is under way here. */
  awaits(header) {
    return this.#find(header) !== undefined
  }

  #find(header) {
    const view = new DataView(header.correlation.buffer, header.correlation.byteOffset)
    return this.#open.get(Number(view.getBigUint64(16)))
  }

  /** Take one authentic answer, in order. Throws TlsrtError (rejected) for what no call of ours can get. */
  take(header, body) {
    const call = this.#find(header)
    if (!call) return // it has ended here meanwhile
    if (header.kind === Kind.REFUSAL) {
      const word = new TextDecoder().decode(body)
      this.#end(call, failure(REFUSALS.has(word) ? word : 'rejected', `the gate of the host has refused it (${REFUSALS.has(word) ? word : 'rejected'})`, { isFromGate: true }))
      return
    }
    require(header.src === call.target && header.mailbox === call.mailbox && header.method === call.method, 'an answer of another than was asked')
    require(!(header.flags & Flag.FINAL) || header.kind === Kind.ITEM, 'an end of what has no parts')
    const read = (reader) => {
      try {
        return { value: reader(body) }
      } catch (error) {
        if (this.#end(call, failure('failed', `cannot read the answer of ${call.target}: ${error.message}`)) && call.inbox) this.#cancel(call)
        return null
      }
    }
    if (header.kind === Kind.ERROR) {
      const found = read(readError)
      if (found) this.#end(call, failure(found.value.code, found.value.message, { isTold: true }))
    } else if (header.kind === Kind.REPLY) {
      require(!call.inbox, 'a reply to what is answered by a stream')
      const found = read(readValue)
      if (found) this.#end(call, null, found.value)
    } else if (header.kind === Kind.ALLOW) {
      require(call.credit, 'an allowance for what is no upload')
      const found = read(readCount)
      if (found) call.credit.add(found.value)
    } else {
      require(call.inbox, 'an item of what is no stream')
      if (header.flags & Flag.FINAL) {
        require(body.length === 0, 'an end of a stream with a body')
        call.inbox.finish(header.part)
      } else {
        const found = read(readValue)
        if (found) call.inbox.put(header.part, found.value)
      }
      if (call.inbox.ended && this.#forget(call) && call.inbox.isBroken) this.#cancel(call)
    }
  }
}
