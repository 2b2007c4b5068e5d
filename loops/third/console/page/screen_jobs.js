// The calls that this client has put off, at every component that it may call: when they are due, how they went, and what
// pauses, resumes and removes them. They are put on the screen of the methods (job_time.js).

import { doing } from './doing.js'
import { el, show, table } from './dom.js'
import { changeJob, durationWord, listJobs, showJob, whenText } from './jobs.js'
import { unpack } from './msgpack.js'
import { drawer, follow, named, shown, timeText } from './service.js'
import { texts } from './texts.js'
import { line, plain } from './values.js'

const EVERY_MS = 30000 // each time all components are asked
const DONE_MS = 1000 // after a job is due
const ID_SHOWN = 8
const words = texts.jobs

const time = (ms) => timeText(ms || null)
const outcome = (one) => words.outcomes[one] ?? shown(one)
const what = ({ target, method }) => shown(`${target} ${method}`)
const late = (missed) => words.late[missed] ?? words.lateBy(durationWord(Number(missed.slice(1))))

/** The arguments of a call as its target shows them; none of what cannot be read. */
function argumentsOf(call) {
  try {
    const [args, byName] = plain(unpack(call))
    return [...args.map((one) => line(one)), ...Object.entries(byName).map(([name, one]) => `${name}=${line(one)}`)].join(' ')
  } catch {
    return ''
  }
}

export function jobs({ client, signal }) {
  const room = el('div', {}), one = el('div', { 'aria-live': 'polite' }), out = el('div', { 'aria-live': 'polite' })
  const act = (job, change, more = {}) => doing({ client, signal }, {
    key: `${change} ${job.id}`, says: words[change], about: what(job), target: job.target, method: change, out,
    run: () => changeJob(client, change, job), command: () => ['tlsrt', 'jobs', change, job.id.slice(0, ID_SHOWN)],
    done: () => {
      if (change === 'remove') show(one)
      state.again()
    }, ...more,
  })
  const look = async (job) => {
    try {
      const all = await showJob(client, job, { signal })
      const about = [
        [words.call, what(all)], [words.args, shown(argumentsOf(all.call), 1000)], [words.when, shown(whenText(all.when, words))],
        [words.missed, late(all.missed)], [words.upcoming, all.upcoming.map(time).join(', ') || '–'], [words.outcome, outcome(all.outcome)],
        ...(all.pausedBy ? [[words.pausedBy, shown(all.pausedBy)]] : []),
      ]
      show(one, el('h3', {}, words.detail(what(all), all.id)), table(words.id, texts.methods.entry, about),
        all.history.length ? table(words.history, [words.began, words.took, words.outcome], all.history.reverse().map(({ began, tookMs, outcome: end }) => [time(began), `${shown(tookMs)} ms`, outcome(end)])) : null)
    } catch (error) {
      if (!signal.aborted) show(one, el('p', { class: 'error', role: 'alert' }, shown(texts.failed(error), 1000)))
    }
  }
  const row = (job) => [named(`${job.target} ${job.method}`), shown(whenText(job.when, words)), time(job.next), shown(job.runs), time(job.last), outcome(job.outcome), el('div', { class: 'acts' },
    el('button', { type: 'button', 'data-key': `look ${job.id}`, 'aria-label': `${words.look}: ${what(job)}`, click: () => look(job) }, words.look),
    job.outcome === 'paused' ? act(job, 'resume') : job.next ? act(job, 'pause') : null, // nothing comes of what ran once
    act(job, 'remove', { sure: () => words.removeSure(what(job), job.id.slice(0, ID_SHOWN)) }))]
  const draw = drawer(room, ({ jobs: rows, silent }) => [
    rows.length ? table(words.list, [words.call, words.when, words.next, words.runs, words.last, words.outcome, texts.files.acts], rows.map(row)) : el('p', {}, words.none),
    silent.length ? el('details', {}, el('summary', {}, words.silent(silent.length)), el('ul', {}, silent.map(([target, why]) => el('li', {}, shown(`${target}: ${why}`, 1000))))) : null])
  const state = follow(signal, texts.screens.jobs, async (fresh, stop) => {
    const { jobs: rows, silent } = await listJobs(client, { signal: stop })
    draw({ jobs: rows, silent: silent.map(([target, error]) => [target, texts.failed(error)]) })
    fresh()
    return Math.min(...rows.map((job) => job.next - Date.now()).filter((left) => left > 0)) + DONE_MS // what is due now may be under way
  }, EVERY_MS)
  return el('div', {}, state.element, out, room, one)
}
