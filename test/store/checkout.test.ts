import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { linkSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { CID } from 'multiformats/cid'
import type { BlockStore } from '../../src/store/blocks.ts'
import { place, placeBytes } from '../../src/store/checkout.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { assertSame, flipBit, namesIn, openStore, tamper, tempDir, withCode } from './support.ts'

interface Scene {
  dir: string
  outDir: string
  blocks: BlockStore
}

async function scene(t: TestContext): Promise<Scene> {
  const dir = await tempDir(t)
  const outDir = join(dir, 'deps')
  await mkdir(outDir)
  return { dir, outDir, blocks: await openStore(t, { dir: join(dir, 'store') }) }
}

test('place() delivers each block under its name, and a program as one', async (t) => {
  const { outDir, blocks } = await scene(t)
  const outputs = await Promise.all(
    ['libfoo.rlib', 'foo', 'libfoo.rmeta', 'foo.d'].map(async (name) => ({
      name,
      cid: await blocks.put(Buffer.from(`bytes of ${name}`)),
      executable: name === 'foo',
    })),
  )
  await place(outputs, { outDir, blocks })
  for (const { name, executable } of outputs) {
    assert.equal(readFileSync(join(outDir, name), 'utf8'), `bytes of ${name}`)
    assert.equal((lstatSync(join(outDir, name)).mode & 0o100) !== 0, executable)
  }
  assert.deepEqual(await namesIn(outDir), outputs.map(({ name }) => name).toSorted())
})

test('what place() delivers is a copy, as old as it is', async (t) => {
  const { dir, outDir, blocks } = await scene(t)
  const cid = await blocks.put(randomBytes(300_000))
  const path = (await blocks.path(cid)) ?? ''
  utimesSync(path, 1_000_000, 1_000_000)
  writeFileSync(join(dir, 'just before'), '')
  await place([{ name: 'out', cid }], { outDir, blocks })
  const out = statSync(join(outDir, 'out'), { bigint: true })
  assert.ok(out.mtimeNs >= statSync(join(dir, 'just before'), { bigint: true }).mtimeNs)
  assert.notEqual(out.ino, statSync(path, { bigint: true }).ino)
  assert.equal(out.nlink, 1n)
  writeFileSync(join(outDir, 'out'), 'changed by a linker')
  assert.equal((await blocks.get(cid))?.length, 300_000)
})

test('place() replaces what is there: a file with other names, a link, a dangling link', async (t) => {
  const { dir, outDir, blocks } = await scene(t)
  const cid = await blocks.put(Buffer.from('new'))
  const victim = join(dir, 'victim')
  writeFileSync(victim, 'victim')
  linkSync(victim, join(outDir, 'hard'))
  symlinkSync(victim, join(outDir, 'soft'))
  symlinkSync(join(dir, 'nowhere'), join(outDir, 'dangling'))
  const names = ['hard', 'soft', 'dangling']
  await place(
    names.map((name) => ({ name, cid })),
    { outDir, blocks },
  )
  for (const name of names) await placeBytes(`${name}.d`, 'text', { outDir })
  for (const name of names) {
    assert.equal(lstatSync(join(outDir, name)).isFile(), true)
    assert.equal(readFileSync(join(outDir, name), 'utf8'), 'new')
  }
  assert.equal(readFileSync(victim, 'utf8'), 'victim')
  assert.deepEqual((await namesIn(dir)).includes('nowhere'), false)
})

test('place() and placeBytes() refuse names that are more than a file name, before anything is written', async (t) => {
  const { outDir, blocks } = await scene(t)
  const cid = await blocks.put(Buffer.from('bytes'))
  for (const name of ['', '.', '..', '../up', 'a/b', '/abs', 'a\\b', 'nul\0', 'new\nline', 'x'.repeat(256)]) {
    const outputs = [
      { name: 'good', cid },
      { name, cid },
    ]
    await assert.rejects(place(outputs, { outDir, blocks }), withCode('ERR_OUTPUT'), JSON.stringify(name))
    await assert.rejects(placeBytes(name, 'x', { outDir }), withCode('ERR_OUTPUT'), JSON.stringify(name))
  }
  assert.deepEqual(await namesIn(outDir), [])
  await place(
    [
      { name: 'x'.repeat(255), cid },
      { name: '...', cid },
      { name: 'sp ace.é', cid },
    ],
    { outDir, blocks },
  )
})

test('a block that is absent or corrupt is ERR_BLOCK_MISSING and leaves nothing behind', async (t) => {
  const { outDir, blocks } = await scene(t)
  const absent = cidOf(Buffer.from('absent'))
  await assert.rejects(place([{ name: 'a', cid: absent }], { outDir, blocks }), withCode('ERR_BLOCK_MISSING'))
  const corrupt = await blocks.put(randomBytes(5000))
  tamper((await blocks.path(corrupt)) ?? '', flipBit)
  await assert.rejects(place([{ name: 'a', cid: corrupt }], { outDir, blocks }), withCode('ERR_BLOCK_MISSING'))
  assert.deepEqual(await namesIn(outDir), [])
})

test('a file has the permissions that rustc, under the umask that cargo made the directory with, would have given it', async (t) => {
  const { outDir, blocks } = await scene(t)
  const cid = await blocks.put(Buffer.from('bytes'))
  for (const umask of [0o002, 0o022, 0o027, 0o077]) {
    await chmod(outDir, 0o777 & ~umask)
    await place(
      [
        { name: 'lib', cid },
        { name: 'bin', cid, executable: true },
      ],
      { outDir, blocks },
    )
    await placeBytes('text', 'd', { outDir })
    const modes = ['lib', 'bin', 'text'].map((name) => lstatSync(join(outDir, name)).mode & 0o7777)
    assert.deepEqual(modes, [0o666 & ~umask, 0o777 & ~umask, 0o666 & ~umask])
  }
})

test('a block that is only lent is delivered too', async (t) => {
  const { dir, outDir, blocks } = await scene(t)
  writeFileSync(join(dir, 'lent'), 'lent bytes')
  const cid = cidOf(Buffer.from('lent bytes'))
  blocks.lend(cid, join(dir, 'lent'))
  await place([{ name: 'out', cid }], { outDir, blocks })
  assert.equal(readFileSync(join(outDir, 'out'), 'utf8'), 'lent bytes')
})

test('a block that goes between being found and being copied is looked for once more', async (t) => {
  const { outDir, blocks } = await scene(t)
  const bytes = Buffer.from('gone in a moment')
  const cid = await blocks.put(bytes)
  const flighty = {
    hold: (each: CID) => blocks.hold(each),
    path: async (each: CID) => {
      const path = await blocks.path(each)
      await blocks.remove(each)
      return path
    },
    get: async () => bytes,
  }
  await place([{ name: 'out', cid }], { outDir, blocks: flighty })
  assertSame(readFileSync(join(outDir, 'out')), bytes)
  assert.deepEqual(await namesIn(outDir), ['out'])
})

test('blocks are held while they are delivered and free afterwards', async (t) => {
  const { outDir } = await scene(t)
  const blocks = await openStore(t, { maxBytes: 100_000 })
  const cid = await blocks.put(randomBytes(40_000))
  await place([{ name: 'libfoo.rmeta', cid }], {
    outDir,
    blocks: {
      hold: (each) => blocks.hold(each),
      get: (each) => blocks.get(each),
      path: async (each) => {
        await blocks.shrink(0)
        return blocks.path(each)
      },
    },
  })
  assert.equal(await blocks.has(cid), true)
  await blocks.shrink(0)
  assert.equal(await blocks.has(cid), false)
})

test('place() into a directory that is not there fails as ERR_STORE', async (t) => {
  const { outDir, blocks } = await scene(t)
  const cid = await blocks.put(Buffer.from('bytes'))
  await assert.rejects(place([{ name: 'a', cid }], { outDir: join(outDir, 'absent'), blocks }), withCode('ERR_STORE'))
})

test('place() onto a directory fails and leaves it alone', async (t) => {
  const { outDir, blocks } = await scene(t)
  const cid = await blocks.put(Buffer.from('bytes'))
  mkdirSync(join(outDir, 'a'))
  await assert.rejects(place([{ name: 'a', cid }], { outDir, blocks }), withCode('ERR_STORE'))
  assert.deepEqual(await namesIn(outDir), ['a'])
})
