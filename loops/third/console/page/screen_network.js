// The network of the host: what it is, what was refused, and changes on trial, which are undone unless they are confirmed.

import { doing } from './doing.js'
import { el, show, table } from './dom.js'
import { EVENTS, may } from './feeds.js'
import { past } from './history.js'
import { result } from './screen_methods.js'
import { drawer, follow, service, shown } from './service.js'
import { texts } from './texts.js'
import { factText, plain } from './values.js'

const NETWORK = 'external/network'
const FACTS = ['reachability', 'links', 'addresses', 'routes', 'dns']
const DENIED_SHOWN = 50
const words = texts.network

export const network = (context) => el('div', {}, service(context, NETWORK, FACTS, (inner) => el('div', {}, facts(inner, NETWORK, FACTS), past(inner, NETWORK))),
  ['external/configuration', 'external/firewall'].map((target) => el('section', {}, el('h3', {}, words[target]), service(context, target, ['status', 'plan', 'apply', 'confirm', 'undo'], (inner) => trial(inner, target)))),
  el('section', {}, el('h3', {}, words.denied), may(context.client, EVENTS, 'security') ? denials(context) : el('p', {}, texts.events.none)))

/** What methods that only look return, as tables that stay up to date. */
export function facts({ client, signal }, target, methods) {
  const room = el('div', {})
  const draw = drawer(room, (found) => found.map(([method, value]) => el('section', { class: 'facts' }, el('h3', {}, words[method] ?? method), result(value, words[method] ?? method, factText))))
  const state = follow(signal, target, async (fresh, stop) => {
    const found = []
    for (const method of methods) if (may(client, target, method)) found.push([method, plain(await client.call(target, method, [], { signal: stop }))])
    draw(found)
    fresh()
  })
  return el('div', {}, state.element, room)
}

function denials({ events: feed, signal }) {
  const room = el('div', {})
  const draw = () => {
    const found = feed.events.filter((event) => event.name === 'egress_denied').slice(-DENIED_SHOWN).reverse()
    show(room, found.length ? table(words.denied, [texts.logs.at, texts.logs.of, texts.logs.said], found.map((event) => [shown(event.at, 19), shown(event.subject), shown(event.sentence, 500)])) : el('p', {}, words.none))
  }
  feed.addEventListener('change', draw, { signal })
  draw()
  return room
}

function trial({ client, signal }, target) {
  const room = el('div', {}), out = el('div', { 'aria-live': 'polite' }), clock = el('p', { class: 'verdict warn', role: 'timer', hidden: true })
  let revision = null, endsAt = 0, plan = { changes: [], warnings: [] }
  const mine = (method) => may(client, target, method)
  const act = (says, method, more = {}) => mine(method) && doing({ client, signal }, { key: method, says, target, method, out, done: () => state.again(), ...more })
  const tick = () => {
    const leftS = Math.ceil((endsAt - performance.now()) / 1000)
    clock.hidden = revision === null
    if (revision !== null) clock.textContent = leftS > 0 ? words.left(revision, leftS) : words.over(revision)
    if (revision !== null && leftS <= 0) state.again()
  }
  const timer = setInterval(tick, 500)
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  const list = (says, lines, kind = null) => lines?.length ? [el('p', { class: kind }, says), el('pre', { tabindex: '0' }, lines.slice(0, 200).map((one) => shown(one, 300)).join('\n'))] : null
  const draw = drawer(room, ({ now, plan: { changes, warnings } }) => [
    el('p', {}, now.revision ? words.kept(String(now.revision), shown(now.by)) : words.nothing),
    list(words.differs, [now.differs, now.drift].flat().filter(Boolean), 'error'), list(words.changes, changes), list(words.warnings, warnings, 'error'),
    el('div', { class: 'acts' }, now.trial
      ? [act(words.confirm(now.trial), 'confirm', { values: () => ({ revision: now.trial }) }), act(words.undo, 'undo', { values: () => ({ revision: now.trial }) })]
      : changes?.length ? act(words.apply, 'apply', { sure: () => [words.sure, ...(warnings ?? []).slice(0, 5)].map((one) => shown(one, 300)).join(' ') }) : el('span', {}, words.same))])
  const state = follow(signal, target, async (fresh, stop) => {
    const ask = async (method) => plain(await client.call(target, method, [], { signal: stop }))
    const { trial_left_s: leftS, ...now } = await ask('status')
    revision = now.trial ?? null
    endsAt = performance.now() + 1000 * Number(leftS ?? 0)
    tick()
    if (revision === null && mine('plan')) plan = await ask('plan')
    draw({ now, plan: revision === null ? plan : {} })
    fresh()
  })
  return el('div', {}, state.element, clock, out, room)
}
