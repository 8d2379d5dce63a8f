/** What the last run said of the rows: the `loras` of ApplyLoraStack's result, matched with the rows that asked for it. */

import { baseName, withOurKeys } from './lora_row.js'

/**
 * Return one account for each row, or null where the row has changed since.
 * A result lists the LoRAs that were on the model before, then those of the `stack` input, then the node's own rows.
 */
export function accountsOf(rows, loras) {
  const own = loras.slice(-rows.length || loras.length)
  return rows.map((row, index) => {
    const account = own.length === rows.length ? own[index] : undefined
    return account && isOf(withOurKeys(row), account) ? account : null
  })
}

/** Say in a few words what became of a row: { text, tone: "ok" | "warn" | "off", detail }. */
export function inShort(account) {
  if (!account.enabled) return { text: '', tone: 'off', detail: '' }
  const files = account.files ?? []
  const detail = files.map(file => [file.file, file.summary, ...(file.reasons ?? [])].join('\n  ')).join('\n')
  const acting = files.filter(file => Object.keys(file.experts).length)
  if (!acting.length) return { text: 'acts nowhere', tone: 'warn', detail }
  const ranks = [...new Set(acting.flatMap(file => file.ranks))]
  const counts = acting.map(file => /(\d+) applied/.exec(file.summary)?.[1] ?? file.summary)
  const rest = acting.some(file => (file.reasons ?? []).length)
  const rank = ranks.length ? `, rank ${ranks.join('/')}` : ''
  return { text: `${counts.join('+')} applied${rank}`, tone: rest ? 'warn' : 'ok', detail }
}

function isOf(row, account) {
  if (account.enabled !== (row.enabled ?? true)) return false
  if (!account.enabled) return true
  return (account.files ?? []).some(file => file.file === baseName(row.path ?? ''))
}
