// Values as people read and write them. Pure: nothing here knows of a page.

const BASE64_SHOWN = 48 // bytes of a long one that are shown

/** Return a value of the protocol as plain objects: maps become objects without a prototype, so no key is special. */
export function plain(value) {
  if (value instanceof Map) return plainEntries([...value].map(([key, one]) => [typeof key === 'string' ? key : `0x${hexOf(key)}`, one]))
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Uint8Array || value === null || typeof value !== 'object') return value
  return plainEntries(Object.entries(value))
}

function plainEntries(entries) {
  const made = Object.create(null)
  for (const [key, one] of entries) made[key] = plain(one)
  return made
}

const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** Return one line for a value, of a bounded length. */
export function line(value, most = 400) {
  let text
  if (value === null || value === undefined) text = '–'
  else if (value instanceof Uint8Array) text = `${bytesText(value.length)}: ${hexOf(value.subarray(0, BASE64_SHOWN))}${value.length > BASE64_SHOWN ? '…' : ''}`
  else if (typeof value === 'object') text = JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? String(one) : one instanceof Uint8Array ? `0x${hexOf(one.subarray(0, BASE64_SHOWN))}` : one))
  else text = String(value)
  return text.length > most ? `${text.slice(0, most)}…` : text
}

const isPart = (one) => one === null || ['string', 'number', 'boolean', 'bigint'].includes(typeof one)
const part = (one) => (typeof one === 'string' && (one === '' || /[,:] |["\s]$|^["\s]/.test(one)) ? JSON.stringify(one) : line(one)) // it cannot look like two

/** Return one line for the cell of a table: what is in a flat list or object is told as people write it, none as a dash. */
export function cellText(value, most = 400) {
  const isObject = value !== null && typeof value === 'object' && !(value instanceof Uint8Array), parts = isObject ? Object.entries(value) : []
  if (!isObject || !parts.every(([, one]) => isPart(one))) return line(value, most)
  return line(parts.map(([key, one]) => (Array.isArray(value) ? part(one) : `${part(key)}: ${part(one)}`)).join(', ') || '–', most)
}

/** Return a size in bytes with a unit. */
export function bytesText(size) {
  if (size === null || size === undefined) return '–'
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  for (; size >= 1024 && at < units.length - 1; at++) size /= 1024
  return `${at && size < 100 ? size.toFixed(1) : Math.round(size)} ${units[at]}`
}

/** Return a duration in seconds in its two largest units. */
export function durationText(seconds) {
  if (seconds === null || seconds === undefined) return '–'
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]
  const first = units.findIndex(([size]) => seconds >= size)
  const parts = units.slice(first, first + 2).map(([size, unit]) => {
    const count = Math.floor(seconds / size)
    seconds -= count * size
    return `${count} ${unit}`
  })
  return parts.join(' ')
}

/** Return how much some of all is: `none`, or in percent, never rounded to none or all. */
export function shareText(some, all) {
  if (!some) return 'none'
  const percent = (100 * some) / all
  return percent < 0.1 ? 'less than 0.1 %' : `${percent < 10 ? percent.toFixed(1) : Math.min(Math.round(percent), some < all ? 99 : 100)} %`
}

const COUNTED = /(^|_)(packets|frames|errors|dropped|refused|count|calls)$/
const EPOCH_MS = 1e11 // a time since 1970 and no duration is above it, in 1973

/** What a field's unit makes of its number: [name without the unit, text]. null if the name says none. */
function measured(name, value) {
  const isNumber = typeof value === 'number' || typeof value === 'bigint', [, what, unit] = /^(.+)_(bytes|ms|s)$/.exec(name) ?? []
  if (isNumber && COUNTED.test(name)) return [name, value.toLocaleString()]
  if (!unit || !(isNumber || value === null)) return null
  const bare = what.replace(/_(wall|monotonic)$/, '')
  if (value === null) return [bare, '–']
  const number = Number(value), time = number * (unit === 's' ? 1000 : 1)
  if (unit === 'bytes') return [bare, number < 10000 ? `${number} B` : bytesText(number)]
  if (time > EPOCH_MS && time < 8.64e15) return [bare, new Date(time).toLocaleString([], { dateStyle: 'short', timeStyle: 'medium' })]
  return [bare, Math.abs(time) < 1000 ? `${Math.round(time)} ms` : durationText(time / 1000)]
}

