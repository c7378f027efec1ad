import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import type { Toolchain } from '../../src/plan/toolchain.ts'
import { cidFromDigest, cidOf, hexOf } from '../../src/wire/cid.ts'
import { Ben, host, MiB, made } from './lacks-toolchains.ts'

test('a toolchain that a member builds with is fetched once, lent with, served, and found again', async (t) => {
  const ben = await Ben.start(t)
  const one = made('one')
  ben.offer(one)
  await ben.hears(one.digest)
  assert.deepEqual([...ben.lending.keys()], [one.digest])
  assert.equal(ben.lending.get(one.digest)?.isFetched, true)
  assert.deepEqual(ben.announced, new Set([one.digest]))
  for (const [path, content] of one.contents) {
    const file = join(ben.rootOf(one.digest), path)
    assert.ok((await readFile(file)).equals(content), path)
    assert.equal((await stat(file)).mode & 0o777, path === 'bin/rustc' ? 0o555 : 0o444)
  }
  // Each was asked for once, the empty one not at all, and nothing lies here twice.
  assert.equal(new Set(ben.asked).size, ben.asked.length)
  assert.equal(ben.asked.length, one.contents.size)
  assert.deepEqual(ben.store.keys(), [])
  for (const hex of ben.asked) assert.ok(await ben.store.get(cidFromDigest(Buffer.from(hex, 'hex'))), hex)

  const again = await ben.hears(one.digest)
  assert.equal(again.fetched, 1)
  assert.equal(ben.asked.length, one.contents.size)

  const later = await Ben.start(t, { dir: ben.dir })
  assert.deepEqual([...later.lending.keys()], [one.digest])
  assert.deepEqual(later.announced, new Set([one.digest]))
  assert.ok(await later.store.get(cidFromDigest(Buffer.from(one.digest, 'hex'))))
  await later.hears(one.digest)
  assert.deepEqual(later.asked, [])

  later.busy.add(one.digest)
  assert.equal(await later.supply.purge(), 0)
  later.busy.clear()
  assert.ok((await later.supply.purge()) > 5 * MiB)
  assert.deepEqual([later.lending.size, later.announced.size, await readdir(join(ben.dir, 'toolchains'))], [0, 0, []])
})

test('what a broken attempt left is used by the next, which comes after a pause', async (t) => {
  const ben = await Ben.start(t)
  const one = made('one')
  ben.offer(one)
  const core = hexOf(cidOf(Buffer.from('core')))
  ben.from.delete(core)
  assert.deepEqual(pick(await ben.hears(one.digest), 'fetched', 'failed'), [0, 1])
  assert.deepEqual(await readdir(join(ben.dir, 'toolchains')), [`${one.digest}.part`])
  // Torn by a power cut.
  const driver = join(ben.dir, 'toolchains', `${one.digest}.part`, 'root/lib/librustc_driver-1.so')
  await chmod(driver, 0o644)
  await writeFile(driver, Buffer.alloc(5 * MiB))
  ben.offer(one)
  ben.clock.ms += 29_000
  const before = ben.asked.length
  await ben.hears(one.digest)
  assert.equal(ben.asked.length, before)
  ben.clock.ms += 1000
  await ben.hears(one.digest)
  assert.deepEqual([...ben.lending.keys()], [one.digest])
  const twice = ben.asked.filter((hex, at) => ben.asked.indexOf(hex) !== at)
  assert.deepEqual(
    twice.sort(),
    [core, hexOf(cidOf(one.contents.get('lib/librustc_driver-1.so') ?? Buffer.of()))].sort(),
  )
})

