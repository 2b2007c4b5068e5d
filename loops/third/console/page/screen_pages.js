// Pages that components bring.

import { componentPage } from './component_page.js'
import { el, show } from './dom.js'
import { texts } from './texts.js'
import { plain } from './values.js'

/** The components with a page, by what they say of themselves; those that do not answer have none now. */
async function withPages(client) {
  const targets = [...client.rights].filter(([, { methods, running }]) => methods.length && running).map(([target]) => target).sort()
  const answers = await Promise.allSettled(targets.map((target) => client.describe(target)))
  return targets.filter((target, at) => answers[at].status === 'fulfilled' && plain(answers[at].value).page)
}

export function pages({ client, signal }) {
  const room = el('div', {}, el('p', {}, texts.loading))
  const begin = async () => {
    const targets = await withPages(client)
    if (signal.aborted) return
    if (!targets.length) return show(room, el('p', {}, texts.pages.none))
    const place = el('div', {}), says = el('p', { class: 'note' })
    let shown = null
    const open = async () => {
      const target = select.value
      shown?.abort()
      const mine = shown = new AbortController()
      signal.addEventListener('abort', () => mine.abort(), { once: true })
      says.textContent = texts.pages.says(target)
      show(place, el('p', {}, texts.loading))
      try {
        const described = plain(await client.call(target, 'describe', [], { named: { page: true } }))
        if (!mine.signal.aborted) show(place, componentPage(client, target, described, mine.signal))
      } catch (error) {
        if (!mine.signal.aborted) show(place, el('p', { class: 'error', role: 'alert' }, texts.failed(error)))
      }
    }
    const select = el('select', { id: 'page-of', change: open }, targets.map((target) => el('option', { value: target }, target)))
    show(room, el('div', { class: 'filters' }, el('label', {}, el('span', {}, texts.pages.component), select)), says, place)
    await open()
  }
  begin().catch((error) => show(room, el('p', { class: 'error', role: 'alert' }, texts.failed(error))))
  return room
}
