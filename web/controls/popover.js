/** A popover: an element over the page beside what it belongs to, closed by Escape, a click elsewhere, or the wheel there. */

import { el } from './dom.js'
import { undo } from '../host.js'

const GAP = 6
let shown = null

/**
 * Open a popover for a button, beside `around` so that it covers nothing of that, or close it where it is the button's
 * already; returns { element, place, close, isOpen } or null.
 */
export function openPopover(anchor, around, label, className) {
  const isOwn = shown?.anchor === anchor
  shown?.close()
  if (isOwn) return null
  const element = el('div', { class: `wl-popover ${className}`, role: 'dialog', 'aria-label': label, tabindex: '-1', onkeydown })
  const before = () => { if (anchor.isConnected) anchor.focus() }

  function onkeydown(event) {
    event.stopPropagation() // the canvas would delete the node
    if (event.key === 'Escape') { close(); before() }
    if (event.key === 'Tab') keepInside(element, event)
    if ((event.ctrlKey || event.metaKey) && ['z', 'y'].includes(event.key.toLowerCase())) {
      event.preventDefault()
      close() // the rows are made anew
      undo(event.shiftKey || event.key.toLowerCase() === 'y')
    }
  }

  function place() {
    const box = around.getBoundingClientRect()
    const right = box.right + GAP
    const left = right + element.offsetWidth > innerWidth - GAP ? box.left - GAP - element.offsetWidth : right
    element.style.left = `${Math.max(GAP, left)}px`
    element.style.top = `${Math.max(GAP, Math.min(box.top, innerHeight - element.offsetHeight - GAP))}px`
  }

  function close() {
    if (shown?.element !== element) return
    shown = null
    element.remove()
    anchor.setAttribute('aria-expanded', 'false')
    removeEventListener('pointerdown', closeIfOutside, true)
    removeEventListener('wheel', closeIfOutside, true)
    removeEventListener('resize', close)
  }

  function closeIfOutside(event) {
    if (!element.contains(event.target) && !anchor.contains(event.target)) close()
  }

  document.body.append(element)
  anchor.setAttribute('aria-expanded', 'true')
  addEventListener('pointerdown', closeIfOutside, true)
  addEventListener('wheel', closeIfOutside, true)
  addEventListener('resize', close)
  shown = { anchor, element, close }
  new ResizeObserver(() => shown?.element === element && place()).observe(element)
  place()
  element.focus({ preventScroll: true })
  return { element, place, close, get isOpen() { return shown?.element === element } }
}

/** Let the key that goes from control to control go round inside of an element. */
function keepInside(element, event) {
  const controls = [...element.querySelectorAll('button, [href], input, [tabindex="0"]')].filter(one => !one.disabled)
  if (!controls.length) return event.preventDefault()
  const end = event.shiftKey ? controls[0] : controls.at(-1)
  if (document.activeElement !== end && document.activeElement !== element) return
  event.preventDefault()
  controls.at(event.shiftKey ? -1 : 0).focus()
}
