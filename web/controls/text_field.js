/** A field of text that hands its value on when the user is done with it, and gives undo back to the graph meanwhile. */

import { el } from './dom.js'
import { isUndo, undoInGraph } from './undo_keys.js'

/**
 * Make the field.
 *
 * done(text) is called when the text has changed and the field is left, or Enter is pressed; live(text) with every letter.
 * field.isTyping says that the keys of undo are the browser's.
 */
export function textField({ tag = 'input', label, title, value, done, live = () => {}, ...attributes }) {
  const field = el(tag, { class: 'wl-field', 'aria-label': label, title, spellcheck: 'false', autocomplete: 'off', ...attributes })
  field.value = value
  let settled = String(value)
  field.isTyping = false
  field.settle = text => { field.value = settled = String(text) }
  field.commit = () => {
    field.isTyping = false
    if (field.value === settled) return
    settled = field.value
    done(field.value)
  }
  field.revert = () => {
    field.isTyping = false
    if (field.value === settled) return
    field.value = settled
    live(settled)
  }
  field.addEventListener('input', () => {
    field.isTyping = true
    live(field.value)
  })
  field.addEventListener('blur', () => field.commit())
  field.addEventListener('keydown', event => {
    if (event.key === 'Enter' && !(tag === 'textarea' && !event.ctrlKey)) field.commit()
    if (event.key === 'Escape') field.revert()
    if (isUndo(event) && !field.isTyping) undoInGraph(event)
  })
  return field
}
