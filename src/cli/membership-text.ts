import { foreignText } from '../base/errors.ts'
import { type Io, print } from './io.ts'
import type { Membership } from './shapes.ts'

/** @param isUp whether the node runs */
export function printMembership(
  io: Io,
  { touched, shim, objection }: Membership,
  headline: string,
  isUp = false,
): void {
  print(io, headline)
  for (const file of touched) print(io, `  wrote ${file}`)
  print(io, `  shim  ${shim}`)
  if (typeof objection === 'string') {
    printObjection(io, objection, isUp)
    return
  }
  const use = '`shoal build` (or `eval "$(shoal env)"`, then cargo) uses it.'
  print(io, isUp ? `The node is running: ${use}` : `Next: \`shoal up\` starts the node, ${use}`)
}

/** Its files are there, and nobody talks to it. */
function printObjection(io: Io, objection: string, isUp: boolean): void {
  print(io, `It is no member of that any more: ${foreignText(objection)}.`)
  const before = isUp ? '`shoal down`, then ' : ''
  print(io, `Next: ${before}\`shoal join LINK\`, with a link of somebody who is one (\`shoal invite\`);`)
  print(io, `or, for another mesh of its own, ${before}\`shoal leave\` and \`shoal init\`.`)
}
