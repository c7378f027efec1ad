import { createInterface } from 'node:readline/promises'
import { ShoalError } from '../base/errors.ts'
import type { Io } from './io.ts'

/**
 * Whether the person says yes.
 * @throws ShoalError ERR_USAGE when there is nobody to ask
 */
export async function confirmed(io: Io, question: string): Promise<boolean> {
  if (!('isTTY' in io.stdin && io.stdin.isTTY)) {
    throw new ShoalError('ERR_USAGE', 'nobody can be asked here', { hint: 'Say --yes to remove it without asking.' })
  }
  const lines = createInterface({ input: io.stdin, output: io.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `, { signal: io.signal })).trim())
  } finally {
    lines.close()
  }
}
