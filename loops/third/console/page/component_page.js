// A page that a component brings: what it asks for is done by this client, and for that component alone.
//
// The page came from the component over this session, so no one between has changed it. It is executed in a worker of a
// frame with an opaque origin (frame.html): it has no document, no network, and reads neither the key nor the console. All
// that it can do is what `PageBridge` takes from it: calls, and elements that drawing.js knows.

import { ask } from './dialog.js'
import { el, show } from './dom.js'
import { Drawing, DrawingError, readDrawing } from './drawing.js'
import { TlsrtError } from './errors.js'
import { mayChange, plain } from './values.js'
import { texts } from './texts.js'

export const CALLS_MAX = 16 // under way
export const STREAMS_MAX = 8
export const PER_S = 50, BURST = 100 // messages
const WORDS_MAX = 300 // of what a page says of its own failure
const BUILT_IN = { metrics: {}, subscribe: { stream: true } }

/**
 * What a page says, and what is answered. `port` is a MessagePort or alike, `isWanted(method, command)` asks a person about a
 * call that may change something and was not caused by a click, `now()` is in ms.
 */
export class PageBridge {
  #client
  #target
  #methods
  #port
  #isWanted
  #now
  #tokens = BURST
  #at
  #calls = 0
  #isAsking = false
  #streams = new Map()
  #ended = new AbortController()

  constructor({ client, target, methods, port, isWanted, now = () => performance.now() }) {
    Object.assign(this, { ondrawn: () => {}, onfailed: () => {} })
    this.#client = client
    this.#target = target
    this.#methods = { ...BUILT_IN, ...methods }
    this.#port = port
    this.#isWanted = isWanted
    this.#now = now
    this.#at = now()
    port.onmessage = ({ data }) => this.#heard(data)
  }

  /** End all that is under way, and hear nothing more. */
  close() {
    this.#port.onmessage = null
    this.#port.close?.()
    this.#ended.abort()
  }

  /** The methods that this client may call: what the page may. */
  get allowed() {
    const mine = this.#client.rights.get(this.#target)?.methods ?? []
    return Object.keys(this.#methods).filter((name) => mine.includes('*') || mine.includes(name))
  }

  #heard(message) {
    if (message === null || typeof message !== 'object' || !Number.isSafeInteger(message.id)) return
    if (!this.#isInTime()) return this.#refuse(message.id, 'busy', texts.pages.tooFast)
    if (message.does === 'call') this.#call(message)
    else if (message.does === 'stream') this.#stream(message)
    else if (message.does === 'more') this.#more(message.id)
    else if (message.does === 'end') this.#end(message.id)
    else if (message.does === 'show') this.#draw(message.nodes)
    else if (message.does === 'failed') this.onfailed(String(message.words).slice(0, WORDS_MAX))
  }

  /** Tell the page of an event of an element that it has drawn. */
  tell(handler, value) {
    if (!this.#ended.signal.aborted) this.#port.postMessage({ handler, value })
  }

  #draw(nodes) {
    try {
      this.ondrawn(readDrawing(nodes))
    } catch (error) {
      this.onfailed(error instanceof DrawingError ? error.message : texts.pages.named)
    }
  }

  #isInTime() {
    const now = this.#now()
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#at) * PER_S) / 1000)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  #refuse(id, code, words) {
    this.#port.postMessage({ id, error: { code, message: words } })
  }

