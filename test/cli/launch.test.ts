import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { compiledDir, missingTools, nodeFits, privateNode, staleDependencies } from '../../src/cli/prepare.mjs'

const cli = fileURLToPath(new URL('../../src/cli', import.meta.url))
const lock = (packages: Record<string, object>): string => JSON.stringify({ lockfileVersion: 3, packages })
const wanted = {
  '': { name: 'shoal' },
  'node_modules/a': { version: '1.0.0' },
  'node_modules/b': { version: '2.0.0', dev: true },
  'node_modules/c': { version: '3.0.0', optional: true },
}

/** A checkout with a launcher, a lock file, a main that says what it got, and an npm that installs at once. */
async function checkout(t: TestContext) {
  const root = await mkdtemp(join(tmpdir(), 'shoal-launch-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  const bin = join(root, 'fake-bin')
  await mkdir(join(root, 'src/cli/dev'), { recursive: true })
  await mkdir(bin)
  for (const file of ['launch.mjs', 'prepare.mjs', '../base/paths.ts']) {
    await cp(join(cli, file), join(root, 'src/cli', file))
  }
  await writeFile(join(root, 'package.json'), '{"type":"module"}')
  await writeFile(join(root, 'package-lock.json'), lock(wanted))
  const show = (what: string): string => `console.log(JSON.stringify(['${what}', ...process.argv.slice(2)]))\n`
  await writeFile(join(root, 'src/cli/main.ts'), show('main'))
  await writeFile(join(root, 'src/cli/dev/check.ts'), `${show('check')}process.exitCode = 9\n`)
  const npm = `#!/bin/sh
echo "$@" >> ${root}/npm-called
echo "added 3 packages"
mkdir -p ${root}/node_modules
cp ${root}/package-lock.json ${root}/node_modules/.package-lock.json
`
  await writeFile(join(bin, 'npm'), npm)
  await chmod(join(bin, 'npm'), 0o755)
  return { root, bin }
}

interface Launched {
  code: number
  stdout: string
  stderr: string
}

function launch(
  { root, bin }: { root: string; bin: string },
  args: string[],
  node = process.execPath,
): Promise<Launched> {
  // Not where this machine's own node is.
  const env = { PATH: `${bin}:${process.env.PATH}`, SHOAL_HOME: join(root, 'home') }
  return new Promise((resolve) => {
    execFile(node, [join(root, 'src/cli/launch.mjs'), ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}

test('the launcher installs the dependencies once, says so, and keeps standard output clean', async (t) => {
  const place = await checkout(t)
  const first = await launch(place, ['status', '--json'])
  assert.deepEqual([first.code, first.stdout], [0, '["main","status","--json"]\n'])
  assert.match(first.stderr, /^shoal: the dependencies are not installed: running npm ci/)
  const second = await launch(place, ['up'])
  assert.deepEqual(second, { code: 0, stdout: '["main","up"]\n', stderr: '' })
  assert.equal(await readFile(join(place.root, 'npm-called'), 'utf8'), 'ci --no-audit --no-fund --loglevel=error\n')
})

test('the launcher stops when the dependencies cannot be installed', async (t) => {
  const place = await checkout(t)
  await writeFile(join(place.bin, 'npm'), '#!/bin/sh\nexit 4\n')
  const { code, stdout, stderr } = await launch(place, ['up'])
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /npm ci ended with 4/)
})

test('--as runs a task with its arguments and its exit code, and nothing else', async (t) => {
  const place = await checkout(t)
  const task = await launch(place, ['--as', 'check', '--fast'])
  assert.deepEqual([task.code, task.stdout], [9, '["check","--fast"]\n'])
  const unknown = await launch(place, ['--as', 'chekc'])
  assert.deepEqual([unknown.code, unknown.stdout], [2, ''])
})

const older = ['/usr/bin/node', '/usr/local/bin/node']
test('on an older Node the launcher goes on under the one that npm brought', async (t) => {
  const node = await firstOlder()
  if (node === undefined) return t.skip('there is no older Node on this machine')
  const place = await checkout(t)
  const without = await launch(place, ['up'], node)
  assert.equal(without.code, 1)
  assert.match(without.stderr, /Node\.js 24\.9 or newer is needed/)

  const brought = join(place.root, 'node_modules/node-some-platform/bin')
  await mkdir(brought, { recursive: true })
  await writeFile(join(brought, 'node'), `#!/bin/sh\nexec ${process.execPath} "$@"\n`)
  await chmod(join(brought, 'node'), 0o755)
  const restarted = await launch(place, ['--as', 'check', 'x'], node)
  assert.deepEqual([restarted.code, restarted.stdout], [9, '["check","x"]\n'])
})

async function firstOlder(): Promise<string | undefined> {
  for (const node of older) {
    const version = await new Promise<string>((resolve) => {
      execFile(node, ['--version'], (error, stdout) => resolve(error === null ? stdout.slice(1) : ''))
    })
    if (version !== '' && !nodeFits(version)) return node
  }
  return undefined
}

test('staleDependencies() compares what is installed with the lock file by content', async (t) => {
  const { root } = await checkout(t)
  const installed = join(root, 'node_modules/.package-lock.json')
  const both = { development: true }
  assert.match(staleDependencies(root, both) ?? '', /not installed/)
  await mkdir(join(root, 'node_modules'))
  await writeFile(installed, lock({ ...wanted, 'node_modules/c': {} }))
  assert.equal(staleDependencies(root, both), undefined, 'an optional package depends on the platform')
  await writeFile(installed, lock({ 'node_modules/a': { version: '1.0.0' } }))
  assert.match(staleDependencies(root, both) ?? '', /older/)
  assert.equal(staleDependencies(root, { development: false }), undefined)
  await writeFile(installed, lock({ 'node_modules/a': { version: '0.9.0' } }))
  assert.match(staleDependencies(root, { development: false }) ?? '', /older/)
})

test('nodeFits() wants 24.9', () => {
  const fits = ['24.9.0', '24.21.0', '25.0.0', '26.10.0']
  const not = ['18.19.0', '20.20.2', '22.18.0', '24.8.9']
  assert.deepEqual(fits.filter(nodeFits), fits)
  assert.deepEqual(not.filter(nodeFits), [])
})

test('privateNode() finds a program that can be run, of whatever platform', async (t) => {
  const { root } = await checkout(t)
  assert.equal(privateNode(root), undefined)
  const bin = join(root, 'node_modules/node-some-platform/bin')
  await mkdir(bin, { recursive: true })
  await mkdir(join(root, 'node_modules/node-gyp-build'))
  await writeFile(join(bin, 'node'), '')
  assert.equal(privateNode(root), undefined)
  await chmod(join(bin, 'node'), 0o755)
  assert.equal(privateNode(root), join(bin, 'node'))
})

test('missingTools() names Debian packages, on Linux only', async (t) => {
  const { bin } = await checkout(t)
  assert.ok(missingTools(bin, 'linux').includes('bubblewrap'))
  assert.deepEqual(missingTools(bin, 'darwin'), [])
  await writeFile(join(bin, 'bwrap'), '')
  await chmod(join(bin, 'bwrap'), 0o755)
  assert.ok(!missingTools(`/nowhere:${bin}`, 'linux').includes('bubblewrap'))
})

test('what Node has compiled is kept where nobody else can change it, and nowhere else', async (t) => {
  const place = await checkout(t)
  const cache = join(place.root, 'home/cache')
  const compiled = join(cache, 'compiled')
  const kept = async (): Promise<string[]> => {
    await launch(place, ['status'])
    return await readdir(compiled).catch(() => ['nothing'])
  }
  assert.deepEqual(await kept(), ['nothing'])
  await mkdir(cache, { recursive: true, mode: 0o700 })
  const [now = '', ...others] = await kept()
  assert.ok(now.startsWith(`${process.version}-`) && others.length === 0)
  assert.equal((await lstat(compiled)).mode & 0o777, 0o700)

  await mkdir(join(compiled, 'v18.0.0-x64-0-0'))
  assert.deepEqual(await kept(), [now])

  for (const shared of [compiled, cache]) {
    await rm(compiled, { recursive: true })
    await mkdir(compiled, { mode: 0o700 })
    await chmod(shared, 0o770)
    assert.deepEqual(await kept(), [])
    assert.equal(compiledDir(cache), undefined)
    await chmod(shared, 0o700)
  }

  await rm(compiled, { recursive: true })
  await mkdir(join(place.root, 'elsewhere'), { mode: 0o700 })
  await symlink(join(place.root, 'elsewhere'), compiled)
  assert.deepEqual(await kept(), [])
})
