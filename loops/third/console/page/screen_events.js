// Events live, with filters: 10,000 of them without a stutter, as only those are elements that can be seen.

import { el } from './dom.js'
import { EVENTS, may } from './feeds.js'
import { texts } from './texts.js'
import { VirtualList } from './virtual_list.js'
import { wantsEvent } from './values.js'

const KINDS = ['lifecycle', 'session', 'security', 'health', 'program']

function row(event) {
  if (event.kind === 'gap') return el('div', { class: 'row alarm' }, el('b', {}, texts.events.gap(event.dropped)))
  const severity = ['warning', 'alarm'].includes(event.severity) ? event.severity : 'info'
  const text = `${event.subject}: ${event.sentence}`
  return el('div', { class: `row ${severity}`, title: text }, el('time', {}, event.at.slice(11, 19)), el('b', {}, severity === 'info' ? event.name : `${event.name} (${severity})`), text)
}

export function events({ client, events: feed, signal }) {
  if (!may(client, EVENTS, 'recent')) return el('p', {}, texts.events.none)
  const wanted = { kind: '', severity: '', words: '' }, count = el('p', { class: 'note', role: 'status' })
  const list = new VirtualList(texts.events.list, row)
  let rows = [], isPaused = false
  const draw = (isSame) => {
    if (isPaused && isSame) return void (count.textContent = texts.events.paused(feed.total))
    const before = rows
    rows = feed.events.filter((event) => event.kind === 'gap' || wantsEvent(event, wanted))
    const isGrown = isSame && rows.length >= before.length && rows[0] === before[0] && rows[before.length - 1] === before[before.length - 1]
    list.set(rows, { isSame: isGrown })
    count.textContent = texts.events.count(rows.length, feed.events.length)
  }
  const select = (name, label, words) => el('label', {}, el('span', {}, label),
    el('select', { id: `event-${name}`, change: (event) => { wanted[name] = event.target.value; draw(false) } },
      el('option', { value: '' }, texts.events.all), words.map((word) => el('option', { value: word }, word))))
  const halt = el('button', { type: 'button', 'aria-pressed': 'false', click: () => {
    isPaused = !isPaused
    halt.setAttribute('aria-pressed', String(isPaused))
    halt.textContent = isPaused ? texts.events.go : texts.events.pause
    draw(isPaused)
  } }, texts.events.pause)
  feed.addEventListener('change', () => draw(true), { signal })
  requestAnimationFrame(() => draw(false)) // when it has a height
  return el('div', {}, el('div', { class: 'filters' }, select('kind', texts.events.kind, KINDS), select('severity', texts.events.severity, ['warning', 'alarm']),
    el('label', {}, el('span', {}, texts.events.words), el('input', { id: 'event-words', type: 'search', input: (event) => { wanted.words = event.target.value; draw(false) } })), halt), count, list.element)
}
