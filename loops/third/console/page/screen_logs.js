// The journal and the logs of this host in one list.

import { el, show, table } from './dom.js'
import { may } from './feeds.js'
import { missing } from './screen_health.js'
import { texts } from './texts.js'
import { plain } from './values.js'

const LOGS = 'secondary/logs'

export function logs({ client, signal }) {
  if (!may(client, LOGS, 'query')) return missing(texts.logs.none, 'tlsrt-supervisor component add secondary/logs --allow \'client/NAME: [query, watch]\''.replace('NAME', client.subject.split('/')[1] ?? 'NAME'))
  const found = el('div', { 'aria-live': 'polite' })
  const input = (name, value = '') => el('label', {}, el('span', {}, texts.logs[name]), el('input', { name, type: 'text', value, id: `logs-${name}`, spellcheck: 'false' }))
  let entries = []
  const search = async (form, cursor) => {
    const { since, component, text, priority } = Object.fromEntries(new FormData(form))
    const named = { since, component, text, limit: 200, ...(priority ? { priority: Number(priority) } : {}), ...(cursor ? { cursor } : {}) }
    try {
      const answer = plain(await client.call(LOGS, 'query', [], { named, signal }))
      entries = cursor ? [...answer.entries, ...entries].slice(0, 2000) : answer.entries
      show(found, Object.entries(answer.missing ?? {}).map(([source, why]) => el('p', { class: 'error' }, `${texts.logs.missing}: ${source}: ${why}`)),
        answer.cursor ? el('button', { type: 'button', click: () => search(form, answer.cursor) }, texts.logs.older) : null,
        table(texts.logs.list, [texts.logs.at, texts.logs.of, texts.logs.said], entries.map((one) => [new Date(one.at_ms).toISOString().slice(5, 19).replace('T', ' '), one.component ?? one.unit ?? one.source, one.text])))
    } catch (error) {
      show(found, el('p', { class: 'error', role: 'alert' }, texts.failed(error)))
    }
  }
  const form = el('form', { class: 'filters', submit: (event) => { event.preventDefault(); search(form) } },
    input('since', '1h'), input('component'), input('text'), input('priority'), el('button', { class: 'main', type: 'submit' }, texts.logs.search))
  search(form)
  return el('div', {}, form, found)
}
