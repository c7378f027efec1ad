import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import {
  link,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { ShoalError } from '../../src/base/errors.ts'
import {
  digestAt,
  encodeDigestFile,
  type KeptDigest,
  readDigestFile,
  signatureAt,
  unusedAt,
} from '../../src/plan/digest-file.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { signatureOf } from '../../src/plan/stat-memo.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { TestClock } from '../watch/support.ts'

const content = (text: string) => cidOf(Buffer.from(text))

class Bench {
  readonly dir: string
  readonly clock = new TestClock()
  readonly troubles: string[] = []

  constructor(dir: string) {
    this.dir = dir
  }

  static async create(t: TestContext): Promise<Bench> {
    const bench = new Bench(await mkdtemp(join(tmpdir(), 'shoal-digests-')))
    t.after(() => rm(bench.dir, { recursive: true }))
    return bench
  }

  get file(): string {
    return join(this.dir, 'cache/digests')
  }

  async open(boot = 'boot'): Promise<StatDigests> {
    const onTrouble = ({ code }: ShoalError): void => void this.troubles.push(code)
    return await StatDigests.open({ file: this.file, boot, clock: this.clock, onTrouble })
  }

  /** A file that is old enough for its digest to be remembered. */
  async source(name: string, text: string): Promise<string> {
    const path = join(this.dir, name)
    await writeFile(path, text)
    while (Date.now() - statSync(path).ctimeMs < 60) await new Promise(setImmediate)
    return path
  }
}

test('digests outlive the node', async (t) => {
  const bench = await Bench.create(t)
  const paths = [await bench.source('a.rs', 'a'), await bench.source('ä ö.rs', 'b'), await bench.source('a.rs.bak', '')]
  const first = await bench.open()
  for (const path of paths) await first.digest(path)
  await first.save()
  assert.deepEqual(await readdir(join(bench.dir, 'cache')), ['digests'])

  const second = await bench.open()
  // The second time from memory: they moved there.
  for (let time = 0; time < 2; time++) {
    const known = paths.map((path) => second.known(path))
    assert.deepEqual(
      known.map((digest) => `${digest?.cid} ${digest?.size}`),
      [`${content('a')} 1`, `${content('b')} 1`, `${content('')} 0`],
    )
  }
  assert.deepEqual(bench.troubles, [])
})

test('a file that changed while no node ran is read again', async (t) => {
  const bench = await Bench.create(t)
  const path = await bench.source('a.rs', 'one')
  const stat = statSync(path)
  const first = await bench.open()
  await first.digest(path)
  await first.save()

  await writeFile(path, 'two')
  await utimes(path, stat.atime, stat.mtime)
  const second = await bench.open()
  assert.equal(second.known(path), undefined)
  assert.ok((await second.digest(path)).cid.equals(content('two')))
  const other = await bench.source('b.rs', 'six')
  await rename(other, path)
  const third = await bench.open()
  assert.equal(third.known(path), undefined)
})

test('what was fresh when its digest was taken is not written down', async (t) => {
  const bench = await Bench.create(t)
  const old = await bench.source('old.rs', 'old')
  const first = await bench.open()
  const fresh = join(bench.dir, 'fresh.rs')
  const primed = join(bench.dir, 'primed.rs')
  await first.digest(old)
  await writeFile(primed, 'primed')
  first.prime(primed, content('primed'))
  assert.ok(first.known(primed))
  await writeFile(fresh, 'fresh')
  await first.digest(fresh)
  await first.save()
  const second = await bench.open()
  assert.ok(second.known(old))
  assert.equal(second.known(primed), undefined)
  assert.equal(second.known(fresh), undefined)
})

test('a second name for a file of our own changes nothing; a change of the file itself does', async (t) => {
  const bench = await Bench.create(t)
  const digests = await bench.open()
  const path = join(bench.dir, 'libown.rlib')
  await writeFile(path, 'own')
  digests.prime(path, content('own'))
  await link(path, join(bench.dir, 'second'))
  assert.ok(digests.known(path)?.cid.equals(content('own')))
  await unlink(join(bench.dir, 'second'))
  assert.ok(digests.known(path)?.cid.equals(content('own')))
  const { atime, mtime } = await stat(path)
  await writeFile(path, 'two')
  await utimes(path, atime, mtime)
  assert.equal(digests.known(path), undefined, 'changed and backdated')
  digests.prime(path, content('two'))
  await link(path, join(bench.dir, 'third'))
  await writeFile(path, 'six')
  await utimes(path, atime, new Date(Date.now() + 1000))
  assert.equal(digests.known(path), undefined, 'linked and changed')
})

test('a file of digests that is damaged, torn, of another boot or of another kind is an empty one', async (t) => {
  const bench = await Bench.create(t)
  const path = await bench.source('a.rs', 'a')
  const first = await bench.open()
  await first.digest(path)
  await first.save()
  const good = await readFile(bench.file)
  assert.ok((await bench.open()).known(path))
  assert.equal((await bench.open('another boot')).known(path), undefined)
  for (let at = 0; at < good.length; at++) {
    const bad = Buffer.from(good)
    bad[at] = (bad[at] ?? 0) ^ 1
    assert.equal(readDigestFile(bad, 'boot'), undefined, `byte ${at}`)
    assert.equal(readDigestFile(good.subarray(0, at), 'boot'), undefined, `${at} bytes`)
  }
  await truncate(bench.file, 40)
  const again = await bench.open()
  assert.equal(again.known(path), undefined)
  await again.digest(path)
  await again.save()
  assert.ok((await bench.open()).known(path))
})

test('they are written some minutes after a change, and only then', async (t) => {
  const bench = await Bench.create(t)
  const [a, b] = [await bench.source('a.rs', 'a'), await bench.source('b.rs', 'b')]
  const digests = await bench.open()
  assert.equal(bench.clock.waiting, 0)
  await digests.digest(a)
  await digests.digest(b)
  assert.equal(bench.clock.waiting, 1)
  bench.clock.advance(180_000)
  // After the one that the clock has begun.
  await digests.save()
  assert.ok((await bench.open()).known(b))
  assert.equal(bench.clock.waiting, 0)
  const { mtimeMs, ino } = statSync(bench.file)
  await digests.digest(a)
  await digests.save()
  assert.deepEqual([statSync(bench.file).mtimeMs, statSync(bench.file).ino], [mtimeMs, ino])
})

test('what nobody asks for any more is forgotten after some starts', async (t) => {
  const bench = await Bench.create(t)
  const [used, unused] = [await bench.source('used.rs', 'a'), await bench.source('unused.rs', 'b')]
  const first = await bench.open()
  await first.digest(used)
  await first.digest(unused)
  await first.save()
  const start = async (at: number): Promise<boolean> => {
    const digests = await bench.open()
    assert.ok(digests.known(used))
    await digests.digest(await bench.source(`new${at}.rs`, 'new'))
    await digests.save()
    return readDigestFile(await readFile(bench.file), 'boot')?.entries.has(unused) === true
  }
  for (let at = 0; at < 8; at++) assert.ok(await start(at), `start ${at}`)
  assert.equal(await start(8), false)
})

test('a place that cannot be written to is told, and does no harm', async (t) => {
  const bench = await Bench.create(t)
  const path = await bench.source('a.rs', 'a')
  await writeFile(join(bench.dir, 'cache'), 'no directory')
  const digests = await bench.open()
  await digests.digest(path)
  await assert.rejects(digests.save(), { code: 'ERR_STORE' })
  assert.ok(digests.known(path))
  assert.deepEqual(bench.troubles, ['ERR_STORE'])
})

test('whatever is written is read again', async () => {
  const path = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
    fc.constantFrom('/a/b', '/a/bc', '/a'),
  )
  const number = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  const entry = fc.record({
    path: path.filter((text) => Buffer.from(text).toString() === text),
    signature: fc.tuple(number, number, number, number, number).map((all) => all.join(':')),
    digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    unused: fc.integer({ min: 0, max: 255 }),
  })
  const property = fc.asyncProperty(fc.string(), fc.array(entry), async (boot, entries) => {
    const bytes = await encodeDigestFile(boot, entries)
    const read = readDigestFile(bytes, boot)
    assert.ok(read)
    const expected = new Map(entries.map((each) => [each.path, { ...each }]))
    const found = [...read.entries].map(
      ([name, at]): KeptDigest => ({
        path: name,
        signature: signatureAt(bytes, at),
        digest: digestAt(bytes, at),
        unused: unusedAt(bytes, at),
      }),
    )
    assert.deepEqual(new Map(found.map((each) => [each.path, each])), expected)
  })
  await fc.assert(property)
})

test('the signature of a real file goes into the file and out again', async (t) => {
  const bench = await Bench.create(t)
  const path = await bench.source('a.rs', 'a')
  const signature = signatureOf(statSync(path, { bigint: true }))
  const bytes = await encodeDigestFile('', [{ path, signature, digest: new Uint8Array(32), unused: 0 }])
  assert.equal(signatureAt(bytes, readDigestFile(bytes, '')?.entries.get(path) ?? 0), signature)
})
