/** A number: typed, stepped with the arrow keys (0.05, with shift 0.5, with alt 0.01), or dragged sideways. */

import { textField } from './text_field.js'

const PIXELS_PER_STEP = 4
const PIXELS_BEFORE_DRAG = 3

/** Make the field; `change(number)` is called with every new number, `settled()` when a drag or an edit is over. */
export function numberField({ label, title, value, step = 0.05, min = -Infinity, change, settled, ...attributes }) {
  let number = value
  const field = textField({
    label, title, value: shown(number), inputmode: 'decimal', role: 'spinbutton', 'aria-valuenow': number,
    class: 'wl-field wl-number', done: text => { set(parsed(text) ?? number); settled() }, live: typed, ...attributes
  })

  /** Take a number as if it had been typed. */
  field.enter = wanted => { set(wanted); settled() }

  function typed(text) {
    const next = parsed(text)
    if (next === null || next < min || next === number) return
    number = next
    change(number)
  }

  function set(wanted) {
    const next = rounded(Math.max(wanted, min))
    field.settle(shown(next))
    field.setAttribute('aria-valuenow', next)
    if (next === number) return
    number = next
    change(number)
  }

  field.addEventListener('keydown', event => {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key]
    if (!way || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    event.stopPropagation()
    set((parsed(field.value) ?? number) + way * step * (event.shiftKey ? 10 : event.altKey ? 0.2 : 1))
    settled()
  })
  field.addEventListener('pointerdown', event => {
    if (event.button !== 0 || document.activeElement === field) return
    event.preventDefault()
    followDrag(field, event, steps => set(from + steps * step), isDrag => {
      if (isDrag) return settled()
      field.focus()
      field.select()
    })
    const from = number
  })
  return field
}

function followDrag(field, down, move, done) {
  let isDrag = false
  field.setPointerCapture(down.pointerId)
  const moving = event => {
    const distance = event.clientX - down.clientX
    isDrag ||= Math.abs(distance) > PIXELS_BEFORE_DRAG
    if (isDrag) move(Math.round(distance / PIXELS_PER_STEP))
  }
  const over = event => {
    field.removeEventListener('pointermove', moving)
    field.removeEventListener('pointerup', over)
    field.removeEventListener('pointercancel', over)
    done(isDrag || event.type === 'pointercancel')
  }
  field.addEventListener('pointermove', moving)
  field.addEventListener('pointerup', over)
  field.addEventListener('pointercancel', over)
}

function parsed(text) {
  const number = Number(text.trim().replace(',', '.'))
  return text.trim() && Number.isFinite(number) ? number : null
}

function rounded(number) {
  return Math.round(number * 1e4) / 1e4
}

function shown(number) {
  return typeof number === 'number' ? String(rounded(number)) : String(number ?? '')
}
