// A question before what cannot be undone. The answer that changes nothing has the focus.

import { el } from './dom.js'

/** Resolve to whether the question was answered with yes; Escape is no. */
export function ask(question, yes, no) {
  return new Promise((resolve) => {
    const dialog = el('dialog', { 'aria-labelledby': 'question', close: () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes')
    } },
      el('p', { id: 'question' }, question),
      el('div', { class: 'acts' }, el('button', { id: 'no', click: () => dialog.close('no') }, no), el('button', { class: 'main', id: 'yes', click: () => dialog.close('yes') }, yes)))
    document.body.append(dialog)
    dialog.showModal()
    dialog.querySelector('#no').focus()
  })
}
