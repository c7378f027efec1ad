import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../base/errors.ts'

/** What cargo keeps of a build script's words beside OUT_DIR, in its old layout and in its new one. Without it the script runs again. */
export const saidBeside = ['output', 'run/stdout', 'run/output', 'stdout']

/** What a build script has told cargo. */
export interface ScriptSaid {
  /** Names of the variables that it sets for the compiler. */
  variables: ReadonlySet<string>
  /** What it is to run again for, as it is written. */
  files: readonly string[]
}

const told = /^cargo::?(rustc-env|rerun-if-changed)=(.*?)\s*$/gm

/** @param outDir of the script. @returns undefined when it is not known what it said */
export async function saidBy(outDir: string): Promise<ScriptSaid | undefined> {
  for (const name of saidBeside) {
    const text = await textOf(join(dirname(outDir), name))
    if (text === undefined) continue
    const all = [...text.matchAll(told)]
    const of = (what: string): string[] => all.flatMap(([, kind, value = '']) => (kind === what ? [value] : []))
    const variables = of('rustc-env').map((setting) => setting.split('=', 1)[0] ?? '')
    return { variables: new Set(variables), files: of('rerun-if-changed') }
  }
  return undefined
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
