// The audit log, with its proof checked here: what is proven, from when to when, by which key, and what no check can see.

import { AuditFault } from './audit_entry.js'
import { AuditProof } from './audit_proof.js'
import { compare, keepHead, seenHead } from './audit_seen.js'
import { isBytes } from './bytes.js'
import { el, show } from './dom.js'
import { TlsrtError } from './errors.js'
import { may } from './feeds.js'
import { canCheck } from './primitives.js'
import { missing } from './screen_health.js'
import { texts } from './texts.js'
import { VirtualList } from './virtual_list.js'

const LOGS = 'secondary/logs', PARTS = [1, 2, 4, 8, 16], PART_BYTES = 8 << 20, HEADERS_BYTES = 1 << 20
const KEPT = 5000, TOLD_MS = 200
const time = (ms) => (ms === null || ms > 8.64e15 ? '–' : new Date(ms).toISOString().slice(0, 19).replace('T', ' ') + 'Z')
const words = ({ boottime, wall, kind, subject, detail }) => `${kind} ${subject} ${detail.reduce((all, one, at) => all + (at % 2 ? `=${one}` : ` ${one}`), '').trim()}`

/** Read the newest parts and check them; `progress` hears how many entries there are. Resolve to {proof, report, records}. */
export async function checked(client, parts, signal, progress = () => {}) {
  const records = []
  let size = 0, due = 0
  const proof = new AuditProof((sequence, record) => {
    records.push({ sequence, record })
    if (records.length > 2 * KEPT) records.splice(0, KEPT)
  }, client.host.install)
  try {
    for await (const item of client.stream(LOGS, 'audit_log', [], { named: { parts }, signal })) {
      if (!Number.isSafeInteger(item?.part) || item.part < 1 || !isBytes(item.bytes) || !item.bytes.length) throw new TlsrtError('failed', texts.audit.noLog)
      if ((size += item.bytes.length) > parts * PART_BYTES + HEADERS_BYTES) throw new TlsrtError('failed', texts.audit.tooLong)
      await proof.take(item.part, item.whole === true, item.bytes)
      if (performance.now() > due) {
        due = performance.now() + TOLD_MS
        progress(proof.report.entries)
      }
    }
  } catch (error) {
    if (!(error instanceof AuditFault)) throw error
  }
  return { proof, report: await proof.end(), records: records.slice(-KEPT) }
}

function row({ sequence, record, isProven }) {
  const text = words(record)
  return el('div', { class: `row${isProven ? '' : ' warning'}`, title: text }, el('time', {}, time(Number(record.wall)).slice(5)), el('b', {}, isProven ? String(sequence) : `${sequence} ${texts.audit.unproven}`), text)
}

/** What was found, in words: [class, sentence] each, the most important first. */
export function verdicts({ report, trees }, before) {
  const { audit } = texts, { fault, signed } = report, seen = fault ? 'none' : compare(before, report, trees)
  const found = []
  if (fault) found.push(['bad', audit.broken(fault.file, fault.sequence, audit.faults[fault.word](fault.more))])
  if (['cut', 'other', 'key'].includes(seen)) found.push(['bad', audit.seen[seen](before.sequence, time(before.wall), before.key)])
  if (!fault && !signed) found.push(['warn', audit.nothing])
  if (!report.isBound && !fault) found.push(['warn', audit.unbound])
  if (report.roots.some(({ isNamed }) => !isNamed)) found.push(['warn', audit.unnamed])
  if (!found.length) found.push(['good', audit.good])
  if (['here', 'older'].includes(seen)) found.push(['note', audit.seen[seen](before.sequence, time(before.wall))])
  return found
}

function keys({ roots, next }) {
  const { audit } = texts, newest = roots.at(-1)?.key, all = [...new Set([...roots.map(({ key }) => key), ...(newest && next && next !== newest ? [next] : [])])]
  const said = el('p', { role: 'status' })
  const compareTo = (event) => {
    const typed = event.target.value.replace(/\s/g, '').toLowerCase()
    said.className = !typed ? '' : typed === newest || typed === next ? 'badge good' : 'badge bad'
    said.textContent = !typed ? '' : typed === newest || typed === next ? audit.same : audit.other
  }
  return el('section', { 'aria-label': audit.key }, el('h3', {}, audit.key),
    all.length ? all.map((key) => el('p', {}, el('code', { class: 'same' }, key), ' ', key === newest ? audit.now : key === next ? audit.next : audit.before)) : el('p', {}, audit.noKey),
    el('label', {}, el('span', {}, audit.typed), el('input', { id: 'audit-key', type: 'text', spellcheck: 'false', autocomplete: 'off', input: compareTo })), said,
    el('pre', { tabindex: '0' }, 'tlsrt-supervisor audit key\ntlsrt-supervisor audit verify'))
}

export function audit({ client, signal }) {
  const { audit } = texts
  if (!may(client, LOGS, 'audit_log')) return missing(audit.none, `tlsrt-supervisor component add secondary/logs --allow 'client/${client.subject.split('/')[1] ?? 'NAME'}: [audit_log]'`)
  const body = el('div', {}), state = el('p', { class: 'note', role: 'status' }), list = new VirtualList(audit.list, row)
  const parts = el('select', { id: 'audit-parts' }, PARTS.map((count) => el('option', { value: count }, audit.parts(count))))
  const button = el('button', { class: 'main', type: 'submit' }, audit.check)
  let reading = null
  const draw = ({ proof, report, records }) => {
    const { install } = client.host, before = seenHead(install), { signed } = report
    const found = verdicts({ report, trees: proof.trees }, before)
    if (signed && report.isBound && !found.some(([kind]) => kind === 'bad')) keepHead(install, signed, report.roots.at(-1).key)
    const tile = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value))
    show(body, found.map(([kind, sentence], at) => el('p', { class: kind === 'note' ? kind : `verdict ${kind}`, id: at ? null : 'audit-verdict' }, sentence)),
      el('dl', { class: 'tiles' }, tile(audit.from, time(report.from)), tile(audit.until, time(signed?.wall ?? null)), tile(audit.sequences, signed ? `${report.first} – ${signed.sequence}` : '–'),
        tile(audit.records, String(report.records)), tile(audit.heads, String(report.heads)), tile(audit.unsigned, String(report.unsigned))),
      keys(report), el('h3', {}, audit.cannot), el('ul', {}, audit.limits.map((one) => el('li', {}, one))), el('h3', {}, audit.list), list.element)
    list.set(records.map((one) => ({ ...one, isProven: report.isBound && Boolean(signed) && one.sequence <= signed.sequence })))
  }
  const read = async () => {
    reading?.abort()
    const now = reading = new AbortController()
    const stop = AbortSignal.any([signal, now.signal])
    try {
      if (!(await canCheck())) return show(body, el('p', { class: 'error', role: 'alert' }, audit.noEd25519))
      state.textContent = texts.loading
      const result = await checked(client, Number(parts.value), stop, (entries) => { state.textContent = audit.progress(entries) })
      if (stop.aborted) return
      state.textContent = audit.done(result.report.entries)
      draw(result)
    } catch (error) {
      if (stop.aborted) return
      state.textContent = ''
      show(body, el('p', { class: 'error', role: 'alert' }, texts.failed(error)))
    }
  }
  requestAnimationFrame(read)
  return el('div', {}, el('form', { class: 'filters', submit: (event) => { event.preventDefault(); read() } }, el('label', {}, el('span', {}, audit.how), parts), button), state, body)
}
