// What the screens of services have in common: text of others, a screen that waits for its right, and one that follows its
// service and says since when it does not answer.

import { el, show } from './dom.js'
import { may } from './feeds.js'
import { missing } from './screen_health.js'
import { texts } from './texts.js'
import { shellWord } from './values.js'

const SLOW_MS = 2000
const AGAIN_MS = 2000
const NAME_SHOWN = 120 // characters
const TITLE_SHOWN = 1000
const BODY_SHOWN = 65536
// Controls, what turns the order of characters, what has no width, and halves of characters.
const UNSEEN = /[\p{Cc}\p{Cs}\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e01ef}]/gu
const escaped = (one) => `\\u{${one.codePointAt(0).toString(16)}}`

/** Return a text of others as one line whose characters are all shown, in the order in which they stand. */
export function shown(text, most = NAME_SHOWN) {
  const all = String(text ?? '–'), cut = [...all.slice(0, 2 * most + 2)].slice(0, most).join('')
  return cut.replace(UNSEEN, escaped) + (cut.length < all.length ? '…' : '')
}

/** Return a text of others with its lines. */
export const shownLines = (text) => String(text ?? '').slice(0, BODY_SHOWN).split(/\r?\n/).map((one) => shown(one.replaceAll('\t', '    '), BODY_SHOWN)).join('\n')

/** An element with a text of others; what is too long for it is its title. */
export const named = (text, tag = 'bdi') => el(tag, { title: String(text ?? '').length > NAME_SHOWN ? shown(text, TITLE_SHOWN) : null }, shown(text))

/** A time in ms since 1970, or a dash. */
export function timeText(ms) {
  const at = new Date(Number(ms ?? NaN))
  return Number.isNaN(at.valueOf()) ? '–' : at.toLocaleString([], { dateStyle: 'short', timeStyle: 'medium' })
}

const clock = (at = new Date()) => at.toLocaleTimeString()

/** A screen that is there while the client may call a method; else it says with which command it is. */
export function service({ client, signal, ...more }, target, methods, draw, needs = '') {
  const room = el('div', {})
  let drawn = null, isThere = null
  const look = () => {
    const isNow = may(client, target, methods[0])
    if (isNow === isThere || client.offlineSince) return
    isThere = isNow
    drawn?.abort()
    drawn = new AbortController()
    signal.addEventListener('abort', () => drawn.abort(), { once: true })
    const client_ = client.subject.split('/')[1] ?? 'NAME'
    const command = `tlsrt-supervisor component add ${target}${needs} --allow ${shellWord(`client/${client_}: [${methods.join(', ')}]`)}`
    show(room, isNow ? draw({ client, ...more, signal: drawn.signal }) : missing(texts.service.none(target), command))
  }
  for (const name of ['rights', 'online']) client.addEventListener(name, look, { signal })
  look()
  return room
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
})

/**
 * Have work done again and again, `everyMs` after its end; `work(fresh)` says by `fresh()` that its service has answered, and
 * may resolve to the ms after which it is due sooner.
 * Return {element, again}: a line that says how old what is shown is, and what has it done at once.
 */
export function follow(signal, target, work, everyMs = 5000) {
  const line = el('p', { class: 'note fresh', role: 'status' }, texts.loading)
  let askedAt = null, brokenAt = null, round = new AbortController()
  const say = (text, isBad = false) => {
    if (line.textContent !== text) line.textContent = text
    line.classList.toggle('error', isBad)
  }
  const fresh = () => {
    askedAt = brokenAt = null
    say(texts.service.asOf(clock()))
  }
  const again = () => round.abort()
  const slow = setInterval(() => {
    if (askedAt !== null && brokenAt === null && Date.now() - askedAt > SLOW_MS) say(texts.service.slow(target, clock(new Date(askedAt))), true)
  }, SLOW_MS / 2)
  const run = async () => {
    while (!signal.aborted) {
      round = new AbortController()
      const stop = round.signal, leave = () => round.abort()
      signal.addEventListener('abort', leave, { once: true })
      let rest = everyMs
      askedAt = Date.now()
      try {
        rest = Math.min(rest, (await work(fresh, stop)) ?? rest)
        askedAt = null
      } catch (error) {
        askedAt = null
        if (!stop.aborted && !signal.aborted) {
          brokenAt ??= Date.now()
          rest = AGAIN_MS
          say(texts.service.broken(target, clock(new Date(brokenAt)), shown(texts.failed(error), TITLE_SHOWN)), true)
        }
      }
      if (!stop.aborted) await pause(rest, stop)
      signal.removeEventListener('abort', leave)
    }
    clearInterval(slow)
  }
  run()
  return { element: line, again }
}

/** Return a function that draws a value into a room if it is another one; what has the focus keeps it (`data-key`). */
export function drawer(room, make) {
  let last
  const draw = (value) => {
    const text = JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? String(one) : one instanceof Uint8Array ? one.length : one))
    if (text === last) return
    last = text
    const key = room.contains(document.activeElement) ? document.activeElement.dataset.key : null
    show(room, make(value))
    if (key) [...room.querySelectorAll('[data-key]')].find((one) => one.dataset.key === key)?.focus()
  }
  return Object.assign(draw, { forget: () => { last = undefined } })
}

/** A field with its name above it. */
export const field = (name, says, more = {}, tag = 'input') => el('label', {}, el('span', {}, says), el(tag, { name, id: `field-${name}`, autocomplete: 'off', spellcheck: 'false', ...(tag === 'input' ? { type: 'text' } : {}), ...more }))

/** What is typed in a form, by the names of its fields. */
export const typedIn = (form) => Object.fromEntries(new FormData(form))