/** Return a field of a fact as [name, text] for people: with its unit, and what is in lists and objects told, not as JSON. */
export function factText(name, value, most = 400) {
  const found = measured(name, value)
  if (found) return [found[0].replaceAll('_', ' '), found[1]]
  const isObject = value !== null && typeof value === 'object' && !(value instanceof Uint8Array), within = (one) => (isPart(one) ? part(one) : `(${factText('', one, most)[1]})`)
  if (!isObject) return [name.replaceAll('_', ' '), line(value, most)]
  let parts
  if (Array.isArray(value)) parts = value.slice(0, most).map(within)
  else {
    const all = Object.entries(value), isCounters = all.every(([, one]) => ['number', 'bigint'].includes(typeof one))
    parts = all.filter(([, one]) => !isCounters || Number(one)).slice(0, most).map(([key, one]) => {
      const [says, text] = isPart(one) ? measured(key, one) ?? [key, part(one)] : [key, within(one)]
      return `${part(says.replaceAll('_', ' '))}: ${text}`
    })
  }
  return [name.replaceAll('_', ' '), line(parts.join(', ') || '–', most)]
}

const alternatives = (schema) => schema.anyOf ?? [schema]
const hasType = (schema, type) => alternatives(schema).some((one) => one.type === type)

/** Tell how a parameter is typed in: text, number, boolean, choice, bytes, or json. */
export function kindOf(parameter) {
  const schema = parameter.schema ?? {}
  const known = alternatives(schema).filter((one) => one.type !== 'null')
  if (known.length !== 1) return 'json'
  const [one] = known
  if (one.enum) return 'choice'
  if (one.contentEncoding || /^bytes\b/.test(parameter.type ?? '')) return 'bytes'
  return { string: 'text', integer: 'number', number: 'number', boolean: 'boolean' }[one.type] ?? 'json'
}

/** Return {value}, {left: true} for what is left out, or {error} with a sentence, for what was typed for a parameter. */
export function typed(parameter, text) {
  const kind = kindOf(parameter), one = alternatives(parameter.schema ?? {}).find((each) => each.type !== 'null') ?? {}
  if (text === '' && !(kind === 'text' && parameter.required)) return parameter.required ? { error: `${parameter.name} is missing: type ${parameter.type}` } : { left: true }
  if (kind === 'text') {
    const size = [...text].length
    if (size < (one.minLength ?? 0)) return { error: `${parameter.name} is too short: it has at least ${one.minLength} characters` }
    if (size > (one.maxLength ?? Infinity)) return { error: `${parameter.name} is too long: it has at most ${one.maxLength} characters` }
    return { value: text }
  }
  if (kind === 'choice') return { value: one.enum.find((each) => String(each) === text) ?? text }
  if (kind === 'number') {
    const value = Number(text)
    if (!Number.isFinite(value) || (one.type === 'integer' && !/^-?\d+$/.test(text.trim()))) return { error: `${parameter.name} is no number: type ${parameter.type}` }
    if (value < (one.minimum ?? -Infinity) || value > (one.maximum ?? Infinity)) return { error: `${parameter.name} is out of range: type ${parameter.type}` }
    return { value: one.type === 'integer' && !Number.isSafeInteger(value) ? BigInt(text.trim()) : value }
  }
  if (kind === 'boolean') return { value: text === 'true' }
  try {
    return { value: JSON.parse(text) }
  } catch {
    if (!Object.keys(parameter.schema ?? {}).length) return { value: text } // any value: a plain word is a text, as on the command line
    return { error: `${parameter.name} is no JSON: type ${parameter.type}, such as ${hasType(parameter.schema, 'array') ? '["a", "b"]' : '{"a": 1}'}` }
  }
}