  /** The method that a message names, if it is one of the component's, of this kind, and this client may call it. */
  #method({ id, method, named }, isStream) {
    const found = typeof method === 'string' && this.allowed.includes(method) ? this.#methods[method] : null
    if (!found || found.upload || Boolean(found.stream) !== isStream) return this.#refuse(id, 'denied', texts.pages.denied(String(method).slice(0, 64)))
    if (named === null || typeof named !== 'object' || Object.getPrototypeOf(named) !== Object.prototype) return this.#refuse(id, 'invalid_argument', texts.pages.named)
    return found
  }

  async #call(message) {
    const { id, method, named } = message, found = this.#method(message, false)
    if (!found) return
    if (this.#calls >= CALLS_MAX) return this.#refuse(id, 'busy', texts.pages.tooMany)
    this.#calls++
    try {
      if (!(method in BUILT_IN) && mayChange(found) && !(await this.#asked(method, named))) return this.#refuse(id, 'denied', texts.pages.refused)
      if (this.#ended.signal.aborted) return
      this.#port.postMessage({ id, value: plain(await this.#client.call(this.#target, method, [], { named })) })
    } catch (error) {
      this.#failed(id, error)
    } finally {
      this.#calls--
    }
  }

  /** Ask about one call at a time: a page cannot cover the console with questions. */
  async #asked(method, named) {
    if (this.#isAsking) return false
    this.#isAsking = true
    try {
      return await this.#isWanted(method, named)
    } finally {
      this.#isAsking = false
    }
  }

  #stream(message) {
    const { id, method, named } = message
    if (!this.#method(message, true)) return
    if (this.#streams.has(id) || this.#streams.size >= STREAMS_MAX) return this.#refuse(id, 'busy', texts.pages.tooMany)
    const ends = new AbortController()
    this.#ended.signal.addEventListener('abort', () => ends.abort(), { once: true })
    this.#streams.set(id, { ends, isReading: false, items: this.#client.stream(this.#target, method, [], { named, signal: ends.signal }) })
    this.#more(id)
  }

  /** Read one item: the next one is asked for when the page has taken this one, so it is never flooded. */
  async #more(id) {
    const stream = this.#streams.get(id)
    if (!stream || stream.isReading) return
    stream.isReading = true
    try {
      const { value, done } = await stream.items.next()
      if (done) this.#streams.delete(id)
      if (!stream.ends.signal.aborted) this.#port.postMessage({ id, value: done ? undefined : plain(value), done: Boolean(done) })
    } catch (error) {
      this.#streams.delete(id)
      if (!stream.ends.signal.aborted) this.#failed(id, error)
    } finally {
      stream.isReading = false
    }
  }

  #end(id) {
    const stream = this.#streams.get(id)
    this.#streams.delete(id)
    stream?.ends.abort()
  }

  #failed(id, error) {
    const isOurs = error instanceof TlsrtError
    this.#refuse(id, isOurs ? error.code : 'invalid_argument', isOurs ? texts.failed(error) : texts.pages.named)
  }
}

/** The page of a component, as an element. `described` is its description, with the page. It ends with `signal`. */
export function componentPage(client, target, described, signal) {
  const { port1, port2 } = new MessageChannel()
  const frame = el('iframe', { hidden: true, title: texts.pages.of(target) })
  frame.sandbox.add('allow-scripts') // and not allow-same-origin
  const isWanted = (method, named) => navigator.userActivation?.isActive || ask(texts.pages.sure(target, method), method, texts.act.no, {
    command: ['tlsrt', 'call', target, method, ...Object.entries(named).map(([name, value]) => `${name}=${JSON.stringify(value)}`)], signal,
  })
  const bridge = new PageBridge({ client, target, methods: described.methods, port: port1, isWanted })
  const room = el('div', { class: 'drawn' }, el('p', {}, texts.loading)), wrong = el('p', { class: 'error', role: 'alert' })
  const end = () => {
    bridge.close()
    frame.remove()
    removeEventListener('message', heard)
  }
  const failed = (words) => { wrong.textContent = texts.pages.failed(target, words) }
  const heard = ({ source, data }) => {
    if (source === frame.contentWindow && typeof data?.failed === 'string') failed(data.failed.slice(0, WORDS_MAX))
  }
  const drawing = new Drawing(room, (handler, value) => bridge.tell(handler, value))
  let nodes = null, isFirst = true, isLoaded = false
  bridge.onfailed = failed
  bridge.ondrawn = (drawn) => { // what comes faster than the screen shows it is not drawn
    if (nodes === null) requestAnimationFrame(() => {
      if (isFirst) show(room)
      isFirst = false
      drawing.show(nodes)
      nodes = null
    })
    nodes = drawn
  }
  frame.addEventListener('load', () => {
    if (isLoaded) return end() // what is there now is not what this page is
    isLoaded = true
    frame.contentWindow.postMessage({ component: target, methods: bridge.allowed, page: described.page }, '*', [port2]) // it has no origin
  })
  addEventListener('message', heard)
  signal.addEventListener('abort', end, { once: true })
  frame.src = 'frame.html'
  return el('section', { class: 'component-page', 'aria-label': texts.pages.of(target) }, wrong, room, frame)
}
