/** What stands around rows: the list that holds them, a footer with buttons, and the text field shown instead of the list. */

import { el, iconButton, setAttribute } from '../controls/dom.js'
import { say } from '../words.js'

export const MARGIN = 10
const FOOTER = 24
const TEXT_HEIGHT = 150

/** Make the frame; `text` is the host's own text field, `addRow()` and `changeMode()` are what the buttons do. */
export function rowFrame(kind, text, { addRow, changeMode }) {
  const list = el('div', { class: 'wl-list-of-rows', role: 'list', 'aria-label': say(`${kind.noun} list`) })
  const count = el('span', { class: 'wl-count' })
  const fault = el('span', { class: 'wl-fault', role: 'alert' })
  const note = el('span', { class: 'wl-told', role: 'status' })
  const tools = el('span', { class: 'wl-tools' })
  const add = el('button', { type: 'button', class: 'wl-add', 'aria-label': say(kind.addText), onclick: addRow }, `+ ${say(kind.addText)}`)
  const asText = iconButton('{ }', say('edit as text'), changeMode, { 'aria-pressed': 'false' })
  const linked = el('div', { class: 'wl-linked-note' }, say('from the node that is linked here'))
  const root = el('div', { class: 'wl-rows', title: say(kind.about), style: `--wl-row-height: ${kind.height}px` }, linked, list,
    el('div', { class: 'wl-footer' }, add, count, tools, fault, note, asText))
  text.setAttribute('aria-label', say(`${kind.noun} list as text`))
  keepKeysOfButtons(root)
  return { root, list, text, count, tools, fault, note, add, asText }
}

/** Show the rows, given as elements, where the list was scrolled to. */
export function showList(frame, elements) {
  showMode(frame, false)
  showCount(frame, elements.length)
  const place = frame.list.scrollTop
  frame.text.remove()
  frame.list.replaceChildren(...elements)
  frame.list.scrollTop = place
}

/** Show the text instead of the rows. */
export function showText(frame, written) {
  showMode(frame, true)
  showCount(frame, 0)
  if (frame.text.parentElement !== frame.root) frame.root.prepend(frame.text)
  if (frame.text.value !== written) frame.text.value = written
  frame.list.replaceChildren()
}

/** Show how many rows there are; nothing for none. */
export function showCount(frame, numRows) {
  frame.count.textContent = numRows ? `${numRows}` : ''
}

/** Show why a text cannot be shown as rows, or that it can. */
export function showFault(frame, fault) {
  frame.fault.textContent = fault ?? ''
  setAttribute(frame.fault, 'title', fault)
}

/** Show what has become of the last thing asked for; nothing takes the last away. */
export function showNote(frame, text = '') {
  frame.note.textContent = frame.note.title = text
}

/** Put the keyboard on a part of a row. */
export function focusOn(frame, row, part) {
  partOf(frame, row, part)?.focus()
}

/** Return a part of a row. */
export function partOf(frame, row, part) {
  return frame.list.children[row]?.querySelector(`[data-part="${part}"]`)
}

/** Show one line instead of rows or text while they come from another node. */
export function showLinked(frame, isLinked) {
  frame.root.inert = isLinked
  frame.root.classList.toggle('wl-linked', isLinked)
}

/** Return the height of the widget around so many rows, around the text, or around the one line of a linked one. */
export function frameHeight(kind, numRows, isText, isLinked) {
  if (isLinked) return 2 * MARGIN // where nodes are drawn on the canvas the host hides what is linked
  return (isText ? TEXT_HEIGHT : numRows * kind.height) + FOOTER + 2 * MARGIN
}

/** Return whether what is shown has a use for a turn of the wheel. */
export function isScrolling({ root, list, text }, event) {
  const scroller = text.parentElement === root ? text : list
  return scroller.scrollHeight > scroller.clientHeight && Math.abs(event.deltaY) > Math.abs(event.deltaX)
}

function showMode(frame, isText) {
  setAttribute(frame.asText, 'aria-pressed', String(isText))
  frame.asText.title = say(isText ? 'show as rows' : 'edit as text')
  frame.asText.disabled = isText && frame.fault.textContent !== ''
  frame.add.hidden = frame.tools.hidden = isText
  frame.root.classList.toggle('wl-as-text', isText)
}

/** Keep from the canvas the keys that press a button. */
function keepKeysOfButtons(root) {
  root.addEventListener('keydown', event => {
    if (event.target.tagName === 'BUTTON' && [' ', 'Enter'].includes(event.key)) event.stopPropagation()
  })
}
