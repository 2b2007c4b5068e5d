// Notifications of third/notify: as they come, until somebody has said that it is known; and those of before.

import { doing } from './doing.js'
import { badge, el, show, table } from './dom.js'
import { may } from './feeds.js'
import { drawer, follow, named, service, shown, shownLines, timeText, typedIn } from './service.js'
import { texts } from './texts.js'
import { plain } from './values.js'

const NOTIFY = 'third/notify'
const KINDS = { info: 'plain', warning: 'warn', error: 'bad', critical: 'bad' }
const words = texts.notices

export const notices = (context) => service(context, NOTIFY, ['list', 'acknowledge', 'subscribe'], listed)

function listed({ client, signal }) {
  const room = el('div', {}), out = el('div', { 'aria-live': 'polite' })
  const open = el('select', { name: 'state', id: 'notice-state', change: () => again() }, el('option', { value: 'open' }, words.open), el('option', { value: '' }, words.all))
  const comment = el('input', { name: 'comment', type: 'text', maxlength: '500', id: 'notice-comment', autocomplete: 'off' })
  let before = null
  const again = (from = null) => {
    before = from
    state.again()
  }
  const row = (one) => [timeText(one.last_ms ?? one.sent_ms), badge(words.severities[one.severity] ?? shown(one.severity), KINDS[one.severity] ?? 'plain'),
    el('div', {}, el('b', {}, named(one.title)), one.body ? el('pre', {}, shownLines(one.body)) : null, el('p', { class: 'note' }, named(one.sender), one.topic ? `, ${shown(one.topic)}` : '', one.count > 1 ? `, ${words.times(String(one.count))}` : '')),
    one.state === 'open' ? (may(client, NOTIFY, 'acknowledge') ? doing({ client, signal }, { key: `known ${one.id}`, says: words.acknowledge, about: shown(one.title), target: NOTIFY, method: 'acknowledge', out,
      values: () => ({ id: one.id, ...(comment.value ? { comment: comment.value } : {}) }), done: () => { comment.value = ''; state.again() } }) : words.states.open)
      : el('div', {}, words.states[one.state] ?? shown(one.state), one.by ? el('p', { class: 'note' }, named(one.by), `, ${timeText(one.at_ms)}`, one.comment ? `: ${shown(one.comment, 500)}` : '') : null)]
  const draw = drawer(room, ({ notices: found, next }) => [
    found.length ? table(words.list, [texts.messages.at, words.severity, words.what, words.state], found.map(row)) : el('p', {}, words.none),
    el('div', { class: 'acts' }, before === null ? null : el('button', { type: 'button', 'data-key': 'newest', click: () => again() }, words.newest), next ? el('button', { type: 'button', 'data-key': 'older', click: () => again(next) }, words.older) : null)])
  const state = follow(signal, NOTIFY, async (fresh, stop) => {
    const asked = { limit: 50, ...(before === null ? {} : { before }), ...(open.value ? { state: open.value } : {}) }
    draw(plain(await client.call(NOTIFY, 'list', [], { named: asked, signal: stop })))
    fresh()
  })
  for (const topic of may(client, NOTIFY, 'subscribe') ? ['notice', 'changed'] : []) {
    follow(signal, NOTIFY, async (_, stop) => {
      for await (const item of client.stream(NOTIFY, 'subscribe', [topic], { signal: stop })) if (item) state.again()
    })
  }
  return el('div', {}, state.element, el('div', { class: 'filters' }, el('label', {}, el('span', {}, words.which), open), may(client, NOTIFY, 'acknowledge') ? el('label', {}, el('span', {}, words.comment), comment) : null), out, room)
}
