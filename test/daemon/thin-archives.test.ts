import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { CID } from 'multiformats/cid'
import { ThinArchives } from '../../src/daemon/thin-archives.ts'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { thinArchive } from '../../src/plan/thin-archive.ts'
import { cidOf } from '../../src/wire/cid.ts'

const dir = mkdtempSync(join(tmpdir(), 'shoal-thin-'))
after(() => rmSync(dir, { recursive: true, force: true }))
for (const name of ['a', 'b']) {
  writeFileSync(join(dir, 'l.rs'), `pub fn f() -> u8 { b'${name}' }`)
  const args = ['--crate-type', 'rlib', '--crate-name', 'l', '-C', 'metadata=1', '-o', join(dir, `${name}.rlib`)]
  execFileSync('rustc', [...args, join(dir, 'l.rs')])
}
const path = join(dir, 'lib.rlib')
const put = (name: string): void => copyFileSync(join(dir, `${name}.rlib`), path)

/** @param onLooked called when the library was digested anew, before it is taken apart */
function opened(onLooked: () => void = () => undefined) {
  const kept = new Map<string, string>()
  const blocks = {
    put: async (bytes: Uint8Array) => {
      const cid = cidOf(bytes)
      kept.set(`${cid}`, join(dir, `${cid}`))
      writeFileSync(join(dir, `${cid}`), bytes)
      return cid
    },
    path: async (cid: CID) => kept.get(`${cid}`),
  }
  const digests = new StatDigests()
  return new ThinArchives(blocks, {
    digest: async (file) => {
      const digest = await digests.digest(file)
      onLooked()
      return digest
    },
  })
}

const whole = readFileSync(join(dir, 'a.rlib'))
const library = { name: 'lib.rlib', path, cid: cidOf(whole), size: whole.length }

async function assertThinned(thin: ThinArchives): Promise<void> {
  put('a')
  const made = await thin.of(library)
  assert.deepEqual(readFileSync(made?.path ?? ''), Buffer.from((await thinArchive(join(dir, 'a.rlib'))) ?? []))
}

test('a library that was replaced after its digest was taken does not stand for what it was', async () => {
  const thin = opened()
  put('b')
  assert.equal(await thin.of(library), undefined)
  await assertThinned(thin)
})

test('nor does one that is replaced while it is looked at', async () => {
  let isReplaced = false
  const thin = opened(() => {
    if (!isReplaced) put('b')
    isReplaced = true
  })
  put('a')
  assert.equal(await thin.of(library), undefined)
  await assertThinned(thin)
})
