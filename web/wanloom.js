/** WanLoom in ComfyUI's page: rows instead of JSON text, and what a run said shown at its nodes. */

import { app } from '../../scripts/app.js'
import { el } from './controls/dom.js'
import { inputOptions, lastOutput, nodeAt } from './host.js'
import { loraRows } from './widgets/lora_rows.js'
import { markStale, showResult } from './widgets/result_text.js'
import { showRows } from './widgets/row_widget.js'

/** Node -> the widget that is shown as rows, and the kind of rows. */
const ROWS = {
  ApplyLoraStack: { widget: 'loras', kind: loraRows }
}

/** Nodes that show a picture as well, beside which the text starts folded. */
const FOLDED = new Set(['LoraRouteByNoise', 'InspectLora'])

document.head.append(el('link', { rel: 'stylesheet', href: new URL('./style.css', import.meta.url).href }))

app.registerExtension({
  name: 'WanLoom',

  nodeCreated(node) {
    if (!isOurs(node)) return
    const rows = ROWS[node.comfyClass]
    const widget = rows && node.widgets?.find(one => one.name === rows.widget)
    if (widget?.element ?? widget?.inputEl) dress(node, widget, rows.kind)
    const executed = node.onExecuted
    node.onExecuted = function (output) {
      executed?.call(this, output)
      showOutput(node, output)
    }
  },

  loadedGraphNode(node) {
    node.wanloom?.rows.showLink()
    if (isOurs(node)) queueMicrotask(() => showOutput(node, lastOutput(node)))
  },

  refreshComboInNodes() {
    for (const node of everyNode(app.rootGraph ?? app.graph)) node.wanloom?.rows.refresh()
  },

  onNodeOutputsUpdated(outputs) {
    for (const [address, output] of Object.entries(outputs)) {
      const node = nodeAt(address)
      if (node && isOurs(node)) showOutput(node, output)
    }
  }
})

function isOurs(node) {
  return node.constructor.nodeData?.category?.split('/')[0] === 'WanLoom'
}

function dress(node, widget, makeKind) {
  const kind = makeKind(() => inputOptions(node, widget.name), node)
  const rows = showRows(node, widget, kind)
  node.wanloom = { rows, kind }
  rows.root.addEventListener('wl-edited', () => markStale(node))
  node.setSize([Math.max(node.size[0], 480), node.computeSize()[1]])
}

function showOutput(node, output) {
  if (!output?.text) return
  node.wanloom?.kind.account?.(output.loras ?? [])
  node.wanloom?.rows.refresh()
  showResult(node, [output.text].flat().join('\n\n'), { isFolded: FOLDED.has(node.comfyClass) })
}

function everyNode(graph) {
  return (graph?.nodes ?? []).flatMap(node => [node, ...(node.subgraph ? everyNode(node.subgraph) : [])])
}
