// The mailbox of this client at external/messages: it follows what comes, and sends, with files and receipts.

import { newKey } from './client.js'
import { doing } from './doing.js'
import { badge, el, show, table } from './dom.js'
import { may } from './feeds.js'
import { drawer, field, follow, named, service, shown, shownLines, timeText, typedIn } from './service.js'
import { texts } from './texts.js'
import { fetchFile, sendFile, transfers } from './transfers.js'
import { bytesText, plain } from './values.js'

const MESSAGES = 'external/messages'
const METHODS = ['inbox', 'read', 'acknowledge', 'watch', 'send', 'sent', 'outbox', 'retry', 'drop', 'begin_put', 'go_on_put', 'stat', 'read_stream']
const LISTED = 50
const RECEIPTS_MS = 2500
const words = texts.messages
const attachmentName = (name) => name.replace(/[^\w.-]/g, '_').replace(/^[.-]/, '_').slice(0, 127)

export const messages = (context) => service(context, MESSAGES, METHODS, mailbox)

function mailbox({ client, signal }) {
  const mine = (method) => may(client, MESSAGES, method)
  const inbox = el('div', {}), opened = el('div', { 'aria-live': 'polite' }), sent = el('div', {}), dead = el('div', {}), out = el('div', { 'aria-live': 'polite' })
  const named_ = (says, method, one, more) => doing({ client, signal }, { key: `${method} ${one.id}`, says, about: shown(one.id, 8), target: MESSAGES, method, out, done: () => state.again(), ...more })
  const acknowledge = (one) => mine('acknowledge') && named_(words.acknowledge, 'acknowledge', one, { values: () => ({ positions: [one.position] }), done: () => { show(opened); state.again() } })

  const open = async (one) => {
    try {
      const found = plain(await client.call(MESSAGES, 'read', [one.id], { signal })), { body } = found
      show(opened, el('article', { class: 'process', tabindex: '-1' }, el('h3', {}, words.from(shown(found.from)), found.topic ? `, ${shown(found.topic)}` : ''),
        el('p', { class: 'note' }, `${timeText(found.created_ms)}, ${words.to} `, named(found.to)),
        body instanceof Uint8Array ? el('p', {}, words.bytes(bytesText(body.length), shown(found.content_type))) : el('pre', { tabindex: '0' }, shownLines(body)),
        (found.attachments ?? []).map((file) => el('p', { class: 'acts' }, named(file.name), ` ${bytesText(Number(file.size ?? file.size_bytes))}`, mine('read_stream') && el('button', { type: 'button', click: () => fetchFile(client, MESSAGES, `${found.id}/${file.name}`, file.name) }, texts.files.fetch))),
        el('div', { class: 'acts' }, acknowledge(one), mine('send') && el('button', { type: 'button', click: () => reply(found) }, words.reply))))
      opened.firstChild.focus()
      state.again()
    } catch (error) {
      show(opened, el('p', { class: 'error', role: 'alert' }, shown(texts.failed(error), 1000)))
    }
  }
  const drawInbox = drawer(inbox, (rows) => rows.length ? table(words.inbox, [words.at, words.who, words.topic, words.preview, texts.files.acts], rows.map((one) => [
    timeText(one.created_ms), el('span', {}, named(one.from), ' ', one.state === 'new' ? badge(words.fresh, 'warn') : null), shown(one.topic || '–'),
    shown(one.preview), el('div', { class: 'acts' }, mine('read') && el('button', { type: 'button', 'data-key': `open ${one.id}`, click: () => open(one) }, words.open), acknowledge(one))])) : el('p', {}, words.empty))
  const drawSent = drawer(sent, (rows) => rows.length ? table(words.sent, [words.at, words.to, words.topic, words.receipts], rows.map((one) => [
    timeText(one.created_ms), named(one.to), shown(one.topic || '–'), (one.recipients ?? []).map((each) => el('p', {}, named(each.recipient), ': ', words.states[each.state] ?? shown(each.state), each.error ? ` (${shown(each.error)})` : ''))])) : null)
  const drawDead = drawer(dead, (rows) => rows.length ? table(words.dead, [words.at, words.to, words.state, words.why, texts.files.acts], rows.map((one) => [
    timeText(one.begun_ms), named(one.to), words.states[one.state] ?? shown(one.state), shown(one.error ?? '–', 300), el('div', { class: 'acts' },
      mine('retry') && named_(words.retry, 'retry', one, { values: () => ({ id: one.id }) }),
      mine('drop') && named_(words.drop, 'drop', one, { sure: () => words.dropSure(shown(one.to)), values: () => ({ id: one.id }) }))])) : null)

  let last = 0
  const state = follow(signal, MESSAGES, async (fresh, stop) => {
    const ask = async (method) => (mine(method) ? plain(await client.call(MESSAGES, method, [], { named: { limit: LISTED }, signal: stop })).messages : [])
    const rows = await ask('inbox')
    for (const one of rows) if (Number(one.position) > last) last = Number(one.position)
    drawInbox(rows)
    fresh()
    drawSent(await ask('sent'))
    drawDead(await ask('outbox'))
    fresh()
  }, RECEIPTS_MS)
  if (mine('watch')) {
    follow(signal, MESSAGES, async (_, stop) => {
      for await (const item of client.stream(MESSAGES, 'watch', [last], { signal: stop })) {
        last = Math.max(last, Number(plain(item).position) || 0)
        state.again()
      }
    })
  }

  let replyTo = null, draft = newKey() // one id for one draft: sent again after an error, it is the same message
  const files = el('input', { type: 'file', multiple: true, id: 'attach' }), answers = el('p', { class: 'note' })
  const form = el('form', {}, el('h3', {}, words.write), answers, el('div', { class: 'filters' }, field('to', words.toWhom, { required: true, placeholder: 'client/anna' }), field('topic', words.topicOptional)),
    field('body', words.body, { rows: '4', required: true }, 'textarea'), mine('begin_put') && el('label', {}, el('span', {}, words.attach), files))
  const reply = (found) => {
    replyTo = found.id
    form.elements.to.value = String(found.from)
    answers.textContent = words.answers(shown(found.from), shown(found.id, 8))
    form.elements.body.focus()
  }
  form.append(el('div', { class: 'acts' }, doing({ client, signal }, {
    form, says: words.send, target: MESSAGES, method: 'send', out,
    values: () => {
      const { to, topic, body } = typedIn(form)
      return { to: to.trim(), body, topic: topic.trim() || null, in_reply_to: replyTo, id: draft }
    },
    run: async (values, key) => {
      const attachments = []
      for (const file of files.files) {
        const name = attachmentName(file.name), done = await sendFile(client, MESSAGES, name, file)
        if (!done) throw new Error(words.unsent(shown(file.name)))
        attachments.push({ name, size: done.size, sha256: done.sha256 })
      }
      const given = Object.fromEntries(Object.entries({ ...values, attachments: attachments.length ? attachments : null }).filter(([, one]) => one !== null))
      return client.call(MESSAGES, 'send', [], { named: given, key, signal })
    },
    command: (_, __, { to, body, topic }) => ['tlsrt', 'send', to, body, ...(topic ? ['--topic', topic] : []), ...[...files.files].flatMap((file) => ['--attach', file.name])],
    done: (value) => {
      draft = newKey()
      replyTo = null
      answers.textContent = ''
      form.reset()
      const unopened = plain(value)?.unopened ?? []
      if (unopened.length) out.append(el('p', { class: 'note' }, words.unopened(unopened.map((one) => shown(one)).join(', '))))
      state.again()
    },
  })))
  return el('div', {}, state.element, out, opened, inbox, dead, mine('send') && form, transfers(), sent)
}