test('what cannot be used here is not fetched: another system, sources, too much, wrong sizes, another digest', async (t) => {
  const ben = await Ben.start(t, { maxBytes: 6 * MiB })
  const foreign = made('foreign', { host: 'aarch64-apple-darwin' })
  const sourced = made('sourced', { source: true })
  const large = made('large')
  const [first, ...rest] = large.manifest.files
  assert.ok(first)
  const tooLarge = made('large', {
    files: [first, ...rest.map(([path, cid]) => [path, cid, 2 * MiB] as const)] as never,
  })
  const lying = made('lying')
  const lies = made('lying', {
    files: lying.manifest.files.map(([path, cid, size]) => [path, cid, size === 4 ? 5 : size]),
  })
  for (const wrong of [foreign, sourced, tooLarge, lies]) {
    ben.offer(wrong)
    const asked = ben.asked.length
    await ben.hears(wrong.digest)
    assert.deepEqual(ben.lending.size, 0)
    if (wrong !== lies) assert.equal(ben.asked.length, asked + 1)
    ben.clock.ms += 10_000
    await ben.hears(wrong.digest)
    if (wrong !== lies) assert.equal(ben.asked.length, asked + 1)
  }
  assert.deepEqual(await readdir(join(ben.dir, 'toolchains')), [`${lies.digest}.part`])
  // Digests of another length name nothing.
  await ben.hears('00'.repeat(31))
  assert.deepEqual(pick(ben.supply.view(), 'fetched', 'failed'), [0, 4])
})

