// What an answer may stand on, as tlsrt/channels/client/sources.py has it: found by calls of this client, so that a model gets
// nothing that the asker may not read. A source is {name, text, place, at, author, head}.

import { TlsrtError } from './errors.js'
import { texts } from './texts.js'
import { plain } from './values.js'

export const SEARCH = 'secondary/search', LOGS = 'secondary/logs', MESSAGES = 'external/messages'
const PASSAGE = 400, PASSAGES = 5, NAME = 200, MAILS = 500, SILENCE_MS = 5000
const PAGE = 500, PAGES = 20, LINE_LEAST = 80

const check = (isRight, what) => { if (!isRight) throw new TlsrtError('failed', `${what} answers with what it should not`) }
const time = (ms) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')
const isText = (one) => typeof one === 'string'

/** Make a source; `at` is wall time in ms, or null. */
export const source = (name, text, place = '', at = null, author = '') => ({ name, text, place, at, author, head: at === null ? name : `${name}, ${time(at)}` })

const stems = (text) => (text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? []).map((one) => one.replace(/(?<=\w{3})(ing|ed|es|s)$/, '').slice(0, 5))

/** Return how much each text has of the words of a question, the rare ones count more (Okapi BM25); 0 is none of them. */
export function scores(question, texts) {
  const counted = texts.map((text) => {
    const words = stems(text), counts = new Map()
    for (const one of words) counts.set(one, (counts.get(one) ?? 0) + 1)
    return { counts, total: words.length }
  })
  const mean = counted.reduce((sum, one) => sum + one.total, 0) / Math.max(1, counted.length) || 1
  const found = texts.map(() => 0)
  for (const word of new Set(stems(question))) {
    const holding = counted.filter((one) => one.counts.has(word)).length
    const rarity = Math.log(1 + (texts.length - holding + 0.5) / (holding + 0.5))
    counted.forEach(({ counts, total }, at) => {
      const times = counts.get(word) ?? 0
      if (times) found[at] += (rarity * times * 2.2) / (times + 1.2 * (0.5 + (0.5 * total) / mean))
    })
  }
  return found
}

/** Return the passages of a namespace that are nearest in meaning; `.` is this client's own. */
export async function searched(client, question, namespace, { signal, note }) {
  const found = plain(await client.call(SEARCH, 'search', [question.slice(0, 4000)], { named: { limit: PASSAGES, ...(namespace === '.' ? {} : { namespace }) }, signal, timeoutMs: 60000 }))
  check(Array.isArray(found?.hits), SEARCH)
  if (found.outdated) note(texts.ai.outdated(found.outdated))
  return found.hits.slice(0, PASSAGES).map((one) => {
    check(isText(one?.source) && isText(one.kind) && isText(one.text) && Number.isInteger(one.at_ms), SEARCH)
    return source(`${one.kind} ${one.source.slice(0, NAME)}`, one.text.slice(0, 2 * PASSAGE), `${SEARCH}, namespace ${namespace === '.' ? client.subject : namespace}`, one.at_ms, isText(one.author) ? one.author : '')
  })
}

/** Return [since, until] of `today`, `yesterday` (of local time), `FROM..TO` or `FROM`. */
export function period(text, now = new Date()) {
  const day = (back) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - back).getTime()
  if (text === 'today') return [String(day(0)), '']
  if (text === 'yesterday') return [String(day(1)), String(day(0) - 1)]
  const [since, until = ''] = text.split('..')
  return [since, until]
}

