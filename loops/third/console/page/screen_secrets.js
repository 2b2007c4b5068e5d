// Names and versions of secondary/secrets. A value goes in and never comes out: it is in no element but the field in which
// it is typed, which is emptied when it is sent.

import { utf8 } from './bytes.js'
import { doing } from './doing.js'
import { el, show, table } from './dom.js'
import { may } from './feeds.js'
import { result } from './screen_methods.js'
import { drawer, field, follow, named, service, shown, timeText, typedIn } from './service.js'
import { texts } from './texts.js'
import { plain } from './values.js'

const SECRETS = 'secondary/secrets'
const words = texts.secrets

export const secrets = (context) => service(context, SECRETS, ['names', 'history', 'put', 'rotate', 'delete'], vault)

function vault({ client, signal }) {
  const room = el('div', {}), past = el('div', { 'aria-live': 'polite' }), out = el('div', { 'aria-live': 'polite' })
  const space = field('namespace', words.namespace, { change: () => state.again() }), form = el('form', {})
  const where = () => (space.lastChild.value.trim() ? { namespace: space.lastChild.value.trim() } : {})
  const act = (name, says, method, more) => may(client, SECRETS, method) && doing({ client, signal }, { key: `${method} ${name}`, says, about: shown(name), target: SECRETS, method, out, done: () => state.again(), ...more })
  const history = async (name) => {
    const found = await client.call(SECRETS, 'history', [], { named: { name, ...where() }, signal }).then((value) => result(plain(value)), (error) => el('p', { class: 'error' }, shown(texts.failed(error), 1000)))
    show(past, el('h3', {}, words.history(shown(name))), found)
  }
  const draw = drawer(room, (rows) => rows.length ? table(words.list, [words.name, words.version, words.at, texts.files.acts], rows.map(({ name, version, put_at: at }) => [named(name), shown(version), timeText(at ? at * 1000 : null), el('div', { class: 'acts' },
    may(client, SECRETS, 'history') && el('button', { type: 'button', 'data-key': `history ${name}`, click: () => history(name) }, words.versions),
    act(name, words.rotate, 'rotate', { sure: () => words.rotateSure(shown(name)), values: () => ({ name, password: '*{32}', ...where() }) }),
    act(name, words.remove, 'delete', { sure: () => words.removeSure(shown(name)), values: () => ({ name, ...where() }) }))])) : el('p', {}, words.none))
  const state = follow(signal, SECRETS, async (fresh, stop) => {
    draw(plain(await client.call(SECRETS, 'names', [], { named: where(), signal: stop })))
    fresh()
  })
  if (may(client, SECRETS, 'put')) {
    let value = null // bytes, from the moment at which it is pressed to the one at which they are sent
    form.append(el('h3', {}, words.keep), el('div', { class: 'filters' }, field('name', words.name, { required: true }), field('value', words.value, { type: 'password', autocomplete: 'new-password', required: true })), el('p', { class: 'note' }, words.unseen))
    form.append(doing({ client, signal }, { form, says: words.put, target: SECRETS, method: 'put', out,
      values: () => {
        const { name } = typedIn(form), input = form.elements.value
        value = utf8(input.value)
        input.value = ''
        return { name, ...where() }
      },
      run: async ({ name, ...more }) => {
        const bytes = value
        value = null
        try {
          return await client.upload(SECRETS, 'put', [name], [bytes], { named: more, signal })
        } finally {
          bytes.fill(0)
        }
      },
      command: (_, __, { name }) => ['tlsrt', 'call', SECRETS, 'put', name], done: () => state.again() }))
  }
  return el('div', {}, state.element, el('div', { class: 'filters' }, space), out, form, room, past)
}
