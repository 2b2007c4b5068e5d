// Loops, components and programs as a tree, with what confines each process.

import { badge, el, show } from './dom.js'
import { STATUS, may } from './feeds.js'
import { missing } from './screen_health.js'
import { Operate } from './operate.js'
import { texts } from './texts.js'
import { boxes, bytesText, durationText, line, tree } from './values.js'

const GOOD = new Set(['good', 'unchecked', 'active', 'starting'])

function facts(one) {
  const waived = Object.entries(one.sandbox?.waived ?? {})
  const row = (name, value) => el('p', {}, `${name}: `, value)
  return [
    el('ul', { class: 'boxes', 'aria-label': texts.tree.layers }, boxes(one.sandbox).map(([box, isClosed, why]) =>
      el('li', {}, badge(`${box}: ${isClosed ? texts.tree.closed : `${texts.tree.open}: ${why}`}`, isClosed ? 'good' : 'bad')))),
    waived.length ? el('p', { class: 'error' }, `${texts.tree.waived}: ${waived.map(([layer, why]) => `${layer} (${why})`).join(', ')}`) : null,
    row(texts.tree.restarts, String(one.restarts)), row(texts.tree.memory, bytesText(one.memory_kib === null ? null : one.memory_kib * 1024)), row(texts.tree.up, durationText(one.uptime_s)),
    one.last_death ? row(texts.tree.death, `${one.last_death.at}: ${one.last_death.sentence}${one.last_death.said ? ` (${one.last_death.said})` : ''}`) : null,
    one.programs?.length ? row(texts.tree.programs, one.programs.map((program) => line(program)).join('; ')) : null,
    row(texts.tree.layers, el('code', {}, (one.sandbox?.layers ?? []).join(' '))),
  ]
}

function isWrong(one) {
  return one.state !== 'active' || !GOOD.has(one.health) || (one.components ?? []).some((part) => !GOOD.has(part.health))
}

function process(one, opened, operate, children = []) {
  const parts = (one.components ?? []).map((part) => badge(`${part.name}: ${part.health}`, part.health === 'good' ? 'good' : part.health === 'unchecked' ? 'plain' : 'bad'))
  const kept = { open: opened.has(one.name), toggle: (event) => (event.target.open ? opened.add(one.name) : opened.delete(one.name)) }
  return el('div', { class: `process${isWrong(one) ? ' wrong' : ''}` },
    el('details', kept,
      el('summary', {}, el('b', {}, one.name), badge(one.state, one.state === 'active' ? 'good' : one.state === 'stopped' ? 'warn' : 'bad'), ' ', parts.map((part) => [part, ' ']),
        Object.keys(one.sandbox?.waived ?? {}).length ? badge(texts.tree.waived, 'bad') : null, one.restarts ? badge(texts.tree.restarted(one.restarts), 'warn') : null),
      facts(one), operate.process(one)),
    children)
}

export function processes({ client, status, signal }) {
  if (!may(client, STATUS, 'watch')) return missing(texts.health.none, 'tlsrt-supervisor component add third/status')
  const body = el('div', { id: 'tree' }, el('p', {}, texts.loading)), opened = new Set()
  let shown = ''
  const operate = new Operate(client, () => {
    shown = ''
    draw()
  })
  const draw = () => {
    if (!status.status) return status.error && show(body, el('p', { class: 'error' }, texts.failed(status.error)))
    const steady = JSON.stringify(status.status.loops, (key, value) => (['uptime_s', 'beat_age_s', 'phi', 'lateness_ms', 'queue', 'frames', 'checked_s', 'memory_kib', 'sessions'].includes(key) ? 0 : value))
    if (steady === shown) return // nothing to see: the focus stays where it is
    shown = steady
    const held = document.activeElement
    const at = body.contains(document.activeElement) ? document.activeElement.closest('.process')?.querySelector('b')?.textContent : null
    const authority = { name: 'authority', components: [], programs: [], ...status.status.authority }
    show(body, process(authority, opened, operate), tree(status.status).map(({ name, process: own, children }) => (own
      ? process(own, opened, operate, children.map((one) => process(one, opened, operate)))
      : el('div', { class: 'process' }, el('p', {}, el('b', {}, name), ` ${texts.tree.noProcess}`), children.map((one) => process(one, opened, operate))))))
    if (at && body.contains(held)) held.focus() // an action is the same element again
    else if (at) [...body.querySelectorAll('summary')].find((one) => one.querySelector('b').textContent === at)?.focus()
  }
  status.addEventListener('change', draw, { signal })
  draw()
  return body
}
