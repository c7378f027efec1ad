import { type Io, print } from './io.ts'
import type { Membership } from './shapes.ts'

/** @param isUp whether the node has been started too */
export function printMembership(io: Io, { touched, shim }: Membership, headline: string, isUp = false): void {
  print(io, headline)
  for (const file of touched) print(io, `  wrote ${file}`)
  print(io, `  shim  ${shim}`)
  const use = '`shoal build` (or `eval "$(shoal env)"`, then cargo) uses it.'
  print(io, isUp ? `The node is running: ${use}` : `Next: \`shoal up\` starts the node, ${use}`)
}
