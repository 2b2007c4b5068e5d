// What several screens read, asked of the host once: the status and the events. A feed goes on by itself after a gap.

import { Series } from './chart.js'
import { plain } from './values.js'

export const EVENTS = 'primary/events'
export const STATUS = 'third/status'
const KINDS = ['lifecycle', 'session', 'security', 'health', 'program']
const EVENTS_KEPT = 10000
const STATUS_S = 2
const AGAIN_MS = 2000

/** Tell whether a client may call a method. */
export function may(client, target, method) {
  const methods = client.rights.get(target)?.methods ?? []
  return methods.includes(method) || methods.includes('*')
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
})

/** Do it, and again after a pause, until it is aborted. */
export async function again(signal, work, failed, pauseMs = AGAIN_MS) {
  while (!signal.aborted) {
    try {
      await work()
    } catch (error) {
      if (!signal.aborted) failed(error)
    }
    await pause(pauseMs, signal)
  }
}

/** Tells `change` for each new document; `status` is the last one. */
export class StatusFeed extends EventTarget {
  status = null
  error = null
  charts = { memory: new Series(), frames: new Series() }
  #frames = null

  constructor(client, signal) {
    super()
    if (!may(client, STATUS, 'watch')) return
    again(signal, async () => {
      for await (const item of client.stream(STATUS, 'watch', [], { named: { interval_s: STATUS_S }, signal })) this.#take(plain(item))
    }, (error) => this.#failed(error))
  }

  #failed(error) {
    this.error = error
    this.dispatchEvent(new Event('change'))
  }

  #take(status) {
    this.status = status
    this.error = null
    const frames = status.loops.reduce((sum, one) => sum + (one.frames?.in ?? 0), 0)
    if (this.#frames !== null) this.charts.frames.add(Math.max(0, frames - this.#frames) / STATUS_S)
    this.#frames = frames
    this.charts.memory.add(status.loops.reduce((sum, one) => sum + (one.memory_kib ?? 0), status.authority?.memory_kib ?? 0) * 1024)
    this.dispatchEvent(new Event('change'))
  }
}

/** Tells `change` when there are more events, at most once in a frame; `events` are the last ones, in their order. */
export class EventFeed extends EventTarget {
  events = []
  total = 0 // that came, also those that are not kept any more
  #known = new Set()
  #told = false

  constructor(client, signal) {
    super()
    if (!may(client, EVENTS, 'recent')) return
    const past = async () => { for (const event of plain(await client.call(EVENTS, 'recent'))) this.take(event) }
    for (const kind of KINDS) {
      if (!may(client, EVENTS, kind)) continue
      again(signal, async () => {
        for await (const item of client.stream(EVENTS, kind, [], { signal })) {
          const event = plain(item)
          if ('after' in event) await past() // what was before, and between two streams
          else if ('dropped' in event) this.take({ kind: 'gap', severity: 'warning', name: 'gap', subject: '', sentence: '', dropped: event.dropped, at: new Date().toISOString() })
          else this.take(event)
        }
      }, () => {})
    }
  }

  take(event) {
    const key = event.kind === 'gap' ? null : `${event.boot} ${event.seq}`
    if (key !== null && this.#known.has(key)) return
    if (key !== null) this.#known.add(key)
    this.total++
    let at = this.events.length
    while (key !== null && at > 0 && this.events[at - 1].boot === event.boot && this.events[at - 1].seq > event.seq) at--
    this.events.splice(at, 0, event)
    if (this.events.length > EVENTS_KEPT + 500) {
      for (const old of this.events.splice(0, 500)) this.#known.delete(`${old.boot} ${old.seq}`)
    }
    if (this.#told) return
    this.#told = true
    setTimeout(() => {
      this.#told = false
      this.dispatchEvent(new Event('change'))
    }, 50)
  }
}
