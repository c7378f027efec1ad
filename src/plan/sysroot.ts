import { execFile } from 'node:child_process'
import { statSync } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, resolve, sep } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, ShoalError } from '../base/errors.ts'
import type { Environment } from '../base/paths.ts'
import { loadedLibraries } from './elf.ts'
import { signatureOf } from './stat-memo.ts'

const execute = promisify(execFile)

/** Finds the toolchain behind what cargo calls `rustc`, and runs rustc only when its files do not tell. */
export class SysrootFinder {
  readonly #asked = new Map<string, string>()

  /**
   * @param rustc a path, or a bare name to be found on `env.PATH`
   * @returns absolute, links resolved
   * @throws ShoalError ERR_TOOLCHAIN when it is not there or is something else, such as a script around rustc
   */
  async find(rustc: string, env: Environment, cwd: string): Promise<string> {
    const program = findProgram(rustc, env, cwd)
    const real = await realpath(program)
    const own = dirname(dirname(real))
    if (await hasDriver(own)) return own
    const rustup = isRustup(program, real)
    if (rustup && env.RUSTUP_TOOLCHAIN) {
      const home = rustupHome(env)
      const directory = isAbsolute(env.RUSTUP_TOOLCHAIN)
        ? env.RUSTUP_TOOLCHAIN
        : join(home, 'toolchains', env.RUSTUP_TOOLCHAIN)
      if (await hasDriver(directory)) return realpath(directory)
    }
    if (!rustup && !(await loadsDriver(real)))
      throw new ShoalError('ERR_TOOLCHAIN', `${program} is not a rustc that Shoal knows`)
    const key = JSON.stringify([real, signature(real), env.RUSTUP_TOOLCHAIN ?? '', rustup ? overrides(env, cwd) : ''])
    const known = this.#asked.get(key)
    if (known !== undefined) return known
    const sysroot = await realpath((await run(program, ['--print', 'sysroot'], env, cwd)).trim())
    this.#asked.set(key, sysroot)
    return sysroot
  }
}

const rustupHome = (env: Environment): string => env.RUSTUP_HOME || join(env.HOME ?? '/', '.rustup')

/** Proxies are links to `rustup`, hard links on older installations. */
function isRustup(program: string, real: string): boolean {
  if (basename(real).startsWith('rustup')) return true
  const neighbour = join(dirname(program), 'rustup')
  return exists(neighbour) && signature(neighbour) === signature(real)
}

/** Everything besides `RUSTUP_TOOLCHAIN` that decides which toolchain rustup picks for `cwd`. */
function overrides(env: Environment, cwd: string): string[] {
  const files = [join(rustupHome(env), 'settings.toml')]
  for (let directory = resolve(cwd); ; directory = dirname(directory)) {
    files.push(join(directory, 'rust-toolchain'), join(directory, 'rust-toolchain.toml'))
    if (dirname(directory) === directory) break
  }
  return [resolve(cwd), ...files.map((file) => `${file}=${exists(file) ? signature(file) : ''}`)]
}

function findProgram(rustc: string, env: Environment, cwd: string): string {
  const candidates = rustc.includes(sep)
    ? [resolve(cwd, rustc)]
    : (env.PATH ?? '').split(':').map((directory) => resolve(cwd, directory, rustc))
  const program = candidates.find((candidate) => statSync(candidate, { throwIfNoEntry: false })?.isFile())
  if (program === undefined) throw new ShoalError('ERR_TOOLCHAIN', `${rustc} is not found`)
  return program
}

export async function hasDriver(sysroot: string): Promise<boolean> {
  try {
    return (await readdir(join(sysroot, 'lib'))).some((name) => name.startsWith('librustc_driver'))
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

async function loadsDriver(program: string): Promise<boolean> {
  try {
    return (await loadedLibraries(program)).libraries.some((library) => library.name.startsWith('librustc_driver'))
  } catch (error) {
    if (codeOf(error) === 'ERR_TOOLCHAIN' || codeOf(error) === 'ERR_DECODE') return false
    throw error
  }
}

export async function run(program: string, args: string[], env: Environment, cwd: string): Promise<string> {
  try {
    const { stdout } = await execute(program, args, { env: { ...env }, cwd, timeout: 60_000, maxBuffer: 1 << 20 })
    return stdout
  } catch (error) {
    throw new ShoalError('ERR_TOOLCHAIN', `${program} ${args.join(' ')} failed`, { cause: error })
  }
}

export const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined
const signature = (path: string): string => signatureOf(statSync(path, { bigint: true }))
export const isAbsence = (error: unknown): boolean => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR'
