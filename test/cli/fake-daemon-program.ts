// What `shoal up` starts in the tests: a process that speaks the local protocol and stops when asked.
import { homedir } from 'node:os'
import { shoalPaths } from '../../src/base/paths.ts'
import { fakeDaemon } from './fake-daemon.ts'
import { statusAnswer } from './shoal.ts'

if (process.argv[2] === '--once') {
  let text = ''
  for await (const chunk of process.stdin) text += String(chunk)
  const request: unknown = JSON.parse(text)
  const value = { touched: ['/state/identity'], mesh: { id: 'm1', name: 'office' }, shim: '/state/bin/shim', request }
  process.stdout.write(`${JSON.stringify({ ok: true, value })}\n`)
} else if (process.env.SHOAL_FAKE_FAILURE) {
  process.stderr.write(`{"level":30}\nerror[ERR_CONFIG]: config.toml: slots: too many\n  hint: Use fewer.\n`)
  process.exitCode = 5
} else {
  const { socket } = shoalPaths(process.env, homedir())
  const daemon = await fakeDaemon(socket, {
    status: { ...statusAnswer, node: { ...statusAnswer.node, pid: process.pid } },
    stop: () => {
      setImmediate(() => void daemon.close())
      return {}
    },
  })
}
