// Units and commands of systemd that secondary/services lists: how they are, and what this client may do with them.

import { doing } from './doing.js'
import { badge, el, table } from './dom.js'
import { may } from './feeds.js'
import { result } from './screen_methods.js'
import { drawer, follow, named, service, shown } from './service.js'
import { texts } from './texts.js'
import { factText, plain } from './values.js'

const SERVICES = 'secondary/services'
const KINDS = { active: 'good', failed: 'bad', activating: 'warn', deactivating: 'warn', reloading: 'warn' }
const ACTIONS = ['start', 'stop', 'restart', 'reload', 'enable', 'disable']
const ASKED = new Set(['stop', 'restart', 'disable'])
const DONE = { active: 'start', inactive: 'stop', failed: 'stop' } // what a unit of this state has done already
const UNIT_MS = 60000
const words = texts.units

export const units = (context) => service(context, SERVICES, ['list', 'status', 'jobs', ...ACTIONS.map((one) => `${one}_unit`), 'run_job', 'subscribe'], listed, ' --option \'units={...}\'')

function listed({ client, signal }) {
  const room = el('div', {}), more = el('div', { class: 'facts', 'aria-live': 'polite' }), out = el('div', { 'aria-live': 'polite' })
  const mine = (method) => may(client, SERVICES, method)
  const call = async (method, values = {}, stop = signal) => plain(await client.call(SERVICES, method, [], { named: values, signal: stop, timeoutMs: UNIT_MS }))
  const look = async (unit) => more.replaceChildren(el('h3', {}, shown(unit)), await call('status', { unit }).then((found) => result(found, shown(unit), factText), (error) => el('p', { class: 'error' }, shown(texts.failed(error), 1000))))
  const act = (unit, name) => doing({ client, signal }, { key: `${name} ${unit}`, says: words.acts[name], about: shown(unit), sure: ASKED.has(name) ? () => words.sure[name](shown(unit)) : null, target: SERVICES, method: `${name}_unit`, out,
    values: () => ({ unit }), run: (values, key) => client.call(SERVICES, `${name}_unit`, [], { named: values, key, timeoutMs: UNIT_MS }), done: () => state.again() })
  const unit = (one) => [named(one.unit), badge(shown(one.active), KINDS[one.active] ?? 'plain'), shown(one.sub), named(one.description),
    el('div', { class: 'acts' }, mine('status') && el('button', { type: 'button', 'data-key': `look ${one.unit}`, 'aria-label': `${words.look}: ${shown(one.unit)}`, click: () => look(one.unit) }, words.look),
      ACTIONS.filter((name) => name !== DONE[one.active] && one.actions?.includes?.(name) && mine(`${name}_unit`)).map((name) => act(one.unit, name)))]
  const command = (one) => {
    const field = one.words?.length ? el('input', { type: 'text', 'aria-label': words.words(shown(one.job)), 'data-key': `words ${one.job}`, autocomplete: 'off', spellcheck: 'false' }) : null
    const about = [one.argv, one.words].flat().filter((word) => typeof word === 'string').map((word) => shown(word)).join(' ')
    return [named(one.job), el('code', {}, about), el('div', { class: 'acts' }, field, mine('run_job') && doing({ client, signal }, { key: `run ${one.job}`, says: words.run, about: shown(one.job), sure: () => words.runSure(shown(one.job)), target: SERVICES, method: 'run_job', out,
      values: () => ({ job: one.job, ...(field ? { words: field.value.split(/\s+/).filter(Boolean) } : {}) }),
      run: async (values, key) => {
        const seconds = Number(one.seconds)
        const found = plain(await client.call(SERVICES, 'run_job', [], { named: values, key, timeoutMs: 1000 * Math.min(300, (seconds > 0 ? seconds : 60) + 30) }))
        more.replaceChildren(el('h3', {}, shown(one.job)), result(found, shown(one.job), factText))
      } }))]
  }
  const draw = drawer(room, ({ rows, jobs }) => [
    rows.length ? table(words.list, [words.unit, words.state, words.detail, words.says, texts.files.acts], rows.map(unit)) : el('p', {}, words.none),
    jobs.length ? el('section', { class: 'facts' }, el('h3', {}, words.commands), table(words.commands, [words.command, words.runs, texts.files.acts], jobs.map(command))) : null])
  const state = follow(signal, SERVICES, async (fresh, stop) => {
    draw({ rows: await call('list', {}, stop), jobs: mine('jobs') ? await call('jobs', {}, stop) : [] })
    fresh()
  })
  if (mine('subscribe')) {
    follow(signal, SERVICES, async (_, stop) => {
      for await (const item of client.stream(SERVICES, 'subscribe', ['changed'], { signal: stop })) if (item) state.again()
    })
  }
  return el('div', {}, state.element, out, room, more)
}
