import assert from 'node:assert/strict'
import { chmod, chown, lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLogger } from '../../src/base/log.ts'
import { ask } from '../../src/cli/client.ts'
import { daemonEnvironment } from '../../src/cli/daemon-program.ts'
import { LocalServer } from '../../src/daemon/local-server.ts'

interface Place {
  dir: string
  socket: string
  /** Whether anybody has connected to it. */
  visited(): boolean
}

/** A directory with somebody who listens in it. */
async function place(t: TestContext): Promise<Place> {
  const above = await mkdtemp(join(tmpdir(), 'shoal-own-'))
  const dir = join(above, 'run')
  await mkdir(dir, { mode: 0o700 })
  let visits = 0
  const server: Server = createServer((socket) => {
    visits += 1
    socket.destroy()
  })
  const socket = join(dir, 'shoal.sock')
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  t.after(async () => {
    await new Promise((resolve) => server.close(resolve))
    await rm(above, { recursive: true, force: true })
  })
  return { dir, socket, visited: () => visits > 0 }
}

const isRoot = process.getuid?.() === 0
const hostile: [string, (place: Place) => Promise<string>][] = [
  [
    'a directory that others can write to',
    async ({ dir, socket }) => {
      await chmod(dir, 0o777)
      return socket
    },
  ],
  [
    'a link to a directory',
    async ({ dir }) => {
      await symlink(dir, `${dir}-link`)
      return join(`${dir}-link`, 'shoal.sock')
    },
  ],
  [
    'a link in place of the socket',
    async ({ dir, socket }) => {
      await symlink(socket, join(dir, 'link.sock'))
      return join(dir, 'link.sock')
    },
  ],
  [
    'a file in place of the socket',
    async ({ dir }) => {
      await writeFile(join(dir, 'file.sock'), 'mine')
      return join(dir, 'file.sock')
    },
  ],
  ...(isRoot
    ? ([
        [
          'a directory of somebody else',
          async ({ dir, socket }: Place) => {
            await chown(dir, 65534, 65534)
            return socket
          },
        ],
        [
          'a socket of somebody else',
          async ({ socket }: Place) => {
            await chown(socket, 65534, 65534)
            return socket
          },
        ],
      ] satisfies typeof hostile)
    : []),
]

for (const [what, make] of hostile) {
  test(`a command says nothing to ${what}, and a node does not listen there`, async (t) => {
    const there = await place(t)
    const path = await make(there)
    const before = await lstat(path)
    const modeBefore = (await lstat(there.dir)).mode
    await assert.rejects(ask(path, 'status', {}), { code: 'ERR_CONFIG' })
    assert.equal(there.visited(), false)
    const needs = {
      compile: async () => undefined,
      script: async () => undefined,
      command: async () => undefined,
      onTrouble: () => undefined,
      log: silentLogger,
    }
    await assert.rejects(new LocalServer(needs, path).start(), { code: 'ERR_CONFIG' })
    assert.equal((await lstat(path)).ino, before.ino)
    assert.equal((await lstat(there.dir)).mode, modeBefore)
    if (before.isFile()) assert.equal(await readFile(path, 'utf8'), 'mine')
  })
}

test('a directory of its own that others can read is made private, and the socket is for its owner alone', async (t) => {
  const { dir } = await place(t)
  await chmod(dir, 0o755)
  const path = join(dir, 'own.sock')
  const needs = {
    compile: async () => undefined,
    script: async () => undefined,
    command: async () => ({ fine: true }),
    onTrouble: () => undefined,
    log: silentLogger,
  }
  const server = new LocalServer(needs, path)
  await server.start()
  t.after(() => server.stop())
  assert.equal((await lstat(dir)).mode & 0o777, 0o700)
  assert.equal((await lstat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await ask(path, 'status', {}), { fine: true })
})

test('a node inherits what it needs and nothing else', () => {
  const needed = { PATH: '/bin', HOME: '/h', XDG_RUNTIME_DIR: '/r', SHOAL_HOME: '/s', RUSTUP_HOME: '/u', LC_ALL: 'C' }
  const secret = {
    AWS_SECRET_ACCESS_KEY: 'x',
    GITHUB_TOKEN: 'x',
    LD_PRELOAD: '/evil.so',
    SSH_AUTH_SOCK: '/a',
    NODE_OPTIONS: '-r x',
  }
  assert.deepEqual(daemonEnvironment({ ...needed, ...secret, PWD: undefined }), needed)
})
