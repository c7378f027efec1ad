import { constants, homedir } from 'node:os'
import { absoluteHome, shoalPaths } from '../base/paths.ts'
import { daemonProgram } from './daemon-program.ts'
import type { Io } from './io.ts'
import { run } from './program.ts'

absoluteHome(process.env)
const stop = new AbortController()
let stoppedBy: 'SIGINT' | 'SIGTERM' | undefined
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    stoppedBy = name
    stop.abort(new Error(`stopped by ${name}`))
  })
}

const colourless = Boolean(process.env.NO_COLOR) || Boolean(process.env.CI) || process.env.TERM === 'dumb'
const io: Io = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  paths: shoalPaths(process.env, homedir()),
  daemonProgram: daemonProgram(),
  interactive: process.stderr.isTTY && !colourless,
  signal: stop.signal,
}

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

const argv = process.argv.slice(2)
// `cargo shoal status` runs `cargo-shoal shoal status`.
const exitCode = await run(argv[0] === 'shoal' ? argv.slice(1) : argv, io)
process.exitCode = stoppedBy !== undefined && exitCode !== 0 ? 128 + constants.signals[stoppedBy] : exitCode