/** Return a word as a POSIX shell reads it back. */
export const shellWord = (word) => (/^[\w./:=,+@%-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)

/** Return a command line of these words. */
export const commandText = (words) => words.map((word) => shellWord(String(word))).join(' ')

const NAME = /^[\p{L}_][\p{L}\p{N}_]{0,79}$/u // what the platform takes for a method or parameter; an option of a command is none

/** Return what a component says of itself, without methods whose names, or parameters' names, are none: it may lie. */
export function wellNamed(said) {
  const fits = ([name, method]) => NAME.test(name) && (method.parameters ?? []).every((one) => NAME.test(one.name))
  return { ...said, doc: line(said.doc ?? '', 4000), methods: Object.fromEntries(Object.entries(said.methods ?? {}).filter(fits)) }
}

/** Return the command line that does the same. `values` are [parameter, value]; bytes are shown as a file. */
export function commandLine(target, method, values) {
  const words = values.map(([parameter, value]) => {
    if (value instanceof Uint8Array) return `${parameter.name}=@FILE`
    const isPlainText = typeof value === 'string' && (kindOf(parameter) === 'text' || kindOf(parameter) === 'choice')
    return `${parameter.name}=${isPlainText ? value : JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? String(one) : one))}`
  })
  return commandText(['tlsrt', 'call', target, method, ...words])
}

/** Tell whether a method may change something: the host says of the others that they may be repeated. */
export const mayChange = (method) => !method.idempotent && !method.stream

/** Tell whether an event is wanted. `words` must all be in it, in small or capital letters. */
export function wantsEvent(event, { kind = '', severity = '', words = '' }) {
  if (kind && event.kind !== kind) return false
  if (severity === 'warning' && event.severity === 'info') return false
  if (severity === 'alarm' && event.severity !== 'alarm') return false
  const text = `${event.name} ${event.subject} ${event.sentence}`.toLowerCase()
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word))
}

/** Return [what is wrong, which process] of a status; none if all is well. */
export function troubles(status) {
  const found = []
  if (status.door?.locked) found.push(['the host is locked', ''])
  for (const group of status.supervision?.groups ?? []) if (group.state !== 'healthy') found.push([`${group.state}: ${group.why ?? 'it starts again'}`, group.name])
  for (const one of status.loops ?? []) {
    if (one.state !== 'active' && one.state !== 'stopped') found.push([`is ${one.state}`, one.name])
    if (['suspect', 'dead'].includes(one.health)) found.push([`its heartbeat is ${one.health}`, one.name])
    for (const part of one.components ?? []) {
      if (['failing', 'silent'].includes(part.health)) found.push([`says that it is ${part.health}`, `${one.name}: ${part.name}`])
    }
    if (one.violations) found.push([`made ${one.violations} forbidden calls`, one.name])
    if (one.stuck) found.push([`waits in the kernel for ${durationText(one.stuck.for_s)}`, one.name])
    if (one.disk_wait) found.push([`waits for its disk for ${durationText(one.disk_wait.for_s)}`, one.name])
  }
  if (status.boundary && !status.boundary.equal && !status.boundary.changing) found.push([`not in the same epoch: ${status.boundary.behind.join(', ')}`, ''])
  for (const one of status.quarantined ?? []) found.push(['is in quarantine', String(one)])
  for (const warning of status.warnings ?? []) found.push([line(warning), ''])
  return found
}

/** Group processes as a tree: loops with their further processes under them. */
export function tree(status) {
  const loops = new Map()
  for (const one of status.loops ?? []) {
    const [name, ...rest] = one.name.split('.')
    if (!loops.has(name)) loops.set(name, { name, process: null, children: [] })
    if (rest.length) loops.get(name).children.push(one)
    else loops.get(name).process = one
  }
  return [...loops.values()]
}

const BOXES = { files: ['mount_namespace', 'landlock'], network: ['net_namespace'], processes: ['pid_namespace', 'ipc_namespace'], calls: ['seccomp', 'no_new_privs'], rights: ['capabilities', 'uid'], limits: ['cgroup', 'limits'] }

/** Return [box, is closed, why it is not] for what confines a process. */
export function boxes(sandbox) {
  const layers = new Set(sandbox?.layers ?? []), waived = sandbox?.waived ?? {}
  return Object.entries(BOXES).map(([box, needed]) => {
    const open = needed.filter((layer) => !layers.has(layer))
    return [box, !open.length, open.map((layer) => (waived[layer] ? `${layer}: ${waived[layer]}` : layer)).join('; ')]
  })
}

const HOSTILE = new Set([
  'violation', 'difference', 'code_changed', 'egress_denied', 'egress_wanted', 'offence', 'anomaly', 'unusual', 'detected', 'response', 'response_ended',
  'would_respond', 'lock_refused', 'unlock_refused', 'decoy_touched', 'locked', 'unlocked', 'revocation', 'restored', 'client_refused', 'refused',
])

/** Return stories of attacks, the newest first: who, from when to when, and what happened. */
export function stories(events) {
  const bySubject = new Map()
  for (const event of events) {
    if (!HOSTILE.has(event.name)) continue
    const story = bySubject.get(event.subject) ?? { subject: event.subject, first: event.at, last: event.at, events: [] }
    story.events.push(event)
    story.last = event.at
    bySubject.set(event.subject, story)
  }
  return [...bySubject.values()].sort((one, other) => (one.last < other.last ? 1 : -1))
}
