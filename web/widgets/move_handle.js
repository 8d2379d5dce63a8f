/** The handle that a row is moved by: with the mouse, or with the arrow keys. */

import { iconButton } from '../controls/dom.js'
import { say } from '../words.js'

/** Make the handle of row `index`. */
export function moveHandle(context, index, label) {
  const handle = iconButton('⠿', label, () => {}, { 'data-part': 'move', class: 'wl-icon wl-handle' })
  handle.title = say('drag to move, or use the arrow keys')
  handle.addEventListener('keydown', event => {
    const way = { ArrowUp: -1, ArrowDown: 1 }[event.key]
    if (!way) return
    event.preventDefault()
    event.stopPropagation()
    if (context.rows[index + way]) context.move(index, index + way)
  })
  handle.addEventListener('pointerdown', event => event.button === 0 && dragRow(handle, event, to => context.move(index, to)))
  return handle
}

function dragRow(handle, down, drop) {
  const own = handle.closest('[role=listitem]')
  const rows = [...own.parentElement.children]
  let target = rows.indexOf(own)
  const from = target
  handle.setPointerCapture(down.pointerId)
  const mark = () => rows.forEach((row, index) => {
    row.classList.toggle('wl-drop-before', index === target && target < from)
    row.classList.toggle('wl-drop-after', index === target && target > from)
  })
  const moving = event => {
    const at = rows.findIndex(row => event.clientY < row.getBoundingClientRect().bottom)
    target = at < 0 ? rows.length - 1 : at
    own.classList.add('wl-dragged')
    mark()
  }
  const over = event => {
    handle.removeEventListener('pointermove', moving)
    handle.removeEventListener('pointerup', over)
    handle.removeEventListener('pointercancel', over)
    own.classList.remove('wl-dragged')
    rows.forEach(row => row.classList.remove('wl-drop-before', 'wl-drop-after'))
    if (event.type === 'pointerup' && target !== from) drop(target)
  }
  handle.addEventListener('pointermove', moving)
  handle.addEventListener('pointerup', over)
  handle.addEventListener('pointercancel', over)
}
