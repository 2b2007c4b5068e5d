// The models of the host: ask, be heard, hear, find, and look at a file. What a model says is shown as text, and is a guess.

import { ASK, converse, offered } from './asking.js'
import { ask } from './dialog.js'
import { el, seen, show, table } from './dom.js'
import { may } from './feeds.js'
import { missing } from './screen_health.js'
import { parts } from './screen_methods.js'
import { RATE, decoded, play, recorded } from './sound.js'
import { LOGS, MESSAGES, SEARCH, logged, received, searched, source } from './sources.js'
import { texts } from './texts.js'
import { commandText, durationText, line, plain, shellWord } from './values.js'

const words = texts.ai
const SPEECH = 'secondary/speech', IDENTIFY = 'secondary/identify', OCR = 'secondary/ocr'
const ASKED_MOST = 1000, FILES_MOST = 16, FILE_BYTES = 65536, SPOKEN_BYTES = 64 * 1024 * 1024
const field = (label, input) => el('label', {}, el('span', {}, label), input)
const input = (id, more = {}) => el('input', { id, type: 'text', autocomplete: 'off', spellcheck: 'false', ...more })
const model = ({ name, version, sha256 }) => el('p', { class: 'note model' }, words.by(name, version), ' ', el('code', {}, sha256))

/** Return a call that a model wants as one line in which every character is seen. */
export const wantedText = ({ tool, arguments: named }) => [tool, ...Object.entries(named).map(([name, one]) => `${name}=${JSON.stringify(one)}`)].join(' ')
  .replace(/[\p{C}\p{Z}]/gu, (one) => (one === ' ' ? one : `\\u{${one.codePointAt(0).toString(16)}}`))

/** A form whose work ends at once: by Stop, with the screen, or by an error. `run(out, signal, submitter)` does it. */
function work(screen, id, fields, effects, run, command = null) {
  const out = el('div', { class: 'answer' }), wrong = el('p', { role: 'alert', class: 'error' }), same = el('code', { class: 'same', 'aria-label': texts.act.command })
  const buttons = effects.map((effect, at) => el('button', { type: 'submit', class: at ? null : 'main', value: String(at) }, effect))
  const stop = el('button', { type: 'button', hidden: true, click: () => ends?.abort() }, words.stop)
  const say = () => {
    const [typed, more = ''] = command?.() || [] // none while nothing is typed
    same.hidden = !typed
    show(same, typed && seen(commandText(typed) + more))
  }
  let ends = null
  const submit = async (event) => {
    event.preventDefault()
    if (ends) return
    ends = new AbortController()
    const { signal } = ends, leave = () => ends?.abort()
    screen.addEventListener('abort', leave, { once: true })
    for (const one of [out, wrong]) show(one)
    for (const one of buttons) one.disabled = true
    stop.hidden = false
    out.setAttribute('aria-busy', 'true')
    try {
      await run(out, signal, Number(event.submitter?.value ?? 0))
    } catch (error) {
      show(wrong, el('span', {}, signal.aborted ? words.stopped : words.errors[error.name] ?? texts.failed(error)))
    }
    ends.abort()
    screen.removeEventListener('abort', leave)
    ends = null
    for (const one of buttons) one.disabled = false
    stop.hidden = true
    out.setAttribute('aria-busy', 'false')
  }
  say()
  return el('form', { id, submit, input: say }, fields, el('div', { class: 'acts' }, buttons, stop), command && same, wrong, out)
}

