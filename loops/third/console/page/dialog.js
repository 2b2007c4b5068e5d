// A question before what cannot be undone. The answer that changes nothing has the focus.

import { el } from './dom.js'
import { commandText } from './values.js'

/** Resolve to whether the question was answered with yes; Escape is no, and so is a signal that aborts before. */
export function ask(question, yes, no, { command = null, signal = null } = {}) {
  return new Promise((resolve) => {
    const dialog = el('dialog', { 'aria-labelledby': 'question', close: () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes' && !signal?.aborted)
    } },
      el('p', { id: 'question' }, question), command && el('pre', { tabindex: '0' }, commandText(command)),
      el('div', { class: 'acts' }, el('button', { id: 'no', click: () => dialog.close('no') }, no), el('button', { class: 'main', id: 'yes', click: () => dialog.close('yes') }, yes)))
    signal?.addEventListener('abort', () => dialog.open && dialog.close('no'), { once: true })
    document.body.append(dialog)
    dialog.showModal()
    dialog.querySelector('#no').focus()
  })
}
