import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The checkout. */
export const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Where npm puts the programs of the dependencies. */
const binDir = `${root}node_modules/.bin`

/**
 * Runs a program in the checkout, with its output here.
 * @param more variables besides those of this process
 * @returns its exit code; 1 when a signal ended it
 */
export async function run(program: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<number> {
  const env = { ...process.env, ...more, PATH: `${binDir}:${process.env.PATH ?? ''}` }
  const child = spawn(program, args, { cwd: root, stdio: 'inherit', env })
  const [code] = await once(child, 'exit')
  return typeof code === 'number' ? code : 1
}

export interface Step {
  title: string
  /** @returns the exit code */
  run(): Promise<number>
}

/** Runs every step, also after one has failed. @returns the titles of those that failed */
export async function runSteps(steps: readonly Step[]): Promise<string[]> {
  const failed: string[] = []
  for (const step of steps) {
    process.stderr.write(`> ${step.title}\n`)
    if ((await step.run()) !== 0) failed.push(step.title)
  }
  return failed
}
