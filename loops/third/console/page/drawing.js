// What a component's page draws, made of plain data: `[tag, attributes, ...children]` and text. Elements and attributes are
// those of two lists, so none of it runs, loads, names or covers anything, and no password is asked for.

import { el } from './dom.js'
import { Series, chart } from './chart.js'
import { line } from './values.js'

export const NODES_MAX = 2000, TEXT_MAX = 64 * 1024, DEPTH_MAX = 24
const TAGS = new Set([
  'b', 'br', 'button', 'caption', 'code', 'dd', 'details', 'div', 'dl', 'dt', 'em', 'fieldset', 'form', 'h3', 'h4', 'hr', 'input', 'label',
  'legend', 'li', 'meter', 'ol', 'option', 'p', 'pre', 'progress', 'select', 'small', 'span', 'strong', 'summary', 'table', 'tbody', 'td', 'textarea',
  'th', 'thead', 'tr', 'ul',
])
const FIELDS = new Set(['input', 'select', 'textarea'])
const TYPES = new Set(['checkbox', 'color', 'date', 'number', 'radio', 'range', 'search', 'text', 'time'])
const CLASSES = new Set(['bad', 'badge', 'error', 'filters', 'good', 'main', 'note', 'plain', 'tiles', 'warn'])
const WORDS = new Set(['max', 'min', 'step', 'value', 'placeholder', 'title', 'colspan', 'rows', 'maxlength', 'inputmode', 'scope', 'lang', 'dir'])
const SWITCHES = new Set(['checked', 'disabled', 'open', 'readonly', 'required', 'selected'])
const EVENTS = new Set(['change', 'click', 'input', 'submit'])

/** Thrown for what is no drawing; its message says why. */
export class DrawingError extends Error {}

/**
 * Check what a page sent, and return it as nodes: a text, or `{tag, words, switches, events, name, children, series}`.
 * Raises DrawingError.
 */
export function readDrawing(nodes) {
  const left = { nodes: NODES_MAX, text: TEXT_MAX }
  if (!Array.isArray(nodes)) throw new DrawingError('show takes elements')
  return nodes.map((node) => readNode(node, left, 0))
}

function readNode(node, left, depth) {
  if (--left.nodes < 0) throw new DrawingError(`at most ${NODES_MAX} elements can be drawn`)
  if (depth > DEPTH_MAX) throw new DrawingError(`elements stand in one another at most ${DEPTH_MAX} deep`)
  if (typeof node === 'string') return text(node, left)
  if (!Array.isArray(node) || typeof node[0] !== 'string') throw new DrawingError('an element is [tag, attributes, ...children]')
  const [tag, attributes = {}, ...children] = node
  if (attributes === null || typeof attributes !== 'object' || Array.isArray(attributes)) throw new DrawingError('attributes are an object')
  if (tag === 'chart') return readChart(attributes, left)
  if (!TAGS.has(tag)) throw new DrawingError(`there is no element ${tag.slice(0, 40)} here`)
  const found = { tag, name: '', words: {}, switches: {}, events: {}, children: [] }
  for (const [name, value] of Object.entries(attributes)) readAttribute(found, name, value, left)
  if (tag === 'button') found.words.type ??= 'submit'
  if (tag === 'input' && !TYPES.has(found.words.type ??= 'text')) throw new DrawingError(`there is no input of the type ${found.words.type.slice(0, 40)} here`)
  found.children = children.map((child) => readNode(child, left, depth + 1))
  return found
}

function readAttribute(found, name, value, left) {
  if (value === null || value === undefined || value === false) return
  if (EVENTS.has(name) && Number.isSafeInteger(value?.handler)) found.events[name] = value.handler
  else if (name === 'class') found.words.class = text(value, left).split(' ').filter((one) => CLASSES.has(one)).join(' ')
  else if (name === 'name' && FIELDS.has(found.tag)) found.name = text(value, left)
  else if (name === 'type' && (found.tag === 'input' || (found.tag === 'button' && value === 'button'))) found.words.type = text(value, left)
  else if (WORDS.has(name) || /^aria-(label|live|pressed|current|valuetext)$/.test(name)) found.words[name] = text(value, left)
  else if (SWITCHES.has(name)) found.switches[name] = true
  else throw new DrawingError(`there is no attribute ${name.slice(0, 40)} here`)
}