test('many who build with it have it fetched once, and a node that stops waits for nobody', async (t) => {
  const ben = await Ben.start(t)
  const [one, two] = [made('one'), made('two')]
  ben.isSilent = true
  ben.hear(one.digest)
  ben.hear(one.digest)
  ben.hear(two.digest)
  while (ben.asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(ben.supply.view().fetching, one.digest)
  await ben.supply.stop()
  assert.deepEqual(ben.asked, [one.digest])
  assert.deepEqual(pick(ben.supply.view(), 'fetching', 'fetched', 'failed'), [null, 0, 0])
  await ben.hears(one.digest)
  assert.deepEqual(ben.asked, [one.digest])
})

test('what is heard of before the node is ready, or while another one is fetched, is fetched then', async (t) => {
  const ben = await Ben.start(t, { isReady: false })
  const [one, two, three] = [made('one'), made('two'), made('three')]
  ben.offer(one, two, three)
  ben.hear(one.digest, two.digest)
  await ben.settled()
  assert.deepEqual(ben.asked, [])
  await ben.supply.start([])
  // The one that is used most comes first.
  assert.equal(ben.supply.view().fetching, one.digest)
  ben.hear(three.digest)
  assert.deepEqual(pick(await ben.settled(), 'fetched', 'failed'), [3, 0])
  assert.deepEqual([...ben.lending.keys()], [one.digest, three.digest, two.digest])
})

test('of many that members build with, the ones heard of last are remembered', async (t) => {
  const ben = await Ben.start(t, { isReady: false })
  const many = Array.from({ length: 20 }, (_, at) => made(`${at}`))
  ben.offer(...many)
  for (const { digest } of many) ben.hear(digest)
  await ben.supply.start([])
  await ben.settled()
  const latest = many.slice(-8).map(({ digest }) => digest)
  assert.deepEqual([...ben.lending.keys()], latest.reverse())
})

test('without a sandbox, room or mains nothing is fetched', async (t) => {
  const one = made('one')
  for (const hinder of [(ben: Ben) => (ben.isolates = false), (ben: Ben) => (ben.onBattery = true)]) {
    const ben = await Ben.start(t)
    ben.offer(one)
    hinder(ben)
    await ben.hears(one.digest)
    assert.deepEqual(ben.asked, [])
  }
  const ben = await Ben.start(t, { maxBytes: 0 })
  ben.offer(one)
  await ben.hears(one.digest)
  assert.deepEqual(ben.asked, [])
})

test('the one that was used longest ago makes room, unless it is at work or was used a moment ago', async (t) => {
  const ben = await Ben.start(t, { maxBytes: 11 * MiB })
  const [one, two, three] = [made('one'), made('two'), made('three')]
  ben.offer(one, two, three)
  await ben.hears(one.digest)
  ben.clock.ms += 1000
  await ben.hears(two.digest)
  assert.deepEqual([...ben.lending.keys()], [one.digest, two.digest])
  // One request at a time, and only for what is lacking.
  await ben.hears(one.digest, two.digest, three.digest)
  assert.equal(ben.lending.size, 2)
  ben.clock.ms += 3_600_001
  ben.busy.add(one.digest)
  await ben.hears(three.digest)
  assert.deepEqual([...ben.lending.keys()], [one.digest, three.digest])
  assert.deepEqual(ben.announced, new Set([one.digest, three.digest]))
  assert.deepEqual((await readdir(join(ben.dir, 'toolchains'))).sort(), [one.digest, three.digest].sort())
  ben.busy.clear()
  ben.supply.used(one.digest)
  ben.clock.ms += 700_000
  await ben.hears(two.digest)
  assert.equal(ben.supply.view().removed, 2)
  assert.equal(ben.lending.has(two.digest), true)
})

test('a start removes what is not whole or not what it says, and what there is no room for', async (t) => {
  const ben = await Ben.start(t)
  const [one, two, three] = [made('one'), made('two'), made('three')]
  ben.offer(one, two, three)
  for (const { digest } of [one, two, three]) {
    await ben.hears(digest)
    ben.clock.ms += 1000
  }
  const dir = join(ben.dir, 'toolchains')
  const core = join(ben.rootOf(one.digest), `lib/rustlib/${host}/lib/libcore-1.rlib`)
  await rm(core)
  await symlink('/etc/hostname', core)
  await writeFile(join(dir, two.digest, 'manifest'), one.bytes)
  await mkdir(join(dir, `${'ab'.repeat(32)}.part/root`), { recursive: true })
  await mkdir(join(dir, 'cd'.repeat(32)))
  await writeFile(join(dir, 'file'), '')
  const later = await Ben.start(t, { dir: ben.dir })
  assert.deepEqual([...later.lending.keys()], [three.digest])
  assert.deepEqual(await readdir(dir), [three.digest])
  const least = await Ben.start(t, { dir: ben.dir, maxBytes: MiB })
  assert.equal(least.lending.size, 0)
  assert.deepEqual(await readdir(dir), [])
})

test('the installed ones are served from where they lie, those with sources are not', async (t) => {
  const ben = await Ben.start(t)
  const one = made('one')
  const sysroot = join(ben.dir, 'installed')
  for (const [path, content] of one.contents) {
    await mkdir(dirname(join(sysroot, path)), { recursive: true })
    await writeFile(join(sysroot, path), content)
  }
  const files = one.manifest.files.map(([path, cid, size]) => ({ path, size, sha256: hexOf(cid) }))
  const common = {
    sysroot,
    host,
    target: host,
    release: '1',
    commitHash: undefined,
    files,
    isFetched: false,
    stamp: '',
  }
  const installed: Toolchain = { ...common, digest: one.digest, manifest: one.bytes, hasSource: false }
  await ben.supply.start([installed, { ...installed, digest: 'ef'.repeat(32), hasSource: true }])
  assert.deepEqual(ben.announced, new Set([one.digest]))
  const manifest = await ben.store.get(cidFromDigest(Buffer.from(one.digest, 'hex')))
  assert.deepEqual(Buffer.from(manifest ?? []), Buffer.from(one.bytes))
  assert.deepEqual(ben.store.keys(), [])
  // However many files are lent after them.
  for (let at = 0; at < 70_000; at++) ben.store.lend(cidFromDigest(Buffer.from(`${at}`.padStart(32))), '/nowhere')
  for (const content of one.contents.values()) assert.ok(await ben.store.get(cidOf(content)))
})

const pick = (view: Record<string, unknown>, ...names: string[]): unknown[] => names.map((name) => view[name])
