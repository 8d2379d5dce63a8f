/** WanLoom in ComfyUI's page: rows instead of JSON text, and what a run said shown at its nodes. */

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { el } from './controls/dom.js'
import { listenToFaults } from './faults.js'
import { everyNode, inputOptions, lastOutput, learnDefinitions, nodeAt, offerForLinks, refreshLists } from './host.js'
import { forgetFacts } from './lora_facts.js'
import { showTraining } from './widgets/live_training.js'
import { loraRows } from './widgets/lora_rows.js'
import { overrideRows } from './widgets/override_rows.js'
import { pairDroppedModels } from './widgets/model_pairing.js'
import { showInPanel } from './widgets/panel_rows.js'
import { showPromotedRows, shownAs } from './widgets/promoted_rows.js'
import { showRefinedText, takeRefinedText } from './widgets/refined_text.js'
import { isOldResult, rememberResult } from './widgets/result_age.js'
import { markStale, showResult } from './widgets/result_text.js'
import { sceneRows } from './widgets/scene_rows.js'
import { told } from './words.js'

/** Node -> the widget that is shown as rows, and the kind of rows. */
const ROWS = {
  ApplyLoraStack: { widget: 'loras', kind: loraRows },
  LoraStackOnModels: { widget: 'loras', kind: loraRows },
  LoraRouteByNoise: { widget: 'overrides', kind: overrideRows },
  SceneLoras: { widget: 'scenes', kind: sceneRows }
}

/** Node -> how its text is shown where that is not unfolded and wrapped: folded beside a picture, lines whole in a table. */
const RESULTS = {
  LoraRouteByNoise: { isFolded: true, isTable: true },
  InspectLora: { isFolded: true },
  CheckClips: { isTable: true },
  Sampler6Step: { isTable: true },
  SplitWanModel: { isTable: true }
}

/** Type of a link -> our nodes that are offered first where it is let go on the empty canvas. */
const OFFERS = {
  MODEL: ['PairWanModels'],
  WAN_MODEL: ['ApplyLoraStack', 'LoraRouteByNoise', 'Sampler6Step']
}

document.head.append(el('link', { rel: 'stylesheet', href: new URL('./style.css', import.meta.url).href }))

app.registerExtension({
  name: 'WanLoom',

  nodeCreated(node) {
    if (node.isSubgraphNode()) return showPromotedRows(node)
    if (!isOurs(node)) return
    const rows = ROWS[node.comfyClass]
    const widget = rows && node.widgets?.find(one => one.name === rows.widget)
    if (widget?.element) showOwnRows(node, widget, rows.kind)
    if (node.comfyClass === 'RefinePrompt') showRefinedText(node)
    const executed = node.onExecuted
    node.onExecuted = function (output) {
      executed?.call(this, output)
      if (output?.refined) takeRefinedText(node, output) // which is of the same run as the result
      if (output?.text !== undefined) rememberResult(node, textOf(output))
      showOutput(node, output)
    }
    const widgetChanged = node.onWidgetChanged
    node.onWidgetChanged = function (...change) {
      widgetChanged?.apply(this, change)
      markStale(node)
    }
  },

  setup() {
    listenToFaults(isOurs, showFault)
    offerForLinks(OFFERS)
    pairDroppedModels(isOurs)
    api.addEventListener('wanloom.training', ({ detail }) => {
      const node = nodeAt(detail.node)
      if (node && isOurs(node)) showTraining(node, detail)
    })
    // What a run came to is shown at the node that it concerns, which may have run long before.
    api.addEventListener('wanloom.report', ({ detail }) => {
      const node = nodeAt(detail.node)
      if (!node || !isOurs(node)) return
      rememberResult(node, textOf(detail))
      showOutput(node, detail)
    })
    // What was trained is in the lists before anybody opens one.
    api.addEventListener('executed', ({ detail }) => detail.output?.training && refreshLists())
  },

  afterConfigureGraph() {
    for (const node of everyNode()) node.wanloom?.refresh()
  },

  loadedGraphNode(node) {
    if (isOurs(node)) queueMicrotask(() => showOutput(node, lastOutput(node)))
  },

  refreshComboInNodes(definitions) {
    learnDefinitions(definitions)
    forgetFacts()
    for (const node of everyNode()) node.wanloom?.refresh()
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

function showOwnRows(node, widget, makeKind) {
  const kind = makeKind(() => inputOptions(node, widget.name), node)
  node.wanloom = shownAs(kind)
  node.wanloom.show(node, widget)
  widget.wanloom = node.wanloom
  showInPanel(node, widget, node.wanloom)
  widget.element.addEventListener('wl-edited', () => {
    kind.fault?.('')
    node.wanloom.refresh()
    markStale(node)
  })
  const [width, height] = node.computeSize()
  node.setSize([Math.max(node.size[0], width, kind.width), height]) // narrower, the host would widen it at an undo and lose the redo
}

function showOutput(node, output) {
  if (output?.text === undefined) return
  if (output.training) showTraining(node, output.training[0])
  if (output.refined) takeRefinedText(node, output)
  node.wanloom?.kind.account?.(output.loras ?? [], output.num_blocks?.[0])
  node.wanloom?.kind.fault?.('')
  const isOld = isOldResult(node, textOf(output))
  node.wanloom?.refresh(!isOld)
  showResult(node, textOf(output), RESULTS[node.comfyClass])
  markStale(node, isOld)
}

function textOf(output) {
  return [output.text].flat().map((english, index) => told(english, output.said?.[index])).join('\n\n')
}

/** Show a fault, told in English, in the user's language. */
function showFault(node, text, shown) {
  node.wanloom?.kind.account?.([])
  node.wanloom?.kind.fault?.(text, shown)
  node.wanloom?.refresh(true)
  showResult(node, shown, { isFault: true })
}
