import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parse } from 'smol-toml'
import { codeOf } from '../../base/errors.ts'
import type { Environment } from '../../base/paths.ts'
import { type Finding, ok, warn } from './finding.ts'

/** What cargo starts instead of rustc, and who says so. */
interface Wrapper {
  program: string
  from: string
}

/**
 * What a cargo here starts instead of rustc, by cargo's own order: RUSTC_WRAPPER, CARGO_BUILD_RUSTC_WRAPPER, then `.cargo/config.toml` of this
 * directory, of those above it, and of cargo's home. A value that is empty means none.
 */
async function wrapperOf(env: Environment, cwd: string, cargoHome: string): Promise<Wrapper | undefined> {
  for (const from of ['RUSTC_WRAPPER', 'CARGO_BUILD_RUSTC_WRAPPER']) {
    const program = env[from]
    if (program !== undefined) return program === '' ? undefined : { program, from }
  }
  const above: string[] = []
  for (let dir = cwd; above.at(-1) !== dir; dir = dirname(dir)) above.push(dir)
  const homes = [...above.map((dir) => join(dir, '.cargo')), cargoHome]
  for (const from of homes.flatMap((dir) => [join(dir, 'config'), join(dir, 'config.toml')])) {
    const program = await configured(from)
    if (program !== undefined) return program === '' ? undefined : { program, from }
  }
  return undefined
}

async function configured(file: string): Promise<string | undefined> {
  try {
    const { build } = parse(await readFile(file, 'utf8'))
    const value = typeof build === 'object' && 'rustc-wrapper' in build ? build['rustc-wrapper'] : undefined
    return typeof value === 'string' ? value : undefined
  } catch (error) {
    // cargo says by itself what is wrong with a file that it cannot read.
    if (error instanceof Error) return undefined
    throw error
  }
}

/** Whether a cargo that is started here uses the mesh. @param shim what it should start */
export async function cargoWrapper(
  env: Environment,
  { cwd, cargoHome, shim }: { cwd: string; cargoHome: string; shim: string },
): Promise<Finding[]> {
  const switchOn = 'eval "$(shoal env)"'
  const all: Finding[] = []
  if (env.SHOAL === 'off') all.push(warn('switch', 'SHOAL=off is set', 'nothing here uses the mesh', 'unset SHOAL'))
  const wrapper = await wrapperOf(env, cwd, cargoHome)
  if (wrapper === undefined) {
    all.push(
      ok('cargo', `\`shoal build\` uses the mesh, plain cargo here does not; this would switch it on: ${switchOn}`),
    )
  } else if (wrapper.program === shim) {
    all.push(ok('cargo', `uses the mesh (${wrapper.from})`))
  } else {
    const what = `${wrapper.from} names another wrapper: ${wrapper.program}`
    all.push(warn('cargo', what, 'plain cargo here does not use the mesh; `shoal build` does', switchOn))
  }
  if (env.RUSTC_WORKSPACE_WRAPPER) {
    const what = `RUSTC_WORKSPACE_WRAPPER is ${env.RUSTC_WORKSPACE_WRAPPER}`
    all.push(
      warn(
        'workspace wrapper',
        what,
        "its path is part of what cargo calls each member's files",
        'unset RUSTC_WORKSPACE_WRAPPER',
      ),
    )
  }
  return all
}

/** Where cargo keeps its things. */
export const cargoHomeOf = (env: Environment, home: string): string => env.CARGO_HOME || join(home, '.cargo')

/** The toolchains that rustup has installed. @param rustupHome its directory */
export async function toolchainNames(rustupHome: string, list: (dir: string) => Promise<string[]>): Promise<string[]> {
  try {
    return await list(join(rustupHome, 'toolchains'))
  } catch (error) {
    if (codeOf(error) !== undefined) return []
    throw error
  }
}
