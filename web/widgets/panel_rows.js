/**
 * Rows in the host's side panel, beside those in the node.
 *
 * The panel has no element for a widget that it does not know: it draws it on a canvas of its own, as if the node were
 * there. The rows are put before that canvas, a second time, and write and read the same value.
 */

import { el } from '../controls/dom.js'

/** Let the panel show the rows of a widget; `shown` shows them at another one (`shownAs`). */
export function showInPanel(node, widget, shown) {
  const copies = new Map() // the panel's canvas -> the rows before it
  const draw = widget.draw
  const setValue = widget.options.setValue
  widget.options.hideInPanel = false
  widget.options.setValue = value => {
    setValue(value)
    for (const copy of copies.values()) copy.options.setValue(value)
  }
  // The panel says how wide it is, and means the widget where it draws it.
  Object.defineProperty(widget, 'width', { get: () => undefined, set: () => {}, configurable: true })
  widget.draw = function (context, ...at) {
    if (!isOfPanel(context.canvas)) return draw.apply(this, [context, ...at])
    this.y = this.last_y
    forgetGone(copies)
    if (!copies.has(context.canvas)) copies.set(context.canvas, copyBefore(context.canvas, node, this, shown))
  }
}

function isOfPanel(canvas) {
  return Boolean(canvas.closest?.('.widget-item'))
}

function forgetGone(copies) {
  for (const [canvas, copy] of copies) {
    if (canvas.isConnected) continue
    copy.onRemove()
    copies.delete(canvas)
  }
}

/** Show the rows before a canvas, by a widget that is one to `showRows` and has its value from the node's. */
function copyBefore(canvas, node, widget, shown) {
  const text = el('textarea', { oninput: () => { widget.value = text.value } })
  const copy = {
    name: widget.name,
    element: text,
    options: { setValue: () => {} },
    computeLayoutSize: () => ({}),
    get value() { return widget.value },
    set value(value) { widget.value = value }
  }
  shown.show(node, copy)
  copy.element.addEventListener('wl-edited', () => widget.element.dispatchEvent(new CustomEvent('wl-edited')))
  copy.element.classList.add('wl-in-panel')
  canvas.before(copy.element)
  return copy
}
