/** Which results are of the graph as it is: an undo brings values back, and not the result that they had. */

import { madeOf } from '../core/made_of.js'
import { placeOf } from '../host.js'

/** Place of a node -> the last result, and what it was made of. */
const last = new Map()

/** Remember that a node has just said this. */
export function rememberResult(node, text) {
  last.set(placeOf(node), { text, of: madeOf(node) })
}

/** Return whether what a node said is of other values than the graph now has; what is not known is not old. */
export function isOldResult(node, text) {
  const known = last.get(placeOf(node))
  return known?.text === text && known.of !== madeOf(node)
}
