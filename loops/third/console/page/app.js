// The console: the identity of this browser, one client, and the screen that the address names.

import { action } from './action.js'
import { connect, enrol, forget, loadIdentity, takeCode } from './client.js'
import { el, show } from './dom.js'
import { EventFeed, StatusFeed } from './feeds.js'
import { Phone } from './phone.js'
import { ai } from './screen_ai.js'
import { attacks } from './screen_attacks.js'
import { audit } from './screen_audit.js'
import { bell, call } from './screen_call.js'
import { events } from './screen_events.js'
import { files } from './screen_files.js'
import { health } from './screen_health.js'
import { jobs } from './screen_jobs.js'
import { logs } from './screen_logs.js'
import { messages } from './screen_messages.js'
import { methods } from './screen_methods.js'
import { network } from './screen_network.js'
import { notices } from './screen_notices.js'
import { power } from './screen_power.js'
import { pages } from './screen_pages.js'
import { rights } from './screen_rights.js'
import { secrets } from './screen_secrets.js'
import { store } from './screen_store.js'
import { processes } from './screen_tree.js'
import { units } from './screen_units.js'
import { updates } from './screen_updates.js'
import { texts } from './texts.js'

const SCREENS = { health, tree: processes, methods, events, rights, attacks, audit, call, ai, logs, files, messages, notices, store, secrets, jobs, network, power, units, updates, pages }
const main = document.getElementById('main'), nav = document.getElementById('screens'), line = document.getElementById('connection')
let shown = null // the AbortController of the screen

function connection(text, isBad = false) {
  line.textContent = text
  line.classList.toggle('bad', isBad)
}

/** A time of day, with its date if that is not today's. */
function since(ms) {
  const at = new Date(ms ?? Date.now())
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString()
}

/** Draw the screen that the address names. */
function route(context) {
  const name = Object.hasOwn(SCREENS, location.hash.slice(2)) ? location.hash.slice(2) : 'health'
  shown?.abort()
  shown = new AbortController()
  show(nav, Object.keys(SCREENS).map((one) => el('a', { href: `#/${one}`, 'aria-current': one === name ? 'page' : null }, texts.screens[one])))
  nav.querySelector('[aria-current]').scrollIntoView({ block: 'nearest', inline: 'nearest' })
  document.title = `${texts.screens[name]} - tlsrt`
  show(main, el('h2', {}, texts.screens[name]), SCREENS[name]({ ...context, signal: shown.signal }))
}

function failed(error, ...more) {
  connection(texts.connection.closed + texts.failed(error), true)
  show(main, el('p', { class: 'error', role: 'alert' }, texts.failed(error)), ...more)
}

const forgetButton = () => action(null, { effect: texts.enrol.forget, question: texts.enrol.forgetSure, run: async () => {
  await forget()
  location.reload()
} })

async function open(identity) {
  connection(texts.connection.connecting)
  let client, isOpen = false, said = ''
  const told = (text, { message }) => {
    connection(text, true)
    if (!isOpen && message !== said) show(main, el('p', { class: 'note' }, message), forgetButton())
    said = message
  }
  try {
    client = await connect(identity, { meanwhile: (made) => {
      made.addEventListener('online', () => connection(texts.connection.online))
      made.addEventListener('offline', ({ detail }) => told(texts.connection.offline(since(detail.since)), detail))
      made.addEventListener('locked', ({ detail }) => told(texts.connection.locked(since(detail.since)), detail))
    } })
  } catch (error) {
    return failed(error, forgetButton())
  }
  isOpen = true
  const life = new AbortController()
  document.getElementById('host').textContent = `${client.host.name}, ${client.subject}`
  connection(texts.connection.online)
  const context = { client, status: new StatusFeed(client, life.signal), events: new EventFeed(client, life.signal), phone: new Phone(client, life.signal) }
  main.before(bell(context.phone, life.signal))
  client.addEventListener('closed', ({ detail }) => {
    life.abort()
    shown?.abort()
    show(nav)
    failed(detail ?? { message: '' }, forgetButton())
  })
  addEventListener('hashchange', () => {
    route(context)
    main.focus()
  })
  route(context)
}

/** Use the link when that is said: it is used once, so nothing is done by opening it alone. */
function enrolling(code) {
  const wrong = el('p', { class: 'error', role: 'alert' }), button = el('button', { class: 'main', type: 'submit' }, texts.enrol.act)
  show(main, el('h2', {}, texts.enrol.heading), el('p', {}, texts.enrol.says), el('form', { id: 'enrol', submit: async (event) => {
    event.preventDefault()
    button.disabled = true
    try {
      await open(await enrol({ url: location.origin, code }))
    } catch (error) {
      wrong.textContent = texts.failed(error)
      if (error.code === 'conflict') main.append(forgetButton())
      button.disabled = false
    }
  } }, wrong, el('div', { class: 'acts' }, button)))
  button.focus()
}

document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault() // its place would be taken for a screen's
  main.focus()
})
// A link that is opened where the console is already open changes no more than this.
addEventListener('hashchange', () => location.hash && !location.hash.startsWith('#/') && location.reload())

async function begin() {
  const code = location.hash.startsWith('#/') ? null : takeCode()
  if (code) return enrolling(code)
  const identity = await loadIdentity()
  if (identity) return open(identity)
  show(main, el('p', {}, texts.enrol.none), el('pre', {}, 'tlsrt-supervisor console'), el('p', {}, texts.enrol.then))
}

begin().catch((error) => failed(error))
