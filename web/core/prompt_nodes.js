/** The nodes whose text is the prompt of what a node's model is sampled with, found along the links of the graph. */

const FAR_ENOUGH = 500

/** Return the prompt nodes that feed the samplers behind a node, without the negative ones; none where none is found. */
export function promptsBehind(node) {
  const prompts = new Set()
  for (const one of downstream(node)) {
    for (const [slot, input] of (one.inputs ?? []).entries()) {
      if (isPositive(input)) addPrompts(prompts, one.getInputNode(slot))
    }
  }
  return [...prompts]
}

/** Return every prompt node of a graph, inside of subgraphs too. */
export function promptsIn(graph) {
  return graph.nodes.flatMap(node => (node.subgraph ? promptsIn(node.subgraph) : textOf(node) ? [node] : []))
}

/** Return the widget that holds a prompt node's text, which may stand at the node that is linked to it; or null. */
export function textOf(node) {
  if (!node.outputs?.some(output => output.type === 'CONDITIONING')) return null
  const slot = node.inputs?.findIndex(input => input.name === 'text' && input.link != null) ?? -1
  const widgets = (slot < 0 ? node : node.getInputNode(slot))?.widgets ?? []
  return widgets.find(widget => typeof widget.value === 'string' && (slot >= 0 ? widget.type !== 'combo' : widget.name === 'text')) ?? null
}

/** Return a prompt with words behind it that it does not have yet. */
export function withWords(prompt, words) {
  const said = prompt.toLowerCase().split(',').map(part => part.trim())
  const fresh = words.filter(word => !said.includes(word.toLowerCase()))
  const before = prompt.replace(/[\s,]+$/, '')
  return fresh.length ? [...(before ? [before] : []), ...fresh].join(', ') : prompt
}

/** Walk the models that come from a node, whatever they pass through. */
function downstream(node) {
  const seen = new Set([node])
  for (const one of seen) {
    if (seen.size > FAR_ENOUGH) break
    for (const [slot, output] of (one.outputs ?? []).entries()) {
      if (!/MODEL|GUIDER|^\*$/.test(String(output.type))) continue
      for (const next of one.getOutputNodes(slot) ?? []) seen.add(next)
    }
  }
  return seen
}

function addPrompts(prompts, node) {
  const seen = new Set(node ? [node] : [])
  for (const one of seen) {
    if (seen.size > FAR_ENOUGH) break
    if (textOf(one)) {
      prompts.add(one)
      continue
    }
    for (const [slot, input] of (one.inputs ?? []).entries()) {
      const source = isPositive(input) || input.type === '*' ? one.getInputNode(slot) : null
      if (source) seen.add(source)
    }
  }
}

function isPositive(input) {
  return input.type === 'CONDITIONING' && !input.name.startsWith('negative')
}
