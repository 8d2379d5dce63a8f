/** The words shown to people, in the language ComfyUI is set to; a phrase without a translation stays English. */

import { app } from '../../scripts/app.js'
import { CHINESE } from './words_zh.js'

/** Return a phrase in the user's language, with {names} filled in. */
export function say(phrase, names = {}) {
  const language = app.extensionManager.setting.get('Comfy.Locale') ?? 'en'
  const words = (language.startsWith('zh') && CHINESE[phrase]) || phrase
  return words.replace(/\{(\w+)\}/g, (whole, name) => names[name] ?? whole)
}
