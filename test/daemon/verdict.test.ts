import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Case, type Rerun, tryCase, type Verdict } from '../../src/daemon/verdict.ts'
import type { ReadSet, Result } from '../../src/plan/action.ts'
import { outputsDigest, type SignedClaim } from '../../src/recall/signed-claim.ts'
import { content, result } from '../recall/support.ts'
import { Court } from '../recall/words.ts'

const court = new Court()
const saw: ReadSet = { reads: [['file', '\0workspace\0/src/lib.rs', content('source')]], env: [['SET', 'yes']] }
const withOutput = (text: string): Result => ({
  ...result,
  outputs: result.outputs.map((output) => ({ ...output, cid: content(text) })),
})
const digest = (text: string): Uint8Array => outputsDigest(withOutput(text))
const said = (text: string, reads: ReadSet | undefined = saw, tier: SignedClaim['body']['tier'] = 'confined') => ({
  claim: court.claim(court.mesh.ann, withOutput(text), reads ?? saw, { tier }),
  reads,
})
const ran = (text: string, reads: ReadSet | undefined = saw): Rerun => ({ outputs: digest(text), reads })

/** Tries a case whose reruns come out like this. */
async function verdict(change: Partial<Case>, ...runs: (Rerun | undefined)[]): Promise<Verdict & { runs: number }> {
  let at = 0
  const found = await tryCase({ claims: [said('right')], own: undefined, usesMacros: false, ...change }, async () => {
    at += 1
    return runs[at - 1]
  })
  return { ...found, runs: at }
}
const names = (found: Verdict) =>
  found.kind === 'disagreed' ? { liars: found.liars.length, unexplained: found.unexplained.length } : found.kind

