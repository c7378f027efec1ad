import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { Cluster, capture } from '../support/cluster.ts'
import { type Files, Fixture, type Mutation, type State, writeFiles } from '../support/fixture.ts'
import { inputMutations } from '../support/fixture-input-mutations.ts'
import { inputsState } from '../support/fixture-inputs.ts'
import { writeRemapWrapper } from '../support/plain.ts'
import { differences, Twins } from '../support/twins.ts'

const runs = Number(process.env.SHOAL_PROPERTY_RUNS ?? 3)
const seed = Number(process.env.SHOAL_PROPERTY_SEED ?? 4711)
const editsPerRun = 6

/** One step: these mutations come or go, then both build. */
interface Edit {
  toggled: number[]
  fromNothing: boolean
  profile: 'dev' | 'release'
}

interface Built {
  code: number | null
  says: string
  stderr: string
}

const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.record({
    toggled: fc.uniqueArray(fc.nat(inputMutations.length - 1), { minLength: 1, maxLength: 3 }),
    fromNothing: fc.boolean(),
    profile: fc.oneof({ weight: 5, arbitrary: fc.constant('dev' as const) }, fc.constant('release' as const)),
  }),
  { minLength: editsPerRun, maxLength: editsPerRun },
)

/** The first state with the mutations that are there, later ones over earlier ones. */
function stateWith(base: State, dir: string, present: readonly Mutation[]): State {
  let { files, env, args } = base
  for (const mutation of present) {
    files = { ...files, ...mutation.files }
    env = { ...env, ...(typeof mutation.env === 'function' ? mutation.env(dir) : mutation.env) }
    args = mutation.args ?? args
  }
  return { files, env, args }
}

describe('whatever is edited in whatever order, every byte is that of plain cargo', () => {
  let cluster: Cluster
  let dir: string
  let base: State
  let twins: Twins
  let plainEnv: NodeJS.ProcessEnv
  let written: Files = {}

  before(async () => {
    cluster = await Cluster.start(['ada'])
    dir = join(cluster.dir, 'work space')
    base = inputsState(dir)
    twins = new Twins(dir, join(cluster.dir, 'targets'))
    plainEnv = { RUSTC_WRAPPER: await writeRemapWrapper(cluster.dir) }
  })
  after(() => cluster.close())

  /** Only what differs is written, as an editor does. */
  async function write(files: Files): Promise<void> {
    const changed = Object.entries(files).filter(([name, content]) => written[name] !== content)
    await writeFiles(dir, Object.fromEntries(changed))
    written = files
  }

  async function build(name: 'plain' | 'shoal', state: State, program: string): Promise<Built> {
    const fixture = new Fixture(cluster.node('ada'), dir, state, async () => ({}))
    const env = { ...state.env, ...(name === 'plain' ? plainEnv : {}) }
    return await twins.with(name, async () => {
      const { ran } = await fixture.build({ args: state.args, env }, { keepTarget: true })
      const says = ran.code === 0 ? (await capture(join(dir, 'target', program), [])).stdout : ''
      return { code: ran.code, says, stderr: ran.stderr }
    })
  }

  for (const [index, sequence] of fc.sample(edits, { numRuns: runs, seed }).entries()) {
    test(`sequence ${index + 1} of seed ${seed}`, async () => {
      const present = new Set<number>()
      for (const [step, { toggled, fromNothing, profile }] of sequence.entries()) {
        for (const index of toggled) if (!present.delete(index)) present.add(index)
        const mutations = [...present].flatMap((index) => inputMutations[index] ?? [])
        const { files, env, args } = stateWith(base, dir, mutations)
        const state = { files, env, args: [...args, ...(profile === 'release' ? ['--release'] : [])] }
        const titles = mutations.map(({ title }) => title).join('; ')
        const what = `step ${step + 1}: ${titles} (${profile}${fromNothing ? ', from nothing' : ''})`
        await write(state.files)
        if (fromNothing) for (const name of ['plain', 'shoal']) await twins.clear(name)
        const program = profile === 'release' ? 'release/app' : 'debug/app'
        const plain = await build('plain', state, program)
        const shoal = await build('shoal', state, program)
        assert.equal(shoal.code, plain.code, `${what}\n${shoal.stderr}\n${plain.stderr}`)
        assert.equal(shoal.says, plain.says, what)
        // What else was built when a unit failed is chance.
        if (plain.code !== 0) for (const name of ['plain', 'shoal']) await twins.clear(name)
        assert.deepEqual(differences(await twins.files('shoal'), await twins.files('plain')), [], what)
      }
    })
  }
})
