// Calls that a client puts off (section 19 of PROTOCOL.md): how their times are said, put, listed and changed. A job that is
// put is on the disk of the host, which runs it with the rights that its client has then, also when this page is closed.

import { hex, unhex } from './bytes.js'
import { TlsrtError } from './errors.js'
import { random } from './primitives.js'
import { plain } from './values.js'
import { packRequest } from './wire.js'

const CALL_MAX = 4096
const AGAIN_MS = 100
const UNITS = { s: 1, m: 60, h: 3600, d: 86400 }
const MOST_S = 366 * UNITS.d, EVERY_LEAST_S = 30, LATE_LEAST_S = 60
const LOST = new Set(['outcome_unknown', 'stale']) // the keys of the host have changed meanwhile: the proof is made anew

const wrong = (sentence) => { throw new TlsrtError('invalid_argument', sentence) }
const isTime = (one) => Number.isSafeInteger(one) && one >= 0
const ROW = [(id) => id instanceof Uint8Array && id.length === 8, ...Array(3).fill((one) => typeof one === 'string'), isTime, isTime, isTime, (one) => typeof one === 'string']

/** Return the seconds of a duration such as 90s, 10m, 2h, 7d. Throws TlsrtError with what is wrong. */
export function seconds(text, least, most = MOST_S) {
  const found = /^(\d{1,9})([smhd])$/.exec(text.trim()), value = found ? Number(found[1]) * UNITS[found[2]] : NaN
  if (!found) wrong(`cannot read the duration ${JSON.stringify(text)}: write 90s, 10m, 2h or 7d`)
  if (value < least || value > most) wrong(`${text.trim()} is not between ${least} s and ${durationWord(most)}`)
  return value
}

/** Return a duration as it can be written: in its largest unit that leaves no rest. */
export function durationWord(value) {
  const unit = ['d', 'h', 'm', 's'].find((one) => value % UNITS[one] === 0)
  return `${value / UNITS[unit]}${unit}`
}

/**
 * Return a time as it travels, and as the command line has it: [text, option, word]. `kind` is in (after a duration), at
 * (a date and time of this browser's zone), every (a duration) or cron (five fields, in the time zone of the host).
 */
export function timeOf(kind, text) {
  if (kind === 'in') return [`+${seconds(text, 1)}`, '--in', text.trim()]
  if (kind === 'every') return [`%${seconds(text, EVERY_LEAST_S)}`, '--every', text.trim()]
  if (kind === 'cron') {
    const fields = text.trim().split(/\s+/)
    if (fields.length !== 5) wrong(`cannot read ${JSON.stringify(text)}: write five fields as cron has them, such as 30 6 * * *`)
    return [fields.join(' '), '--at', fields.join(' ')]
  }
  const at = new Date(text)
  if (!text || Number.isNaN(at.valueOf())) wrong('there is no time: say a date and a time of day')
  if (at.valueOf() <= Date.now()) wrong(`${at.toLocaleString()} is over: say a time that comes`)
  return [`@${Math.round(at.valueOf() / 1000)}`, '--at', at.toISOString()]
}

/** Return what becomes of a run that is late, as it travels: `once`, `skip`, or a duration up to which it is made up for. */
export const missedOf = (text) => (text === 'once' || text === 'skip' ? text : `+${seconds(text, LATE_LEAST_S)}`)

/** Return the time of a job for people. */
export function whenText(when, words) {
  const [, time, jitter] = /^(.*?)(?: ~(\d+))?$/s.exec(when)
  const said = time.startsWith('%') ? words.every(durationWord(Number(time.slice(1)))) : /^[@+]/.test(time) ? words.once : time
  return jitter ? `${said} ~${durationWord(Number(jitter))}` : said
}

/** Put a call off; return the id of the job in hex. What was lost is sent again, and put once. */
export async function putJob(client, { target, method, named, when, missed = 'once' }, { timeoutMs = 30000, signal } = {}) {
  const body = packRequest([], named, null)
  if (body.length > CALL_MAX) wrong(`the arguments have ${body.length} bytes, and those of a job at most ${CALL_MAX}`)
  const job = random(8), ends = performance.now() + timeoutMs
  for (;;) {
    const left = ends - performance.now()
    try {
      await client.putJob({ job, target, method, when, missed, body }, { timeoutMs: Math.max(1, left), signal })
      return hex(job)
    } catch (error) {
      if (!LOST.has(error.code) || left < 2 * AGAIN_MS) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
}

function entryOf(target, row) {
  if (!Array.isArray(row) || row.length !== ROW.length || !ROW.every((fits, at) => fits(row[at]))) throw new TlsrtError('failed', `${target} shows what is no job`)
  const [id, method, when, missed, next, runs, last, outcome] = row
  return { id: hex(id), target, method, when, missed, next, runs, last, outcome }
}

/** Return {jobs, silent}: this client's jobs at all that it may call, the next one first; and [target, why] of who is silent. */
export async function listJobs(client, { signal } = {}) {
  const jobs = [], silent = []
  await Promise.all([...client.rights].map(async ([target, { running }]) => {
    try {
      if (!running) throw new TlsrtError('unavailable', `${target} does not run now`)
      const rows = plain(await client.askJobs(target, ['list'], { signal }))
      if (!Array.isArray(rows)) throw new TlsrtError('failed', `${target} shows what is no list of jobs`)
      jobs.push(...rows.map((row) => entryOf(target, row)))
    } catch (error) {
      if (signal?.aborted) throw error
      silent.push([target, error])
    }
  }))
  return { jobs: jobs.sort((one, other) => (one.next || Infinity) - (other.next || Infinity) || (one.id < other.id ? -1 : 1)), silent: silent.sort() }
}

/** Return all of a job: its entry, who paused it, its next times in ms since 1970, and how its last runs ended, the newest last. */
export async function showJob(client, { target, id }, { signal } = {}) {
  const all = plain(await client.askJobs(target, ['show', unhex(id)], { signal }))
  const isShown = Array.isArray(all) && all.length === 7 && [all[1], all[2]].every(Array.isArray) && typeof all[3] === 'string' && all[4] instanceof Uint8Array
  if (!isShown) throw new TlsrtError('failed', `${target} shows what is no job`)
  const [row, upcoming, past, pausedBy, call] = all
  const history = past.map((one) => ({ began: one?.[0], tookMs: one?.[1], outcome: one?.[2] }))
  return { ...entryOf(target, row), upcoming: upcoming.filter(isTime), history, pausedBy, call }
}

/** Remove, pause or resume a job. */
export const changeJob = (client, what, { target, id }) => client.askJobs(target, [what, unhex(id)])