function asking(client, screen) {
  const question = el('textarea', { id: 'question-text', rows: '3', maxlength: '8000' }), tools = input('tools'), files = el('input', { id: 'sources', type: 'file', multiple: true })
  const spaces = input('ask-search'), logs = input('ask-logs'), audit = input('ask-audit'), mails = el('input', { id: 'ask-messages', type: 'checkbox' })
  const list = (one) => one.value.split(/\s+/).filter(Boolean)
  const gather = async (signal, note) => {
    if (files.files.length > FILES_MOST) throw new Error(words.manyFiles(FILES_MOST))
    const found = [], where = []
    for (const file of files.files) {
      if (file.size > FILE_BYTES) throw new Error(words.longFile(file.name, FILE_BYTES >> 10))
      found.push(source(file.name, await file.text()))
    }
    const look = async (place, sources) => { where.push(place); found.push(...(await sources)) }, more = { signal, note }
    for (const one of list(spaces)) await look(one, searched(client, question.value, one, more))
    if (mails.checked) await look(words.mailbox, received(client, question.value, more))
    if (logs.value) await look(logs.value, logged(client, question.value, logs.value.trim(), false, more))
    if (audit.value) await look(audit.value, logged(client, question.value, audit.value.trim(), true, more))
    if (where.length && !found.length) throw new Error(words.nothing(where.join(', ')))
    return found
  }
  const run = async (out, signal) => {
    if (!question.value.trim()) throw new Error(words.noQuestion)
    const begun = performance.now(), notes = el('div', { class: 'note', role: 'status' }), said = el('div', { class: 'said', tabindex: '0', role: 'region', 'aria-label': words.answer })
    const note = (text) => notes.append(el('p', {}, text)), progress = el('p', { class: 'note' }, texts.loading)
    show(out, notes, progress, said)
    const allowed = await offered(client, list(tools)), sources = await gather(signal, note)
    const sure = async (call) => {
      const text = wantedText(call)
      if (text.length > ASKED_MOST) return note(words.longCall(text.slice(0, 110), text.length))
      return ask(words.wants(text), words.yes(call.tool), texts.methods.no, { signal })
    }
    for await (const item of converse(client, question.value, { tools: allowed, sources, sure, signal })) {
      if ('read' in item) show(progress, words.read(item.read, item.of))
      if ('outcome' in item) note(`${wantedText(item.call)}: ${item.outcome}`)
      if ('text' in item) {
        if (!said.firstChild) show(progress, words.first(durationText((performance.now() - begun) / 1000)))
        said.append(seen(item.text))
      }
      if ('end' in item) out.append(model({ name: line(item.model), version: '', sha256: line(item.sha256) }), item.end === 'length' ? el('p', { class: 'note' }, words.cut) : '')
    }
    if (sources.length) out.append(el('h3', {}, words.given), el('ol', {}, sources.map((one) => el('li', {}, [one.head, one.place, one.author && words.author(one.author)].filter(Boolean).join(', '), el('p', { class: 'note' }, line(one.text, 110))))))
  }
  const command = () => question.value.trim() && [['tlsrt', 'ask', ...[...files.files].flatMap((one) => ['--source', one.name]), ...list(spaces).flatMap((one) => ['--search', one]), ...(mails.checked ? ['--messages'] : []),
    ...(logs.value ? ['--logs', logs.value] : []), ...(audit.value ? ['--audit', audit.value] : []), ...list(tools).flatMap((one) => ['--tool', one]), '--', question.value]]
  return work(screen, 'ask', [field(words.question, question), el('details', {}, el('summary', {}, words.more),
    field(words.files, files), may(client, SEARCH, 'search') && field(words.spaces, spaces),
    may(client, MESSAGES, 'inbox') && may(client, MESSAGES, 'watch') && el('label', {}, mails, ` ${words.mailbox}`),
    may(client, LOGS, 'query') && field(words.logs, logs), may(client, LOGS, 'query_all') && field(words.audit, audit), field(words.tools, tools))], [words.ask], run, command)
}

function hearing(client, screen) {
  const file = el('input', { id: 'heard-file', type: 'file' }), language = input('language', { value: 'en', maxlength: '3' })
  const enough = el('button', { type: 'button', hidden: true, id: 'enough' }, words.enough)
  const run = async (out, signal, which) => {
    if (which === 0 && !file.files[0]) throw new Error(words.noFile)
    const recording = new AbortController()
    signal.addEventListener('abort', () => recording.abort(), { once: true })
    enough.onclick = () => { recording.abort(); enough.hidden = true }
    enough.hidden = which === 0
    const said = el('div', { class: 'said', 'aria-live': 'polite' }), by = el('div', {})
    show(out, said, by)
    try {
      for await (const one of client.stream(SPEECH, 'transcribe_raw', [language.value, RATE, 1], { signal, parts: which ? recorded(recording.signal) : decoded(file.files[0]) })) {
        const item = plain(one)
        said.append(seen(`${item.text}\n`))
        show(by, model(item.model))
      }
    } finally {
      recording.abort()
      enough.hidden = true
    }
    if (!said.firstChild) show(said, words.silence)
  }
  return [work(screen, 'hear', [field(words.file, file), field(words.language, language)], [words.hear, words.record], run, () => [['tlsrt', 'call', SPEECH, 'transcribe', language.value], ` < ${shellWord(file.files[0]?.name ?? 'FILE.wav')}`]), enough]
}

