import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { silentLogger } from '../../src/base/log.ts'
import { collectHere, collectOutputs, takeFile, withoutIdentity } from '../../src/execute/collector.ts'
import { findNeedle, type Needle } from '../../src/execute/needles.ts'
import { type Root, sortRoots } from '../../src/plan/roots.ts'
import { identityOf } from '../../src/plan/stat-digests.ts'
import { createBlockStore } from '../../src/store/blocks.ts'
import { cidOf } from '../../src/wire/cid.ts'

const scratch = mkdtempSync(join(tmpdir(), 'shoal-collector-'))
const blocks = createBlockStore({
  dir: join(scratch, 'store'),
  log: silentLogger,
  maxBytes: 1024 ** 3,
  minFreeBytes: 0,
})
before(() => blocks.start())
after(async () => {
  await blocks.stop()
  rmSync(scratch, { recursive: true, force: true })
})

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(scratch, 'out-'))
})

const marker: Needle = Buffer.from('1234567890123456')
const me = process.getuid?.()
const options = (guest = me) => ({ blocks, needles: [marker], maxBytes: 1 << 30, guest })
const refused = { code: 'ERR_OUTPUT' }

test('takeFile() copies a regular file into the store', async () => {
  writeFileSync(join(dir, 'lib.rlib'), 'content')
  const taken = await takeFile(join(dir, 'lib.rlib'), options())
  assert.deepEqual([taken.size, taken.pathBound], [7, false])
  assert.equal(taken.cid.toString(), cidOf(Buffer.from('content')).toString())
  writeFileSync(join(dir, 'lib.rlib'), 'CHANGED')
  assert.equal(Buffer.from((await blocks.get(taken.cid)) ?? []).toString(), 'content')
  writeFileSync(join(dir, 'empty'), '')
  assert.equal((await takeFile(join(dir, 'empty'), options())).size, 0)
})

test('takeFile() refuses everything that is not a plain file of its own', async () => {
  writeFileSync(join(dir, 'target'), 'secret')
  symlinkSync(join(dir, 'target'), join(dir, 'link'))
  symlinkSync('/nowhere', join(dir, 'dangling'))
  linkSync(join(dir, 'target'), join(dir, 'hard'))
  mkdirSync(join(dir, 'directory'))
  execFileSync('mkfifo', [join(dir, 'fifo')])
  writeFileSync(join(dir, 'suid'), 'x')
  chmodSync(join(dir, 'suid'), 0o4755)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(join(dir, 'socket'), resolve))
  try {
    for (const name of ['link', 'dangling', 'hard', 'target', 'directory', 'fifo', 'socket', 'suid', 'absent']) {
      await assert.rejects(takeFile(join(dir, name), options()), refused, name)
    }
  } finally {
    server.close()
  }
})

test('takeFile() takes what rustc itself linked, when it ran here', async () => {
  writeFileSync(join(dir, 'lib.rmeta'), 'content')
  linkSync(join(dir, 'lib.rmeta'), join(dir, 'in-incremental-dir'))
  assert.equal((await takeFile(join(dir, 'lib.rmeta'), { ...options(), guest: undefined })).size, 7)
  symlinkSync(join(dir, 'lib.rmeta'), join(dir, 'link'))
  await assert.rejects(takeFile(join(dir, 'link'), { ...options(), guest: undefined }), refused)
})

test('takeFile() reads no more than allowed', async () => {
  writeFileSync(join(dir, 'sparse'), '')
  truncateSync(join(dir, 'sparse'), 2 ** 31)
  await assert.rejects(takeFile(join(dir, 'sparse'), options()), { code: 'ERR_LIMIT' })
})

test('a large file is searched as a whole, also where two pieces meet', async () => {
  const piece = 4 << 20
  const path = join(dir, 'large')
  const bytes = Buffer.alloc(65 << 20, 'ab')
  for (const at of [0, 3 * piece - 7, 3 * piece - marker.length, bytes.length - marker.length]) {
    const marked = Buffer.from(bytes)
    marker.copy(marked, at)
    writeFileSync(path, marked)
    const taken = await takeFile(path, options())
    assert.equal(taken.pathBound, true, `at ${at}`)
  }
  writeFileSync(path, bytes)
  const taken = await takeFile(path, options())
  assert.deepEqual([taken.pathBound, taken.cid.toString()], [false, cidOf(bytes).toString()])
  assert.equal(await blocks.has(taken.cid), true)
})

