// The fields of a form that say when a call is to be made: now, or as a job of the host (jobs.js).

import { el } from './dom.js'
import { missedOf, timeOf } from './jobs.js'
import { field } from './service.js'
import { texts } from './texts.js'

const words = texts.jobs

/**
 * Return {element, isLater, read}. `read()` gives {when, missed, options}, the last as words of a command line, and throws
 * TlsrtError for what cannot be read; `changed()` is called when another kind of time is chosen.
 */
export function timeFields(changed) {
  const kinds = el('select', { name: 'job-kind', id: 'job-kind', change: () => draw() }, Object.entries(words.kinds).map(([kind, says]) => el('option', { value: kind }, says)))
  const time = field('job-time', ''), missed = field('job-missed', words.lateness, { value: 'once' })
  const more = el('div', { class: 'filters', hidden: true }, time, missed)
  const draw = () => {
    const kind = kinds.value, input = time.lastChild
    more.hidden = kind === 'now'
    time.firstChild.textContent = words.hints[kind] ?? ''
    input.type = kind === 'at' ? 'datetime-local' : 'text'
    input.value = ''
    changed()
  }
  return {
    element: el('div', {}, el('label', {}, el('span', {}, words.time), kinds), more),
    get isLater() {
      return kinds.value !== 'now'
    },
    read() {
      const [when, option, word] = timeOf(kinds.value, time.lastChild.value), late = missed.lastChild.value.trim()
      return { when, missed: missedOf(late), options: [option, word, ...(late === 'once' ? [] : ['--missed', late])] }
    },
  }
}
