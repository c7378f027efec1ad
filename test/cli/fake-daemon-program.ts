// What `shoal up` starts in the tests: a process that speaks the local protocol and stops when asked.
import { homedir } from 'node:os'
import { createInterface } from 'node:readline'
import { shoalPaths } from '../../src/base/paths.ts'
import { fakeDaemon } from './fake-daemon.ts'
import { statusAnswer } from './shoal.ts'

if (process.argv[2] === '--once') {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const request: { action: string; link?: string; openLan?: boolean } = JSON.parse((await lines.next()).value ?? '{}')
  const say = (value: unknown): boolean => process.stdout.write(`${JSON.stringify(value)}\n`)
  const mesh = { id: 'm1', name: 'office', open: request.openLan === true }
  let agreed = true
  if (request.action === 'join' && request.link === undefined) {
    say({ word: 'code', mesh: 'office', code: '048291' })
    say({ word: 'approved', mesh: 'office', code: '048291' })
    agreed = (await lines.next()).value === 'yes'
  } else if (process.env.SHOAL_FAKE_LEAVES) {
    say({ word: 'leaves', mesh: process.env.SHOAL_FAKE_LEAVES, members: 3 })
    agreed = (await lines.next()).value === 'yes'
  }
  const near: unknown = JSON.parse(process.env.SHOAL_FAKE_NEAR ?? '[]')
  if (!agreed) say({ ok: false, error: { code: 'ERR_ROLE', message: 'this machine has joined nothing' } })
  else if (request.action === 'examine') {
    const part = { state: 'current' }
    say({
      ok: true,
      value: { shim: part, observer: part, mesh: { ...mesh, ...JSON.parse(process.env.SHOAL_FAKE_MESH ?? '{}') } },
    })
  } else if (request.action === 'look') say({ ok: true, value: { mesh: null, near } })
  else {
    const objection = process.env.SHOAL_FAKE_OBJECTION ?? null
    say({ ok: true, value: { touched: ['/state/identity'], mesh, shim: '/state/bin/shim', objection, request } })
  }
  process.stdin.destroy()
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
