/** What a node's result is made of: its values, those of all nodes before it, and how they hang together. */

/** Return it as a text to compare; where nodes lie and what they are called has no part in it. */
export function madeOf(node) {
  const all = new Set([node])
  const parts = []
  for (const one of all) {
    const sources = (one.inputs ?? []).map((input, slot) => {
      const source = one.getInputNode(slot)
      if (source) all.add(source)
      return source ? `${input.name} ${source.id}` : input.name
    })
    parts.push([one.id, one.type, one.mode, sources, valuesOf(one)])
  }
  return JSON.stringify(parts)
}

function valuesOf(node) {
  const kept = (node.widgets ?? []).filter(widget => widget.serialize !== false && widget.options?.serialize !== false)
  return kept.map(widget => [widget.name, plain(widget.value)])
}

function plain(value) {
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return String(value)
  }
}
