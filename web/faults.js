/** Faults shown whole where they are: at the node, and at the row, that a refused workflow or a failed run has them. */

import { api } from '../../scripts/api.js'
import { placeOf, refusals } from './core/faults.js'
import { nodeAt, upstreamOf } from './host.js'

/** Call `show(node, text)` with every fault; `isOurs(node)` says which nodes have a place for it. */
export function listenToFaults(isOurs, show) {
  api.addEventListener('execution_error', ({ detail }) => {
    const node = nodeAt(detail.node_id)
    if (!node) return
    const text = String(detail.exception_message ?? '').trim()
    const place = placeOf(text)
    const named = place && node.comfyClass !== place ? upstreamOf(node, one => one.comfyClass === place && isOurs(one)) : null
    for (const one of [node, named]) if (one && isOurs(one)) show(one, text)
  })
  const queue = api.queuePrompt
  api.queuePrompt = async function (number, data, ...options) {
    try {
      return await queue.call(this, number, data, ...options)
    } catch (error) {
      for (const [id, texts] of Object.entries(refusals(error.response?.node_errors, data?.output))) {
        const node = nodeAt(id)
        if (node && isOurs(node)) show(node, texts.join('\n\n'))
      }
      throw error
    }
  }
}
