// The trees of third/files: folders as they change, files to fetch, send and remove.

import { doing } from './doing.js'
import { el, show, table } from './dom.js'
import { may } from './feeds.js'
import { drawer, field, follow, named, shown, service, timeText, typedIn } from './service.js'
import { texts } from './texts.js'
import { fetchFile, replaceAsked, sendFile, transfers } from './transfers.js'
import { bytesText, plain } from './values.js'

const FILES = 'third/files'
const PAGE = 500
const SHOWN = 2000
const SETTLE_MS = 300
const METHODS = ['list', 'stat', 'read_stream', 'watch', 'begin_put', 'go_on_put', 'mkdir', 'remove']
const NEEDS = ' --option \'trees={work: {path: /srv/work, rights: rw}}\' --needs \'write=[{path: /srv/work, why: keeps what is sent}]\''
const words = texts.files

export const files = (context) => service(context, FILES, METHODS, folders, NEEDS)

function folders({ client, signal }) {
  let path = [], rights = new Map(), names = new Set()
  const crumbs = el('p', { class: 'acts', role: 'navigation', 'aria-label': words.path }), room = el('div', {}), acts = el('div', {}), out = el('div', { 'aria-live': 'polite' })
  const canWrite = () => path.length > 0 && (rights.get(path[0]) ?? '').includes('w')
  const at = (name) => [...path, name].join('/')

  const go = (where) => {
    path = where
    names = new Set()
    show(out)
    show(room, el('p', {}, texts.loading))
    draw.forget()
    head()
    state.again()
  }
  const head = () => {
    const steps = [[], ...path.map((_, count) => path.slice(0, count + 1))]
    show(crumbs, steps.map((step) => el('button', { type: 'button', 'data-key': step.join('/'), 'aria-current': step.length === path.length ? 'page' : null, click: () => go(step) }, step.length ? shown(step.at(-1)) : words.trees)))
    show(acts, canWrite() && may(client, FILES, 'go_on_put') ? sending() : null, canWrite() && may(client, FILES, 'mkdir') ? making() : null)
  }
  const send = async (chosen) => {
    const where = at(''), wanted = await replaceAsked([...chosen], (name) => names.has(name))
    await Promise.all(wanted.map((file) => sendFile(client, FILES, `${where}${file.name}`, file)))
    state.again()
  }
  const sending = () => {
    const input = el('input', { type: 'file', multiple: true, id: 'send', change: () => {
      const chosen = [...input.files]
      input.value = ''
      send(chosen)
    } })
    const zone = el('label', { class: 'drop', dragover: (event) => event.preventDefault(), drop: (event) => {
      event.preventDefault()
      send(event.dataTransfer.files)
    } }, el('span', {}, words.send(shown(path.join('/')))), input)
    return zone
  }
  const making = () => {
    const form = el('form', { class: 'filters' }, field('folder', words.folder, { required: true }))
    form.append(doing({ client, signal }, { form, says: words.make, target: FILES, method: 'mkdir', out, values: () => ({ path: at(typedIn(form).folder) }), done: () => { form.reset(); state.again() } }))
    return form
  }
  const row = (one) => {
    const name = String(one.name), isFolder = one.kind === 'folder' || one.kind === 'tree'
    const enter = isFolder && !one.trouble ? el('button', { type: 'button', 'data-key': `in ${name}`, click: () => go([...path, name]) }, named(name)) : named(name)
    return [enter, one.trouble ? shown(one.trouble, 300) : words.kinds[one.kind] ?? shown(one.kind), size(one.size_bytes ?? one.used_bytes), one.changed_wall_ms ? timeText(one.changed_wall_ms) : size(one.total_bytes),
      el('div', { class: 'acts' },
        one.kind === 'file' && may(client, FILES, 'read_stream') ? el('button', { type: 'button', 'data-key': `get ${name}`, click: () => fetchFile(client, FILES, at(name), name) }, words.fetch) : null,
        canWrite() && one.kind !== 'tree' && may(client, FILES, 'remove') ? doing({ client, signal }, { key: `remove ${name}`, says: words.remove, about: shown(name), sure: () => words.sure(shown(name)), target: FILES, method: 'remove', out, values: () => ({ path: at(name) }), done: () => state.again() }) : null)]
  }
  const draw = drawer(room, ({ entries, skipped, isCut }) => [
    entries.length ? table(words.list(shown(path.join('/') || words.trees)), [words.name, words.kind, words.size, path.length ? words.changed : words.most, words.acts], entries.map(row)) : el('p', {}, path.length ? words.empty : words.none),
    skipped ? el('p', { class: 'note' }, words.skipped(String(skipped))) : null, isCut ? el('p', { class: 'note' }, words.cut(SHOWN)) : null])

  const look = async (stop) => {
    const entries = []
    let answer, skipped = 0
    do {
      answer = plain(await client.call(FILES, 'list', [path.join('/'), entries.at(-1)?.name ?? ''], { signal: stop }))
      if (stop.aborted) return
      entries.push(...answer.entries)
      skipped += Number(answer.skipped)
    } while (path.length && answer.entries.length === PAGE && entries.length < SHOWN)
    if (!path.length) rights = new Map(entries.map((one) => [one.name, String(one.rights)]))
    names = new Set(entries.map((one) => one.name))
    draw({ entries: entries.slice(0, SHOWN), skipped, isCut: entries.length >= SHOWN })
  }
  const state = follow(signal, FILES, async (fresh, stop) => {
    await look(stop)
    fresh()
    if (!path.length || !may(client, FILES, 'watch')) return
    let due = null
    for await (const item of client.stream(FILES, 'watch', [path.join('/')], { signal: stop })) {
      const { change, complete } = plain(item)
      if (!change && !complete) continue // complete: what came between the list and this
      due ??= setTimeout(() => { due = null; look(stop).then(fresh, () => {}) }, SETTLE_MS)
    }
  })
  head()
  return el('div', {}, crumbs, state.element, acts, out, transfers(), room)
}

const size = (value) => (value === null || value === undefined ? '–' : bytesText(Number(value)))
