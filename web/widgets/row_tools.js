/** The buttons under the rows of LoRAs that are about all of them. */

import { iconButton } from '../controls/dom.js'
import { toggledAll } from '../core/row_edits.js'
import { say } from '../words.js'

/** Return the buttons; one that has a `refresh` is told when the rows or the graph have changed. */
export function rowTools(context) {
  const all = iconButton('pi-power-off', say('toggle all'), () => context.replace(toggledAll(context.rows)))
  all.title = say('all off if any is on, else all on')
  all.refresh = () => { all.hidden = context.rows.length === 0 }
  return [all]
}
