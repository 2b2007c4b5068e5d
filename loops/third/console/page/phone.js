// The telephone of this page: it is rung in every page that is open, has one call at a time, and has none without a session.

import { again, may } from './feeds.js'
import { Line } from './line.js'
import { plain } from './values.js'

export const CALLS = 'external/calls'
const TEXTS_KEPT = 100
const RINGS_MOST = 16

/** Tells `change`. `rings` are calls that can be answered, `call` is the one that is there, `last` how the last one ended. */
export class Phone extends EventTarget {
  rings = []
  call = null
  last = null
  isReachable = false
  error = null // why it is not reachable
  #client
  #line = null

  constructor(client, signal) {
    super()
    this.#client = client
    again(signal, () => this.#watch(signal), (error) => { this.error = error })
    // The host ends a call with its session. So does the page, whatever the host does.
    for (const name of ['offline', 'locked', 'closed']) client.addEventListener(name, ({ detail }) => this.#lost(detail?.code ?? name))
    client.addEventListener('rights', () => { if (this.call && !may(client, CALLS, this.call.isMine ? 'ring' : 'answer')) this.drop('denied') })
    addEventListener('pagehide', () => this.drop('page'), { signal })
  }

  #lost(why) {
    this.drop(why)
    if (why === 'locked' && this.last?.why === 'unavailable') this.last.why = why // the host says it to who connects again
    this.#tell()
  }

  async #watch(signal) {
    if (!may(this.#client, CALLS, 'watch')) return
    try {
      for await (const item of this.#client.stream(CALLS, 'watch', [], { signal })) this.#told(plain(item))
    } finally {
      this.isReachable = false
      this.rings = []
      this.#tell()
    }
  }

  #told(item) {
    if (item.state === 'waits') [this.isReachable, this.error] = [true, null]
    if (item.state === 'rings' && this.rings.length < RINGS_MOST) this.rings = [...this.rings, item]
    if (item.state === 'over') this.rings = this.rings.filter((one) => one.call !== item.call)
    this.#tell()
  }

  /** Ring a number; it resolves when the call is over. */
  ring(number, says = '') {
    return this.#talk({ number, with: number, isMine: true }, (offer, signal) => this.#client.stream(CALLS, 'ring', [number, offer, says], { signal }))
  }

  /** Answer a call that rings; it resolves when the call is over. */
  answer({ call, by, number }) {
    return this.#talk({ id: call, number, with: by, isMine: false }, (offer, signal) => this.#client.stream(CALLS, 'answer', [call, offer], { signal }))
  }

  /** Do not take a call that rings. */
  refuse({ call }) {
    return this.#client.call(CALLS, 'decline', [call])
  }

  async #talk(call, open) {
    if (this.call) return
    const line = this.#line = new Line(), begun = performance.now(), since = () => Math.round(performance.now() - begun)
    this.call = { id: null, ...call, state: 'microphone', isMuted: false, isHeld: false, heldBy: null, texts: [], times: {} }
    this.last = null
    let why = null
    line.addEventListener('text', ({ detail }) => this.#keep(detail, false))
    line.addEventListener('change', () => this.#tell())
    line.addEventListener('lost', () => { why ??= 'connection lost'; line.close() })
    this.#tell()
    try {
      const servers = may(this.#client, CALLS, 'servers') ? this.#client.call(CALLS, 'servers').then((found) => plain(found).ice_servers) : []
      const offer = await line.open(servers)
      this.call.times.offered = since()
      this.#set('rings')
      for await (const one of open(offer, line.signal)) {
        const item = plain(one)
        this.call.times[item.state] ??= since()
        if (item.call) this.call.id = item.call
        if (item.by && item.state === 'answered') this.call.with = this.call.isMine ? item.by : this.call.with
        if (item.sdp) await line.accept(item.sdp)
        if (item.state === 'held') this.call.heldBy = item.by
        if (item.state === 'resumed') this.call.heldBy = null
        if (item.state === 'ended') { why ??= item.why; break }
        if (item.state === 'answered' && this.call.state === 'rings') this.#set('answered')
        else if (item.state === 'connected') this.#set('talks')
        else this.#tell()
      }
    } catch (error) {
      why ??= this.#reason ?? error
    } finally {
      line.close()
      this.last = { with: this.call.with, why: this.#reason ?? why ?? 'hung up' }
      this.call = this.#line = this.#reason = null
      this.#tell()
    }
  }

  #reason = null // why this side has ended it

  /** End the call that is there, at once; `why` is told. */
  drop(why = 'hung up') {
    if (!this.#line) return
    this.#reason ??= why
    this.#line.close()
  }

  mute(isOn) {
    this.#line?.mute(isOn)
    if (this.call) this.call.isMuted = isOn
    this.#tell()
  }

  /** Have nothing heard either way, or heard again; what becomes of it comes as an item of the call. */
  async hold(isOn) {
    await this.#client.call(CALLS, 'hold', [this.call.id, isOn])
    if (this.call) this.call.isHeld = isOn
    this.#tell()
  }

  /** Press a key of the telephone. */
  press(key) {
    return this.#client.call(CALLS, 'press', [this.call.id, key])
  }

  /** Write to the other side; whether it went. */
  write(text) {
    if (!this.#line?.say(text)) return false
    this.#keep(text, true)
    return true
  }

  hear() {
    this.#line?.play()
  }

  get line() {
    return this.#line
  }

  #keep(text, isMine) {
    if (!this.call) return
    this.call.texts = [...this.call.texts, { text, isMine }].slice(-TEXTS_KEPT)
    this.#tell()
  }

  #set(state) {
    this.call.state = state
    this.#tell()
  }

  #tell() {
    this.dispatchEvent(new Event('change'))
  }
}
