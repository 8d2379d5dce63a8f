/** Something of ours over the page, a menu or a dialog: it closes with Escape, a click elsewhere or a turn of the wheel elsewhere. */

import { isUndo, undoInGraph } from './undo_keys.js'

const EDGE = 6
let shown = null

/**
 * Show the element where `placeOf(element)` says, `[left, top]`, and keep it there as it grows; the one shown before is
 * closed. Returns { close, isOpen }, or null where this was what the button `opener` had opened: pressed again, it closes.
 *
 * The keyboard goes back to the opener, or to where it was, unless `close(false)` says that it has been put elsewhere.
 */
export function openPopup(element, placeOf, opener = null) {
  const isOpeners = opener !== null && shown?.opener === opener
  shown?.close()
  if (isOpeners) return null
  const before = opener ?? document.activeElement
  const ends = new AbortController()
  const listen = (target, name, act, capture = true) => target.addEventListener(name, act, { capture, signal: ends.signal })
  const isOutside = event => !element.contains(event.target) && !opener?.contains(event.target)
  const popup = { opener, close, get isOpen() { return !ends.signal.aborted } }

  function close(isFocusBack = true) {
    if (ends.signal.aborted) return
    ends.abort()
    shown = null
    growth.disconnect()
    element.remove()
    opener?.setAttribute('aria-expanded', 'false')
    if (isFocusBack && before?.isConnected) before.focus({ preventScroll: true })
  }

  function keepIn() {
    const [left, top] = placeOf(element)
    element.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - element.offsetWidth - EDGE))}px`
    element.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - element.offsetHeight - EDGE))}px`
  }

  listen(window, 'pointerdown', event => isOutside(event) && close(false))
  listen(window, 'wheel', event => isOutside(event) && close())
  listen(window, 'resize', () => close())
  listen(element, 'keydown', event => {
    if (event.key === 'Escape') {
      event.preventDefault()
      event.stopPropagation()
      close()
    }
    if (isUndo(event) && !event.target.isTyping) {
      close(false) // what is under it is made anew
      undoInGraph(event)
    }
  })
  listen(element, 'keydown', event => {
    event.stopPropagation() // the canvas would delete the node
    if (event.key === 'Tab' && element.getAttribute('role') === 'dialog') keepInside(element, event)
  }, false)

  document.body.append(element)
  opener?.setAttribute('aria-expanded', 'true')
  shown = popup
  const growth = new ResizeObserver(keepIn)
  growth.observe(element)
  keepIn()
  return popup
}

/** Return the place under another element, or at `{ x, y }`; above it where there is more room. */
export function under(at) {
  return element => {
    const box = at.getBoundingClientRect?.() ?? { left: at.x, top: at.y, bottom: at.y }
    const isAbove = box.bottom + element.offsetHeight + EDGE > innerHeight && box.top > innerHeight - box.bottom
    return [box.left, isAbove ? box.top - element.offsetHeight - 2 : box.bottom + 2]
  }
}

/** Return the place at the right of another element, so that nothing of that is covered; at its left where there is no room. */
export function beside(around) {
  return element => {
    const box = around.getBoundingClientRect()
    const right = box.right + EDGE
    return [right + element.offsetWidth + EDGE > innerWidth ? box.left - EDGE - element.offsetWidth : right, box.top]
  }
}

/** Let the key that goes from control to control go round inside of an element. */
function keepInside(element, event) {
  const controls = [...element.querySelectorAll('button, [href], input, select, textarea, [tabindex="0"]')].filter(one => !one.disabled)
  if (!controls.length) return event.preventDefault()
  const end = event.shiftKey ? controls[0] : controls.at(-1)
  if (document.activeElement !== end && document.activeElement !== element) return
  event.preventDefault()
  controls.at(event.shiftKey ? -1 : 0).focus()
}
