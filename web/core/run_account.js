/** What the last run said of the rows: the `loras` of ApplyLoraStack's result, matched with the rows that asked for it. */

import { withOurKeys } from './foreign_rows.js'
import { baseName } from './lora_row.js'

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

/**
 * Return in short what became of a row: how many tensors of each file were applied and of which ranks, whether it acts
 * nowhere, how good that is ("ok", "warn", or "off" where there is nothing to say), and the whole account as text.
 * `told` says a text of the account in the user's language, by its form in `account.said`.
 */
export function inShort(account, told = english => english) {
  const files = account.files ?? []
  const lines = (file, index) => [file.summary, ...(file.reasons ?? [])].map((text, place) => told(text, account.said?.[index]?.[place]))
  const detail = files.map((file, index) => [file.file, ...lines(file, index)].join('\n  ')).join('\n')
  if (!account.enabled) return { tone: 'off', detail }
  const acting = files.filter(file => Object.keys(file.experts).length)
  if (!acting.length) return { isIdle: true, tone: 'warn', detail }
  return {
    counts: acting.map(file => /(\d+) applied/.exec(file.summary)?.[1] ?? '0').join('+'),
    ranks: [...new Set(acting.flatMap(file => file.ranks))].join('/'),
    tone: acting.some(file => (file.reasons ?? []).length) ? 'warn' : 'ok',
    detail
  }
}

function isOf(row, account) {
  if (account.enabled !== (row.enabled ?? true)) return false
  if (!account.enabled) return true
  return (account.files ?? []).some(file => file.file === baseName(row.path ?? ''))
}
