// Charts of the last hour and day, as services of the host have kept them: the mean as a line, from the least to the most as a band, gaps
// as gaps; and the same as a table of few rows for those who hear it.

import { el, svg, table } from './dom.js'
import { may } from './feeds.js'
import { drawer, follow } from './service.js'
import { texts } from './texts.js'
import { bytesText, durationText, plain } from './values.js'

const words = texts.past
const EVERY_MS = 30000
const ROWS = 12
const ROUND = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1))
const bytesRate = (value) => `${bytesText(value)}/s`
const UNITS = {
  frames: ROUND, refused: ROUND, memory: bytesText, lateness: (value) => `${ROUND(value)} ms`, active: (value) => value.toFixed(0),
  received: bytesRate, sent: bytesRate, dropped: ROUND, charge: (value) => `${value.toFixed(0)} %`, watts: (value) => `${ROUND(value)} W`, celsius: (value) => `${ROUND(value)} °C`,
}
const MOST_BUCKETS = 1000
const NO_NUMBERS = 'it says what is no numbers'

/** Return the buckets of a series in which it is known, the oldest first: [{age, least, most, mean}]. Throws for what is none. Pure. */
export function bucketsOf({ ages_s: ages, series }, name) {
  const { least, most, mean } = series[name]
  const isRight = [ages, least, most, mean].every((one) => Array.isArray(one) && one.length === ages.length && one.length <= MOST_BUCKETS && one.every((each) => Number.isFinite(Number(each))))
  if (!isRight) throw new Error(NO_NUMBERS)
  return ages.map((age, at) => ({ age: Number(age), least: Number(least[at]), most: Number(most[at]), mean: Number(mean[at]), isKnown: mean[at] !== null }))
    .filter((one) => one.isKnown).map(({ isKnown: _, ...one }) => one).sort((one, other) => other.age - one.age)
}

/** Split buckets where one and a half periods or more have none. Pure. */
export function runsOf(buckets, period) {
  const runs = []
  for (const one of buckets) {
    if (!runs.length || runs.at(-1).at(-1).age - one.age > 1.5 * period) runs.push([])
    runs.at(-1).push(one)
  }
  return runs
}

/** Return the points of band and line of one run in a box of 100 by 30. Pure. */
export function shapeOf(run, lasts, period, highest) {
  const at = (age, value) => `${(100 * Math.min(1, Math.max(0, 1 - age / lasts))).toFixed(2)},${(29 - (28 * Math.max(0, value)) / (highest || 1)).toFixed(2)}`
  const wide = run.length > 1 ? run : [run[0], { ...run[0], age: run[0].age - period }] // one bucket is seen, too
  return { band: [...wide.map((one) => at(one.age, one.most)), ...wide.toReversed().map((one) => at(one.age, one.least))].join(' '), line: wide.map((one) => at(one.age, one.mean)).join(' ') }
}

/** Return few rows of all buckets, the latest first: {from, to, least, most, mean, part}; `part` is how much of it is known. Pure. */
export function rowsOf(buckets, lasts, period, most = ROWS) {
  const length = lasts / most
  return Array.from({ length: most }, (_, at) => {
    const inside = buckets.filter((one) => one.age > at * length && one.age <= (at + 1) * length)
    return inside.length ? { from: (at + 1) * length, to: at * length, least: Math.min(...inside.map((one) => one.least)), most: Math.max(...inside.map((one) => one.most)),
      mean: inside.reduce((sum, one) => sum + one.mean, 0) / inside.length, part: Math.min(1, (inside.length * period) / length) } : null
  }).filter(Boolean)
}

function figure(name, found) {
  const unit = UNITS[name], period = Number(found.period_s), lasts = Number(found.lasts_s), buckets = bucketsOf(found, name)
  if (!(period >= 1 && lasts >= period && lasts < Infinity)) throw new Error(NO_NUMBERS)
  const last = buckets.at(-1), highest = Math.max(...buckets.map((one) => one.most), 0)
  const shapes = runsOf(buckets, period).map((run) => shapeOf(run, lasts, period, highest))
  const rows = rowsOf(buckets, lasts, period)
  return el('figure', {}, el('figcaption', {}, last ? words.says(words.series[name], unit(last.mean), unit(highest)) : `${words.series[name]}: ${words.nothing}`),
    svg('svg', { class: 'chart', viewBox: '0 0 100 30', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, shapes.map(({ band, line }) => [svg('polygon', { points: band }), svg('polyline', { points: line })])),
    rows.length ? el('details', {}, el('summary', { 'data-key': `rows ${name}` }, words.table(words.series[name])), table(words.series[name], words.heads, rows.map((one) => [words.ago(durationText(one.from), durationText(one.to)), unit(one.least), unit(one.mean), unit(one.most), `${Math.round(100 * one.part)} %`]))) : null)
}

/** The charts of a service that keeps numbers; null if this client may not have them. */
export function past({ client, signal }, target) {
  if (!may(client, target, 'history')) return null
  const room = el('div', { class: 'charts' }), spans = ['hour', 'day']
  let span = 'hour'
  const buttons = spans.map((one) => el('button', { type: 'button', 'aria-pressed': String(one === span), click: () => {
    span = one
    buttons.forEach((button, at) => button.setAttribute('aria-pressed', String(spans[at] === span)))
    state.again()
  } }, words.spans[one]))
  const draw = drawer(room, (found) => Object.keys(UNITS).filter((name) => Object.hasOwn(found.series, name) && found.series[name].mean?.some((one) => one !== null)).map((name) => figure(name, found)))
  const state = follow(signal, target, async (fresh, stop) => {
    const open = [...room.querySelectorAll('details')].map((one) => one.open)
    draw(plain(await client.call(target, 'history', [span], { signal: stop })))
    room.querySelectorAll('details').forEach((one, at) => { one.open = open[at] ?? false })
    fresh()
  }, EVERY_MS)
  return el('section', { class: 'past' }, el('h3', {}, words.title), el('div', { class: 'acts' }, buttons), state.element, room)
}