/** Return lines of a period that have words of the question; those that differ in numbers alone are one. */
export async function logged(client, question, when, isAudit, { signal, note }) {
  const [since, until] = period(when)
  let entries = [], cursor = ''
  for (let page = 0; page < PAGES && cursor !== null; page++) {
    const named = { sources: isAudit ? ['audit'] : null, since, until, limit: PAGE, cursor }
    const answer = plain(await client.call(LOGS, isAudit ? 'query_all' : 'query', [], { named, signal, timeoutMs: 60000 }))
    check(Array.isArray(answer?.entries) && answer.entries.every((one) => Number.isInteger(one?.at_ms) && isText(one.source) && isText(one.text)), LOGS)
    entries = [...answer.entries, ...entries]
    for (const [name, why] of Object.entries(answer.missing ?? {})) if (!cursor) note(`${name}: ${why}`)
    cursor = isText(answer.cursor) && answer.cursor ? answer.cursor : null
  }
  if (cursor && entries.length) note(texts.ai.before(time(entries[0].at_ms)))
  const alike = new Map() // of lines -> {first, last, times}
  for (const one of entries) {
    const text = one.text.replace(/\b[0-9a-f]{16,}\b/g, (id) => `${id.slice(0, 8)}...`).slice(0, PASSAGE)
    const entry = { ...one, text, component: isText(one.component) ? one.component.slice(0, NAME) : '-', priority: Number.isInteger(one.priority) ? one.priority : 6 }
    const key = [entry.source, entry.component, text.replace(/[0-9a-f]{8,}|[0-9]+/g, '#')].join('\0'), known = alike.get(key)
    alike.set(key, { first: known?.first ?? entry, last: entry, times: (known?.times ?? 0) + 1 })
  }
  const groups = [...alike.values()], points = scores(question, groups.map(({ last }) => `${last.component} ${last.text}`))
  const ranked = groups.map((one, at) => ({ ...one, point: points[at] })).sort((a, b) => b.point - a.point || a.last.priority - b.last.priority || b.last.at_ms - a.last.at_ms)
  const taken = []
  let room = PASSAGES * PASSAGE
  for (const { first, last, times, point } of ranked) {
    const text = `${last.text}${times > 1 ? ` (${times} times since ${time(first.at_ms)})` : ''}`
    room -= Math.max(LINE_LEAST, text.length)
    if (room < 0 || (ranked[0].point > 0 && point <= 0)) break
    taken.push(source(last.component, text, `${LOGS}, ${last.source.slice(0, NAME)}`, last.at_ms))
  }
  return taken.sort((a, b) => a.at - b.at)
}

/** Return passages of this client's own messages that have words of the question; none counts as read by that. */
export async function received(client, question, { signal, note }) {
  const positions = []
  for (let page = null; !page || page.length === 100; ) {
    page = plain(await client.call(MESSAGES, 'inbox', [], { named: { limit: 100, after: positions.at(-1) ?? 0 }, signal })).messages
    check(Array.isArray(page) && page.every((one) => Number.isInteger(one?.position) && one.position > (positions.at(-1) ?? 0)), MESSAGES)
    positions.push(...page.map((one) => one.position).sort((a, b) => a - b))
    if (positions.length > 4000) break
  }
  if (!positions.length) return []
  if (positions.length > MAILS) note(texts.ai.mails(MAILS))
  const before = positions.length > MAILS ? positions.at(-MAILS - 1) : 0, parts = [], silence = new AbortController()
  let timer
  const wait = () => { clearTimeout(timer); timer = setTimeout(() => silence.abort(), SILENCE_MS) } // the last one was acknowledged meanwhile
  try {
    wait()
    for await (const one of client.stream(MESSAGES, 'watch', [before], { signal: AbortSignal.any([signal, silence.signal]) })) {
      wait()
      const mail = plain(one)
      check(isText(mail?.id) && isText(mail.from) && Number.isInteger(mail.created_ms) && Number.isInteger(mail.position), MESSAGES)
      const name = `message ${mail.id.slice(0, 8)} from ${mail.from}${isText(mail.topic) ? ` on ${mail.topic}` : ''}`
      const body = isText(mail.body) ? mail.body.slice(0, 16000) : ''
      for (const part of body.match(/\S[^]{0,399}(?!\S)|\S{400}/g) ?? []) parts.push(source(name, part.trim(), `${MESSAGES}, mailbox of ${client.subject}`, mail.created_ms, mail.from))
      if (mail.position >= positions.at(-1)) break
    }
  } catch (error) {
    if (!silence.signal.aborted) throw error
  } finally {
    clearTimeout(timer)
  }
  const points = scores(question, parts.map((one) => `${one.name} ${one.text}`))
  const ranked = parts.map((one, at) => ({ one, point: points[at] })).sort((a, b) => b.point - a.point || b.one.at - a.one.at)
  return ranked.filter(({ point }) => point > 0 || !(ranked[0].point > 0)).slice(0, PASSAGES).map(({ one }) => one)
}
