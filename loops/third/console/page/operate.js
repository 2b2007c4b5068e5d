// What a person may do to the host from the screens, by third/operate: each action is shown to who may do it, and no other.

import { Actions } from './action.js'
import { may } from './feeds.js'
import { texts } from './texts.js'
import { plain } from './values.js'

const OPERATE = 'third/operate'
const NAME = /^[a-z0-9][a-z0-9_./:%-]{0,80}$/ // of a subject: an option of a command is none
const LOCKED_MS = 20000
const words = texts.operate

export class Operate {
  #client
  #actions
  #targets = { restart: [], pause: [] }

  /** `changed` is told when it is known what may be restarted and paused. */
  constructor(client, changed = () => {}) {
    this.#client = client
    this.#actions = new Actions(client)
    if (!may(client, OPERATE, 'targets') || !(may(client, OPERATE, 'restart') || may(client, OPERATE, 'pause'))) return
    client.call(OPERATE, 'targets').then((found) => {
      const { restart = [], pause = [] } = plain(found)
      this.#targets = { restart, pause }
      changed()
    }, () => {}) // without it no process has a button
  }

  #do(name, method, named, { effect, question = null, command, result = null }) {
    const run = ({ key }) => this.#client.call(OPERATE, method, [], { named, key, timeoutMs: 60000 })
    return this.#actions.of(name, { effect, question, command: ['tlsrt-supervisor', ...command], run, result })
  }

  /** The actions for one process of the status. */
  process({ name, state, components = [] }) {
    const inside = new Set(components.map((one) => `${name.split('.')[0]}/${one.name}`))
    const own = name.replace('.', '/')
    const about = (act) => this.#targets[act].filter((one) => (inside.has(one) || one === own) && may(this.#client, OPERATE, act))
    const label = (one) => (one === own ? name : `${name} (${one})`)
    return [
      ...about('restart').filter(() => state === 'active').slice(0, 1).map((component) => this.#do(`restart ${component}`, 'restart', { component }, {
        effect: words.restart(label(component)), question: words.restartSure(name), command: ['restart', name], result: () => words.restarted(name),
      })),
      ...about('pause').map((component) => (state === 'stopped'
        ? may(this.#client, OPERATE, 'resume') && this.#do(`resume ${component}`, 'resume', { component }, { effect: words.start(name), command: ['start', name], result: () => words.started(name) })
        : this.#do(`pause ${component}`, 'pause', { component }, {
          effect: words.stop(name), question: words.stopSure(name), command: ['stop', name], result: () => words.stopped(name) }))),
    ].filter(Boolean)
  }

  /** The lock of the host; null for who may not. */
  lock() {
    if (!may(this.#client, OPERATE, 'lock')) return null
    return this.#actions.of('lock', {
      effect: words.lock, question: words.lockSure, command: ['tlsrt-supervisor', 'lock'], run: () => this.#lock(), result: () => words.locked(new Date().toLocaleTimeString()),
    })
  }

  /** The answer to a lock does not come: all sessions end with it. That it is locked is told by the next connection. */
  async #lock() {
    const client = this.#client
    let heard
    const locked = new Promise((resolve) => { heard = () => resolve(true) })
    client.addEventListener('locked', heard, { once: true })
    try {
      await client.call(OPERATE, 'lock', [], { timeoutMs: LOCKED_MS })
    } catch (error) {
      const isLost = error.code === 'outcome_unknown' || error.code === 'unavailable'
      const late = new Promise((resolve) => setTimeout(resolve, LOCKED_MS, false))
      if (!isLost || !(await Promise.race([locked, late]))) throw error
    } finally {
      client.removeEventListener('locked', heard)
    }
  }

  /** The release of a subject that something is done about; null for who may not. */
  release(subject) {
    if (!NAME.test(subject) || subject === this.#client.subject || !may(this.#client, OPERATE, 'release')) return null
    return this.#do(`release ${subject}`, 'release', { subject }, {
      effect: words.release(subject), question: words.releaseSure(subject), command: ['quarantine', 'release', subject], result: () => words.released(subject),
    })
  }

  /** The end of an enrolled client; null for who may not, and for this one. */
  revoke(subject) {
    const [, name] = /^client\/([a-z][a-z0-9_]{0,30})$/.exec(subject) ?? []
    if (!name || subject === this.#client.subject || !may(this.#client, OPERATE, 'revoke')) return null
    return this.#do(`revoke ${name}`, 'revoke', { client: name }, {
      effect: words.revoke(name), question: words.revokeSure(name), command: ['client', 'revoke', name], result: () => words.revoked(name),
    })
  }
}
