import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { LocalServer } from '../../src/daemon/local-server.ts'

let dir: string
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'shoal-local-'))
})
after(() => rm(dir, { recursive: true, force: true }))

test('that shims have waited in vain is forgotten by a daemon that lives', async () => {
  const run = join(dir, 'run')
  const mark = join(run, 'hung')
  await mkdir(run, { mode: 0o700 })
  await writeFile(mark, '\n')
  const troubles: unknown[] = []
  const visit = async (meanwhile: () => Promise<void>): Promise<void> => {
    const socket = connect(join(run, 'shoal.sock'))
    await once(socket, 'connect')
    await meanwhile()
    socket.end()
    socket.resume()
    await once(socket, 'close')
  }
  const server = new LocalServer(
    {
      compile: async () => undefined,
      script: async () => undefined,
      command: async () => undefined,
      onTrouble: (error) => void troubles.push(error),
      log: silentLogger,
    },
    join(run, 'shoal.sock'),
  )
  await server.start()
  try {
    assert.equal(existsSync(mark), false)
    await visit(async () => await writeFile(mark, '\n'))
    // By the end of another connection the daemon has seen that of the one before.
    await visit(async () => undefined)
    assert.equal(existsSync(mark), false)
    await writeFile(mark, '\n')
  } finally {
    await server.stop()
  }
  assert.equal(existsSync(mark), false)
  assert.deepEqual(troubles, [])
})
