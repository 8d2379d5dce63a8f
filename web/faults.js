/** Faults shown whole where they are: at the node, and at the row, that a refused workflow or a failed run has them. */

import { api } from '../../scripts/api.js'
import { placeOf, refusals, withText } from './core/faults.js'
import { nodeAt, upstreamOf } from './host.js'
import { isTranslated, told } from './words.js'

/** Milliseconds in which the server's word of how to say a fault comes, if it comes; a refusal takes another way here. */
const PATIENCE = 500

/** English text -> the form that says it in another language, as the server has told. */
const forms = new Map()
api.addEventListener('wanloom.fault', ({ detail }) => forms.set(detail.text, detail.said))
// Before the host hears of it: its own panels then show the same words.
api.addEventListener('execution_error', ({ detail }) => {
  detail.wanloom = String(detail.exception_message ?? '').trim()
  if (forms.has(detail.wanloom)) detail.exception_message = told(detail.wanloom, forms.get(detail.wanloom))
})

/** Call `show(node, text, shown)` with every fault, in English and as it is shown; `isOurs(node)` says which nodes have a place for it. */
export function listenToFaults(isOurs, show) {
  api.addEventListener('execution_error', ({ detail }) => {
    const node = nodeAt(detail.node_id)
    if (!node) return
    const text = detail.wanloom
    const place = placeOf(text)
    const named = place && node.comfyClass !== place ? upstreamOf(node, one => one.comfyClass === place && isOurs(one)) : null
    for (const one of [node, named]) if (one && isOurs(one)) show(one, text, told(text, forms.get(text)))
  })
  const queue = api.queuePrompt
  api.queuePrompt = async function (number, data, ...options) {
    try {
      return await queue.call(this, number, data, ...options)
    } catch (error) {
      const nodeErrors = error.response?.node_errors
      const faults = Object.entries(refusals(nodeErrors, data?.output))
      await allForms(faults.flatMap(([, texts]) => texts))
      for (const [id, texts] of faults) {
        const shown = texts.map(text => told(text, forms.get(text)))
        texts.forEach((text, index) => withText(nodeErrors[id].errors, text, shown[index]))
        const node = nodeAt(id)
        if (node && isOurs(node)) show(node, texts.join('\n\n'), shown.join('\n\n'))
      }
      throw error
    }
  }
}

/** Wait until the server has told how to say the texts, or for as long as that is worth. */
async function allForms(texts) {
  const end = Date.now() + PATIENCE
  while (isTranslated() && texts.some(text => !forms.has(text)) && Date.now() < end) {
    await new Promise(done => setTimeout(done, 20))
  }
}