describe('a claim that is tried', () => {
  test('is right when the same comes out, after one run', async () => {
    assert.deepEqual(await verdict({}, ran('right')), { kind: 'agreed', runs: 1 })
  })

  test('is right whatever the way to a file that it names', async () => {
    // As `include_str!("../README.md")` asks for it.
    const up: ReadSet = { ...saw, reads: [...saw.reads, ['file', '\0workspace\0/src/../README.md', content('readme')]] }
    const told = { sources: ['\0workspace\0/src/lib.rs', '\0workspace\0/README.md'], variables: [], unsaid: [] }
    for (const tier of ['confined', 'host'] as const) {
      const claims = [{ ...said('right', up, tier), told }]
      assert.deepEqual(await verdict({ claims }, { ...ran('right', up), told }), { kind: 'agreed', runs: 1 }, tier)
    }
  })

  test('is a lie when two runs agree with each other, and saw nothing that it does not name', async () => {
    assert.deepEqual(names(await verdict({}, ran('other'), ran('other'))), { liars: 1, unexplained: 0 })
    const more: ReadSet = { reads: [...saw.reads, ['absent', '/etc/x', null]], env: [...saw.env, ['MORE', null]] }
    const wide = { claims: [said('right', more)] }
    assert.deepEqual(names(await verdict(wide, ran('other'), ran('other'))), { liars: 1, unexplained: 0 })
    const whole: ReadSet = { reads: [['tree', '\0workspace\0', content('tree')]], env: saw.env }
    assert.deepEqual(names(await verdict({ claims: [said('right', whole)] }, ran('other'), ran('other'))), {
      liars: 1,
      unexplained: 0,
    })
  })

  test('is not agreed with when the same comes out of more than it names', async () => {
    const unexplained = { liars: 0, unexplained: 1 }
    const more: ReadSet = { ...saw, reads: [...saw.reads, ['file', '\0workspace\0/src/more.rs', content('more')]] }
    assert.deepEqual(names(await verdict({}, ran('right', more))), unexplained)
    assert.deepEqual(names(await verdict({ claims: [said('right', saw, 'host')] }, ran('right', more))), unexplained)
    const sources = ['\0workspace\0/src/lib.rs', '\0workspace\0/src/more.rs']
    const told = { sources, variables: [], unsaid: [] }
    const blind = { outputs: digest('right'), reads: undefined, told }
    assert.deepEqual(names(await verdict({}, blind)), unexplained, 'as rustc says')
    assert.deepEqual(names(await verdict({ claims: [said('right', more)] }, { ...ran('right', more), told })), 'agreed')
    const list: ReadSet = { ...saw, reads: [...saw.reads, ['list', '\0workspace\0/sql', content('list')]] }
    assert.deepEqual(names(await verdict({ usesMacros: true }, ran('right', list))), unexplained, 'a macro')
    const beside: ReadSet = { ...saw, reads: [...saw.reads, ['absent', '/etc/x', null]] }
    assert.deepEqual(names(await verdict({ usesMacros: true }, ran('right', beside))), 'agreed', 'another machine')
  })

  test('is not agreed with when cargo was told of less than it was made from', async () => {
    const [library, more] = ['\0workspace\0/src/lib.rs', '\0workspace\0/src/more.rs']
    const told = { sources: [library, more], variables: ['SET', 'GIVEN'], unsaid: ['SET'] }
    const full: ReadSet = { ...saw, reads: [...saw.reads, ['file', more, content('more')]] }
    const run = { ...ran('right', full), told }
    const tell = async (claimed: typeof told): Promise<unknown> =>
      names(await verdict({ claims: [{ ...said('right', full), told: claimed }] }, run))
    assert.equal(await tell(told), 'agreed')
    const much = { ...told, sources: [...told.sources, '\0workspace\0/app.log'] }
    const unexplained = { liars: 0, unexplained: 1 }
    assert.deepEqual(await tell(much), unexplained, 'more, which would have cargo make it again and again')
    const macros = await verdict({ claims: [{ ...said('right', full), told: much }], usesMacros: true }, run)
    assert.equal(names(macros), 'agreed')
    assert.deepEqual(await tell({ ...told, sources: [library] }), unexplained, 'a file')
    assert.deepEqual(await tell({ ...told, variables: ['GIVEN'] }), unexplained, 'a variable')
  })

  test('is not agreed with when it leaves out a variable that the source asks for', async () => {
    const told = { sources: [], variables: ['SET', 'OTHER'], unsaid: ['SET', 'OTHER'] }
    const run = { ...ran('right'), told }
    assert.deepEqual(names(await verdict({}, run)), { liars: 0, unexplained: 1 })
    const other: ReadSet = { ...saw, env: [...saw.env, ['OTHER', 'elsewhere']] }
    assert.equal(names(await verdict({ claims: [said('right', other)] }, run)), 'agreed', 'whatever it was there')
    assert.equal(names(await verdict({ usesMacros: true }, run)), 'agreed', 'a macro may ask for it here alone')
  })

  test('is nobody’s fault when two runs here differ', async () => {
    assert.deepEqual(await verdict({}, ran('one'), ran('two')), { kind: 'unsteady', runs: 2 })
  })

  test('stays open when it cannot be run, or not a second time', async () => {
    assert.deepEqual(await verdict({}, undefined), { kind: 'open', runs: 1 })
    assert.deepEqual(await verdict({}, ran('other'), undefined), { kind: 'open', runs: 2 })
    const faulty = { outputs: new Uint8Array(), reads: undefined }
    assert.deepEqual(await verdict({}, faulty, ran('right')), { kind: 'open', runs: 2 }, 'a fault that was found once')
    assert.deepEqual(names(await verdict({}, faulty, faulty)), { liars: 0, unexplained: 1 })
  })

  test('is no proved lie where something else could be the reason', async () => {
    const unexplained = { liars: 0, unexplained: 1 }
    const other = [ran('other'), ran('other')] as const
    assert.deepEqual(names(await verdict({ usesMacros: true }, ...other)), unexplained, 'a macro')
    assert.deepEqual(names(await verdict({ claims: [said('right', saw, 'host')] }, ...other)), unexplained, 'host')
    assert.deepEqual(names(await verdict({ claims: [{ ...said('right'), reads: undefined }] }, ...other)), unexplained)
    for (const more of [
      { ...saw, reads: [...saw.reads, ['absent', '/etc/x', null] as const] },
      { ...saw, env: [...saw.env, ['UNSEEN', null] as const] },
      { ...saw, reads: [['file', '\0workspace\0/src/lib.rs', content('else')] as const] },
      { ...saw, env: [['SET', 'no'] as const] },
    ] as unknown as ReadSet[]) {
      const runs = [ran('other', more), ran('other', more)]
      assert.deepEqual(names(await verdict({}, ...runs)), unexplained, JSON.stringify(more))
    }
    const blind = { outputs: digest('other'), reads: undefined }
    assert.deepEqual(names(await verdict({}, blind, blind)), unexplained, 'nobody watched')
  })
})

describe('what rustc made here against what others say', () => {
  const host = { claims: [said('right', saw, 'host'), said('mine')], own: { outputs: digest('mine'), reads: saw } }

  test('has them lie when the sandbox makes the same of it', async () => {
    const found = await verdict(host, ran('mine'), ran('mine'))
    assert.deepEqual(names(found), { liars: 1, unexplained: 0 })
    assert.ok(found.kind === 'disagreed' && found.liars[0]?.body.tier === 'host')
  })

  test('blames nobody for what was made from something else', async () => {
    const own = { outputs: digest('mine'), reads: { ...saw, env: [['MORE', null]] } satisfies ReadSet }
    assert.deepEqual(names(await verdict({ ...host, own }, ran('mine'), ran('mine'))), { liars: 0, unexplained: 1 })
  })

  test('blames nobody when the sandbox makes something else of it, or a macro took part', async () => {
    assert.equal((await verdict(host, ran('right'), ran('right'))).kind, 'unsteady')
    assert.deepEqual(names(await verdict({ ...host, usesMacros: true }, ran('mine'), ran('mine'))), {
      liars: 0,
      unexplained: 1,
    })
  })
})
