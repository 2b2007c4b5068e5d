// Who may call whom and what was really called, drawn and as a table: the lines of the policy, and the gate's counts.

import { el, show, svg, table } from './dom.js'
import { EVENTS, STATUS, again, may } from './feeds.js'
import { drawn, edgesOf, kindOf, loopOf, placed } from './rights_graph.js'
import { missing } from './screen_health.js'
import { texts } from './texts.js'
import { plain } from './values.js'

const ROW = 30, MOST = 150, ROWS_SHOWN = 400, PAGES = 16

/** Ask the gate for all of its counts, page by page. */
async function calledOf(client, signal) {
  let first = 0, found = null
  for (let page = 0; first !== null && page < PAGES; page++) {
    const some = plain(await client.call(EVENTS, 'called', [], { named: { first }, signal }))
    found = { since: some.since, rest: some.rest, rows: [...(found?.rows ?? []), ...some.called] }
    first = some.next
  }
  return found
}

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)
const said = ({ source, target, calls, refused, unused }) => texts.graph.edge(source, target, calls, refused, typeof unused === 'number' ? unused : unused.length)

function picture({ left, right, edges }, width, pressed, press) {
  const height = Math.max(left.length, right.length, 1) * ROW, side = Math.min(220, Math.floor(width * 0.38)), letters = Math.floor(side / 8)
  const y = (count, at) => (at + 0.5) * (height / count)
  const node = (name, at, count, isRight) => {
    const act = () => press(name)
    return svg('g', { class: 'node', role: 'button', tabindex: '0', 'aria-pressed': String(pressed(name)), 'aria-label': texts.graph.node(name, isRight), click: act,
      keydown: (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); act() } } },
      svg('rect', { x: isRight ? width - side : 1, y: y(count, at) - 12, width: side - 1, height: 24, rx: 5 }),
      svg('text', { x: isRight ? width - side + 6 : 7, y: y(count, at) + 5 }, short(name, letters)), svg('title', {}, name))
  }
  const path = (one) => {
    const from = y(left.length, one.from), to = y(right.length, one.to), middle = width / 2
    const line = svg('path', { class: `edge ${kindOf(one)}`, d: `M${side} ${from}C${middle} ${from} ${middle} ${to} ${width - side} ${to}`, 'stroke-width': 1.5 + Math.min(4, Math.log10(1 + one.calls)) }, svg('title', {}, said(one)))
    return one.refused ? [line, svg('text', { class: 'cross', x: middle, y: (from + to) / 2 + 5, 'aria-hidden': 'true' }, '×')] : line
  }
  return svg('svg', { class: 'graph', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': texts.graph.picture },
    edges.map(path), left.map((name, at) => node(name, at, left.length, false)), right.map((name, at) => node(name, at, right.length, true)))
}

export function graph({ client, signal }) {
  if (!may(client, EVENTS, 'called') && !may(client, STATUS, 'policy')) return missing(texts.graph.none, 'tlsrt-supervisor policy graph')
  const box = el('div', {}), facts = el('div', {}), state = el('p', { class: 'note', role: 'status' }), body = el('div', {}, box, facts)
  const select = el('select', { id: 'graph-focus', change: () => { focus = select.value; draw() } })
  const opened = new Set(), kinds = el('p', { class: 'legend' }, ['used', 'unused', 'refused'].map((kind) => el('span', { class: `key ${kind}` }, texts.graph.kinds[kind])))
  let edges = [], focus = '', told = ''
  const press = (name) => {
    if (name.includes('/')) focus = focus === name ? '' : name
    else if (!opened.delete(name)) opened.add(name)
    draw(name)
  }
  const draw = (held = null) => {
    select.value = focus
    const place = placed(drawn(edges, { focus, opened }), MOST), width = Math.max(280, Math.min(1100, box.clientWidth || 320))
    show(box, !focus && opened.size ? el('div', { class: 'acts' }, [...opened].sort().map((loop) => el('button', { type: 'button', click: () => press(loop) }, texts.graph.close(loop)))) : null,
      edges.length ? picture(place, width, (name) => name === focus || opened.has(name), press) : el('p', {}, texts.graph.nothing),
      place.leftOut ? el('p', { class: 'note' }, texts.graph.leftOut(place.leftOut)) : null)
    if (!held) return list()
    const nodes = [...box.querySelectorAll('.node')], named = (is) => nodes.find((one) => is(one.querySelector('title').textContent))
    ;(named((name) => name === held) ?? named((name) => loopOf(name) === held))?.focus()
    list()
  }
  const list = () => {
    const rows = edges.filter(({ source, target }) => !focus || source === focus || target === focus)
    show(facts, rows.length ? table(texts.graph.table(Math.min(ROWS_SHOWN, rows.length), rows.length), texts.graph.heads, rows.slice(0, ROWS_SHOWN).map((one) => [one.source, one.target,
      one.methods.map(([method, calls, refused]) => texts.graph.method(method, calls, refused)).join(', '), one.unused.length ? texts.graph.never(one.unused) : '',
      one.refused ? texts.graph.kinds.refused : one.isAllowed ? texts.graph.policy : texts.graph.own])) : null)
  }
  const take = (called, policy) => {
    const now = JSON.stringify([called?.rows, policy?.lines])
    state.textContent = texts.graph.since(called && new Date(called.since).toISOString().slice(0, 19).replace('T', ' '), called?.rest, policy?.left_out ?? 0)
    if (now === told) return
    told = now
    edges = edgesOf(policy?.lines ?? [], called?.rows ?? [])
    const names = [...new Set(edges.flatMap(({ source, target }) => [source, target]))].sort()
    if (!names.includes(focus)) focus = ''
    show(select, el('option', { value: '' }, texts.graph.all), names.map((name) => el('option', { value: name }, name)))
    draw(box.contains(document.activeElement) ? document.activeElement.querySelector('title')?.textContent : null)
  }
  again(signal, async () => take(may(client, EVENTS, 'called') ? await calledOf(client, signal) : null, may(client, STATUS, 'policy') ? plain(await client.call(STATUS, 'policy', [], { signal })) : null),
    (error) => { state.textContent = texts.failed(error) }, 5000)
  const watch = new ResizeObserver(() => edges.length && box.querySelector('svg')?.getAttribute('width') !== String(Math.max(280, Math.min(1100, box.clientWidth))) && draw())
  watch.observe(box)
  signal.addEventListener('abort', () => watch.disconnect(), { once: true })
  return el('section', { 'aria-label': texts.graph.title }, el('h3', {}, texts.graph.title), el('div', { class: 'filters' }, el('label', {}, el('span', {}, texts.graph.focus), select)),
    kinds, state, body, el('pre', { tabindex: '0' }, 'tlsrt call primary/events called --json | tlsrt-supervisor policy graph --used -'))
}
