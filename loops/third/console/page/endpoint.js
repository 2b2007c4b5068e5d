// One session's keys: it seals what the session says and opens what it is told (sections 7, 8 and 11 of PROTOCOL.md).
//
// WebCrypto answers later, so sealing and opening are begun at once and end whenever they do. A number is taken when
// sealing begins; the session sends frames in the order of their numbers, and judges what it opened in the order in
// which that came: `advance` is called in that order, and only for what is authentic.

import { hex, NONE, same } from './bytes.js'
import { require, TlsrtError } from './errors.js'
import { aesKey, jobNonceOf, nonceOf, replyKeyOf, seal, unseal } from './primitives.js'
import { DEADLINE_MAX_MS, Kind, packFrame, packHeader, proofData, readFrame, readHeader, SEQ_MAX, SLACK_MS } from './wire.js'

const REPLY_KEYS_MAX = 1024
const HEARD_MAX = 4096
const ANSWERS = new Set([Kind.REPLY, Kind.ITEM, Kind.ERROR, Kind.ALLOW])

export class Endpoint {
  #seq = 0
  #epochs = new Map() // epoch -> a grant whose keys are held
  #retiring = new Map() // epoch -> until, host's ms
  #replyKeys = new Map()
  #heard = new Map() // session of a replier -> its highest number
  grant = null // the last one: its epoch seals

  /** Take a grant, which is proved. Return the targets that were started anew, and whether lower epochs are forgotten. */
  apply(grant, now) {
    const before = this.grant
    const restarted = []
    for (const [target, right] of before?.rights ?? [])
      if (right.mailbox && grant.rights.get(target)?.mailbox !== right.mailbox) restarted.push(target)
    this.#epochs.set(grant.epoch, grant)
    this.grant = grant
    for (const epoch of this.#epochs.keys()) {
      if (epoch >= grant.epoch) continue
      const until = now + Number(grant.graceMs)
      this.#retiring.set(epoch, Math.min(until, this.#retiring.get(epoch) ?? until))
    }
    this.retire(now)
    return { restarted, isSudden: before !== null && before.epoch !== grant.epoch && grant.graceMs === 0 }
  }

  /** Forget the keys of epochs whose grace is over. */
  retire(now) {
    for (const [epoch, until] of this.#retiring) {
      if (now < until) continue
      this.#retiring.delete(epoch)
      this.#epochs.delete(epoch)
    }
  }

  /** Begin to seal a frame; return {seq, mailbox, epoch, frame}, the last being a promise. Throws without a right. */
  seal(kind, target, method, plain, deadline, { part = 0, correlation = NONE, flags = 0 } = {}) {
    const grant = this.grant
    const right = grant?.rights.get(target)
    const isAllowed = right && (method === 'describe' || right.methods.includes('*') || right.methods.includes(method))
    if (!isAllowed) throw new TlsrtError('denied', `no policy line of the host lets this client call ${target} ${method}`)
    if (!right.mailbox) throw new TlsrtError('unavailable', `${target} is not running now; nothing was sent`)
    if (this.#seq >= SEQ_MAX) throw new TlsrtError('unavailable', 'the session has used up its numbers; nothing was sent')
    const seq = ++this.#seq
    const header = {
      version: 1, kind, session: grant.session, seq, part, src: grant.subject, dst: target, mailbox: right.mailbox,
      gate: grant.gate, method, epoch: grant.epoch, deadline, correlation, flags,
    }
    return { seq, mailbox: right.mailbox, epoch: grant.epoch, frame: this.#seal(grant, right, packHeader(header), seq, plain) }
  }

  /** Prove what the authority is to know to be this session's (section 19); return {epoch, number, proof}. */
  async prove(data) {
    const { grant } = this
    if (!grant) throw new TlsrtError('unavailable', 'the session is not open yet')
    if (this.#seq >= SEQ_MAX) throw new TlsrtError('unavailable', 'the session has used up its numbers; nothing was sent')
    const number = ++this.#seq
    return { epoch: grant.epoch, number, proof: await seal(await (grant.aes ??= aesKey(grant.proofKey)), jobNonceOf(number), NONE, data) }
  }

  async #seal(grant, right, header, seq, plain) {
    const nonce = nonceOf(seq)
    const body = await seal(await (right.aes ??= aesKey(right.key)), nonce, plain, header)
    const proof = await seal(await (grant.aes ??= aesKey(grant.proofKey)), nonce, NONE, proofData(header, grant.token, body))
    return packFrame(header, grant.token, body, proof)
  }

  /** Begin to open a frame; return a promise of its body. Throws for what cannot be for us. */
  begin(header, frame, now) {
    const { grant } = this
    require(grant, 'a frame before the grant')
    require(header.dst === grant.subject, 'a frame for another client')
    require(header.correlation.length === 24 && same(header.correlation.subarray(0, 16), grant.session), 'a frame about what is not of this session')
    if (header.kind === Kind.REFUSAL) {
      require(frame.body.length <= 32, 'a refusal that is too long')
      return Promise.resolve(frame.body)
    }
    require(ANSWERS.has(header.kind), 'a frame of a kind that clients do not get')
    require(now < header.deadline, 'a frame past its deadline')
    require(header.deadline <= now + DEADLINE_MAX_MS + SLACK_MS, 'a frame with a deadline too far ahead')
    this.retire(now)
    const right = this.#epochs.get(header.epoch)?.rights.get(header.src)
    require(right?.mailbox && header.mailbox === right.mailbox, 'an answer that was not asked for')
    return this.#open(right, header, frame)
  }

  async #open(right, header, frame) {
    const name = `${hex(right.key)} ${hex(header.session)}`
    let key = this.#replyKeys.get(name)
    if (!key) {
      if (this.#replyKeys.size >= REPLY_KEYS_MAX) this.#replyKeys.clear() // derived again at need
      key = replyKeyOf(right.key, header.session).then(aesKey)
      this.#replyKeys.set(name, key)
    }
    return unseal(await key, nonceOf(header.seq), frame.body, frame.header)
  }

  /** Take the number of an authentic frame once. Throws for one that is not above the last of that session. */
  advance(header) {
    if (header.kind === Kind.REFUSAL) return
    const session = hex(header.session)
    require(header.seq > (this.#heard.get(session) ?? 0), 'a frame that came before')
    this.#heard.delete(session) // the one that was heard last is the last to be forgotten
    this.#heard.set(session, header.seq)
    if (this.#heard.size > HEARD_MAX) this.#heard.delete(this.#heard.keys().next().value)
  }

  /** Open one payload and take its number. */
  async open(payload, now) {
    const frame = readFrame(payload)
    const header = readHeader(frame.header)
    const body = await this.begin(header, frame, now)
    this.advance(header)
    return { header, body }
  }
}
