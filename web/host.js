/** What the extension asks of ComfyUI's frontend. */

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'

/** Put the present state of the graph on the undo stack; a no-op where nothing has changed. */
export function rememberForUndo() {
  app.extensionManager.workflow.activeWorkflow?.changeTracker?.captureCanvasState()
}

/** Undo or redo a change of the graph. */
export function undo(redo) {
  app.extensionManager.command.execute(redo ? 'Comfy.Redo' : 'Comfy.Undo')
}

/** Return whether nodes are drawn by the page itself ("Nodes 2.0") and not on the canvas. */
export function isPageDrawn() {
  return LiteGraph.vueNodesMode
}

export function redraw(node) {
  node.setDirtyCanvas(true, true)
}

/** Give the node the size it needs for `change`; one that had no room to spare keeps having none. */
export function fitAround(node, change) {
  const wasTight = node.size[1] - node.computeSize()[1] < 12
  change()
  const [width, height] = node.computeSize()
  if (!isPageDrawn()) {
    node.setSize([Math.max(node.size[0], width), wasTight ? height : Math.max(node.size[1], height)])
  }
  redraw(node)
}

/** Let the canvas have what an element over it does not use: zooming with the wheel, dragging with the middle button. */
export function passToCanvas(element, isScrolling) {
  element.addEventListener('wheel', event => {
    if (isPageDrawn() || (!event.ctrlKey && isScrolling(event))) return
    event.preventDefault()
    app.canvas.processMouseWheel(event)
  }, { passive: false })
  element.addEventListener('pointerdown', event => event.button === 1 && app.canvas.processMouseDown(event))
  element.addEventListener('pointermove', event => event.buttons & 4 && app.canvas.processMouseMove(event))
  element.addEventListener('pointerup', event => event.button === 1 && app.canvas.processMouseUp(event))
}

let latest = {}

/** Take in the definitions that the lists were read anew with; the host tells of them before it has replaced its own. */
export function learnDefinitions(definitions) {
  latest = definitions
}

/** Return the options of an input as the node's definition now has them. */
export function inputOptions(node, name) {
  const { required, optional } = (latest[node.type] ?? LiteGraph.registered_node_types[node.type].nodeData).input
  return { ...required, ...optional }[name][1]
}

/** Return the node of an address: "12", "3:12" for node 12 in the subgraph that node 3 stands for, or "<subgraph>:12". */
export function nodeAt(address) {
  const root = app.rootGraph
  const [first, ...inner] = String(address).split(':')
  const home = root.subgraphs.get(first)
  if (home) return home.getNodeById(inner[0])
  return inner.reduce((node, id) => node?.subgraph?.getNodeById(id), root.getNodeById(first))
}

/** Return the address of a node, as `nodeAt` takes it: of one in a subgraph behind that of the first node that stands for it. */
export function addressOf(node) {
  const outer = node.graph === app.rootGraph ? null : everyNode().find(one => one.subgraph === node.graph)
  return outer ? `${addressOf(outer)}:${node.id}` : String(node.id)
}

/** Run one node and what is before it, without the rest of the workflow. */
export function runAlone(address) {
  return app.queuePrompt(0, 1, [address])
}

/** Return every node of a graph, those inside of subgraphs too. */
export function everyNode(graph = app.rootGraph) {
  return graph.nodes.flatMap(node => [node, ...(node.subgraph ? everyNode(node.subgraph) : [])])
}

/** Return the nearest node before this one for which `isWanted` holds, or null. */
export function upstreamOf(node, isWanted) {
  const seen = new Set([node])
  for (const one of seen) {
    for (const slot of (one.inputs ?? []).keys()) {
      const source = one.getInputNode(slot)
      if (source && !seen.has(source) && isWanted(source)) return source
      if (source) seen.add(source)
    }
  }
  return null
}

/**
 * Return where a node is, as an undo leaves it: in which workflow, which subgraph, under which id. The id of the whole graph
 * has no part in it, as one made without an id gets a new one at each undo.
 */
export function placeOf(node) {
  const isInSubgraph = node.graph && node.graph !== app.rootGraph
  return [app.extensionManager.workflow.activeWorkflow?.path, isInSubgraph ? node.graph.id : '', node.id].join(':')
}

/** Return what the last run said at a node, if the page still knows. */
export function lastOutput(node) {
  const inSubgraph = node.graph && node.graph !== app.rootGraph && node.graph.id
  return app.nodeOutputs?.[inSubgraph ? `${node.graph.id}:${node.id}` : node.id]
}

/** Return the names of the saved stacks, as LoadLoraStack offers them. */
export function presetNames() {
  return inputOptions({ type: 'LoadLoraStack' }, 'preset').options
}

/** Return the address of a route of the extension. */
export function serverAddress(route, query) {
  return api.apiURL(`${route}?${new URLSearchParams(query)}`)
}

/** Ask a route of the extension; an error says what the server says. */
export async function askServer(route, query) {
  const answer = await api.fetchApi(`${route}?${new URLSearchParams(query)}`)
  const told = await answer.json().catch(() => ({}))
  if (!answer.ok) throw Object.assign(new Error(told.error ?? `${answer.status} ${answer.statusText}`), { said: told.said })
  return told
}

/** Return the whole graph, subgraphs hanging from it. */
export function graphOf() {
  return app.rootGraph
}

/** Return the address of a file in the host's folders; another one when the file has changed. */
export function fileAddress(file) {
  return api.apiURL(`/view?${new URLSearchParams(file)}`)
}

/** Read the lists of files anew, as the key R does. */
export function refreshLists() {
  return app.refreshComboInNodes()
}

/** Put nodes first, behind the reroute, among those that are offered where a link of a type is let go on the empty canvas. */
export function offerForLinks(offers) {
  const defaults = app.extensions.find(one => one.name === 'Comfy.SlotDefaults')
  if (!defaults?.slot_types_default_out) return
  for (const [type, nodes] of Object.entries(offers)) {
    const others = (defaults.slot_types_default_out[type] ?? []).filter(name => name !== 'Reroute' && !nodes.includes(name))
    defaults.slot_types_default_out[type] = ['Reroute', ...nodes, ...others]
  }
  defaults.setDefaults(defaults.suggestionsNumber?.value)
}

/**
 * Tell of an output's link that is let go over another node: `dropped({ node, input, source, slot, event })`.
 * Taken from the pointer, for where the page draws the nodes the host tells nobody.
 */
export function onLinkDropped(dropped) {
  addEventListener('pointerup', event => {
    const { canvas } = app
    const [link, ...more] = canvas?.linkConnector?.renderLinks ?? []
    if (!link || more.length || link.toType !== 'input') return
    const [x, y] = canvas.convertEventToCanvasOffset(event)
    const node = canvas.graph.getNodeOnPos(x, y)
    if (!node || link.node === node) return
    const told = { node, input: node.getInputOnPos([x, y]), source: link.node, slot: link.fromSlotIndex, event }
    setTimeout(() => dropped(told)) // once the host has done with the link
  }, true)
}

/** Put a new node of a type to the left of another. */
export function addBefore(node, type) {
  const added = LiteGraph.createNode(type)
  added.pos = [node.pos[0] - added.size[0] - 60, node.pos[1]]
  node.graph.add(added)
  return added
}
