/** The names of the LoRAs that are on a model by the time it reaches a node, as far as the graph tells. */

import { rowsOf } from './foreign_rows.js'
import { nameOf } from './lora_row.js'
import { parseRows } from './row_list.js'

const FAR_ENOUGH = 50

/** Follow a node's `model` input against the stream and return the names of all rows passed. */
export function upstreamNames(node) {
  const names = []
  let source = originOf(node, 'model')
  for (let i = 0; source && i < FAR_ENOUGH; i += 1) {
    const widget = source.widgets?.find(one => one.name === 'loras')
    if (widget) names.unshift(...parseRows(String(widget.value ?? ''), rowsOf).rows.map(nameOf))
    source = originOf(source, 'model')
  }
  return [...new Set(names)]
}

function originOf(node, inputName) {
  const slot = node.inputs?.findIndex(input => input.name === inputName) ?? -1
  return slot < 0 ? null : node.getInputNode(slot)
}
