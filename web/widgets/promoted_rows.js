/**
 * Rows of a node inside of a subgraph, shown on the subgraph's node as well where their widget is one of its inputs.
 *
 * The host makes such a widget for its own text fields only. So it is handed a text field, and the widget it makes of that
 * is shown as rows, as the one inside is.
 */

import { fitAround } from '../host.js'
import { showRows } from './row_widget.js'

/** Return what holds a kind of rows and every place it is shown at. */
export function shownAs(kind) {
  const shown = new Set()
  return {
    kind,
    show(node, widget) {
      const rows = showRows(node, widget, kind)
      shown.add(rows)
      const removed = widget.onRemove
      widget.onRemove = function () {
        shown.delete(rows)
        removed?.call(this)
      }
    },
    refresh: isNews => shown.forEach(rows => rows.refresh(isNews))
  }
}

/** Let a subgraph's node show rows for those of its inputs that have rows inside. */
export function showPromotedRows(node) {
  const make = node.createPromotedHostWidget
  node.createPromotedHostWidget = function (input, id, source) {
    if (!source.wanloom) return make.call(this, input, id, source)
    const widget = make.call(this, input, id, { element: document.createElement('textarea') })
    if (!widget) return undefined
    source.wanloom.show(this, widget)
    widget.wanloom = source.wanloom
    // The node counts the widget as its own only once it is returned.
    queueMicrotask(() => this.graph && fitAround(this, () => {}))
    return widget
  }
}
