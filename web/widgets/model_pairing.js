/** A plain MODEL let go over a node that takes a WAN_MODEL: the node that makes one of the other is offered. */

import { openMenu } from '../controls/menu.js'
import { addBefore, onLinkDropped, rememberForUndo } from '../host.js'
import { say } from '../words.js'

/** Offer it for the nodes that `isOurs`. */
export function pairDroppedModels(isOurs) {
  onLinkDropped(({ node, input, source, slot, event }) => {
    if (source.outputs[slot]?.type !== 'MODEL' || !isOurs(node)) return
    const socket = input ?? node.inputs.find(one => one.type === 'WAN_MODEL')
    const takesModel = node.inputs.some(one => one.type === 'MODEL')
    if (socket?.type !== 'WAN_MODEL' || (!input && takesModel)) return
    const act = () => {
      const pair = addBefore(node, 'PairWanModels')
      source.connect(slot, pair, pair.inputs.findIndex(one => one.type === 'MODEL'))
      pair.connect(0, node, node.inputs.indexOf(socket))
      rememberForUndo()
    }
    openMenu(say('a MODEL and this node'), [{ text: say('put Pair Wan Models between'), act }], { x: event.clientX, y: event.clientY })
  })
}