const declared = [
  ['a.d', 'dep-info'],
  ['liba.rmeta', 'metadata'],
  ['liba.rlib', 'link'],
] as const

test('collectOutputs() takes the declared files and names the roots in the .d file', async () => {
  const roots = sortRoots([
    { name: 'out', path: dir },
    { name: 'workspace', path: '/shoal-1234567890123456/workspace' },
  ])
  writeFileSync(join(dir, 'a.d'), `${dir}/liba.rlib: /shoal-1234567890123456/workspace/src/lib.rs\n`)
  writeFileSync(join(dir, 'liba.rmeta'), 'meta')
  writeFileSync(join(dir, 'liba.rlib'), 'library')
  writeFileSync(join(dir, 'undeclared'), 'x')
  const collection = await collectOutputs({ ...options(), dir, roots, outputs: declared })
  assert.equal(collection.depInfo, '\0out\0/liba.rlib: \0workspace\0/src/lib.rs\n')
  assert.deepEqual(
    collection.outputs.map(({ name, kind, size, executable }) => [name, kind, size, executable]),
    [
      ['liba.rmeta', 'metadata', 4, false],
      ['liba.rlib', 'link', 7, false],
    ],
  )
  assert.deepEqual([collection.pathBound, collection.found], [undefined, []])
  await assert.rejects(collectOutputs({ ...options(), maxBytes: 70, dir, roots, outputs: declared }), {
    code: 'ERR_LIMIT',
  })
  writeFileSync(join(dir, 'a.d'), 'x: /elsewhere-1234567890123456/lib.rs')
  assert.equal((await collectOutputs({ ...options(), dir, roots, outputs: declared })).pathBound, 'a.d')
  writeFileSync(join(dir, 'a.d'), Buffer.from([0xff, 0xfe]))
  await assert.rejects(collectOutputs({ ...options(), dir, roots, outputs: declared }), refused)
  rmSync(join(dir, 'liba.rlib'))
  await assert.rejects(collectOutputs({ ...options(), dir, roots, outputs: declared.slice(1) }), refused)
})

test('collectOutputs() says which outputs can be executed', async () => {
  for (const name of ['a', 'b', 'c']) writeFileSync(join(dir, name), name)
  chmodSync(join(dir, 'a'), 0o755)
  chmodSync(join(dir, 'b'), 0o700)
  // What only others may start is not what rustc or a linker makes for its owner.
  chmodSync(join(dir, 'c'), 0o655)
  const outputs = (['a', 'b', 'c'] as const).map((name) => [name, 'link'] as const)
  const collection = await collectOutputs({ ...options(), dir, roots: [], outputs })
  assert.deepEqual(
    collection.outputs.map(({ executable }) => executable),
    [true, true, false],
  )
})

test('collectOutputs() says which files it took, and results do not', async () => {
  const path = join(dir, 'a')
  writeFileSync(path, 'a')
  const [output] = (await collectOutputs({ ...options(), dir, roots: [], outputs: [['a', 'link']] })).outputs
  assert.ok(output)
  assert.equal(output.identity, identityOf(statSync(path, { bigint: true })))
  linkSync(path, join(dir, 'placed'))
  assert.equal(output.identity, identityOf(statSync(join(dir, 'placed'), { bigint: true })), 'under another name, too')
  assert.deepEqual(Object.keys(withoutIdentity(output)).sort(), ['cid', 'executable', 'kind', 'name', 'size'])
})

test('collectHere() keeps a path-bound output and says which it is', async () => {
  const search = ['/home/ann/ws']
  const roots: Root[] = [{ name: 'workspace', path: '/home/ann/ws' }]
  writeFileSync(join(dir, 'liba.rmeta'), 'in /home/ann/w and /home/anna/ws')
  writeFileSync(join(dir, 'liba.rlib'), 'made in /home/ann/ws\0')
  const here = { dir, outputs: declared.slice(1), roots, search, blocks }
  const collection = await collectHere(here)
  assert.equal(collection.pathBound, 'liba.rlib')
  assert.equal(collection.outputs.length, 2)
  for (const { cid, name } of collection.outputs) {
    assert.deepEqual(Buffer.from((await blocks.get(cid)) ?? []), readFileSync(join(dir, name)))
  }
  assert.equal((await collectHere({ ...here, outputs: declared.slice(1, 2) })).pathBound, undefined)
})

