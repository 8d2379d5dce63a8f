/** The keys that undo and redo: while a text is being typed they are the browser's, else the graph's. */

import { undo } from '../host.js'

/** Return whether a key undoes or redoes. */
export function isUndo(event) {
  return (event.ctrlKey || event.metaKey) && !event.altKey && ['z', 'y'].includes(event.key.toLowerCase())
}

/** Let the graph undo or redo what the key asks for. */
export function undoInGraph(event) {
  event.preventDefault()
  event.stopPropagation()
  undo(event.shiftKey || event.key.toLowerCase() === 'y')
}