function speaking(client, screen) {
  const text = el('textarea', { id: 'spoken', rows: '2', maxlength: '5000' }), voice = input('voice', { value: 'en' })
  const run = async (out, signal) => {
    const pieces = []
    let size = 0
    for await (const one of client.stream(SPEECH, 'speak', [text.value, voice.value], { signal })) {
      size += one.length
      if (size > SPOKEN_BYTES) throw new Error(words.tooLong)
      pieces.push(one)
    }
    show(out, words.plays)
    await play(new Uint8Array(await new Blob(pieces).arrayBuffer()), signal)
    show(out, words.played)
  }
  return work(screen, 'speak', [field(words.text, text), field(words.voice, voice)], [words.speak], run, () => text.value.trim() && [['tlsrt', 'call', SPEECH, 'speak', text.value, voice.value], ' > FILE.wav'])
}

function finding(client, screen) {
  const text = input('find-text'), space = input('find-space', { value: '.' })
  const run = async (out, signal) => {
    const found = plain(await client.call(SEARCH, 'search', [text.value], { named: space.value === '.' ? {} : { namespace: space.value }, signal, timeoutMs: 60000 }))
    show(out, found.hits.length ? table(words.found, words.hits, found.hits.map((one) => [`${one.kind} ${one.source}`, one.text, one.author, one.score.toFixed(2).replace('-0.00', '0.00')])) : el('p', {}, words.nothingFound(space.value)), model(found.model))
  }
  return work(screen, 'find', [field(words.what, text), field(words.space, space)], [words.find], run, () => text.value.trim() && [['tlsrt', 'search', 'find', '--namespace', space.value, '--', text.value]])
}

function looking(client, screen) {
  const file = el('input', { id: 'looked-file', type: 'file' })
  const kinds = [[IDENTIFY, 'identify_upload', words.identify], [OCR, 'read_upload', words.ocr]].filter(([target, method]) => may(client, target, method))
  const run = async (out, signal, which) => {
    if (!file.files[0]) throw new Error(words.noFile)
    const [target, method] = kinds[which], found = plain(await client.upload(target, method, [], parts(file.files[0]), { signal }))
    show(out, el('div', { class: 'said' }, target === OCR ? found.lines.map((one) => one.text).join('\n') || words.noText : words.kind(found.label, found.mime, found.score.toFixed(2))), model(found.model))
  }
  return work(screen, 'look', [field(words.file, file)], kinds.map(([, , effect]) => effect), run)
}

export function ai({ client, signal }) {
  const name = client.subject.split('/')[1] ?? 'NAME', add = (target, more = '') => `tlsrt-supervisor component add ${target}${more} --allow 'client/${name}: "*"'`
  const part = (title, [target, method], more, build) => el('section', {}, el('h3', {}, title), may(client, target, method) ? build(client, signal) : missing(words.none(target), add(target, more)))
  return el('div', { id: 'ai' }, el('p', { class: 'note' }, words.guess),
    part(words.titles.ask, [ASK, 'chat'], ' --option model=/srv/models/small.gguf', asking), part(words.titles.hear, [SPEECH, 'transcribe_raw'], '', hearing),
    part(words.titles.speak, [SPEECH, 'speak'], '', speaking), part(words.titles.find, [SEARCH, 'search'], '', finding),
    part(words.titles.look, may(client, OCR, 'read_upload') ? [OCR, 'read_upload'] : [IDENTIFY, 'identify_upload'], '', looking))
}
