// A small line chart of the last values, and the last one as text for those who cannot see it.

import { el, svg } from './dom.js'

const KEPT = 1800 // an hour, each 2 s

export class Series {
  constructor(most = KEPT) {
    this.most = most
    this.values = []
  }

  add(value) {
    this.values.push(value)
    if (this.values.length > this.most) this.values.shift()
  }
}

/** Return the points of a polyline in a box of 100 by 30, the highest value at its top. Pure. */
export function points(values) {
  const highest = Math.max(...values, 0) || 1
  const step = values.length > 1 ? 100 / (values.length - 1) : 0
  return values.map((value, at) => `${(at * step).toFixed(2)},${(29 - (28 * value) / highest).toFixed(2)}`).join(' ')
}

export function chart(name, series, text) {
  const last = series.values.at(-1) ?? 0, highest = Math.max(...series.values, 0)
  return el('figure', {}, el('figcaption', {}, `${name}: ${text(last)}, at most ${text(highest)}`),
    svg('svg', { class: 'chart', viewBox: '0 0 100 30', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('polyline', { points: points(series.values) })))
}
