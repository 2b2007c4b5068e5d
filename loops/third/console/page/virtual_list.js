// A list of very many rows of one height, of which only those are elements that can be seen.

import { el } from './dom.js'

const MARGIN = 10 // rows beyond the edges, so that a quick scroll shows no gap

export class VirtualList {
  #rows = []
  #made = new Map() // number -> element
  #draw
  #room = el('div', { class: 'room' })
  #asked = 0
  #height = 28

  /** `draw(row)` makes the element of one row. `label` is what it is called. */
  constructor(label, draw) {
    this.#draw = draw
    this.element = el('div', { class: 'rows', tabindex: '0', role: 'log', 'aria-live': 'off', 'aria-label': label, scroll: () => this.#ask() }, this.#room)
    new ResizeObserver(() => this.#ask()).observe(this.element)
  }

  /** Show other rows; stay at the end if the end was shown. `isSame`: the first rows are those of before. */
  set(rows, { isSame = false } = {}) {
    const isAtEnd = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < 2 * this.#height
    if (!isSame) {
      for (const one of this.#made.values()) one.remove()
      this.#made.clear()
    }
    this.#rows = rows
    this.#height = parseFloat(getComputedStyle(document.documentElement).fontSize) * 1.75
    this.#room.style.height = `${rows.length * this.#height}px`
    if (isAtEnd) this.element.scrollTop = rows.length * this.#height
    this.#ask()
  }

  #ask() {
    this.#asked ||= requestAnimationFrame(() => {
      this.#asked = 0
      this.#show()
    })
  }

  #show() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.#height) - MARGIN)
    const last = Math.min(this.#rows.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / this.#height) + MARGIN)
    for (const [number, one] of this.#made) {
      if (number < first || number >= last) {
        one.remove()
        this.#made.delete(number)
      }
    }
    for (let number = first; number < last; number++) {
      if (this.#made.has(number)) continue
      const one = this.#draw(this.#rows[number])
      one.style.top = `${number * this.#height}px`
      this.#made.set(number, one)
      this.#room.append(one)
    }
  }
}
