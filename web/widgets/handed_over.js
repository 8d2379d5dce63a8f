/** Rows dropped on a node or pasted into its rows: files, text with `<lora:name:0.8>`, and copied rows of other tools. */

import { rowsInText, rowsOfFiles, withAdded } from '../core/handed_rows.js'
import { say } from '../words.js'

/** Let the rows, and the node around them, take what is handed over; `files()` gives the list of LoRAs. */
export function takeHandedOver(context, root, node, files) {
  const take = found => {
    if (!found) return false
    addRows(context, found)
    return true
  }
  const dropped = transfer => take(inDrop(transfer, files()))
  const whole = (event, act) => {
    if (!act()) return
    event.preventDefault()
    event.stopPropagation()
  }

  root.addEventListener('paste', event => {
    const text = event.clipboardData?.getData('text/plain') ?? ''
    if (!isLeftToField(event.target, text)) whole(event, () => take(rowsInText(text, files())))
  })
  root.addEventListener('dragover', event => mayHoldRows(event.dataTransfer) && event.preventDefault())
  root.addEventListener('drop', event => whole(event, () => dropped(event.dataTransfer)))

  const [over, drop] = [node.onDragOver, node.onDragDrop]
  node.onDragOver = function (event) {
    return mayHoldRows(event.dataTransfer) || (over?.call(this, event) ?? false)
  }
  node.onDragDrop = function (event) {
    return dropped(event.dataTransfer) || (drop?.call(this, event) ?? false)
  }
}

/** Add rows behind the others in one step, and say what of them is not as it was. */
export function addRows(context, { rows, missing, numTextStrengths }, told = '') {
  const first = context.rows.length
  if (rows.length) context.replace(withAdded(context.rows, rows), first, 'move')
  context.tell([
    told,
    missing.length && say('not in the list of LoRAs: {names}; put the files into a LoRA folder and press R', { names: missing.join(', ') }),
    numTextStrengths && say('strengths on the text encoder left out: {count}; no LoRA acts there', { count: numTextStrengths })
  ].filter(Boolean).join('; '))
}

function inDrop(transfer, files) {
  const names = [...(transfer?.files ?? [])].map(file => file.name)
  return names.length ? rowsOfFiles(names, files) : rowsInText(transfer?.getData('text/plain') ?? '', files)
}

function mayHoldRows(transfer) {
  return ['Files', 'text/plain'].some(type => transfer?.types.includes(type))
}

/** A field takes what is meant for it; a list of rows or a tag is not. */
function isLeftToField(target, text) {
  return target.matches('textarea') || (target.matches('input') && !/<lora:/i.test(text) && !/^\s*[[{]/.test(text))
}
