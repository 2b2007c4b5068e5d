// Who may call whom, what this client may call, and the sessions and clients that the events tell of.

import { badge, el, show, table } from './dom.js'
import { Operate } from './operate.js'
import { graph } from './screen_graph.js'
import { texts } from './texts.js'

const CLIENTS_SHOWN = 50

export function rights({ client, events: feed, signal }) {
  const own = el('div', {}), sessions = el('div', {}), clients = el('div', {}), operate = new Operate(client)
  const draw = () => show(own, table(texts.rights.says, [texts.rights.target, texts.rights.running, texts.rights.methods],
    [...client.rights].sort().map(([target, { methods, running }]) => [target, badge(running ? texts.rights.yes : texts.rights.no, running ? 'good' : 'warn'), methods.join(', ')])))
  const offer = () => {
    const left = new Map()
    for (const { name, subject } of feed.events) if (String(subject).startsWith('client/')) left.set(subject, name !== 'revocation')
    const acts = [...left].filter(([, isThere]) => isThere).map(([subject]) => operate.revoke(subject)).filter(Boolean).slice(0, CLIENTS_SHOWN)
    const held = document.activeElement
    show(clients, acts.length ? [el('h3', {}, texts.operate.clients), ...acts] : null)
    if (clients.contains(held)) held.focus()
  }
  const tell = () => {
    offer()
    const found = feed.events.filter((event) => event.kind === 'session' || String(event.name).startsWith('client_')).slice(-100).reverse()
    show(sessions, found.length ? table(texts.rights.sessions, [texts.rights.at, texts.rights.who, texts.rights.what], found.map((event) => [event.at.slice(0, 19).replace('T', ' '), event.subject, event.sentence])) : null)
  }
  client.addEventListener('rights', draw, { signal })
  feed.addEventListener('change', tell, { signal })
  draw()
  tell()
  return el('div', {}, el('p', {}, client.subject), graph({ client, signal }), own, clients, sessions)
}
