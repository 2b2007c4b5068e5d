// An action (action.js) of a form or of a row: its arguments are what is typed when it is begun, and how it went is said in
// one place of the screen, with the command line that does the same.

import { Act } from './action.js'
import { ask } from './dialog.js'
import { el, show } from './dom.js'
import { shown } from './service.js'
import { texts } from './texts.js'
import { commandText } from './values.js'

const WORD_SHOWN = 500

/** The words of the command line that makes a call with these named arguments; what is null is left out. */
export const callWords = (target, method, values) => ['tlsrt', 'call', target, method,
  ...Object.entries(values).filter(([, one]) => one !== null && one !== undefined).map(([name, one]) => `${name}=${typeof one === 'string' ? one : JSON.stringify(one)}`)]

/**
 * Return the button. `values()` gives the named arguments when it is pressed, or null for nothing; `sure(values)` the
 * question, if there is one; `run(values, key)` does it, if that is no plain call; `done(value)` hears how it ended.
 */
export function doing({ client }, { form = null, says, about = null, sure = null, target, method, out, values = () => ({}), run = null, command = callWords, done = null, key = null }) {
  let now = null
  const words = () => command(target, method, now).map((one) => shown(one, WORD_SHOWN))
  const act = new Act(client, sure && ((signal) => ask(sure(now), says, texts.act.no, { command: words(), signal })),
    ({ key: once }) => (run ? run(now, once) : client.call(target, method, [], { named: now, key: once })))
  const begin = (event) => {
    event.preventDefault()
    if (act.isBusy) return
    now = values()
    if (now !== null) act.begin()
  }
  const button = el('button', { type: form ? 'submit' : 'button', 'data-key': key, 'aria-label': about ? `${says}: ${about}` : null, ...(form ? {} : { click: begin }) }, says)
  form?.addEventListener('submit', begin)
  act.addEventListener('change', async () => {
    const { state, value, error } = act
    button.setAttribute('aria-disabled', String(act.isBusy))
    const said = { waiting: () => el('p', { class: 'note', role: 'status' }, texts.act.waiting), pending: () => el('p', { class: 'note', role: 'status' }, texts.act.pending),
      done: () => el('p', { class: 'note', role: 'status' }, `${says}${about ? `: ${about}` : ''}: ${texts.act.done(new Date().toLocaleTimeString())} `, el('code', {}, commandText(words()))),
      failed: () => el('p', { class: 'error', role: 'alert' }, shown(texts.failed(error), 1000), error.code === 'outcome_unknown' ? ` ${texts.act.unknown}` : '') }[state]
    if (said) show(out, said())
    if (state === 'done') await done?.(value)
  })
  return button
}
