// A form for each method of each component, made from what `describe` says; what neither streams nor takes a file can also
// be put off, as a job of the host.

import { el, show, table } from './dom.js'
import { ask } from './dialog.js'
import { timeFields } from './job_time.js'
import { putJob } from './jobs.js'
import { texts } from './texts.js'
import { cellText, commandLine, commandText, kindOf, line, mayChange, plain, typed, wellNamed } from './values.js'

const ITEMS_SHOWN = 200
const COLUMNS_MOST = 12

/** Show a value: a list of alike objects as a table, one object as rows, bytes as a file to save, the rest as text. */
export function result(value, caption = texts.methods.result, say = (name, one, most) => [name, cellText(one, most)]) {
  if (value === null || value === undefined) return el('p', {}, texts.methods.nothing)
  if (value instanceof Uint8Array) return el('div', {}, el('p', {}, line(value)), el('button', { click: () => save(value) }, texts.methods.save))
  const isObject = (one) => one !== null && typeof one === 'object' && !Array.isArray(one) && !(one instanceof Uint8Array)
  if (Array.isArray(value) && value.length && value.every(isObject)) {
    const heads = [...new Set(value.flatMap((one) => Object.keys(one)))].slice(0, COLUMNS_MOST)
    const says = heads.map((head) => say(head, value.map((one) => one[head]).find((one) => one !== null && one !== undefined) ?? null)[0])
    return table(caption, says, value.slice(0, ITEMS_SHOWN).map((one) => heads.map((head) => say(head, one[head] ?? null)[1])))
  }
  if (isObject(value) && Object.keys(value).length) return table(caption, texts.methods.entry, Object.entries(value).slice(0, ITEMS_SHOWN).map(([key, one]) => say(key, one, 4000)))
  return el('pre', { tabindex: '0' }, line(value, 100000))
}

function save(bytes) {
  const url = URL.createObjectURL(new Blob([bytes]))
  const link = el('a', { download: 'result' })
  link.href = url // of this page's own bytes
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10000)
}

function field(parameter) {
  const kind = kindOf(parameter), says = `${parameter.name}: ${parameter.type}${parameter.required ? '' : `, ${texts.methods.optional} (${line(parameter.default)})`}`
  const options = kind === 'boolean' ? ['true', 'false'] : kind === 'choice' ? parameter.schema.enum ?? parameter.schema.anyOf.find((one) => one.enum).enum : null
  const common = { name: parameter.name, 'data-kind': kind, required: parameter.required && kind !== 'text', autocomplete: 'off' }
  const input = options
    ? el('select', common, parameter.required ? null : el('option', { value: '' }, ''), options.map((one) => el('option', { value: String(one) }, String(one))))
    : kind === 'bytes' ? el('input', { ...common, type: 'file' })
    : kind === 'json' ? el('textarea', { ...common, rows: '2', spellcheck: 'false' })
    : el('input', { ...common, type: 'text', inputmode: kind === 'number' ? 'decimal' : 'text', spellcheck: 'false' })
  return { parameter, input, element: el('label', {}, el('span', {}, says), input) }
}

async function valueOf({ parameter, input }) {
  if (input.type !== 'file') return typed(parameter, input.value)
  const [file] = input.files
  if (!file) return parameter.required ? { error: `${parameter.name} is missing: choose ${texts.methods.file}` } : { left: true }
  return { value: new Uint8Array(await file.arrayBuffer()) }
}

