// Calls: who can be rung, the call that is there, and what became of the others. The bell is above all screens.

import { badge, el, seen, show, table } from './dom.js'
import { may } from './feeds.js'
import { CALLS } from './phone.js'
import { missing } from './screen_health.js'
import { texts } from './texts.js'
import { commandText, durationText, plain, shareText } from './values.js'

const words = texts.call
const KEYS = [...'123456789*0#']
const MARK = '☎ '

/** Return how a call ended as a sentence; an error of this browser has a name, one of the host a code. */
export const endText = ({ with: who, why }) => words.ended(who, why instanceof Error ? words.errors[why.name] ?? texts.failed(why) : words.why[why] ?? String(why))

const same = (method, id) => el('code', { class: 'same', 'aria-label': texts.act.command }, commandText(['tlsrt', 'call', CALLS, method, id]))
const button = (text, click, more = {}) => el('button', { type: 'button', click, ...more }, text)

/** The sound of a bell, twice in 3 s. A page on which nothing was pressed yet makes none: `isSilent`. */
class Ringer {
  #context = null
  #timer

  get isSilent() {
    return this.#context?.state === 'suspended'
  }

  ring(isOn) {
    if (isOn === Boolean(this.#context)) return
    clearInterval(this.#timer)
    if (!isOn) return void (this.#context.close(), this.#context = null)
    this.#context = new AudioContext()
    const strike = () => [0, 0.4].forEach((after) => {
      const at = this.#context.currentTime + after, gain = new GainNode(this.#context, { gain: 0 }), tone = new OscillatorNode(this.#context, { frequency: 784 })
      gain.gain.setValueAtTime(0.2, at)
      gain.gain.exponentialRampToValueAtTime(0.001, at + 0.35)
      tone.connect(gain).connect(this.#context.destination)
      tone.start(at)
      tone.stop(at + 0.35)
    })
    strike()
    this.#timer = setInterval(strike, 3000)
  }
}

/** What is shown above every screen: calls that ring, and the one that is there. */
export function bell(phone, signal) {
  const room = el('section', { id: 'bell', 'aria-label': words.title }), ringer = new Ringer()
  let shown = '', failed = ''
  const refuse = (one) => phone.refuse(one).catch((error) => { failed = texts.failed(error); draw() })
  const draw = () => {
    const rings = phone.call || signal.aborted ? [] : phone.rings
    ringer.ring(rings.length > 0)
    document.title = (rings.length ? MARK : '') + document.title.replaceAll(MARK, '')
    const now = JSON.stringify([rings, phone.call?.state, phone.call?.with, ringer.isSilent, failed, signal.aborted])
    if (now === shown) return // the focus stays where it is
    shown = now
    show(room, failed && el('p', { class: 'error', role: 'alert' }, failed),
      rings.map((one) => el('div', { class: 'process ring' },
        el('p', { role: 'alert' }, el('b', {}, words.ringsYou(one.by, one.number)), one.says ? ` ${words.says(one.says)}` : ''),
        ringer.isSilent ? el('p', { class: 'note' }, words.silent) : null,
        el('div', { class: 'acts' }, button(words.answer(one.by), () => { failed = ''; location.hash = '#/call'; phone.answer(one) }, { class: 'main' }), button(words.refuse, () => refuse(one))), same('decline', one.call))),
      phone.call && !signal.aborted ? el('div', { class: 'process acts' }, el('a', { href: '#/call' }, words.inCall(phone.call.with, words.states[phone.call.state])), button(words.hangUp, () => phone.drop())) : null)
  }
  phone.addEventListener('change', draw)
  signal.addEventListener('abort', draw)
  return room
}

function talk(phone) {
  const { call, line: sound } = phone, is = (state) => call.state === state
  const wrong = el('p', { class: 'error', role: 'alert' }), attempt = async (work) => {
    wrong.textContent = ''
    try { await work() } catch (error) { show(wrong, seen(texts.failed(error))) }
  }
  const heard = sound?.heard, isTalking = is('talks') || is('answered')
  return el('div', { class: 'process', id: 'talk' },
    el('h3', {}, call.with), el('p', { role: 'status' }, badge(words.states[call.state], is('talks') ? 'good' : 'plain'), ' ',
      call.heldBy ? badge(words.heldBy(call.heldBy), 'warn') : null, ' ', call.isMuted ? badge(words.muted, 'warn') : null),
    call.times.connected ? el('p', { class: 'note' }, words.setUp(call.times.connected)) : null,
    heard ? el('p', { class: 'note' }, words.quality(shareText(heard.lost, heard.packets + heard.lost), heard.bufferMs, heard.tripMs)) : null,
    sound?.mayNotPlay ? el('p', { class: 'error' }, words.mayNotPlay, ' ', button(words.hear, () => phone.hear())) : null, wrong, sound?.picture,
    el('div', { class: 'acts' },
      button(words.hangUp, () => phone.drop(), { class: 'main', id: 'hang-up' }),
      isTalking ? button(call.isMuted ? words.unmute : words.mute, () => phone.mute(!call.isMuted), { id: 'mute' }) : null,
      isTalking ? button(call.isHeld ? words.resume : words.hold, () => attempt(() => phone.hold(!call.isHeld)), { id: 'hold' }) : null),
    call.id ? same('hang_up', call.id) : null,
    isTalking ? el('details', {}, el('summary', {}, words.keys), el('div', { class: 'acts' }, KEYS.map((key) => button(key, () => attempt(() => phone.press(key)), { id: `key-${key}` })))) : null,
    call.texts.length ? el('ul', { 'aria-label': words.texts }, call.texts.map((one) => el('li', {}, `${one.isMine ? words.me : call.with}: ${one.text}`))) : null)
}

/** Return the rows of the log of calls. */
export function logRows(calls, subject) {
  return calls.map((one) => [new Date(one.began_ms).toLocaleString(), one.by === subject ? words.to(one.number) : words.from(one.by), one.says,
    one.outcome === null ? words.going : [one.outcome === 'answered' ? null : words.why[one.outcome] ?? one.outcome, one.taken_by && words.taken(one.taken_by)].filter(Boolean).join(', '),
    one.answered_ms && one.ended_ms ? durationText((one.ended_ms - one.answered_ms) / 1000) : ''])
}

export function call({ client, phone, signal }) {
  const name = client.subject.split('/')[1] ?? 'NAME'
  if (!['ring', 'watch', 'answer'].some((method) => may(client, CALLS, method))) return missing(words.none, `tlsrt-supervisor component add external/calls --allow 'client/${name}: "*"'`)
  const room = el('div', {}), numbers = el('div', {}), log = el('div', { class: 'facts' }), state = el('p', { class: 'note', role: 'status' })
  const says = el('input', { id: 'call-says', type: 'text', maxlength: '200', autocomplete: 'off' })
  const text = el('input', { id: 'call-text', type: 'text', maxlength: '1000', autocomplete: 'off' })
  const writing = el('form', { class: 'filters', hidden: true, submit: (event) => {
    event.preventDefault()
    if (text.value && phone.write(text.value)) text.value = ''
  } }, el('label', {}, el('span', {}, words.text), text), el('button', { type: 'submit' }, words.send))
  let calls = [], known = null, isMissed = false, had = false
  const draw = () => {
    const at = room.contains(document.activeElement) ? document.activeElement.id : ''
    const isOpen = room.querySelector('details')?.open
    show(room, phone.call ? talk(phone) : phone.last && el('p', { class: 'note', role: 'status', id: 'ended' }, endText(phone.last)))
    if (isOpen && room.querySelector('details')) room.querySelector('details').open = true
    if (at) document.getElementById(at)?.focus()
    writing.hidden = phone.call?.state !== 'talks'
    const where = client.offlineSince ? words.unreachable(words.why.unavailable) : !may(client, CALLS, 'watch') ? words.noWatch : phone.isReachable ? words.reachable : phone.error ? words.unreachable(texts.failed(phone.error)) : texts.loading
    state.textContent = seen(where)
    for (const one of numbers.querySelectorAll('button')) one.disabled = Boolean(phone.call)
    if (had && !phone.call) read()
    had = Boolean(phone.call)
  }
  const list = async () => {
    if (!may(client, CALLS, 'ring') || !may(client, CALLS, 'numbers')) return show(numbers, el('p', {}, words.noRing))
    try {
      known = Object.entries(plain(await client.call(CALLS, 'numbers', [], { signal }))).filter(([, rings]) => rings.some((one) => one !== client.subject))
      show(numbers, known.length ? el('ul', { class: 'numbers' }, known.map(([number, rings]) => el('li', {},
        button(words.ring(number), () => phone.ring(number, says.value), { 'data-number': number, disabled: Boolean(phone.call) }), ' ',
        badge(words.kinds[rings.length > 1 ? 'group' : rings[0].startsWith('client/') ? 'person' : 'component'], 'plain'), ` ${rings.join(', ')}`))) : el('p', {}, words.noNumbers))
    } catch (error) {
      if (!signal.aborted) show(numbers, el('p', { class: 'error', role: 'alert' }, texts.failed(error)))
    }
  }
  const read = async (before = 0) => {
    if (!may(client, CALLS, 'calls')) return
    try {
      const page = plain(await client.call(CALLS, 'calls', [before, isMissed], { signal }))
      calls = before ? [...calls, ...page] : page
      if (calls[0]?.outcome === null && calls.length <= 100) setTimeout(() => signal.aborted || read(), 1000) // it is being written down, or goes on elsewhere
      show(log, calls.length ? table(words.log, words.heads, logRows(calls, client.subject)) : el('p', {}, isMissed ? words.noMissed : words.noCalls), page.length === 100 ? button(words.older, () => read(calls.at(-1).position)) : null)
    } catch (error) {
      if (!signal.aborted) show(log, el('p', { class: 'error' }, texts.failed(error)))
    }
  }
  phone.addEventListener('change', draw, { signal })
  draw()
  list()
  read()
  return el('div', {}, room, writing, el('h3', {}, words.who), el('label', {}, el('span', {}, words.saysLabel), says), numbers, state,
    el('p', { class: 'note' }, words.microphone), el('h3', {}, words.log),
    el('label', {}, el('input', { type: 'checkbox', id: 'missed', change: (event) => { isMissed = event.target.checked; read() } }), ` ${words.missed}`), log)
}
