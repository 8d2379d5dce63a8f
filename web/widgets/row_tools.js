/** The buttons under the rows of LoRAs that are about all of them. */

import { el, iconButton } from '../controls/dom.js'
import { openMenu } from '../controls/menu.js'
import { hasOthersRows, hasRows, othersRows } from '../core/handed_rows.js'
import { toggledAll } from '../core/row_edits.js'
import { everyNode } from '../host.js'
import { say } from '../words.js'
import { addRows } from './handed_over.js'

/** Return the buttons; each is told with `refresh` when the rows or the graph have changed. `files()` gives the list of LoRAs. */
export function rowTools(context, node, files) {
  return [toggleAll(context), takeOver(context, node, files)]
}

function toggleAll(context) {
  const button = iconButton('pi-power-off', say('toggle all'), () => context.replace(toggledAll(context.rows)))
  button.title = say('all off if any is on, else all on')
  button.refresh = () => { button.hidden = context.rows.length === 0 }
  return button
}

/** Copy the rows of another pack's node in the graph; of several the user picks one. */
function takeOver(context, node, files) {
  const button = el('button', {
    type: 'button', class: 'wl-add', hidden: true, title: say('copy the rows of a Power Lora Loader or of Lora-Manager in this graph'),
    onclick: () => {
      const others = othersIn(files())
      if (others.length === 1) return take(others[0])
      openMenu(say('take over rows'), others.map(other => ({ text: nameOf(other), act: () => take(other) })), button)
    }
  }, say('take over rows'))
  const take = other => addRows(context, other.found, say('rows taken over from {title}: {count}; it still acts itself until you bypass or remove it', {
    count: other.found.rows.length, title: other.node.title
  }))
  // A node that is being made is in no graph yet, and its list of files is not known.
  button.refresh = () => { button.hidden = !node.graph || !othersNodes().some(other => hasRows(other.type, valuesOf(other))) }
  return button
}

function othersNodes() {
  return everyNode().filter(node => hasOthersRows(node.type))
}

function valuesOf(node) {
  return node.serialize().widgets_values
}

function othersIn(files) {
  return othersNodes()
    .map(node => ({ node, found: othersRows(node.type, valuesOf(node), files) }))
    .filter(({ found }) => found.rows.length)
}

function nameOf({ node, found }) {
  return say('from {title} ({id}): {count}', { title: node.title, id: node.id, count: found.rows.length })
}