/** The form of one method. */
export function methodForm(client, target, name, method, signal) {
  const isUpload = Boolean(method.upload)
  const fields = method.parameters.map((parameter) => field(parameter))
  const file = isUpload ? el('input', { type: 'file', required: true, 'data-kind': 'upload' }) : null
  const out = el('div', { 'aria-live': 'polite', class: 'result' }), command = el('pre', { tabindex: '0', class: 'command' }), wrong = el('p', { class: 'error', role: 'alert' })
  const stop = el('button', { type: 'button', hidden: true }, texts.methods.stop)
  const main = el('button', { class: 'main', type: 'submit' }, method.stream ? texts.methods.follow : texts.methods.run)
  const copy = el('button', { type: 'button', click: async () => {
    await navigator.clipboard?.writeText(command.textContent)
    copy.textContent = texts.methods.copied
  } }, texts.methods.copy)

  const time = isUpload || method.stream || name === 'describe' ? null : timeFields(() => {
    main.textContent = time.isLater ? texts.jobs.put : texts.methods.run
    say()
  })
  const later = () => (time?.isLater ? time.read() : null)
  const read = async () => {
    const values = []
    for (const one of fields) {
      const found = await valueOf(one)
      if (found.error) return { error: found.error, at: one.input }
      if (!found.left) values.push([one.parameter, found.value])
    }
    return { values }
  }
  const say = async () => {
    const { values, error } = await read()
    if (error) return
    try {
      const due = later()
      command.textContent = commandLine(target, name, values) + (due ? ` ${commandText(due.options)}` : '')
    } catch {
      // no time has been typed yet
    }
  }
  const stopped = () => {
    main.disabled = false
    stop.hidden = true
  }
  const follow = async (named) => {
    const ends = new AbortController(), items = []
    signal.addEventListener('abort', () => ends.abort(), { once: true })
    stop.onclick = () => ends.abort()
    stop.hidden = false
    let count = 0
    for await (const item of client.stream(target, name, [], { named, signal: ends.signal, ...(isUpload ? { parts: parts(file.files[0]) } : {}) })) {
      items.push(line(plain(item), 4000))
      count++
      if (items.length > ITEMS_SHOWN) items.shift()
      show(out, el('p', {}, texts.methods.items(count, count - items.length)), el('pre', { tabindex: '0' }, items.join('\n')))
    }
  }
  const submit = async (event) => {
    event.preventDefault()
    wrong.textContent = ''
    const { values, error, at } = await read()
    if (error) {
      wrong.textContent = error
      return at.focus()
    }
    let due
    try {
      due = later()
    } catch (error) {
      wrong.textContent = error.message
      return
    }
    const question = due ? [texts.jobs.putSure(`${target} ${name}`), texts.jobs.put] : [texts.methods.sure(`${target} ${name}`), texts.methods.yes]
    if ((due || mayChange(method)) && !(await ask(...question, texts.methods.no))) return
    const named = Object.fromEntries(values.map(([parameter, value]) => [parameter.name, value]))
    main.disabled = true
    show(out, el('p', {}, texts.loading))
    const begun = performance.now()
    try {
      if (due) show(out, el('p', { class: 'note', role: 'status' }, texts.jobs.isPut(await putJob(client, { target, method: name, named, ...due }, { signal }))))
      else if (method.stream) await follow(named)
      else {
        const value = isUpload ? await client.upload(target, name, [], parts(file.files[0]), { named }) : await client.call(target, name, [], { named })
        show(out, el('p', { class: 'note' }, texts.methods.took(Math.round(performance.now() - begun))), result(plain(value)))
      }
    } catch (error) {
      if (error.name !== 'AbortError' && error.code !== 'cancelled') show(out, el('p', { class: 'error', role: 'alert' }, texts.failed(error)))
    }
    stopped()
  }
  say()
  return el('form', { submit, input: say, novalidate: null },
    el('h3', {}, `${target} ${name}`), (method.doc ?? '').split('\n\n').map((part) => el('p', {}, part)),
    fields.map((one) => one.element), isUpload ? el('label', {}, el('span', {}, texts.methods.file), file) : null, time?.element,
    mayChange(method) ? el('p', { class: 'note' }, texts.methods.changes) : null, wrong,
    el('div', { class: 'acts' }, main, stop), el('p', { class: 'note' }, texts.methods.command), command, copy, out)
}

/** Give a file in pieces. */
export async function* parts(file) {
  const size = 64 * 1024
  for (let at = 0; at < file.size; at += size) yield new Uint8Array(await file.slice(at, at + size).arrayBuffer())
}

/** All that the client may call, as its rights change; what stands in a form stays there while its method may be called. */
export function methods({ client, signal }) {
  const room = el('div', {}), doc = el('p', { class: 'note' }), none = el('p', {}, texts.methods.none)
  const select = el('select', { id: 'component', change: () => component() }), methodSelect = el('select', { id: 'method', change: () => form() })
  const known = new Map()
  let described = null // what is shown: {target, doc, methods}
  const form = () => {
    const method = described?.methods[methodSelect.value]
    show(room, method && methodForm(client, select.value, methodSelect.value, method, signal))
  }
  const list = () => {
    const mine = client.rights.get(select.value)?.methods ?? [], before = methodSelect.value
    show(methodSelect, Object.keys(described.methods).filter((name) => mine.includes('*') || mine.includes(name)).map((name) => el('option', { value: name }, name)))
    if ([...methodSelect.options].some(({ value }) => value === before)) methodSelect.value = before
    return methodSelect.value !== before
  }
  const component = async () => {
    const target = select.value
    described = null
    show(room, el('p', {}, texts.loading))
    show(methodSelect)
    try {
      if (!known.has(target)) known.set(target, wellNamed(plain(await client.describe(target))))
      if (select.value !== target) return
      described = known.get(target)
      doc.textContent = described.doc ?? ''
      list()
      form()
    } catch (error) {
      doc.textContent = ''
      show(room, el('p', { class: 'error', role: 'alert' }, texts.failed(error)))
    }
  }
  const filters = el('div', { class: 'filters' },
    el('label', {}, el('span', {}, texts.methods.component), select), el('label', {}, el('span', {}, texts.methods.method), methodSelect))
  const look = () => {
    if (client.offlineSince) return // its rights come with the connection
    const targets = [...client.rights].filter(([, { methods: may }]) => may.length).sort(), before = select.value
    show(select, targets.map(([target, { running }]) => el('option', { value: target }, running ? target : `${target} (${texts.methods.away})`)))
    if (targets.some(([target]) => target === before)) select.value = before
    none.hidden = targets.length > 0
    filters.hidden = doc.hidden = room.hidden = !none.hidden
    if (none.hidden && select.value !== before) component()
    else if (none.hidden && described && list()) form()
  }
  for (const name of ['rights', 'online']) client.addEventListener(name, look, { signal })
  none.hidden = filters.hidden = true
  look()
  return el('div', {}, none, filters, doc, room)
}
