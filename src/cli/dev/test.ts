import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { checks } from './checks.ts'
import { root, run, runSteps } from './tools.ts'

// `npm test -- test/watch/*.test.ts` runs some of the tests, without the checks.
const chosen = process.argv.slice(2)
const failed = chosen.length > 0 ? [] : await runSteps(checks)
const all = globSync('test/**/*.test.ts', { cwd: root }).sort()
/** Some of these take whatever they can get of this machine. */
const isAlone = (file: string): boolean => file.startsWith('test/execute/')
const isBuild = (file: string): boolean => file.startsWith('test/e2e/')
// Most of a test is its start, and builds wait for each other's units half of the time: so they share the processors.
const rounds =
  chosen.length > 0
    ? [{ files: chosen, atOnce: 1 }]
    : [
        { files: all.filter((file) => !isBuild(file) && !isAlone(file)), atOnce: availableParallelism() },
        { files: all.filter(isAlone), atOnce: 1 },
        { files: all.filter(isBuild), atOnce: availableParallelism() },
      ]
// No single test may hang the whole run; the longest builds a workspace on three nodes.
const timeoutMs = 600_000
const options = ['--test', '--test-reporter=spec', `--test-timeout=${timeoutMs}`]
// Thousands of processes load the same modules: Node keeps here what it has compiled of them, as long as they are the same.
const compiled = { NODE_COMPILE_CACHE: `${root}node_modules/.cache/shoal-compiled` }
let code = 0
for (const { files, atOnce } of rounds) {
  const args = [...options, `--test-concurrency=${atOnce}`, ...files]
  code = (await run(process.execPath, args, compiled)) || code
}
if (failed.length > 0) process.stderr.write(`check failed: ${failed.join(', ')} (see above)\n`)
process.exitCode = code === 0 && failed.length === 0 ? 0 : 1
