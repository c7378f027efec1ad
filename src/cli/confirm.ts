import { createInterface } from 'node:readline/promises'
import { ShoalError } from '../base/errors.ts'
import type { Io } from './io.ts'

/** Whether somebody can be asked. */
export function isPerson({ stdin }: Pick<Io, 'stdin'>): boolean {
  return 'isTTY' in stdin && stdin.isTTY === true
}

/**
 * Whether the person says yes.
 * @throws ShoalError ERR_USAGE when there is nobody to ask
 */
export async function confirmed(
  io: Io,
  question: string,
  hint = 'Say --yes to remove it without asking.',
): Promise<boolean> {
  if (!isPerson(io)) throw new ShoalError('ERR_USAGE', 'nobody can be asked here', { hint })
  const lines = createInterface({ input: io.stdin, output: io.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `, { signal: io.signal })).trim())
  } finally {
    lines.close()
  }
}
