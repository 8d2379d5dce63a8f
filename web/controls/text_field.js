/** A field of text that hands its value on when the user is done with it, and gives undo back to the graph meanwhile. */

import { undo } from '../host.js'
import { el } from './dom.js'

/**
 * Make the field.
 *
 * done(text) is called when the text has changed and the field is left, or Enter is pressed; live(text) with every letter.
 */
export function textField({ tag = 'input', label, title, value, done, live = () => {}, ...attributes }) {
  const field = el(tag, { class: 'wl-field', 'aria-label': label, title, spellcheck: 'false', autocomplete: 'off', ...attributes })
  field.value = value
  let settled = String(value)
  let isTyping = false
  field.settle = text => { field.value = settled = String(text) }
  field.commit = () => {
    isTyping = false
    if (field.value === settled) return
    settled = field.value
    done(field.value)
  }
  field.revert = () => {
    isTyping = false
    if (field.value === settled) return
    field.value = settled
    live(settled)
  }
  field.addEventListener('input', () => {
    isTyping = true
    live(field.value)
  })
  field.addEventListener('blur', () => field.commit())
  field.addEventListener('keydown', event => {
    if (event.key === 'Enter' && !(tag === 'textarea' && !event.ctrlKey)) field.commit()
    if (event.key === 'Escape') field.revert()
    if (isUndo(event) && !isTyping) {
      event.preventDefault()
      event.stopPropagation()
      undo(event.shiftKey || event.key.toLowerCase() === 'y')
    }
  })
  return field
}

function isUndo(event) {
  return (event.ctrlKey || event.metaKey) && !event.altKey && ['z', 'y'].includes(event.key.toLowerCase())
}
