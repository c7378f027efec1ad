import { z } from 'zod'
import { foreignText } from './errors.ts'

/** Of certificates and of a genesis: UTF-8. */
export const maxNameBytes = 64

/** Why a node or a mesh cannot be called so, as words that come after "is"; undefined when it can. */
function objectionTo(name: string): string | undefined {
  if (name.trim() === '') return 'empty'
  if (Buffer.byteLength(name) > maxNameBytes) return `longer than ${maxNameBytes} bytes`
  // Elsewhere it would be shown as another one.
  return foreignText(name) === name ? undefined : 'one with characters that cannot be shown'
}

/** A name that somebody here has chosen. What others have chosen is `nameSchema` of mesh/statement.ts. */
export const chosenName = z
  .string()
  .trim()
  .superRefine((name, context) => {
    const message = objectionTo(name)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })
