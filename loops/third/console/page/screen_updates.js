// Upgrades of the host's packages: first what apt would do, and then exactly that, after a yes.

import { doing } from './doing.js'
import { badge, el, show, table } from './dom.js'
import { may } from './feeds.js'
import { drawer, follow, named, service, shown, shownLines } from './service.js'
import { texts } from './texts.js'
import { durationText, plain } from './values.js'

const UPDATES = 'secondary/updates'
const EVERY_MS = 60000 // apt computes for each plan
const ASK_MS = 120000
const SAID_KEPT = 64 * 1024 // characters of what apt says
const SHOWN = 500
const words = texts.updates

export const updates = (context) => service(context, UPDATES, ['plan', 'status', 'apply', 'refresh', 'progress'], planned)

function planned({ client, signal }) {
  const room = el('div', {}), out = el('div', { 'aria-live': 'polite' }), said = el('pre', { tabindex: '0', 'aria-label': words.said, hidden: true }), end = el('p', { role: 'status' })
  const mine = (method) => may(client, UPDATES, method)
  const call = async (method, stop) => plain(await client.call(UPDATES, method, [], { signal: stop, timeoutMs: ASK_MS }))
  let watched = null
  const watch = async () => {
    watched?.abort()
    const ends = watched = new AbortController()
    let text = ''
    try {
      for await (const item of client.stream(UPDATES, 'progress', [], { signal: AbortSignal.any([signal, ends.signal]) })) {
        const one = plain(item)
        if (typeof one?.said === 'string') text = (text + one.said).slice(-SAID_KEPT)
        said.hidden = !text
        said.textContent = shownLines(text)
        if (one?.state) show(end, badge(shown(one.state), one.state === 'done' ? 'good' : 'bad'), ` ${shown(one.order)} ${shown(one.message ?? '', 500)}`)
      }
      state.again()
    } catch (error) {
      if (!ends.signal.aborted && !signal.aborted) show(end, el('span', { class: 'error' }, shown(texts.failed(error), 500)))
    }
  }
  const order = (says, method, more) => mine(method) && doing({ client, signal }, { key: method, says, target: UPDATES, method, out, done: () => mine('progress') && watch(), ...more })
  const facts = (now) => now && el('dl', { class: 'tiles' }, [[words.pending, shown(now.pending)], [words.security, shown(now.security)], [words.lists, typeof now.lists_age_s === 'number' ? durationText(now.lists_age_s) : '–'],
    [words.reboot, now.reboot?.required === true ? words.yes : now.reboot?.required === false ? words.no : '–']].map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))))
  const draw = drawer(room, ({ now, plan }) => {
    const steps = plan?.steps ?? [], acts = now?.can_apply !== false
    return [facts(now),
      steps.length ? table(words.list, [words.name, words.installed, words.version, words.kind], steps.slice(0, SHOWN).map((one) => [named(one.name), shown(one.installed ?? '–'), named(one.version), badge(one.security ? words.isSecurity : words.isOther, one.security ? 'warn' : 'plain')])) : el('p', {}, words.none),
      steps.length > SHOWN ? el('p', { class: 'note' }, words.cut(SHOWN, steps.length)) : null,
      acts ? null : el('p', { class: 'note' }, words.looks),
      el('div', { class: 'acts' }, acts && steps.length ? order(words.apply(steps.length), 'apply', { values: () => ({ plan: plan.id }), sure: () => words.sure(steps.length, shown(plan.id, 20)) }) : null, acts ? order(words.refresh, 'refresh') : null)]
  })
  const state = follow(signal, UPDATES, async (fresh, stop) => {
    draw({ plan: await call('plan', stop), now: mine('status') ? await call('status', stop) : null })
    fresh()
  }, EVERY_MS)
  return el('div', {}, state.element, out, room, mine('progress') ? el('div', { class: 'acts' }, el('button', { type: 'button', click: watch }, words.last)) : null, end, said)
}
