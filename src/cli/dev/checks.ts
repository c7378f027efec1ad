import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generate, generatedDir } from './protocol-code.ts'
import { run, type Step } from './tools.ts'

/** What is checked without running the product. */
export const checks: readonly Step[] = [
  { title: 'types (tsc)', run: () => run('tsc', ['--noEmit', '-p', '.']) },
  { title: 'format and lint (biome)', run: () => run('biome', ['check', '--error-on-warnings', '.']) },
  { title: 'dead code (knip)', run: () => run('knip', ['--no-progress']) },
  { title: 'generated code is up to date (buf)', run: compareGenerated },
]

async function compareGenerated(): Promise<number> {
  const fresh = await mkdtemp(join(tmpdir(), 'shoal-generated-'))
  try {
    const code = await generate(fresh)
    if (code !== 0) return code
    const [old, now] = await Promise.all([filesOf(generatedDir), filesOf(fresh)])
    const names = new Set([...old.keys(), ...now.keys()])
    const differing = [...names].filter((name) => old.get(name) !== now.get(name))
    for (const name of differing) process.stderr.write(`${generatedDir}/${name} is not what protocols/ gives\n`)
    if (differing.length > 0) process.stderr.write('run: npm run generate\n')
    return differing.length === 0 ? 0 : 1
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

async function filesOf(dir: string): Promise<Map<string, string>> {
  const names = await readdir(dir)
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name), 'utf8')] as const)))
}