test('collectHere() tells which directory was found, the worst of several in one output', async () => {
  const search = ['/ws/target/.shoal-1', '/ws', '/toolchain']
  const found = async (): Promise<string[]> =>
    (await collectHere({ dir, outputs: declared, roots: [], search, blocks })).found.map(String)
  writeFileSync(join(dir, 'a.d'), 'x: /ws/src/lib.rs\n')
  writeFileSync(join(dir, 'liba.rmeta'), 'nothing of this machine')
  writeFileSync(join(dir, 'liba.rlib'), 'with /toolchain, /ws/src and /ws/target/.shoal-1/x')
  assert.deepEqual(await found(), ['/ws', '/ws/target/.shoal-1'])
  writeFileSync(join(dir, 'a.d'), 'x: src/lib.rs\n')
  writeFileSync(join(dir, 'liba.rlib'), Buffer.alloc(65 << 20, 'ab'))
  assert.deepEqual(await found(), [])
  writeFileSync(join(dir, 'liba.rlib'), Buffer.concat([Buffer.alloc(65 << 20, 'ab'), Buffer.from('/toolchain')]))
  assert.deepEqual(await found(), ['/toolchain'])
})

test('findNeedle() finds a path whatever follows it', () => {
  const needles = [Buffer.from('/a/b')]
  for (const text of ['/a/b', 'x/a/b/c', '"/a/b"', '/a/bnext string'])
    assert.ok(findNeedle(Buffer.from(text), needles), text)
  for (const text of ['/a/c', '/a', '']) assert.ok(!findNeedle(Buffer.from(text), needles), text)
})

test('findNeedle() returns the first of the needles, wherever it stands', () => {
  const [one, two] = [Buffer.from('one'), Buffer.from('two')]
  assert.equal(findNeedle(Buffer.from('two one'), [one, two]), one)
  assert.equal(findNeedle(Buffer.from('two one'), [two, one]), two)
  assert.equal(findNeedle(Buffer.from('two'), [one, two]), two)
  assert.equal(findNeedle(Buffer.from('none'), [Buffer.alloc(0)]), undefined)
})

test('findNeedle() finds what a look at each position finds', () => {
  const letters = fc.array(fc.constantFrom('/', 'a', 'b'), { maxLength: 12 }).map((list) => list.join(''))
  fc.assert(
    fc.property(letters, fc.array(letters, { maxLength: 4 }), (text, list) => {
      const needles = list.map((needle) => Buffer.from(needle))
      const found = findNeedle(Buffer.from(text), needles)
      assert.equal(
        found?.toString(),
        list.find((needle) => needle.length > 0 && text.includes(needle)),
      )
    }),
    { numRuns: 2000 },
  )
})

test('collectOutputs() copies no metadata that was taken before, unless it is another by now or gone', async () => {
  const path = join(dir, 'liba.rmeta')
  const puts: string[] = []
  const watched = {
    get: (cid: Parameters<typeof blocks.get>[0]) => blocks.get(cid),
    path: (cid: Parameters<typeof blocks.path>[0]) => blocks.path(cid),
    put: (bytes: Uint8Array) => blocks.put(bytes),
    putFile(...args: Parameters<typeof blocks.putFile>) {
      puts.push(args[0])
      return blocks.putFile(...args)
    },
  }
  const collect = async (taken: Awaited<ReturnType<typeof takeFile>>) => {
    const { outputs } = await collectOutputs({
      ...options(),
      ...{ blocks: watched, dir, roots: [], outputs: [['liba.rmeta', 'metadata']], taken: taken.cid },
    })
    return outputs[0]?.cid.toString()
  }
  const bytes = Buffer.alloc(2_000_000, 'meta')
  writeFileSync(path, bytes)
  const early = await takeFile(path, options())
  assert.equal(await collect(early), cidOf(bytes).toString())
  assert.deepEqual(puts, [])
  await blocks.remove(early.cid)
  assert.equal(await collect(early), cidOf(bytes).toString())
  assert.deepEqual([puts, await blocks.has(early.cid)], [[path], true])
  const other = Buffer.alloc(2_000_000, 'beta')
  writeFileSync(path, other)
  assert.equal(await collect(early), cidOf(other).toString())
  assert.deepEqual(puts, [path, path])
})