function readChart({ label = '', values }, left) {
  if (!Array.isArray(values) || values.length > 3600 || !values.every((value) => Number.isFinite(value) && value >= 0)) throw new DrawingError('a chart has values: at most 3600 numbers that are not negative')
  left.nodes -= 1 + values.length / 100
  return { tag: 'chart', name: text(label, left), words: { values: values.join() }, series: values, switches: {}, events: {}, children: [] }
}

function text(value, left) {
  if (typeof value !== 'string' && typeof value !== 'number') throw new DrawingError('an attribute is text or a number')
  left.text -= String(value).length
  if (left.text < 0) throw new DrawingError(`at most ${TEXT_MAX} characters can be drawn`)
  return String(value)
}

/** Draws into one element; what stays the same stays, with its focus and with what was typed. */
export class Drawing {
  #room
  #shown = []
  #tell

  /** `tell(handler, value)` is called at an event: of a form its fields, of a field its value. */
  constructor(room, tell) {
    this.#room = room
    this.#tell = tell
  }

  show(nodes) {
    this.#shown = this.#children(this.#room, this.#shown, nodes)
  }

  #children(parent, shown, nodes) {
    const next = nodes.map((node, at) => this.#one(parent, shown[at], node))
    for (const gone of shown.slice(nodes.length)) gone.element.remove()
    return next
  }

  #one(parent, shown, node) {
    if (typeof node === 'string') {
      if (shown?.isText) shown.element.data = node
      return shown?.isText ? shown : this.#put(parent, shown, { element: document.createTextNode(node), isText: true })
    }
    if (node.tag === 'chart') {
      if (shown?.node?.tag === 'chart' && shown.node.words.values === node.words.values && shown.node.name === node.name) return shown
      const series = new Series(node.series.length)
      series.values = node.series
      return this.#put(parent, shown, { element: chart(node.name, series, (value) => line(value)), node, children: [] })
    }
    const isSame = shown?.node?.tag === node.tag && shown.node.words.type === node.words.type
    const one = isSame ? shown : this.#put(parent, shown, this.#made(node))
    this.#attributes(one, isSame ? one.node : { words: {}, switches: {} }, node)
    one.node = node
    one.children = this.#children(one.element, one.children, node.children)
    if (node.tag === 'select' && node.words.value !== undefined && !isSame) one.element.value = node.words.value
    return one
  }

  #put(parent, shown, one) {
    if (shown) shown.element.replaceWith(one.element)
    else parent.append(one.element)
    return one
  }

  #made(node) {
    const one = { element: el(node.tag), node, children: [] }
    for (const name of EVENTS) one.element.addEventListener(name, (event) => {
      if (name === 'submit') event.preventDefault()
      const handler = one.node.events[name]
      if (handler !== undefined) this.#tell(handler, name === 'submit' ? fields(one, {}) : FIELDS.has(one.node.tag) ? valueOf(one) : null)
    })
    return one
  }

  #attributes({ element }, before, { words, switches }) {
    for (const name of Object.keys({ ...before.words, ...words })) {
      if (words[name] === before.words[name]) continue
      if (words[name] === undefined) element.removeAttribute(name)
      else if (name === 'value' && FIELDS.has(element.localName)) element.value = words[name]
      else element.setAttribute(name, words[name])
    }
    for (const name of Object.keys({ ...before.switches, ...switches })) {
      if (Boolean(switches[name]) === Boolean(before.switches[name])) continue
      if (name === 'checked') element.checked = Boolean(switches[name])
      else element.toggleAttribute(name, Boolean(switches[name]))
    }
  }
}

const valueOf = ({ element }) => (element.type === 'checkbox' ? element.checked : element.value)

/** The fields of a form by their names, as they are drawn: no name of a field stands in the document. */
function fields(one, found) {
  for (const child of one.children ?? []) {
    const { tag, name } = child.node ?? {}
    if (name && FIELDS.has(tag) && (child.element.type !== 'radio' || child.element.checked)) found[name] = valueOf(child)
    fields(child, found)
  }
  return found
}
