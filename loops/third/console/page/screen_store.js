// Values of secondary/store by their keys: what is there, what it was, and what changes now.

import { doing } from './doing.js'
import { el, show, table } from './dom.js'
import { may } from './feeds.js'
import { drawer, field, follow, named, service, shown, shownLines, timeText, typedIn } from './service.js'
import { texts } from './texts.js'
import { bytesText, line, plain } from './values.js'

const STORE = 'secondary/store'
const PAGE = 100, CHANGES_SHOWN = 50, PAST_SHOWN = 50
const TOGETHER_MS = 300 // for changes that come together
const words = texts.store

/** Return what is typed as JSON says it, or as text if it is none. */
export function valueOf(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export const store = (context) => service(context, STORE, ['keys', 'entry', 'history', 'version', 'watch', 'put', 'delete'], shelf)

function shelf({ client, signal }) {
  const room = el('div', {}), one = el('div', { 'aria-live': 'polite' }), out = el('div', { 'aria-live': 'polite' }), changes = el('div', {}), form = el('form', {})
  let after = [], told = [], timer = null
  const restart = () => {
    after = []
    told = []
    show(one)
    show(changes)
    state.again()
    watching?.again()
  }
  const space = field('namespace', words.namespace, { change: restart }), prefix = field('prefix', words.prefix, { change: restart })
  const where = () => (space.lastChild.value.trim() ? { namespace: space.lastChild.value.trim() } : {})
  const mine = (method) => may(client, STORE, method)
  const ask = async (method, values, stop = signal) => plain(await client.call(STORE, method, [], { named: { ...values, ...where() }, signal: stop }))
  const tried = async (work) => show(one, await work().catch((error) => el('p', { class: 'error' }, shown(texts.failed(error), 1000))))
  const written = (value) => el('pre', { tabindex: '0' }, shownLines(typeof value === 'string' ? value : line(value, 65536)))
  const old = (key, revision) => tried(async () => [el('h3', {}, words.was(shown(key), String(revision))), written(await ask('version', { key, revision }))])
  const look = (key) => tried(async () => {
    const { value, revision, expires_in_s: left } = await ask('entry', { key })
    const past = mine('history') ? (await ask('history', { key, limit: PAST_SHOWN })).filter((each) => each.revision !== revision) : []
    return [el('h3', {}, words.is(shown(key), String(revision))), left === null ? null : el('p', { class: 'note' }, words.expires(Math.ceil(left))), written(value),
      past.length ? table(words.history, [words.revision, words.at, words.size, texts.files.acts], past.map((each) => [shown(each.revision), timeText(each.put_at === null ? null : each.put_at * 1000), bytesText(Number(each.bytes)),
        mine('version') ? el('button', { type: 'button', 'aria-label': `${words.look}: ${each.revision}`, click: () => old(key, each.revision) }, words.look) : ''])) : null]
  })
  const row = (key) => [named(key), el('div', { class: 'acts' },
    mine('entry') && el('button', { type: 'button', 'data-key': `look ${key}`, 'aria-label': `${words.look}: ${shown(key)}`, click: () => look(key) }, words.look),
    mine('delete') && doing({ client, signal }, { key: `delete ${key}`, says: words.remove, about: shown(key), sure: () => words.removeSure(shown(key)), target: STORE, method: 'delete', out, values: () => ({ key, ...where() }), done: () => state.again() }))]
  const draw = drawer(room, (keys) => [
    keys.length ? table(words.list, [words.key, texts.files.acts], keys.map(row)) : el('p', {}, words.none),
    el('div', { class: 'acts' }, after.length ? el('button', { type: 'button', 'data-key': 'first', click: () => { after = []; state.again() } }, words.first) : null,
      keys.length === PAGE ? el('button', { type: 'button', 'data-key': 'next', click: () => { after = [keys.at(-1)]; state.again() } }, words.next) : null)])
  const state = follow(signal, STORE, async (fresh, stop) => {
    draw(await ask('keys', { prefix: prefix.lastChild.value, after: after[0] ?? '', limit: PAGE }, stop))
    fresh()
  }, mine('watch') ? 30000 : 5000)
  const watching = mine('watch') ? follow(signal, STORE, async (_, stop) => {
    for await (const item of client.stream(STORE, 'watch', [], { named: { prefix: prefix.lastChild.value, ...where() }, signal: stop })) {
      const change = plain(item)
      told = [{ ...change, at: Date.now() }, ...told].slice(0, CHANGES_SHOWN)
      timer ??= setTimeout(() => {
        timer = null
        if (signal.aborted) return
        show(changes, table(words.changes, [words.at, words.key, words.what, words.revision], told.map((each) => [timeText(each.at), named(each.key), words.operations[each.operation] ?? shown(each.operation), shown(each.revision)])))
        state.again()
      }, TOGETHER_MS)
    }
  }) : null
  if (mine('put')) {
    form.append(el('h3', {}, words.keep), el('div', { class: 'filters' }, field('key', words.key, { required: true, maxlength: '256' }), field('ttl', words.ttl, { inputmode: 'decimal' })),
      field('value', words.value, { rows: '3', required: true }, 'textarea'), el('p', { class: 'note' }, words.json))
    form.append(doing({ client, signal }, { form, says: words.put, target: STORE, method: 'put', out, sure: ({ key }) => words.putSure(shown(key)),
      values: () => {
        const { key, value, ttl } = typedIn(form)
        return { key, value: valueOf(value), ...(ttl.trim() ? { ttl_s: Number(ttl) } : {}), ...where() }
      },
      done: () => state.again() }))
  }
  return el('div', {}, state.element, el('div', { class: 'filters' }, space, prefix), out, room, one, mine('put') ? form : null, changes)
}
