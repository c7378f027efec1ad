import { access, constants } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { ShoalError } from '../../base/errors.ts'
import { wrapperEnv } from '../daemon-program.ts'
import type { Io } from '../io.ts'
import { shellQuote } from '../render.ts'

export function addEnv(program: Command, io: Io): void {
  program
    .command('env')
    .description('shell exports that switch a shell or a CI job on: eval "$(shoal env)"')
    .action(async () => {
      const exports = wrapperEnv(io.env, await installedShim(io), io.paths.socket)
      for (const [name, value] of Object.entries(exports)) io.stdout.write(`export ${name}=${shellQuote(value)}\n`)
    })
}

/** @throws ShoalError ERR_SHIM_BUILD when `init` has not put it there */
export async function installedShim(io: Io): Promise<string> {
  const shim = join(io.paths.shimDir, 'shoal-rustc')
  try {
    await access(shim, constants.X_OK)
  } catch (error) {
    throw new ShoalError('ERR_SHIM_BUILD', `there is no shim at ${shim}`, {
      hint: 'Run `shoal init` or `shoal join LINK` first.',
      cause: error,
    })
  }
  return shim
}
