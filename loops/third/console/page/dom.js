// Elements made of plain values: text goes in as text, and an attribute only if it is one that cannot run anything. What a
// host, a component or a person has written is never read as markup.

const NAMES = new Set([
  'abbr', 'alt', 'autocomplete', 'class', 'cols', 'colspan', 'd', 'dir', 'download', 'fill', 'for', 'height', 'id', 'inputmode', 'lang',
  'max', 'maxlength', 'min', 'minlength', 'name', 'placeholder', 'points', 'preserveAspectRatio', 'role', 'rows', 'scope', 'spellcheck',
  'step', 'stroke', 'tabindex', 'title', 'type', 'value', 'viewBox', 'width', 'checked', 'disabled', 'hidden', 'multiple', 'open',
  'readonly', 'required', 'rx', 'selected', 'stroke-width', 'x', 'y',
])
const SVG = 'http://www.w3.org/2000/svg'

/** Tell whether an attribute may be set: `href` is only one within the page. */
export function isSafeAttribute(name, value) {
  if (name === 'href') return /^#[\w/.:%-]*$/.test(String(value))
  return NAMES.has(name) || /^(aria|data)-[a-z-]+$/.test(name)
}

// What turns the text after it around, and control characters but tab and line ends: of a file's name it would show another
// one, and of a command what a terminal reads otherwise.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** Return a text in which each of its characters is seen, or does nothing to others. */
export const seen = (text) => String(text).replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (isSafeAttribute(name, value)) element.setAttribute(name, value === true ? '' : String(value))
    else throw new Error(`no attribute ${name}`)
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : seen(child))))
  return element
}

/** Make an element. A function among the attributes listens for the event of that name. */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children)

/** Make an element of SVG. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children)

/** Show other children in an element, only if it is still shown. */
export const show = (element, ...children) => element.replaceChildren(...children.flat(Infinity).filter(Boolean))

/** A word with a colour that says how good it is; the word says it, too. */
export const badge = (word, kind) => el('span', { class: `badge ${kind}` }, word)

/** A table with a caption for those who cannot see it. `rows` are lists of cells: text or elements. On a telephone a row is a card, each
 * cell with its head before it; what each is stays said by its role, which another `display` takes away in some browsers. */
export function table(caption, heads, rows) {
  const cell = (content, at) => (at ? el('td', { role: 'cell', 'data-head': heads[at] }, content) : el('th', { scope: 'row', role: 'rowheader' }, content))
  const row = (cells) => el('tr', { role: 'row' }, cells)
  return el('div', { class: 'scrolls', tabindex: '0', role: 'region', 'aria-label': caption },
    el('table', { role: 'table' }, el('caption', {}, caption),
      el('thead', { role: 'rowgroup' }, row(heads.map((head) => el('th', { scope: 'col', role: 'columnheader' }, head)))),
      el('tbody', { role: 'rowgroup' }, rows.map((cells) => row(cells.map(cell))))))
}
